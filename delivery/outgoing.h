/*
 * outgoing - a message on its way out: lines on top, then the file; as SMTP wants it.
 *
 * The file was written as it came. What leaves has CRLF and nothing else at each end of a line: a
 * stray CR or LF becomes CRLF, so that no server downstream can see the end of the message where we
 * see none (SMTP smuggling), and with dots doubled at the start of a line when DATA is used. Raw
 * bytes (BINARYMIME) leave as they are, in chunks.
 */
#ifndef VALIJA_OUTGOING_H
#define VALIJA_OUTGOING_H

#include "common/span.h"

struct seven_bit;
enum outgoing_form { OUTGOING_DATA, OUTGOING_CHUNKS, OUTGOING_RAW };

struct outgoing {
	int fd;                         /* borrowed */
	struct seven_bit *encoded;      /* borrowed; NULL: the file as it is */
	uint64_t size, at;              /* of what follows `top`; what was read of it */
	struct span top;                /* borrowed; what is left of it */
	enum outgoing_form form;
	bool line_start, after_cr;
	bool whole;                     /* everything was handed out, also the end of the last line */
	bool failed;                    /* the file cannot be read, or is shorter than it was */
};

/* The same of the file's message in US-ASCII, which is read from its beginning. */
void outgoing_begin_encoded(struct outgoing *o, struct seven_bit *encoded, struct span top, enum outgoing_form form);
/* Begins, or begins anew. */
void outgoing_begin(struct outgoing *o, int fd, uint64_t size, struct span top, enum outgoing_form form);
/* Writes the next bytes to `to`, at most `room` (at least 16); returns how many. 0: whole or failed.
 * DATA: the final dot is not among them. */
size_t outgoing_next(struct outgoing *o, unsigned char *to, size_t room);

#endif
