/* lent - see lent.h. */
#include "lent.h"

#include "common/beneath.h"
#include "common/log.h"
#include "limits.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_SIZE (128 * 1024)

size_t
lent_most(void)
{
	struct rlimit limit;

	/* The other half is for the places of a batch, and what the loop needs. */
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur / 2 > MOST_LENT)
		return MOST_LENT;
	return (size_t)limit.rlim_cur / 2;
}

int
lent_reopen(int fd)
{
	char path[32];

	/* Not open_in: it refuses magic links, and this one is ours by construction. The only name
	 * that an unnamed file has. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

static bool
broken(uint64_t id, const char *reason, struct verdict *why)
{
	log_error(0, "lent-file-refused", KEY_ID("message", id), KEY_STR("reason", reason));
	*why = V_IN_DOUBT;
	return false;
}

/* A read lease is given only while nobody has the file open for writing, shared mappings
 * included. Nobody can open it so again: whoever had the descriptor had no path to it. */
static bool
nobody_writes(int fd, uint64_t id, struct verdict *why)
{
	if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
		fcntl(fd, F_SETLEASE, F_UNLCK);
		return true;
	}
	if (errno == EAGAIN)
		return broken(id, "still open for writing", why);
	/* File systems without leases, and owners other than us. */
	log_debug(0, "no-lease", KEY_ID("message", id), KEY_ERRNO);
	return true;
}

bool
lent_seal(int fd, uint64_t id, uint64_t size, unsigned int names, struct verdict *why)
{
	struct stat s;

	if (!nobody_writes(fd, id, why))
		return false;
	if (fstat(fd, &s) < 0 || !S_ISREG(s.st_mode))
		return broken(id, "not a regular file", why);
	if (s.st_nlink != names)
		return broken(id, "has got other names", why);
	if (s.st_size < 0 || (uint64_t)s.st_size != size)
		return broken(id, "size is not as announced", why);
	return true;
}

int
lent_copy(struct span prefix, int from, uint64_t size, int to)
{
	static unsigned char buffer[COPY_SIZE];
	uint64_t at = 0;

	if (write_all(to, prefix.at, prefix.len) < 0)
		return -1;
	while (at < size) {
		size_t want = size - at < sizeof(buffer) ? (size_t)(size - at) : sizeof(buffer);
		ssize_t got = read_at(from, buffer, want, (off_t)at);

		if (got < 0)
			return -1;
		if (got == 0) {
			errno = EIO;
			return -1;
		}
		if (write_all(to, buffer, (size_t)got) < 0)
			return -1;
		at += (uint64_t)got;
	}
	return 0;
}
