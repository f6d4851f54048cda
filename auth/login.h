/*
 * login - whom a claim means, and what the tables know of him.
 */
#ifndef VALIJA_LOGIN_H
#define VALIJA_LOGIN_H

#include "common/settings.h"
#include "common/table.h"
#include "common/users.h"

#define LOGIN_MOST_RECORD 2048

/* Everything known of one user; spans in `user` and `password` point into the texts. */
struct login {
	struct text key; /* the address, as tables have it */
	struct text user_record, password_record;
	struct user user;
	struct password password;
	bool known;		     /* he is in both tables, and may log in */
	const char *unknown_because; /* for the log; static */
};

void login_init(struct login *l);
/* Wipes and frees; can be used again. */
void login_clear(struct login *l);

/* Makes the key of what a client typed: an address, or a local part of the first domain that is
 * served here. False when it can be no address (controls, NUL, length). */
bool login_key(struct span name, const struct settings *s, struct text *key);

/* Looks up l->key. False when a table cannot be read: nothing is known then. */
bool login_find(struct login *l, struct table *users, struct table *passwords);

#endif
