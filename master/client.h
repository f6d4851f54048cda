/*
 * client - the command's end of a conversation with master.
 */
#ifndef VALIJA_CLIENT_H
#define VALIJA_CLIENT_H

#include "common/channel.h"
#include "master/cmd.h"

#define ANSWER_MILLISECONDS 30000

/* A conversation that waits for one kind of end. Handlers set `over`. */
struct client {
	struct channel *channel; /* NULL once the other side is gone */
	bool over;
	void *me; /* the command's own */
};

/* The hearing for a client: fill in handlers; they get the struct client as `me`. */
struct hearing client_hearing(void);
/* Connects to the running master. False when none runs: errno tells why. `h` must live as long
 * as *c. */
bool client_open(struct client *c, const struct paths *p, const struct hearing *h);
/* Waits until c->over, or the end of the other side (then false), or the time is up (false). */
bool client_wait(struct client *c, int milliseconds);
void client_close(struct client *c);
/* Has master make a channel to `program`, for a conversation with that program: c->channel; `h` and
 * c->me as for client_open. 0, or an exit code after saying why there is none. */
int client_reach(struct client *c, const struct invocation *v, enum program program,
	const struct hearing *h);
/* Says that no master runs and returns EX_UNAVAILABLE. */
int client_absent(const struct invocation *v);
/* The pid of the running master, or 0. */
long client_master_pid(const struct paths *p);
/* Does somebody hold the lock of the instance? */
bool client_is_locked(const struct paths *p);
/* Waits until no master holds it. False: one still does. */
bool client_wait_unlocked(const struct paths *p, int milliseconds);

#endif
