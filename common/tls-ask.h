/*
 * tls-ask - how a front end (smtpd, imap-login) has a connection put under TLS.
 *
 * The session is announced to tls-key first (tls_expect), so that a captured worker gets no
 * signature for a session that nobody accepted; then the socket goes to a worker (tls_start), which
 * answers with tls_ready or tls_failed.
 */
#ifndef VALIJA_TLS_ASK_H
#define VALIJA_TLS_ASK_H

#include "daemon.h"

/* Are tls-key and a worker there? Uses up nobody's turn. */
bool tls_is_offered(struct daemon *d);
/* Announces session `id` and gives `fd`, which is taken in any case, to a worker (the next; in a run (run.h) the same), with
 * the client's address, which a proxy may have told. Returns the
 * worker, from whom the answer must come: borrowed until it is gone. NULL: neither will answer;
 * *why says so, in static memory. */
struct channel *tls_ask(
	struct daemon *d, uint64_t id, enum service service, const char *ip, int fd, const char **why);
/* A tls-key that was started anew knows of no session: to be said for each one whose answer from
 * `worker` is still awaited. */
void tls_announce(struct channel *tls_key, uint64_t id, struct channel *worker);

#endif
