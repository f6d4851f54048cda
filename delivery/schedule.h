/*
 * schedule - the messages in the queue: when each is due, and whose turn it is among those that are.
 *
 * Some hundred bytes a message, whatever its size: the envelope stays on disk until its turn. Its sender and
 * priority are known from its first turn on.
 *
 * Those that are due stand in lanes by priority and sender, as jobs do in hop.h: the highest priority first,
 * the senders of one priority in turn, and every eighth time somebody of the lowest.
 */
#ifndef VALIJA_SCHEDULE_H
#define VALIJA_SCHEDULE_H

#include "idmap.h"

#include <stdbool.h>
#include <sys/queue.h>

#define FIRST_RETRY_SECONDS 60
#define LONGEST_RETRY_SECONDS 3600
#define MOST_QUEUED_LOSSES 7         /* queued.losses counts no further */
#define MOST_TRIED_AT_START 1000     /* messages; of a bigger queue each is tried when it is due */

#define SCHEDULE_PRIORITIES 20       /* MT-PRIORITY -9 to 9 are 1 to 19 */
#define SCHEDULE_LANES 64            /* for each priority; senders beyond share them */
#define SCHEDULE_LOWEST_TURN 8
#define PLACE_READY UINT32_MAX
#define TURNED_AWAY_WHERE_IT_GOES_ON 4

struct queued {
	uint64_t id;
	TAILQ_ENTRY(queued) next; /* in its lane, while it is ready */
	uint32_t due;        /* seconds of the monotonic clock */
	uint32_t place;      /* in the heap, from 1; PLACE_READY: in a lane; 0: parked */
	uint32_t sender;     /* queue_sender(); 0: not known yet */
	uint32_t tried_at;   /* the last attempt that was for all recipients; seconds since 1970 */
	uint8_t priority;    /* 10 is normal */
	uint8_t tries;
	uint8_t losses : 3;  /* tries in a row that ended for want of our own workers */
	uint8_t turned_away : 3;   /* times in a row that a next hop had no room, and did not call it back; more at first
	                            * where one has jobs: it calls back as they go */
	bool listed : 1;     /* a hop is to call it back */
	bool busy : 1;       /* one had no room, in the attempt under way or the last */
	bool called : 1;     /* one called it back while that was not over */
	bool has_message : 1, has_envelope : 1;   /* seen by the scan at start */
	bool warned : 1;     /* its sender knows that it is late */
	bool active : 1;     /* an attempt is under way */
	bool looked_at : 1;  /* since the start */
	bool bounce : 1;     /* the administrator has given it up */
	bool held : 1;       /* somebody must decide: every recipient is done or failed for good */
};

TAILQ_HEAD(queued_list, queued);

struct schedule {
	struct idmap messages;
	struct queued **heap;     /* heap[1] is due first */
	uint32_t count, room;
	struct queued_list lane[SCHEDULE_PRIORITIES][SCHEDULE_LANES];
	uint32_t ready, ready_of[SCHEDULE_PRIORITIES], turns;
	uint8_t next_lane[SCHEDULE_PRIORITIES];
};

void schedule_init(struct schedule *s);
struct queued *schedule_find(const struct schedule *s, uint64_t id);
/* A message that is not there yet; parked. */
struct queued *schedule_add(struct schedule *s, uint64_t id);
void schedule_forget(struct schedule *s, struct queued *m);
/* Due at `when`, whether it was parked or not. */
void schedule_at(struct schedule *s, struct queued *m, uint32_t when);
void schedule_park(struct schedule *s, struct queued *m);
/* Whose turn it is of those that are due at `now`, parked from here on; NULL: nothing is due. */
struct queued *schedule_take(struct schedule *s, uint32_t now);
/* In how many seconds something is due; UINT32_MAX: never. */
uint32_t schedule_wait(const struct schedule *s, uint32_t now);
/* How long to wait after try number `tries` (from 1): doubling, with up to a quarter of jitter. */
uint32_t schedule_delay(unsigned int tries);
/* Any number from 0 to `most`. */
uint32_t schedule_jitter(uint32_t most);

#endif
