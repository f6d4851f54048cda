/*
 * drop - a message as the sendmail command leaves it in the drop directory while nobody can be asked:
 * the message, with CR LF, then its envelope, then a foot that tells how long the envelope is.
 *
 *   message octets | fields | "valija-drop-1 0000000123\n"
 *
 * A field is a netstring, "LENGTH:Kvalue,": S sender (once), R recipient (once or more), B "8" (the
 * message has octets beyond ASCII), N notify, T ret, V envid (RFC 3461, as decoded text). Addresses may lack
 * their domain. Whoever wrote the file may lie in all of it but its owner, whom the kernel told.
 */
#ifndef VALIJA_SMTPD_DROP_H
#define VALIJA_SMTPD_DROP_H

#include "common/text.h"

#define DROP_FOOT 25                          /* octets */
#define DROP_RECIPIENTS_MOST 10000
#define DROP_ENVELOPE_MOST (4 * 1024 * 1024)
#define DROP_MODE 0640                        /* the directory's group, whom pickup has, may read */

/* The envelope. Spans point into what drop_parse() was given, or whatever the maker says. */
struct drop {
	struct span sender;       /* empty: <> */
	struct span *recipient;   /* owned */
	size_t count, room;
	bool eight_bit;
	struct span notify;       /* "NEVER", "SUCCESS,DELAY"; empty: not given */
	struct span ret;          /* "FULL", "HDRS" or empty */
	struct span envid;        /* or empty */
};

/* Adds a recipient; false when there are DROP_RECIPIENTS_MOST. */
bool drop_add(struct drop *d, struct span recipient);
void drop_clear(struct drop *d);

/* Fields and foot. False when they would be too long. */
bool drop_put(const struct drop *d, struct text *to);
/* The length of the fields, as the last DROP_FOOT octets of a file tell. False: this is no foot. */
bool drop_foot_parse(struct span foot, size_t *envelope);
/* Reads the fields; all of them, and nothing but fields. False with a sentence in *why; `d` is then
 * cleared. */
bool drop_parse(struct span fields, struct drop *d, const char **why);

#endif
