/*
 * cmd-user - what the commands that change users (cmd-user*.c) have in common.
 */
#ifndef VALIJA_CMD_USER_H
#define VALIJA_CMD_USER_H

#include "master/cmd.h"
#include "master/credential.h"
#include "master/userbase.h"

#define MOST_SENTENCE 1024

typedef int user_fn(const struct invocation *v, struct userbase *base, struct span key);

/* Runs `does` with the tables open and the key of the first argument, an address; with `local_only` its
 * domain must be one of this server. */
int user_with_base(struct invocation *v, user_fn *does, bool local_only);
/* As does() for a user who must be there: *u points into *value. EX_OK, or complains. */
int user_must_find(struct userbase *base, struct span key, struct text *value, struct user *u);
/* A password as it is typed, to what is kept of it. `old` is what was kept until now, or NULL. False
 * after complaining; clear *c in any case. */
bool user_new_credential(const struct invocation *v, struct span key, const struct password *old,
	struct credential *c);
/* Tells a running suite that `key` was changed, so that his sessions end. Silent when none runs. */
void user_tell_changed(const struct invocation *v, struct span key);
/* Tells it what `key` may keep from now on; his sessions go on. */
void user_tell_limits(const struct invocation *v, struct span key, const struct user *u);
/* Writes what `why` says and returns EX_TEMPFAIL, or EX_OK when `done`. */
int user_told(bool done, struct text *why);
/* "2026-12-31", "2026-12-31T18:00" (local time) or "never" to seconds since 1970. */
bool user_take_date(const char *text, uint64_t *seconds);
/* "500M", "2G", "none" to bytes. */
bool user_take_size(const char *text, uint64_t *bytes);

#endif
