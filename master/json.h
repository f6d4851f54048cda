/*
 * json - writes JSON (RFC 8259): names, strings, numbers; commas come by themselves.
 */
#ifndef VALIJA_JSON_H
#define VALIJA_JSON_H

#include <stdio.h>

#include "common/span.h"

struct json {
	FILE *to;
	bool comma; /* something stands before at this level */
};

/* `name` is NULL inside a list and at the top. */
void json_open(struct json *j, const char *name, char bracket);
void json_close(struct json *j, char bracket);
/* Bytes that are not UTF-8 become U+FFFD. */
void json_text(struct json *j, const char *name, struct span value);
void json_number(struct json *j, const char *name, int64_t value);
void json_flag(struct json *j, const char *name, bool value);
void json_null(struct json *j, const char *name);

#endif
