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
	uint64_t quota_bytes, quota_messages; /* 0: none */
	uint64_t expires;        /* seconds since 1970 from which on he may not log in; 0: never */
	uint64_t created;        /* seconds since 1970; the first user is the default postmaster */
	bool disabled;
};

void user_encode(const struct user *u, struct text *to);
/* Spans point into `value`. False when it is not a record of ours. */
bool user_decode(struct span key, struct span value, struct user *u);

/* What a SCRAM dialogue needs instead of the password (RFC 5802 3): one for each hash. */
enum scram { SCRAM_SHA1, SCRAM_SHA256, SCRAM_COUNT };
#define SCRAM_SALT 16
#define SCRAM_MOST_KEY 32

struct scram_keys {
	struct span stored, server; /* both empty: none is kept */
};

/* A second password, made by the command, random, for some services only. */
#define MOST_APP_PASSWORDS 20
#define MOST_APP_NAME 64
#define APP_PASSWORD_LENGTH 24 /* 20 letters and digits of 32 (100 bits), in fours */

struct app_password {
	struct span name;        /* what its owner calls it; printable */
	uint8_t services;        /* bits 1 << service; 0: all */
	uint64_t created;
	struct span hash;        /* HMAC-SHA-256 of it with scram_salt: it is too long to be guessed */
	struct scram_keys scram[SCRAM_COUNT];
};

struct password {
	struct span hash;        /* crypt(5), $argon2id$, or {SCHEME}... (password-scheme.h) */
	struct span stored;      /* the same, as it stands in passwd.db, where auth learned a better one */
	uint64_t changed;
	uint32_t scram_iterations;
	struct span scram_salt;  /* of all SCRAM keys of this user; SCRAM_SALT bytes, or empty */
	struct scram_keys scram[SCRAM_COUNT];
	size_t app_count;
	struct app_password app[MOST_APP_PASSWORDS];
};

/* The size of the keys of one kind, in bytes. */
size_t scram_key_size(enum scram kind);

void password_encode(const struct password *p, struct text *to);
/* Spans point into `value`. False when it is not a record of ours. */
bool password_decode(struct span value, struct password *p);

/* "DOMAIN/USER" for an address key: both parts in a form safe as a file name (letters, digits and
 * -_.+= as they are unless '.' comes first; every other byte as %XX). False when too long. */
bool user_home(struct span key, struct text *to);

#endif
