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
	bool by_uid;			/* `uid` in place of the user's name */
	uint32_t uid;
	bool as_login;			/* HOME, USER and LOGNAME are that user's, who must be there and not be root */
	const char *argument;		/* or NULL */
	const char *const *environment; /* NAME, VALUE, NAME, VALUE, ..., NULL; PATH is there in any case */
	int input;			/* becomes descriptor 3; or -1 */
	int output;			/* becomes 1; or -1: /dev/null */
	int errors;			/* becomes 2; or -1: as output */
};

struct outside_end;

/* One that has a time limit, and whoever asked for it waits: what is told to him when it has ended. */
struct outside_run {
	struct outside what;
	const char *event;		/* what goes wrong is logged so */
	unsigned int seconds;
	uint64_t id;			/* of the question */
	unsigned int index;		/* of the process that asked, or whatever tells questions of one id apart */
	size_t hear;			/* so much of what it says is kept, in place of what.output; 0: nothing */
	void (*ended)(struct supervisor *s, const struct outside_end *e);
};

/* How it ended. `run`: what `what` pointed to is gone. */
struct outside_end {
	const struct outside_run *run;
	pid_t pid;
	int status;			/* of waitpid(2); EX_TEMPFAIL also when its user is unknown or root */
	bool late;			/* it was killed when its time was up */
	struct span said;
};

/* Starts it and ends it when its time is up. Then ended(), once; what `what` points to need not last, the descriptors stay
 * the caller's. False (logged): it could not be started, and ended() will not be called. Its user is looked up by the child,
 * so that nobody waits for that; an unknown one is told on its standard error. */
bool outside_begin(struct supervisor *s, const struct outside_run *r);
/* How many of those run that end so; and is the one of this id and index among them? */
unsigned int outside_count(void (*ended)(struct supervisor *, const struct outside_end *));
bool outside_is_running(void (*ended)(struct supervisor *, const struct outside_end *), uint64_t id, unsigned int index);
/* A child ended. True when it was one of these. */
bool outside_ended(struct supervisor *s, pid_t pid, int status);
/* Kills those that run, with everything that they started; nobody is told. */
void outside_close(void);

#endif
