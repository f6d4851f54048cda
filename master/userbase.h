/*
 * userbase - users.db and passwd.db, as the command changes them: each built aside and renamed.
 *
 * Daemons see the old or the new table, whole. users.db is locked for the whole change, so two
 * commands at once wait on each other's refusal rather than lose a change.
 */
#ifndef VALIJA_USERBASE_H
#define VALIJA_USERBASE_H

#include "common/text.h"
#include "common/users.h"
#include "master/paths.h"

#define MOST_USER_RECORD 16384

struct userbase;

/* Opens both tables, in p->tables and p->passwords. NULL with a sentence in *why, and errno. */
struct userbase *userbase_open(const struct paths *p, struct text *why);
void userbase_close(struct userbase **b);

/* Finds a user. *u points into *value, which is reset first. */
bool userbase_find(struct userbase *b, struct span key, struct text *value, struct user *u);
/* His passwords; *p points into *value, which is reset first: wipe it. */
bool userbase_secret(struct userbase *b, struct span key, struct text *value, struct password *p);
/* In the order of addresses; the callback returns false to stop. */
bool userbase_each(struct userbase *b, bool (*row)(void *me, const struct user *u), void *me);

/* Each makes the change durable, or leaves everything as it was and puts a sentence into *why. add
 * refuses an address that is there, the others one that is not. `p` may be NULL: no password of his
 * own (PAM knows it). */
bool userbase_add(
	struct userbase *b, const struct user *u, const struct password *p, struct text *why);
bool userbase_password(
	struct userbase *b, struct span key, const struct password *p, struct text *why);
/* What is known of the user besides. */
bool userbase_change(struct userbase *b, const struct user *u, struct text *why);
bool userbase_remove(struct userbase *b, struct span key, struct text *why);

/* Adds many at once: either all of them or none. `next` fills in one after the other (until the next
 * call), and returns false after the last; p->hash empty: no password. Those who are there already are
 * left as they are, and told to `skipped`. */
struct userbase_source {
	bool (*next)(void *me, struct user *u, struct password *p);
	void (*skipped)(void *me, const struct user *u);
	void *me;
	const bool *failed; /* looked at after the last: nobody is added then */
};
bool userbase_add_many(struct userbase *b, const struct userbase_source *from, struct text *why);

#endif
