/*
 * stop - how master's own start ends well or not, and how everything leaves in order.
 *
 * Front ends first, with stop_seconds to finish what is in flight; then, stage by stage
 * (wiring.h), what they needed; the log last. Who does not leave in time is killed.
 */
#ifndef VALIJA_STOP_H
#define VALIJA_STOP_H

#include "master/supervisor.h"

#define STAGE_SECONDS 3 /* for each stage after the front ends */

/* A process serves: when all do, master is ready, and says so. */
void stop_started(struct supervisor *s);
/* A process does not start at all: says so and stops with EX_SOFTWARE. */
void stop_failed_start(struct supervisor *s, const char *program);
/* Begins the orderly stop; the loop ends when it is over. Again: no effect. */
void stop_begin(struct supervisor *s, int exit_code);
/* A process is gone: is the next stage due? */
void stop_settle(struct supervisor *s);

#endif
