/*
 * users - who has mail here: users.db (readable by auth, queue, local) and passwd.db (auth alone).
 *
 * The key is the address as address_key() writes it. Values are versioned binary records.
 */
#ifndef VALIJA_USERS_H
#define VALIJA_USERS_H

#include "message.h"
#include "text.h"

#define USERS_TABLE "users.db"
#define PASSWD_TABLE "passwd.db"

struct user {
	struct span address;     /* the key */
	struct span home;        /* "DOMAIN/USER" below the mail root; absolute for a system user */
	uint32_t uid, gid;
	uint64_t quota_bytes;    /* 0: none */
	uint64_t created;        /* seconds since 1970; the first user is the default postmaster */
	bool disabled;
};

void user_encode(const struct user *u, struct text *to);
/* Spans point into `value`. False when it is not a record of ours. */
bool user_decode(struct span key, struct span value, struct user *u);

struct password {
	struct span hash;        /* crypt(5) */
	uint64_t changed;
};

void password_encode(const struct password *p, struct text *to);
bool password_decode(struct span value, struct password *p);

/* "DOMAIN/USER" for an address key: both parts in a form safe as a file name (letters, digits and
 * -_.+= as they are unless '.' comes first; every other byte as %XX). False when too long. */
bool user_home(struct span key, struct text *to);

#endif
