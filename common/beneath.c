#include "beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdint.h>
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
