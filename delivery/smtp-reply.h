/*
 * smtp-reply - what another server answers (RFC 5321 4.2), read as what a stranger wrote.
 *
 * One reply at a time, fed as bytes come. What is kept is printable and bounded; a line that is
 * longer than is kept goes on to be read, up to a limit for the whole reply: an endless line or an
 * endless 250- ends as REPLY_BROKEN. Bare LF ends a line too.
 */
#ifndef VALIJA_SMTP_REPLY_H
#define VALIJA_SMTP_REPLY_H

#include "common/text.h"

#define MOST_REPLY_TEXT 8192        /* bytes kept of one reply */
#define MOST_REPLY_LINE 1024        /* bytes kept of one line */
#define MOST_REPLY_BYTES 65536      /* read for one reply */
#define MOST_REPLY_LINES 300

enum reply_state { REPLY_MORE, REPLY_WHOLE, REPLY_BROKEN };

struct smtp_reply {
	uint16_t code;
	struct text text;               /* lines without code, ended by \n; only 0x20..0x7e, UTF-8, \n */
	/* of the reading */
	struct text line;
	size_t bytes, lines;
	bool overlong;
};

void smtp_reply_init(struct smtp_reply *r);
void smtp_reply_clear(struct smtp_reply *r);
/* Forgets what was read: for the next reply. */
void smtp_reply_reset(struct smtp_reply *r);
/* Takes bytes from the front of *in until a reply is whole. Once it is whole or broken, nothing more
 * is taken before smtp_reply_reset. */
enum reply_state smtp_reply_feed(struct smtp_reply *r, struct span *in);

/* The enhanced status code of the first line (RFC 2034), if there is one of the reply's class; else
 * empty. Lies in r->text. */
struct span smtp_reply_status(const struct smtp_reply *r);
/* Code, status and text on one line, cut at `most` bytes: for people, logs and reports. */
void smtp_reply_sentence(const struct smtp_reply *r, struct text *to, size_t most);
/* Takes the next line of r->text (borrowed). */
bool smtp_reply_take_line(struct span *text, struct span *line);

/* Takes an enhanced status code, "4.7.1", from the front; its class must be `class` ('4'). */
bool smtp_status_take(struct span *in, unsigned char class, struct span *status);

#endif
