/*
 * login - whom a claim means, and what the tables know of him.
 */
#ifndef VALIJA_LOGIN_H
#define VALIJA_LOGIN_H

#include "common/settings.h"
#include "common/table.h"
#include "common/users.h"

#define LOGIN_MOST_RECORD 16384

/* Everything known of one user; spans in `user` and `password` point into the texts. */
struct login {
	struct text key; /* the address, as tables have it */
	bool bare;	 /* the client wrote no domain */
	struct text user_record, password_record, learned, home;
	struct user user;
	struct password password;
	bool known;		     /* there is a mailbox, and its user may log in */
	bool system;		     /* it is a system user's */
	bool has_password;	     /* `password` is there */
	const char *unknown_because; /* for the log; static */
};

void login_init(struct login *l);
/* Wipes and frees; can be used again. */
void login_clear(struct login *l);

/* Makes the key of what a client typed: an address, or a local part of the first domain that is
 * served here. False when it can be no address (controls, NUL, length). */
bool login_key(struct span name, const struct settings *s, struct text *key);
/* The same into l->key, noting whether the name was bare. */
bool login_name(struct login *l, struct span name, const struct settings *s);

/* Looks up l->key. False when a table, or a record of his, cannot be read: nothing is known then. */
bool login_find(struct login *l, struct table *users, struct table *passwords, struct table *learned);
/* May l->key be a system user, whom the tables do not know? A bare name then gets a system domain.
 * *name is his name there; valid as l->key is. */
bool login_may_be_system(struct login *l, const struct settings *s, struct span *name);
/* What the system says of him. */
void login_system(struct login *l, const struct msg_name_told *told);
/* The name under which PAM knows l->key: a system user's own, else the address. */
struct span login_pam_name(const struct login *l, const struct settings *s);

#endif
