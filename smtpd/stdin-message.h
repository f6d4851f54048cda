/*
 * stdin-message - reads a message as programs give it to the sendmail command, and makes of it what
 * goes on the wire: lines with CR LF, a header that ends with an empty line, a From field, no Bcc.
 */
#ifndef VALIJA_SMTPD_STDIN_MESSAGE_H
#define VALIJA_SMTPD_STDIN_MESSAGE_H

#include "common/text.h"

#define STDIN_HEADER_MOST (512 * 1024)     /* octets of all fields; more is refused */

struct stdin_message {
	/* What is wanted: */
	bool dot_is_text;            /* -i: a line with only a dot does not end it */
	bool recipients;             /* -t: collect them from the header */
	struct span from;            /* the From field that is added where there is none, without CR LF */
	/* Where it goes: all octets, in order. False ends the reading (and is what reading returns). */
	bool (*put)(void *me, struct span piece);
	void *me;
	/* What was found: */
	struct text found;           /* recipients of the header, each with NUL behind it */
	bool found_bad;              /* and one that can be none */
	bool eight_bit, header_too_large;
	uint64_t size;
};

/* Reads `fd` to its end, or to the line with the dot. False: see header_too_large, else put() or read()
 * failed, with errno. */
bool stdin_message_read(struct stdin_message *m, int fd);

#endif
