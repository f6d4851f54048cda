/*
 * outside - a program that is not ours, run for an administrator: as a user of its own, in a session of its own, with
 * a clean environment, no descriptor of master's, no privilege that it could gain.
 */
#ifndef VALIJA_OUTSIDE_H
#define VALIJA_OUTSIDE_H

#include "master/supervisor.h"

#define OUTSIDE_VARIABLES 12

struct outside {
	int program;			/* with `by_descriptor`: what is executed; path is its argv[0] then */
	bool by_descriptor;
	struct span path, user;		/* user: of no effect where Valija was not started by root */
	const char *argument;		/* or NULL */
	const char *const *environment; /* NAME, VALUE, NAME, VALUE, ..., NULL; PATH is there in any case */
	int input;			/* becomes descriptor 3; or -1 */
	int output;			/* becomes 1; or -1: /dev/null */
	int errors;			/* becomes 2; or -1: as output */
};

/* One that has a time limit, and whoever asked for it waits: what is told to him when it has ended. */
struct outside_run {
	struct outside what;
	const char *event;		/* what goes wrong is logged so */
	unsigned int seconds;
	uint64_t id;			/* of the question */
	unsigned int index;		/* of the process that asked */
	void (*ended)(struct supervisor *s, const struct outside_run *r, int status, pid_t pid, bool late);
};

/* Starts it; what is wrong is logged as `event`. The pid, or -1. The descriptors stay the caller's. */
pid_t outside_run(const struct supervisor *s, const struct outside *o, const char *event);
/* The same, and ends it when its time is up. Then ended(), once; what `what` points to need not last. False: it could not
 * be started. */
bool outside_begin(struct supervisor *s, const struct outside_run *r);
/* How many of those run that end so. */
unsigned int outside_count(void (*ended)(struct supervisor *, const struct outside_run *, int, pid_t, bool));
/* A child ended. True when it was one of these. */
bool outside_ended(struct supervisor *s, pid_t pid, int status);
/* Kills those that run; nobody is told. */
void outside_close(void);
/* With everything that it started. */
void outside_kill(pid_t pid);

#endif
