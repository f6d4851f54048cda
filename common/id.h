/*
 * id - the name of one session or one message, in every log line and on disk.
 *
 * 64 random bits, never 0; written as 13 characters of 0-9A-V (base32hex, RFC 4648 section 7).
 * 0 means "none".
 */
#ifndef VALIJA_ID_H
#define VALIJA_ID_H

#include "span.h"

#define ID_LENGTH 13

struct id_name {
	char str[ID_LENGTH + 1];
};

uint64_t id_new(void);
struct id_name id_name(uint64_t id);
/* False unless `s` is exactly one id as id_name writes it. */
bool id_parse(struct span s, uint64_t *id);

#endif
