/*
 * announced - the sessions that one front end has announced, each good for one signature.
 *
 * Bounded and forgetful: a ring of MOST_ANNOUNCED, of which the oldest goes first. A session that
 * was forgotten gets no signature, so the worst that a flood can do is to fail handshakes that are
 * slower than MOST_ANNOUNCED newer ones.
 */
#ifndef VALIJA_ANNOUNCED_H
#define VALIJA_ANNOUNCED_H

#include <stdbool.h>
#include <stdint.h>

#define MOST_ANNOUNCED 4096      /* sessions of one front end */
#define ANNOUNCED_SECONDS 630    /* longer than tls_handshake_seconds may be set */

struct announced;

struct announced *announced_new(void);
void announced_free(struct announced **a);

/* Notes that `worker` may ask for a signature in `session`. Said again, it changes the worker, but
 * a session that has had its signature gets no second one. No session has id 0: that is ignored. `now` in
 * seconds of any steady clock. */
void announced_add(struct announced *a, uint64_t session, unsigned int worker, uint32_t now);

enum announced_verdict {
	ANNOUNCED_UNKNOWN,    /* nobody announced it, or too long ago */
	ANNOUNCED_OTHER,      /* announced for another worker */
	ANNOUNCED_USED,       /* it had its signature */
	ANNOUNCED_OPEN,       /* a signature may be given */
};

enum announced_verdict announced_look(
	const struct announced *a, uint64_t session, unsigned int worker, uint32_t now);
/* From now on this session is USED. */
void announced_use(struct announced *a, uint64_t session);

#endif
