/*
 * delivery_rig - a spool, a mail root and users in a directory of its own, for tests of delivery/.
 */
#ifndef VALIJA_DELIVERY_RIG_H
#define VALIJA_DELIVERY_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/channel.h"
#include "common/table.h"
#include "common/users.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct place_rig {
	char path[64];
	int top, mail, spool, state;
};

static inline int
rig_directory(int at, const char *name)
{
	assert_true(mkdirat(at, name, 0700) == 0 || errno == EEXIST);
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static inline void
rig_make(struct place_rig *r)
{
	snprintf(r->path, sizeof(r->path), "/tmp/valija-unit-XXXXXX");
	assert_non_null(mkdtemp(r->path));
	r->top = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r->mail = rig_directory(r->top, "mail");
	r->spool = rig_directory(r->top, "spool");
	r->state = rig_directory(r->top, "state");
	assert_true(r->top >= 0 && r->mail >= 0 && r->spool >= 0 && r->state >= 0);
}

static inline int
rig_remove_one(const char *path, const struct stat *s, int kind, struct FTW *where)
{
	(void)s;
	(void)kind;
	(void)where;
	return remove(path);
}

static inline void
rig_remove(struct place_rig *r)
{
	close(r->top);
	close(r->mail);
	close(r->spool);
	close(r->state);
	nftw(r->path, rig_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Calls `each` for every regular name in a directory below `at`; returns how many there are. */
static inline int
rig_each(
	int at, const char *path, void (*each)(void *me, int directory, const char *name), void *me)
{
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), count = 0;
	struct dirent *entry;
	DIR *dir;

	if (fd < 0)
		return 0;
	dir = fdopendir(fd);
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		count++;
		if (each != NULL)
			each(me, fd, entry->d_name);
	}
	closedir(dir);
	return count;
}

static inline int
rig_count(int at, const char *path)
{
	return rig_each(at, path, NULL, NULL);
}

/* The whole file, NUL behind it; the caller frees it. */
static inline char *
rig_read(int at, const char *name, size_t *len)
{
	int fd = openat(at, name, O_RDONLY | O_CLOEXEC);
	struct stat s;
	char *text;

	assert_true(fd >= 0 && fstat(fd, &s) == 0);
	text = calloc(1, (size_t)s.st_size + 1);
	assert_int_equal(read(fd, text, (size_t)s.st_size), s.st_size);
	close(fd);
	if (len != NULL)
		*len = (size_t)s.st_size;
	return text;
}

struct rig_expected {
	const char *text;
	ino_t inode;
	nlink_t links;
};

static inline void
rig_same(void *me, int directory, const char *name)
{
	struct rig_expected *e = me;
	char *text = rig_read(directory, name, NULL);
	struct stat s;

	assert_string_equal(text, e->text);
	assert_int_equal(fstatat(directory, name, &s, 0), 0);
	e->inode = s.st_ino;
	e->links = s.st_nlink;
	free(text);
}

struct rig_user {
	const char *address, *home;
	uint64_t created;
	bool disabled;
};

/* Of every user that rig_users writes. */
static __attribute__((unused)) uint64_t rig_quota_bytes;

/* Writes users.db anew; ends with an address of NULL. */
static inline void
rig_users(struct place_rig *r, const struct rig_user *users)
{
	struct table_build *b = table_build_begin(r->state, USERS_TABLE);
	struct text record = TEXT_UP_TO(4096);

	assert_non_null(b);
	for (; users->address != NULL; users++) {
		struct user u = {.address = span_str(users->address),
			.home = span_str(users->home),
			.uid = geteuid(),
			.gid = getegid(),
			.created = users->created,
			.quota_bytes = rig_quota_bytes,
			.disabled = users->disabled};

		text_reset(&record);
		user_encode(&u, &record);
		assert_int_equal(table_build_put(b, u.address, text_span(&record)), 0);
	}
	assert_int_equal(table_build_commit(&b, 0600, -1, -1), 0);
	text_clear(&record);
}

/* Runs a child under our eyes from system call to system call, and kills it before its `calls`th.
 * done() is asked after each whether it has answered by now. True when it was killed, false when it
 * had answered before. */
static inline bool
rig_kill_before(pid_t child, int calls, bool (*done)(void *me), void *me)
{
	int status, stops = 0;

	/* Stopped by PTRACE_INTERRUPT: every second stop is the entry of a call. */
	while (ptrace(PTRACE_SYSCALL, child, NULL, NULL) == 0 &&
		waitpid(child, &status, 0) == child) {
		if (!WIFSTOPPED(status))
			fail_msg("the worker ended by itself");
		if (stops++ % 2 == 0 && stops / 2 + 1 == calls)
			break;
		if (done(me)) {
			kill(child, SIGKILL);
			waitpid(child, &status, 0);
			return false;
		}
	}
	kill(child, SIGKILL);
	while (waitpid(child, &status, 0) == child && !WIFSIGNALED(status) && !WIFEXITED(status))
		;
	return true;
}

/* Stops a running child for rig_kill_before. False when this system does not allow it. */
static inline bool
rig_watch(pid_t child)
{
	int status;

	if (ptrace(PTRACE_SEIZE, child, NULL, NULL) < 0)
		return false;
	assert_int_equal(ptrace(PTRACE_INTERRUPT, child, NULL, NULL), 0);
	return waitpid(child, &status, 0) == child && WIFSTOPPED(status);
}

#endif
