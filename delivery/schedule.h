/*
 * schedule - the messages in the queue, and when each is due.
 *
 * Some seventy bytes a message, whatever its size: the envelope stays on disk until its turn.
 */
#ifndef VALIJA_SCHEDULE_H
#define VALIJA_SCHEDULE_H

#include "idmap.h"

#include <stdbool.h>

#define FIRST_RETRY_SECONDS 60
#define LONGEST_RETRY_SECONDS 3600
#define MOST_QUEUED_LOSSES 7         /* queued.losses counts no further */
#define MOST_TRIED_AT_START 1000     /* messages; of a bigger queue each is tried when it is due */

struct queued {
	uint64_t id;
	uint32_t due;        /* seconds of the monotonic clock */
	uint32_t place;      /* in the heap, from 1; 0: parked */
	uint8_t tries;
	uint8_t losses : 3;  /* tries in a row that ended for want of our own workers */
	bool has_message : 1, has_envelope : 1;   /* seen by the scan at start */
	bool warned : 1;     /* its sender knows that it is late */
	bool active : 1;     /* an attempt is under way */
	bool looked_at : 1;  /* since the start */
	bool bounce : 1;     /* the administrator has given it up */
	bool held : 1;       /* somebody must decide: every recipient is done or failed for good */
};

struct schedule {
	struct idmap messages;
	struct queued **heap;     /* heap[1] is due first */
	uint32_t count, room;
};

void schedule_init(struct schedule *s);
struct queued *schedule_find(const struct schedule *s, uint64_t id);
/* A message that is not there yet; parked. */
struct queued *schedule_add(struct schedule *s, uint64_t id);
void schedule_forget(struct schedule *s, struct queued *m);
/* Due at `when`, whether it was parked or not. */
void schedule_at(struct schedule *s, struct queued *m, uint32_t when);
void schedule_park(struct schedule *s, struct queued *m);
/* The message that is due first, or NULL. */
struct queued *schedule_first(const struct schedule *s);
/* How long to wait after try number `tries` (from 1): doubling, with up to a quarter of jitter. */
uint32_t schedule_delay(unsigned int tries);

#endif
