/*
 * relaying - what queue gives to relay: recipients that go one way as jobs, so many at a time for
 * each next hop.
 *
 * A next hop ("hop") takes a few jobs at first, more with each that it answers, fewer when it says it
 * is busy, and none for a while when nobody answers there: what waits for it is deferred at once, so
 * that mail to others is not kept. The time doubles with each vain try.
 */
#ifndef VALIJA_RELAYING_H
#define VALIJA_RELAYING_H

#include "queue.h"

#define MOST_RELAYING 10000          /* queued messages that are being relayed, or wait for it */
#define MOST_OF_A_HOP 5000           /* of them, for one next hop */
#define MOST_HOPS 20000              /* remembered */
#define JOB_RECIPIENTS 100           /* in one job (RFC 5321 4.5.3.1.8) */
#define FIRST_HOP_JOBS 5
#define MOST_JOB_LOSSES 3            /* relays that may die over one job; then it is tried again later */
#define FIRST_DEAD_SECONDS 60
#define LONGEST_DEAD_SECONDS 1800

/* One recipient's way out. Spans are borrowed as long as the jobs last. */
struct relayed {
	uint32_t index;              /* for the asker: told back */
	struct span address, orcpt, sender, next_hop;
	uint8_t notify, transport;
};

struct relaying;

/* Relays to all of `to` (`count`), in as many jobs as it takes. For each, relayed_one(me, ...) is
 * called, with `away` true when it was not even tried, and then relayed_all(me): never from inside.
 * `e` and the spans are borrowed until then. */
struct relaying *relaying_begin(struct queue *q, const struct envelope *e, const struct relayed *to,
	uint32_t count, void *me);
/* The asker's side (attempt.c). relay: "host[ip]:port", or empty. */
void relayed_one(void *me, uint32_t index, struct verdict v, struct span relay, bool relayed, bool away);
void relayed_all(void *me);

void relaying_init(struct queue *q);
void relaying_peer_came(struct queue *q, struct channel *relay);
/* Now and then: what waits for a relay that does not come has to be told so. */
void relaying_look(struct queue *q);
/* The network has changed: no hop is held to be dead any more. */
void relaying_revive(struct queue *q);
extern const struct hearing queue_hears_relay;

#endif
