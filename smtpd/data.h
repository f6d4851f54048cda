/*
 * data - the text of DATA: where it ends, and what it is without the dots of transparency
 * (RFC 5321 4.5.2, 2.3.8).
 *
 * Only CR LF . CR LF ends it. A CR or an LF that stands alone ends no line, begins no line, and is
 * remembered: the message will be refused, because the next server may think otherwise of it.
 *
 * The text of BDAT (RFC 3030) is the same without dots and without an end: `counted` says so.
 */
#ifndef VALIJA_SMTPD_DATA_H
#define VALIJA_SMTPD_DATA_H

#include "common/span.h"

enum data_place {
	DATA_LINE_START = 0,
	DATA_DOT,            /* "." at the start of a line */
	DATA_DOT_CR,         /* ".\r" at the start of a line */
	DATA_TEXT,
	DATA_CR,             /* "\r", not written yet */
};

/* All zero is the beginning. */
struct data {
	enum data_place place;
	bool counted;        /* set before the first octet: a dot is a dot, nothing ends it */
	bool normalise;      /* set before the first octet: a bare CR or LF becomes CR LF */
	bool ended;
	bool bare_cr, bare_lf, nul;
	uint64_t size;       /* octets of the message so far, RFC 1870 section 5 */
};

/* What data_feed may write beyond the length of its input (twice that, when it normalises): a CR
 * kept back from before, and its LF. */
#define DATA_ROOM 2
#define DATA_END_ROOM 3

/* A line that a bare CR or LF ended was none for the client, so a dot behind it is a dot: only
 * CR LF . CR LF ends a message, normalised or not. */

/* Takes from *in up to its end or the end of the message, and writes the message's own octets to
 * `out`, which has room for in->len + DATA_ROOM. Returns how many were written. Afterwards
 * d->ended tells that the end was seen; *in then starts behind it. */
size_t data_feed(struct data *d, struct span *in, unsigned char *out);
/* Looks at octets of a text that goes on unchanged (the header of BINARYMIME): remembers a bare CR,
 * a bare LF, and NUL. */
void data_look(struct data *d, struct span in);
/* The last octet of a counted text was there: writes what was kept back, and ends the last line if
 * that is open (which is not counted: the client did not send it). `out` has room for DATA_END_ROOM; returns how many were written. */
size_t data_finish(struct data *d, unsigned char *out);

#endif
