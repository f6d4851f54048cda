/*
 * handin - hands a message in by SMTP, as the client: to our own smtpd, over a socket that is there
 * already (the sendmail command, pickup).
 *
 * A state machine without input or output of its own: the caller feeds what arrives, sends what
 * `out` holds, and streams the message when `wants_message` says so. Replies are hostile input: a
 * malformed or an endless one ends it, as LATER.
 */
#ifndef VALIJA_SMTPD_HANDIN_H
#define VALIJA_SMTPD_HANDIN_H

#include "common/outcome.h"
#include "smtpd/drop.h"

#define HANDIN_REPLY_MOST 65536        /* octets of one reply, all its lines */
#define HANDIN_REASON_MOST 400

enum handin_mode {
	HANDIN_ALL,      /* one refused recipient: nothing is sent; but what one transaction has sent stays, and then the
	                    others get it too (NEVER, with the refusals) */
	HANDIN_SOME,     /* refused recipients are told, the others get it */
	HANDIN_VERIFY,   /* asks, and sends nothing */
};

struct handin_refusal {
	size_t recipient;                          /* number of it; SIZE_MAX: the message as a whole */
	unsigned int code;                         /* of SMTP */
	char reason[HANDIN_REASON_MOST + 1];       /* "550 5.1.1 ...": printable */
};

struct handin {
	/* The caller's part: */
	struct text out;             /* to be sent; text_drop() what was */
	bool wants_message;          /* when `out` is sent: send the message, then handin_message_sent() */
	bool over;                   /* outcome counts now */
	enum outcome outcome;        /* DONE, LATER, or NEVER */
	struct handin_refusal *refusal;   /* each refused recipient, or the message */
	size_t refusals;
	char id[32];                 /* DONE: what the server calls the message */
	/* Its own: */
	const struct drop *envelope; /* borrowed */
	uint64_t size;
	enum handin_mode mode;
	int stage;
	struct text in;
	size_t committed;                   /* recipients before it have the message */
	size_t next, group_end, accepted;   /* recipients: asked next, end of this transaction's */
	bool has_dsn;
};

/* `envelope` is borrowed until handin_clear(); `size` octets of message, with CR LF. */
void handin_init(struct handin *h, const struct drop *envelope, uint64_t size, enum handin_mode mode);
void handin_clear(struct handin *h);
/* Octets from the server. */
void handin_feed(struct handin *h, struct span in);
void handin_message_sent(struct handin *h);
/* The connection has ended, or time is up: LATER, unless it is over already. */
void handin_lost(struct handin *h, const char *why);

#endif
