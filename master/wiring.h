/*
 * wiring - which programs there are, what each is given, and who has a channel to whom.
 *
 * Two tables, and nothing else decides. What is not in them cannot talk, gets no directory and no
 * user. All of it is constant.
 */
#ifndef VALIJA_WIRING_H
#define VALIJA_WIRING_H

#include <stdbool.h>
#include <stddef.h>

#include "common/message.h"
#include "common/settings.h"

/* Which orderly stop comes first: what speaks with clients, then what these need, the log last.
 * */
enum stage {
	STAGE_FRONT,
	STAGE_TLS,
	STAGE_AUTH,
	STAGE_QUEUE,
	STAGE_WORKERS,
	STAGE_LOG,
	STAGE_COUNT
};

struct program_row {
	enum program program;
	const char *user;         /* system user when started by root; NULL: the mailbox owner's */
	size_t count_at;          /* offset in struct settings of how many; 0: one */
	enum stage stage;
	unsigned int directories; /* bits 1 << DIRECTORY_x */
	bool group;               /* supplementary group VALIJA_GROUP: may read users.db */
	bool own_groups;          /* the supplementary groups that /etc/group gives its user */
	bool chrooted;            /* gets CAP_SYS_CHROOT (as root) and DIRECTORY_EMPTY */
	bool per_user;            /* started on demand, one for each user */
	bool passwd_file;         /* gets passwd_file, open to read */
	bool oauth_credentials;   /* gets oauth_credentials, likewise */
	bool passport_key, certificate, private_key, trust;
	bool as_root;             /* uid 0, for what a library of the system insists on */
	uint64_t capabilities;    /* kept over exec beside that of the chroot; only when started by root */
	bool (*wanted)(const struct settings *s); /* NULL: always */
};

/* The row of a program, or NULL for those that master does not start. */
const struct program_row *wiring_row(enum program program);
/* The rows in the order of starting; NULL after the last. */
const struct program_row *wiring_row_at(size_t i);
/* How many processes of this kind `s` asks for; 0 for those that are started on demand. */
unsigned int wiring_count(const struct program_row *row, const struct settings *s);
/* Has `a` a channel to `b` (each process of the one to each of the other)? Control and log
 * channels, which everyone has, are not in the table. */
bool wiring_joined(enum program a, enum program b);
/* Does `a` hear more of strangers than `b`: is it more likely to have been captured? */
bool wiring_more_exposed(enum program a, enum program b);
/* May the valija command ask master for a channel to this program? */
bool wiring_command_may(enum program program);

#endif
