/*
 * outside - a program that is not ours, run for an administrator: as a user of its own, in a session of its own, with
 * a clean environment, no descriptor of master's, no privilege that it could gain.
 */
#ifndef VALIJA_OUTSIDE_H
#define VALIJA_OUTSIDE_H

#include "master/supervisor.h"

#define OUTSIDE_VARIABLES 8

struct outside {
	struct span path, user;		/* user: of no effect where Valija was not started by root */
	const char *argument;		/* or NULL */
	const char *const *environment; /* NAME, VALUE, NAME, VALUE, ..., NULL; PATH is there in any case */
	int input;			/* becomes descriptor 3; or -1 */
	int output;			/* becomes 1 and 2; or -1: /dev/null */
};

/* Starts it; what is wrong is logged as `event`. The pid, or -1. The descriptors stay the caller's. */
pid_t outside_run(const struct supervisor *s, const struct outside *o, const char *event);
/* With everything that it started. */
void outside_kill(pid_t pid);

#endif
