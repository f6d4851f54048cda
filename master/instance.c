/*
 * instance - the lock, the users, the directories, the programs.
 */
#include "master/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <config.h>

#include "common/beneath.h"
#include "master/offer.h"

#define LOCK_WAIT_MILLISECONDS 1000
#define LOCK_LOOK_MILLISECONDS 10

static bool
make_directory(const char *name, mode_t mode, struct text *why)
{
	struct stat st;

	if (mkdir(name, mode) == 0) {
		/* The umask does not count here. */
		if (chmod(name, mode) == 0)
			return true;
	} else if (errno == EEXIST && stat(name, &st) == 0 && S_ISDIR(st.st_mode)) {
		return true;
	}
	text_printf(why, "%s: %s", name, strerror(errno));
	return false;
}

bool
instance_lock(struct supervisor *s, struct text *why)
{
	static const struct timespec pause = { .tv_nsec = LOCK_LOOK_MILLISECONDS * 1000000 };
	int error, looks = LOCK_WAIT_MILLISECONDS / LOCK_LOOK_MILLISECONDS;

	if (!make_directory(s->paths.run, 0755, why) || !make_directory(s->paths.empty, 0755, why))
		return false;
	s->lock = open(s->paths.lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock < 0) {
		text_printf(why, "%s: %s", s->paths.lock, strerror(errno));
		return false;
	}
	/* For a moment it may be held by a child that was being made when its master was killed, or by a command that looks
	 * whether it is held. */
	while ((error = flock(s->lock, LOCK_EX | LOCK_NB) == 0 ? 0 : errno) == EWOULDBLOCK && looks-- > 0)
		nanosleep(&pause, NULL);
	if (error == 0)
		return true;
	if (error == EWOULDBLOCK)
		text_printf(why, "it is running already (%s is locked)", s->paths.lock);
	else
		text_printf(why, "%s: %s", s->paths.lock, strerror(error));
	close(s->lock);
	s->lock = -1;
	return false;
}

/* --- users --- */

/* Those that an administrator gave it, beside its own. */
static void
find_groups(const struct passwd *user, struct account *account)
{
	gid_t groups[MOST_OWN_GROUPS + 1];
	int count = MOST_OWN_GROUPS + 1;

	if (getgrouplist(user->pw_name, user->pw_gid, groups, &count) < 0)
		count = MOST_OWN_GROUPS + 1; /* more than we take along */
	for (int i = 0; i < count && account->group_count < MOST_OWN_GROUPS; i++)
		if (groups[i] != user->pw_gid)
			account->groups[account->group_count++] = groups[i];
}

static bool
find_users(struct supervisor *s, struct text *why)
{
	const struct program_row *row;
	struct group *group;
	bool all = true;

	if (!s->root)
		return true;
	for (size_t i = 0; (row = wiring_row_at(i)); i++) {
		struct passwd *user = row->user ? getpwnam(row->user) : NULL;

		if (!row->user)
			continue;
		if (!user || user->pw_uid == 0) {
			text_printf(why, "there is no user %s for %s; `valija init` makes it\n",
				row->user, program_name(row->program));
			all = false;
			continue;
		}
		s->accounts[row->program] =
			(struct account){ .uid = user->pw_uid, .gid = user->pw_gid };
		if (row->own_groups)
			find_groups(user, &s->accounts[row->program]);
	}
	if (!(group = getgrnam(VALIJA_GROUP))) {
		text_printf(why, "there is no group %s; `valija init` makes it\n", VALIJA_GROUP);
		return false;
	}
	s->shared_group = group->gr_gid;
	return all;
}

/* --- directories --- */

static bool
open_directories(struct supervisor *s, struct text *why)
{
	const struct {
		enum directory kind;
		const char *name;
	} directories[] = {
		{ DIRECTORY_EMPTY, s->paths.empty },
		{ DIRECTORY_STATE, s->paths.tables },
		{ DIRECTORY_PASSWORDS, s->paths.passwords },
		{ DIRECTORY_AUTH, s->paths.auth },
		{ DIRECTORY_POLICY, s->paths.policy },
		{ DIRECTORY_STS, s->paths.sts },
		{ DIRECTORY_SHARES, s->paths.shares },
		{ DIRECTORY_OCSP, s->paths.ocsp },
		{ DIRECTORY_LEDGER, s->paths.ledger },
		{ DIRECTORY_SPOOL, s->paths.spool },
		{ DIRECTORY_MAIL, s->paths.mail },
		{ DIRECTORY_DROP, s->paths.drop },
	};
	bool all = true;

	for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
		int fd = open(directories[i].name, O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0) {
			text_printf(why, "%s: %s; `valija init` makes it\n", directories[i].name,
				strerror(errno));
			all = false;
		}
		s->directory[directories[i].kind] = fd;
	}
	offer_log_directory(s);
	return all;
}

static bool
open_programs(struct supervisor *s, struct text *why)
{
	char *directory = paths_libexec("valija-smtpd");
	const struct program_row *row;
	bool all = true;

	for (size_t i = 0; (row = wiring_row_at(i)); i++) {
		struct text name = TEXT_UP_TO(MOST_PATH_NAME * 2);
		int fd;

		text_printf(&name, "%s/valija-%s", directory, program_name(row->program));
		if ((fd = open(text_str(&name), O_PATH | O_CLOEXEC)) < 0) {
			text_printf(why, "%s: %s\n", text_str(&name), strerror(errno));
			all = false;
		}
		s->program_file[row->program] = fd;
		text_clear(&name);
	}
	free(directory);
	return all;
}

bool
instance_open(struct supervisor *s, struct text *why)
{
	bool users = find_users(s, why), directories = open_directories(s, why),
	     programs = open_programs(s, why);

	s->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (s->null < 0)
		text_printf(why, "/dev/null: %s\n", strerror(errno));
	return users && directories && programs && s->null >= 0;
}

bool
instance_write_pid(struct supervisor *s, struct text *why)
{
	char text[24];
	int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
	int fd;

	unlink(s->paths.pid_file);
	fd = open(s->paths.pid_file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd >= 0 && fchmod(fd, 0644) == 0 && write_all(fd, text, (size_t)n) == 0) {
		close(fd);
		return true;
	}
	text_printf(why, "%s: %s", s->paths.pid_file, strerror(errno));
	if (fd >= 0)
		close(fd);
	return false;
}

void
instance_close(struct supervisor *s)
{
	if (s->lock < 0)
		return;
	unlink(s->paths.pid_file);
	/* The lock file stays: removing it would let two masters lock two different files. */
	close(s->lock);
	s->lock = -1;
}
