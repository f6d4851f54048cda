/*
 * hop - a next hop: how much it takes at a time, whether it lives, and in which order what waits for it
 * goes.
 *
 * It takes a few jobs at first, more with each that it answers, fewer when it says it is busy, and none for
 * a while when nobody answers there: what waits for it is deferred at once, so that mail to others is not
 * kept. The time doubles with each vain try.
 *
 * Jobs wait in lanes, by priority and sender. The highest priority goes first (RFC 6710), the senders of
 * one priority in turn, so that nobody's thousand messages, and no list's hundred jobs, keep one message
 * of somebody else; and every eighth time it is the turn of what has waited longest, so that nothing
 * waits for ever.
 *
 * Messages for which there was no room are remembered, and called back when there is, by the same turns.
 */
#ifndef VALIJA_HOP_H
#define VALIJA_HOP_H

#include "common/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#define MOST_HOPS 20000              /* remembered */
#define FIRST_HOP_JOBS 5
#define FIRST_DEAD_SECONDS 60
#define LONGEST_DEAD_SECONDS 1800
#define FORGET_SECONDS 3600          /* a hop with nothing to do */
#define HOP_LANES 32                 /* for each priority; senders beyond share them */
#define HOP_OLDEST_TURN 8
#define HOP_LANE_ROOM 8              /* jobs that each lane may have, whoever else has taken all the room */

struct lane;
TAILQ_HEAD(lane_list, lane);

struct hop_line {
	struct lane_list lanes;            /* whose turn is next comes first */
	uint32_t turns;
};

/* What stands in one: the first member of what its owner keeps. */
struct hop_job {
	TAILQ_ENTRY(hop_job) next;
	uint64_t order;              /* how early it came */
	uint32_t sender;             /* a number that stands for whose it is (queue_sender) */
	uint8_t priority;            /* of MT-PRIORITY: 10 is normal */
};

struct hop {
	char *name;                        /* "1 next.hop" */
	TAILQ_ENTRY(hop) used;             /* least recently first */
	struct hop_line waiting;           /* jobs */
	struct hop_line away;              /* messages that were turned away */
	uint32_t running, waits, limit;
	uint32_t dead_until, dead_seconds, last_used;
	char reason[MOST_REASON + 1];
};

/* call: what to do with a message that stands in the line of a hop that is forgotten. */
void hops_init(void (*call)(void *me, uint64_t message), void *me);
/* The hop of this way and name (any ASCII case), made when it is new. Another, of which nothing is wanted
 * any more, may be forgotten. */
struct hop *hop_of(uint8_t transport, struct span next_hop);
/* The one that was used longest ago, and the next; NULL at the end. */
struct hop *hop_first(void);
struct hop *hop_next(const struct hop *h);

/* Behind everything of its lane; or before it, as it was there before. */
void hop_add(struct hop *h, struct hop_job *j);
void hop_add_again(struct hop *h, struct hop_job *j);
/* Takes out whose turn it is; NULL when nothing waits. */
struct hop_job *hop_take(struct hop *h);

/* Fewer than HOP_LANE_ROOM wait where a job of this sender and priority would. */
bool hop_lane_has_room(const struct hop *h, uint32_t sender, uint8_t priority);
/* No room for a job of this message: it is to be called back. */
void hop_turn_away(struct hop *h, uint64_t message, uint32_t sender, uint8_t priority);
/* Whose turn it is of those that were turned away, once; 0: none. It may be gone since. */
uint64_t hop_call_back(struct hop *h);

bool hop_is_dead(const struct hop *h);
/* What a job's end says of its hop (enum health); reason: why it is dead, if so. most: jobs at a time. */
void hop_learn(struct hop *h, uint8_t health, struct span reason, uint32_t most);
/* The network has changed: no hop is held to be dead any more. */
void hops_revive(void);

#endif
