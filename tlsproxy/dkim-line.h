/*
 * dkim-line - mail that waits for a signature of tls-key: handshakes go first, and every smtpd has its turn.
 *
 * A signature of RSA takes a millisecond and more. An smtpd that asks for a thousand of them, because it has so much
 * mail or belongs to an enemy, must not hold up handshakes, whose workers wait two seconds at most; so each smtpd
 * has a line here, and whoever takes from them does so once in a turn of the event loop.
 */
#ifndef VALIJA_DKIM_LINE_H
#define VALIJA_DKIM_LINE_H

#include <sys/queue.h>

#include "common/daemon.h"

#define MOST_WAITING_MAIL 4096        /* of one smtpd */

/* Owned by whom dkim_lines_take gave it (free). */
struct dkim_waiting {
	TAILQ_ENTRY(dkim_waiting) line;
	struct channel *from;
	uint64_t id;
	struct span domain, selector, digest;    /* inside */
	unsigned char octets[];
};

struct dkim_lines {
	struct {
		TAILQ_HEAD(, dkim_waiting) line;
		size_t count;
	} of[MOST_PEERS_OF_A_KIND];      /* by the number of the smtpd */
	unsigned int last;               /* whose turn was last */
};

void dkim_lines_init(struct dkim_lines *l);
/* Copies what is asked. False: this smtpd has MOST_WAITING_MAIL waiting. */
bool dkim_lines_add(struct dkim_lines *l, struct channel *from, uint64_t id, const struct msg_dkim_ask *m);
/* The next one; NULL: nobody waits. */
struct dkim_waiting *dkim_lines_take(struct dkim_lines *l);
/* This smtpd is gone. */
void dkim_lines_forget(struct dkim_lines *l, const struct channel *from);

#endif
