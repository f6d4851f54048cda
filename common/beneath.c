#include "beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST_TRIES 16 /* openat2 says EAGAIN when somebody renames meanwhile */

/* O_TMPFILE contains the bit of O_DIRECTORY: the name is a directory, the result is a file. */
static bool
wants_directory(int flags)
{
	return (flags & O_DIRECTORY) != 0 && (flags & O_TMPFILE) != O_TMPFILE;
}

static bool
makes_file(int flags)
{
	return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

static int
openat2_in(int directory, const char *name, int flags, mode_t mode)
{
	struct open_how how;
	long fd;
	int tries = 0;

	memset(&how, 0, sizeof(how));
	how.flags = (uint64_t)(unsigned int)flags;
	how.mode = makes_file(flags) ? mode : 0;
	how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
	do
		fd = syscall(SYS_openat2, directory, name, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < MOST_TRIES)));
	return (int)fd;
}

/* Kernels before 5.6: one component after the other, none of them a link. */
static int
walk_in(int directory, const char *name, int flags, mode_t mode)
{
	char part[256];
	int at = directory, next, saved;

	if (name[0] == '\0') {
		errno = ENOENT;
		return -1;
	}
	if (name[0] == '/') {
		errno = EXDEV;
		return -1;
	}
	for (;;) {
		size_t len = strcspn(name, "/");
		const char *rest = name + len;
		rest += strspn(rest, "/");
		bool last = *rest == '\0';

		if (len >= sizeof(part)) {
			errno = ENAMETOOLONG;
			next = -1;
		} else {
			memcpy(part, name, len);
			part[len] = '\0';
			if (strcmp(part, "..") == 0) {
				errno = EXDEV;
				next = -1;
			} else if (last) {
				next = openat(at, part, flags | O_NOFOLLOW, mode);
			} else {
				next = openat(
					at, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			}
		}
		saved = errno;
		if (at != directory)
			close(at);
		errno = saved;
		if (next < 0 || last)
			return next;
		at = next;
		name = rest;
	}
}

int
open_in(int directory, const char *name, int flags, mode_t mode)
{
	struct stat st;
	bool any = (flags & O_PATH) != 0 || wants_directory(flags);
	int fd, got, saved;
	int with = flags | O_CLOEXEC | (any ? 0 : O_NONBLOCK | O_NOCTTY);

	fd = openat2_in(directory, name, with, mode);
	/* Some old container filters answer EPERM for a call that they do not know. */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		fd = walk_in(directory, name, with, mode);
	if (fd < 0 || any) {
		/* O_PATH|O_NOFOLLOW of the walk would return the link itself. */
		if (fd >= 0 && (flags & O_PATH) != 0 && fstat(fd, &st) == 0 &&
			S_ISLNK(st.st_mode)) {
			close(fd);
			errno = ELOOP;
			return -1;
		}
		return fd;
	}
	if (fstat(fd, &st) < 0)
		goto fail;
	if (!S_ISREG(st.st_mode)) {
		errno = EINVAL;
		goto fail;
	}
	if ((flags & O_NONBLOCK) == 0) {
		got = fcntl(fd, F_GETFL);
		if (got < 0 || fcntl(fd, F_SETFL, got & ~O_NONBLOCK) < 0)
			goto fail;
	}
	return fd;
fail:
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* --- names of the administrator --- */

#define MOST_LINKS 40

/* Follows the link `part`, whose descriptor (O_PATH) is `link`, in front of `rest`; false with errno. */
static bool
follow(int link, const struct stat *st, char left[PATH_MAX], const char *rest, unsigned int *links)
{
	char target[PATH_MAX], all[2 * PATH_MAX];
	ssize_t n;

	if ((st->st_uid != 0 && st->st_uid != geteuid()) || ++*links > MOST_LINKS) {
		errno = ELOOP;
		return false;
	}
	n = readlinkat(link, "", target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	if ((size_t)snprintf(all, sizeof(all), "%s/%s", target, rest) >= PATH_MAX) {
		errno = ENAMETOOLONG;
		return false;
	}
	memcpy(left, all, strlen(all) + 1);
	return true;
}

static int
start_of(const char *path)
{
	return open(path[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* What `at` becomes; the old one is closed, errno kept. */
static int
go_to(int at, int next)
{
	int saved = errno;

	if (at >= 0)
		close(at);
	errno = saved;
	return next;
}

int
open_path_typed(const char *path, int flags)
{
	char left[PATH_MAX], part[NAME_MAX + 1];
	unsigned int links = 0;
	int at;

	if (path[0] == '\0' || strlen(path) >= sizeof(left)) {
		errno = path[0] == '\0' ? ENOENT : ENAMETOOLONG;
		return -1;
	}
	memcpy(left, path, strlen(path) + 1);
	at = start_of(path);
	while (at >= 0) {
		const char *from = left + strspn(left, "/");
		size_t len = strcspn(from, "/");
		const char *rest = from + len + strspn(from + len, "/");
		struct stat st;
		int next;

		if (len == 0)
			return go_to(at, openat(at, ".", flags | O_CLOEXEC));
		if (len >= sizeof(part)) {
			errno = ENAMETOOLONG;
			return go_to(at, -1);
		}
		memcpy(part, from, len);
		part[len] = '\0';
		next = openat(at, part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0 || fstat(next, &st) < 0)
			return go_to(next, go_to(at, -1));
		if (S_ISLNK(st.st_mode)) {
			bool followed = follow(next, &st, left, rest, &links);

			next = go_to(next, -1);
			if (!followed)
				return go_to(at, -1);
			if (left[0] == '/')
				at = go_to(at, start_of(left));
			continue;
		}
		/* Somebody may have put a link there meanwhile: it is not followed. */
		if (*rest == '\0' && !S_ISDIR(st.st_mode))
			return go_to(next, go_to(at, openat(at, part, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)));
		at = go_to(at, next);
		memmove(left, rest, strlen(rest) + 1);
	}
	return -1;
}

int
write_all(int fd, const void *at, size_t len)
{
	const unsigned char *from = at;

	while (len > 0) {
		ssize_t n = write(fd, from, len);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -1;
		}
		from += n;
		len -= (size_t)n;
	}
	return 0;
}

ssize_t
read_at(int fd, void *to, size_t len, off_t from)
{
	unsigned char *into = to;
	size_t got = 0;

	while (got < len) {
		ssize_t n = pread(fd, into + got, len - got, from + (off_t)got);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -1;
		}
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}
