/*
 * run - work that comes in quick succession goes to the same of several processes, for so many in a row: one that is awake
 * does it, and not all of them are woken for each. What comes one by one goes to each in turn.
 */
#ifndef VALIJA_RUN_H
#define VALIJA_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define RUN_LENGTH 32             /* TLS handshakes of so many are some 12 ms of a process's work, and half of what a worker
                                     lets one address have unfinished (MOST_HANDSHAKES_AN_ADDRESS) */
#define RUN_GAP_MILLISECONDS 20   /* what comes later than this after the one before is no succession */

struct run {
	unsigned int length;      /* so far; zero at first */
	int64_t latest;           /* milliseconds */
};

/* Something has come. True: it is of the run. False: it begins another. */
static inline bool
run_goes_on(struct run *r)
{
	struct timespec now;
	int64_t milliseconds;
	bool on;

	clock_gettime(CLOCK_MONOTONIC, &now);
	milliseconds = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	on = r->length > 0 && r->length < RUN_LENGTH && milliseconds - r->latest <= RUN_GAP_MILLISECONDS;
	r->latest = milliseconds;
	r->length = on ? r->length + 1 : 1;
	return on;
}

#endif
