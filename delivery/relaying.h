/*
 * relaying - what queue gives to relay: recipients that go one way as jobs, so many at a time for
 * each next hop.
 * How many, and in which order: hop.h.
 */
#ifndef VALIJA_RELAYING_H
#define VALIJA_RELAYING_H

#include "queue.h"

#define MOST_RELAYING 12000          /* queued messages that are being relayed, or wait for it */
#define MOST_WAITING_JOBS 8000       /* of them all, for all next hops */
#define MOST_FIRST_JOBS 10000        /* the same, with the first few of each sender at each hop (hop_lane_has_room) */
#define LEAST_OF_A_HOP 100           /* that may wait for one, while there is room for any */
#define JOB_RECIPIENTS 100           /* in one job (RFC 5321 4.5.3.1.8) */
#define MOST_JOB_LOSSES 3            /* relays that may die over one job; then it is tried again later */

/* Whether it was tried: no, for want of a relay; no, since too much waits for that next hop already. */
enum away { NOT_AWAY, AWAY, BUSY };

/* One recipient's way out. Spans are borrowed as long as the jobs last. */
struct relayed {
	uint32_t index;              /* for the asker: told back */
	struct span address, orcpt, sender, next_hop;
	struct span given;           /* what led to it here; empty: nothing did */
	uint8_t notify, transport;
};

struct relaying;

/* Relays to all of `to` (`count`), in as many jobs as it takes. For each, relayed_one(me, ...) is
 * called, and then relayed_all(me): never from inside.
 * `e` and the spans are borrowed until then. */
struct relaying *relaying_begin(struct queue *q, const struct envelope *e, const struct relayed *to,
	uint32_t count, void *me);
/* The asker's side (attempt.c). relay: "host[ip]:port", or empty. */
void relayed_one(void *me, uint32_t index, struct verdict v, struct span relay, bool relayed,
	enum away away);
void relayed_all(void *me);

void relaying_init(struct queue *q);
void relaying_peer_came(struct queue *q, struct channel *relay);
/* Now and then: what waits for a relay that does not come has to be told so. */
void relaying_look(struct queue *q);
/* The network has changed: no hop is held to be dead any more. */
void relaying_revive(struct queue *q);
extern const struct hearing queue_hears_relay;

#endif
