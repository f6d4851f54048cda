/*
 * layout - directories and system users.
 */
#include "master/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <config.h>

/* clang-format off */
/* name, owner and group as root (NULL: root), mode. */
static const struct directory_row {
	size_t at;              /* offset in struct paths */
	const char *below;      /* or NULL */
	const char *user, *group;
	mode_t mode;
} rows[] = {
#define PATH(name) offsetof(struct paths, name)
	{ PATH(dir),      NULL,      NULL,              NULL,          0755 },
	{ PATH(conf_dir), NULL,      NULL,              NULL,          0755 },
	{ PATH(state),    NULL,      NULL,              NULL,          0755 },
	/* By itself, so that who may read tables reaches nothing else, even where all share one
	 * uid. */
	{ PATH(tables),   NULL,      NULL,              VALIJA_GROUP,  0750 },
	{ PATH(passwords), NULL,      NULL,              VALIJA_USER_AUTH,  0750 },
	{ PATH(auth),     NULL,      VALIJA_USER_AUTH,  NULL,          0700 },
	{ PATH(shares),   NULL,      NULL,              NULL,          0700 },
	{ PATH(policy),   NULL,      VALIJA_USER_SMTPD, NULL,          0700 },
	{ PATH(sts),      NULL,      VALIJA_USER_RELAY, NULL,          0700 },
	/* Open to all: clients need the authority's certificate. Keys have modes of their own. */
	{ PATH(tls),      NULL,      NULL,              NULL,          0755 },
	{ PATH(ocsp),     NULL,      VALIJA_USER_OCSP,  NULL,          0700 },
	{ PATH(ledger),   NULL,      VALIJA_USER_MAIL,  NULL,          0700 },
	{ PATH(spool),    NULL,      VALIJA_USER_QUEUE, NULL,          0700 },
	{ PATH(spool),    "queue",   VALIJA_USER_QUEUE, NULL,          0700 },
	{ PATH(spool),    "corrupt", VALIJA_USER_QUEUE, NULL,          0700 },
	/* Everybody may put a file there, and nobody but its owner and pickup can see or remove it:
	 * sendmail(8) tells why this is enough. Files inherit the group, which pickup has. */
	{ PATH(drop),     NULL,      VALIJA_USER_PICKUP, VALIJA_USER_PICKUP, 03773 },
	{ PATH(mail),     NULL,      VALIJA_USER_MAIL,  NULL,          0750 },
	{ PATH(log),      NULL,      VALIJA_USER_LOG,   NULL,          0750 },
	{ PATH(run),      NULL,      NULL,              NULL,          0755 },
	{ PATH(empty),    NULL,      NULL,              NULL,          0755 },
};
/* clang-format on */

#define ROW_COUNT (sizeof rows / sizeof rows[0])

static const char *const system_users[] = { VALIJA_USER_LOG, VALIJA_USER_TLSKEY, VALIJA_USER_TLS, VALIJA_USER_OCSP,
	VALIJA_USER_AUTH, VALIJA_USER_QUEUE, VALIJA_USER_SMTPD, VALIJA_USER_IMAPD,
	VALIJA_USER_DNS, VALIJA_USER_RELAY, VALIJA_USER_FETCH, VALIJA_USER_PORTMAP, VALIJA_USER_PICKUP, VALIJA_USER_MILTER, VALIJA_USER_MAIL };

/* --- users --- */

/* Runs a program without a shell. True when it ended with 0. */
static bool
run(char *const argv[], struct text *why)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
		char *const environment[] = { path, NULL };

		execvpe(argv[0], argv, environment);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		text_printf(why, "%s: %s", argv[0], strerror(errno));
		return false;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	text_printf(why, "%s %s failed", argv[0], argv[1]);
	for (size_t i = 2; argv[i]; i++)
		text_printf(why, " %s", argv[i]);
	return false;
}

#define WORD(word) ((char *)(uintptr_t)(word)) /* exec's argv is not const, and is not written */

bool
layout_make_users(struct text *why)
{
	if (geteuid() != 0)
		return true;
	if (!getgrnam(VALIJA_GROUP)) {
		char *const argv[] = { WORD("groupadd"), WORD("--system"), WORD(VALIJA_GROUP),
			NULL };

		if (!run(argv, why))
			return false;
	}
	for (size_t i = 0; i < sizeof system_users / sizeof system_users[0]; i++) {
		char *const argv[] = { WORD("useradd"), WORD("--system"), WORD("--user-group"),
			WORD("--no-create-home"), WORD("--home-dir"), WORD("/nonexistent"),
			WORD("--shell"), WORD("/usr/sbin/nologin"), WORD(system_users[i]), NULL };

		if (!getpwnam(system_users[i]) && !run(argv, why))
			return false;
	}
	return true;
}

bool
layout_mail_owner(unsigned int *uid, unsigned int *gid, struct text *why)
{
	struct passwd *user;

	if (geteuid() != 0) {
		*uid = geteuid();
		*gid = getegid();
		return true;
	}
	if (!(user = getpwnam(VALIJA_USER_MAIL)) || user->pw_uid == 0) {
		text_printf(why, "there is no user %s; `valija init` makes it", VALIJA_USER_MAIL);
		return false;
	}
	*uid = user->pw_uid;
	*gid = user->pw_gid;
	return true;
}

/* --- directories --- */

/* Absolute name of a row's directory on the heap, or NULL when this instance has none. */
static char *
name_of(const struct paths *p, const struct directory_row *row)
{
	const char *path = *(char *const *)(const void *)((const char *)p + row->at);

	if (!path)
		return NULL;
	return row->below ? paths_join(path, row->below) : must_copy(span_str(path));
}

/* Owner and group that a row asks for: our own without root. */
static bool
owner_of(const struct directory_row *row, uid_t *uid, gid_t *gid)
{
	struct passwd *user = row->user && geteuid() == 0 ? getpwnam(row->user) : NULL;
	struct group *group = row->group && geteuid() == 0 ? getgrnam(row->group) : NULL;

	*uid = user ? user->pw_uid : geteuid();
	*gid = group ? group->gr_gid : user ? user->pw_gid : getegid();
	return geteuid() != 0 || ((!row->user || user) && (!row->group || group));
}

static void
explain(struct text *why, const char *name)
{
	text_printf(why, "%s: %s", name, strerror(errno));
	if (errno == EACCES && geteuid() != 0)
		text_add_str(why,
			" (the system's instance needs root; --dir DIR makes one of your own)");
}

/* Makes it under a private mode first: nobody sees it with the wrong owner. */
static bool
make_one(const struct directory_row *row, const char *name, struct text *why)
{
	struct stat st;
	uid_t uid;
	gid_t gid;
	int fd;
	bool made;

	if (!owner_of(row, &uid, &gid)) {
		text_printf(
			why, "%s: there is no user %s", name, row->user ? row->user : row->group);
		return false;
	}
	if (mkdir(name, 0700) < 0) {
		if (errno == EEXIST && stat(name, &st) == 0 && S_ISDIR(st.st_mode))
			return true;
		explain(why, name);
		return false;
	}
	fd = open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	made = fd >= 0 && (geteuid() != 0 || fchown(fd, uid, gid) == 0) &&
		fchmod(fd, row->mode) == 0;
	if (!made)
		explain(why, name);
	if (fd >= 0)
		close(fd);
	return made;
}

/* What an instance that an earlier version made has not, and what is empty when it is new: each start makes it. So an
 * upgrade needs no `valija init`. */
static bool
came_later(const struct directory_row *row)
{
	return row->at == offsetof(struct paths, ledger);
}

/* The directories above, as mkdir -p does: /usr/local/var may be missing. */
static void
make_above(const char *name)
{
	char *above = must_copy(span_str(name));

	for (char *slash = strchr(above + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(above, 0755); /* what fails here, fails again below, with a message */
		*slash = '/';
	}
	free(above);
}

bool
layout_make(const struct paths *p, struct text *why)
{
	mode_t before = umask(022);
	bool made = true;

	for (size_t i = 0; i < ROW_COUNT && made; i++) {
		char *name = name_of(p, &rows[i]);

		if (!name)
			continue;
		if (!p->dir)
			make_above(name);
		made = make_one(&rows[i], name, why);
		free(name);
	}
	umask(before);
	return made;
}

bool
layout_complete(const struct paths *p, struct text *why)
{
	mode_t before;
	bool made = true;

	/* Where the rest of the state is missing, its file system is not mounted: nothing belongs there. */
	if (access(p->tables, F_OK) < 0)
		return true;
	before = umask(022);
	for (size_t i = 0; i < ROW_COUNT && made; i++) {
		char *name = came_later(&rows[i]) ? name_of(p, &rows[i]) : NULL;

		if (name)
			made = make_one(&rows[i], name, why);
		free(name);
	}
	umask(before);
	return made;
}

static void
check_one(const struct directory_row *row, const char *name, struct text *complaints)
{
	struct stat st;
	uid_t uid;
	gid_t gid;
	bool known = owner_of(row, &uid, &gid);
	mode_t needed;

	if (lstat(name, &st) < 0) {
		text_printf(complaints, "%s: %s%s\n", name, strerror(errno),
			errno == ENOENT ? "; `valija init` makes it" : "");
		return;
	}
	if (!S_ISDIR(st.st_mode)) {
		text_printf(complaints, "%s: is not a directory\n", name);
		return;
	}
	if (known && st.st_uid != uid)
		text_printf(complaints, "%s: belongs to uid %u, not to %s (uid %u): chown %u %s\n",
			name, (unsigned int)st.st_uid,
			geteuid()	    ? "you"
				: row->user ? row->user
					    : "root",
			(unsigned int)uid, (unsigned int)uid, name);
	if (known && row->group && st.st_gid != gid)
		text_printf(complaints, "%s: has gid %u, not %s: chgrp %u %s\n", name,
			(unsigned int)st.st_gid, geteuid() ? "yours" : row->group, (unsigned int)gid, name);
	if ((st.st_mode & 07777 & ~row->mode) != 0)
		text_printf(complaints, "%s: has mode %04o, more than %04o: chmod %04o %s\n", name,
			(unsigned int)(st.st_mode & 07777), (unsigned int)row->mode,
			(unsigned int)row->mode, name);
	/* The group is there for those who read tables; without root all is the owner's. */
	needed = row->group && geteuid() == 0 ? 0750 : 0700;
	if ((st.st_mode & needed) != needed)
		text_printf(complaints,
			"%s: has mode %04o; its %s cannot use it: chmod %04o %s\n", name,
			(unsigned int)(st.st_mode & 07777),
			(st.st_mode & 0700) != 0700 ? "owner" : "group",
			(unsigned int)row->mode, name);
}

void
layout_check(const struct paths *p, struct text *complaints)
{
	if (geteuid() == 0 && !getgrnam(VALIJA_GROUP))
		text_printf(
			complaints, "there is no group %s; `valija init` makes it\n", VALIJA_GROUP);
	for (size_t i = 0; geteuid() == 0 && i < sizeof system_users / sizeof system_users[0]; i++)
		if (!getpwnam(system_users[i]))
			text_printf(complaints, "there is no user %s; `valija init` makes it\n",
				system_users[i]);
	for (size_t i = 0; i < ROW_COUNT; i++) {
		char *name = name_of(p, &rows[i]);

		/* Made by each start where they are missing. */
		bool at_start = rows[i].at == offsetof(struct paths, run) ||
			rows[i].at == offsetof(struct paths, empty) || came_later(&rows[i]);

		/* What DIR itself is, is its owner's matter. */
		if (name && rows[i].at != offsetof(struct paths, dir) &&
			!(at_start && access(name, F_OK) < 0))
			check_one(&rows[i], name, complaints);
		free(name);
	}
}
