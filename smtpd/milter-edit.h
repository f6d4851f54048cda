/*
 * milter-edit - a message that filters may change: its header as fields, its body in the file, or in
 * memory where a filter has replaced it.
 *
 * Nothing that a filter says can add a line that it should not: values are folded anew, and only CR LF
 * ends a line in what comes out.
 */
#ifndef VALIJA_SMTPD_MILTER_EDIT_H
#define VALIJA_SMTPD_MILTER_EDIT_H

#include <sys/types.h>

#include "common/text.h"

#define MILTER_HEADER_MOST (2 * 1024 * 1024)   /* octets of all fields, with what filters add */
#define MILTER_FIELDS_MOST 100000
#define MILTER_HELD_MOST (512 * 1024 * 1024)   /* octets of all messages together that are held in memory: fields, new bodies */

struct milter_field {
	unsigned char *at;       /* the whole field, with its last CR LF; owned */
	size_t len, name;        /* name: octets of the name */
};

struct milter_edit {
	int fd;                  /* the message, borrowed: read and written */
	uint64_t size, body;     /* of the file; where its body begins */
	size_t hidden;           /* fields in front that filters do not see: our own trace */
	struct milter_field *field;
	size_t count, room, octets;
	bool header_changed, body_replaced, after_cr;
	struct text new_body;
	uint64_t most;           /* octets of a new body */
	uint64_t held;           /* of MILTER_HELD_MOST */
	enum { WRITES_NOTHING, WRITES_BODY, WRITES_HEADER, WRITES_NEW_BODY, WRITES_END } writing;
	uint64_t written;        /* octets of the body that is being written */
};

/* Reads the header; `trace` octets of it are ours. False: too much is held in memory, or it cannot be read. */
bool milter_edit_init(struct milter_edit *e, int fd, uint64_t size, size_t trace, uint64_t most);
void milter_edit_clear(struct milter_edit *e);

/* Name and value of a visible field. The value begins behind the colon, and its folds are LF. */
void milter_edit_value(const struct milter_edit *e, size_t i, struct span *name, struct text *value);
/* Changes. leading_space: the value brings the blank behind the colon itself. False: too much. */
bool milter_edit_add(struct milter_edit *e, struct span name, struct span value, bool leading_space);
/* Before the field that is number `index` of all, ours too: 0 is the top. */
bool milter_edit_insert(struct milter_edit *e, uint32_t index, struct span name, struct span value,
	bool leading_space);
/* The field that is number `index` (from 1) of those with this name: an empty value removes it; when
 * there is none, it is added. */
bool milter_edit_change(struct milter_edit *e, uint32_t index, struct span name, struct span value,
	bool leading_space);
/* A piece of a new body; the first of a filter's (begins) throws away what was. */
bool milter_edit_body(struct milter_edit *e, struct span piece, bool begins);
/* Up to `len` octets of the body as it is now, from `at`. 0 at its end, -1 with errno. */
ssize_t milter_edit_body_read(const struct milter_edit *e, void *to, size_t len, uint64_t at);
bool milter_edit_changed(const struct milter_edit *e);
/* Writes a piece of the changed message over the old one, so large that nobody need wait for it. 1: there is more; 0: all
 * is written, and e->size its size; -1 with errno: the file is of no use any more. */
int milter_edit_write(struct milter_edit *e);

#endif
