#include "maildir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "beneath.h"
#include "secret.h"

#define MOST_HOST_IN_NAME 100 /* leaves room for flags and for other programs' additions */
#define STALE_SECONDS	  (36 * 60 * 60)

static const char *const subdirectories[] = {"cur", "new", "tmp"};
#define SUBDIRECTORIES (sizeof(subdirectories) / sizeof(subdirectories[0]))

/* A slash would be a directory, a colon begins the flags (and a comma the sizes). */
static void
write_host(const char *host, char to[MOST_HOST_IN_NAME + 1])
{
	size_t at = 0;

	for (; *host != '\0' && at + 4 <= MOST_HOST_IN_NAME; host++) {
		unsigned char c = (unsigned char)*host;
		if (c == '/' || c == ':' || c == ',' || c <= ' ' || c >= 0x7f)
			at += (size_t)snprintf(to + at, 5, "\\%03o", c);
		else
			to[at++] = (char)c;
	}
	to[at] = '\0';
}

struct maildir_name
maildir_name_new(const char *host, uint64_t size, uint64_t vsize)
{
	static unsigned long count;
	struct maildir_name name;
	char safe[MOST_HOST_IN_NAME + 1];
	struct timespec now;
	uint64_t random;

	clock_gettime(CLOCK_REALTIME, &now);
	secret_random(&random, sizeof(random));
	write_host(host, safe);
	snprintf(name.str, sizeof(name.str),
		"%jd.M%ldP%ldQ%luR%016" PRIx64 ".%s,S=%" PRIu64 ",W=%" PRIu64, (intmax_t)now.tv_sec,
		now.tv_nsec / 1000, (long)getpid(), ++count, random, safe, size, vsize);
	return name;
}

static int
open_directory(int at, const char *name)
{
	return open_in(at, name, O_RDONLY | O_DIRECTORY, 0);
}

static int
close_keeping_errno(int fd, int result)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
	return result;
}

static int
sync_directory(int at, const char *name)
{
	int fd = open_directory(at, name);

	if (fd < 0)
		return -1;
	return close_keeping_errno(fd, fsync(fd));
}

/* 1: made, 0: was there (whatever it is: opening it as a directory tells), -1. */
static int
make_directory(int at, const char *name)
{
	if (mkdirat(at, name, 0700) == 0)
		return 1;
	return errno == EEXIST ? 0 : -1;
}

/* cur, new and tmp in the open directory `fd`, durable when any was made. */
static int
make_subdirectories(int fd)
{
	bool made = false;

	for (size_t i = 0; i < SUBDIRECTORIES; i++) {
		int result = make_directory(fd, subdirectories[i]);
		if (result < 0)
			return -1;
		made |= result == 1;
	}
	return made ? fsync(fd) : 0;
}

/* Each must be a directory of its own, not a link to one. */
static int
check_subdirectories(int fd)
{
	struct stat st;

	for (size_t i = 0; i < SUBDIRECTORIES; i++) {
		if (fstatat(fd, subdirectories[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			return -1;
		if (!S_ISDIR(st.st_mode)) {
			errno = ENOTDIR;
			return -1;
		}
	}
	return 0;
}

/* Components that are names, with one slash between: 0 or EINVAL, ENAMETOOLONG. */
static int
path_error(const char *path)
{
	for (;; path++) {
		size_t len = strcspn(path, "/");
		if (len == 0 || (path[0] == '.' && (len == 1 || (len == 2 && path[1] == '.'))))
			return EINVAL;
		if (len > MAILDIR_MOST_NAME)
			return ENAMETOOLONG;
		path += len;
		if (*path == '\0')
			return 0;
	}
}

/* Opens `path` below `root`, making each missing directory, durable in its parent. */
static int
make_path(int root, const char *path)
{
	char part[MAILDIR_MOST_NAME + 1];
	int at = root, next = -1, made;

	for (;;) {
		size_t len = strcspn(path, "/");
		memcpy(part, path, len);
		part[len] = '\0';
		made = make_directory(at, part);
		if (made < 0 || (made == 1 && sync_directory(at, ".") < 0))
			break;
		next = open_directory(at, part);
		if (next < 0)
			break;
		if (at != root)
			close(at);
		at = next;
		if (path[len] == '\0')
			return at;
		path += len + 1;
	}
	return close_keeping_errno(at == root ? -1 : at, -1);
}

int
maildir_open(int root, const char *path, bool make)
{
	int fd, error = path_error(path);

	if (error != 0) {
		errno = error;
		return -1;
	}
	fd = open_directory(root, path);
	if (fd < 0) {
		if (errno != ENOENT || !make)
			return -1;
		fd = make_path(root, path);
		if (fd < 0)
			return -1;
	}
	if (check_subdirectories(fd) == 0)
		return fd;
	if (errno != ENOENT || !make || make_subdirectories(fd) < 0 || check_subdirectories(fd) < 0)
		return close_keeping_errno(fd, -1);
	return fd;
}

int
maildir_make(int parent, const char *name)
{
	int fd, marker, made;
	bool here = strcmp(name, ".") == 0;

	if (name[0] == '\0' || strchr(name, '/') != NULL || strcmp(name, "..") == 0) {
		errno = EINVAL;
		return -1;
	}
	made = here ? 0 : make_directory(parent, name);
	if (made < 0)
		return -1;
	fd = open_directory(parent, name);
	if (fd < 0)
		return -1;
	if (make_subdirectories(fd) < 0 || check_subdirectories(fd) < 0)
		return close_keeping_errno(fd, -1);
	if (name[0] == '.' && !here) {
		/* Empty, so never written: imap may make files here, but not open one for writing.
		 */
		marker = open_in(fd, "maildirfolder", O_RDONLY | O_CREAT | O_EXCL, 0600);
		if (marker >= 0)
			close(marker);
		else if (errno != EEXIST)
			return close_keeping_errno(fd, -1);
		if (marker >= 0 && fsync(fd) < 0)
			return close_keeping_errno(fd, -1);
	}
	close(fd);
	return made == 1 ? sync_directory(parent, ".") : 0;
}

/* A small file that appears whole or not at all; one that is there stays. */
static int
write_once(int maildir, const char *name, struct span content)
{
	struct maildir_name tmp;
	int fd = maildir_file(maildir, &tmp), result = -1, saved;

	if (fd < 0)
		return -1;
	if (write_all(fd, content.at, content.len) == 0 && fsync(fd) == 0) {
		result = maildir_link(fd, maildir, &tmp, maildir, ".", name);
		if (result < 0 && errno == EEXIST)
			result = 0;
		else if (result == 0)
			result = fsync(maildir);
	}
	saved = errno;
	maildir_drop(maildir, &tmp);
	errno = saved;
	return close_keeping_errno(fd, result);
}

static bool
is_there(int maildir, const char *name)
{
	return faccessat(maildir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int
maildir_make_standard(int maildir)
{
	static const char *const folders[] = {".Drafts", ".Sent", ".Trash", ".Junk", ".Archive"};

	/* Made already: what the user has deleted since stays deleted. */
	if (is_there(maildir, MAILDIR_PRIVATE) && (is_there(maildir, MAILDIR_SUBSCRIPTIONS) ||
		is_there(maildir, MAILDIR_COURIER_SUBSCRIPTIONS)))
		return 0;
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		if (maildir_make(maildir, folders[i]) < 0)
			return -1;
	if (make_directory(maildir, MAILDIR_PRIVATE) < 0)
		return -1;
	/* Our list would hide Courier's, which is taken over with the mail. */
	if (is_there(maildir, MAILDIR_COURIER_SUBSCRIPTIONS))
		return 0;
	return write_once(
		maildir, MAILDIR_SUBSCRIPTIONS, SPAN("Drafts\nSent\nTrash\nJunk\nArchive\n"));
}

int
maildir_file(int maildir, struct maildir_name *tmp_name)
{
	int fd, tmp;

	tmp_name->str[0] = '\0';
	fd = open_in(maildir, "tmp", O_TMPFILE | O_RDWR, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd;
	/* A file system without unnamed files (NFS, some FUSE): a name in tmp/, as Maildir began.
	 */
	tmp = open_directory(maildir, "tmp");
	if (tmp < 0)
		return -1;
	*tmp_name = maildir_name_new("tmp", 0, 0);
	fd = open_in(tmp, tmp_name->str, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		tmp_name->str[0] = '\0';
	return close_keeping_errno(tmp, fd);
}

/* Gives the open file `fd` another name. By its descriptor, so that nobody can put another file in
 * its place; an unnamed file has no other way in any case. */
static int
link_descriptor(int fd, int directory, const char *name)
{
	char path[sizeof("/proc/self/fd/") + 3 * sizeof(int)];

	/* Without capabilities only newer kernels let the opener do this; the old ones say ENOENT.
	 */
	if (linkat(fd, "", directory, name, AT_EMPTY_PATH) == 0)
		return 0;
	if (errno != ENOENT && errno != EPERM && errno != EINVAL)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, path, directory, name, AT_SYMLINK_FOLLOW);
}

int
maildir_subdir(int maildir, const char *subdir)
{
	return open_directory(maildir, subdir);
}

int
maildir_link_into(
	int fd, int from_maildir, const struct maildir_name *tmp_name, int directory, const char *name)
{
	int tmp, result;

	if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL) {
		errno = EINVAL;
		return -1;
	}
	result = link_descriptor(fd, directory, name);
	if (result < 0 && errno != EEXIST && tmp_name->str[0] != '\0') {
		/* No /proc here: the name in tmp/ does as well. */
		tmp = open_directory(from_maildir, "tmp");
		if (tmp >= 0)
			result = linkat(tmp, tmp_name->str, directory, name, 0);
		result = close_keeping_errno(tmp, result);
	}
	return result;
}

int
maildir_link(int fd, int from_maildir, const struct maildir_name *tmp_name, int maildir,
	const char *subdir, const char *name)
{
	int to = open_directory(maildir, subdir);

	if (to < 0)
		return -1;
	return close_keeping_errno(to, maildir_link_into(fd, from_maildir, tmp_name, to, name));
}

void
maildir_drop(int maildir, const struct maildir_name *tmp_name)
{
	int tmp;

	if (tmp_name->str[0] == '\0')
		return;
	tmp = open_directory(maildir, "tmp");
	if (tmp < 0)
		return;
	unlinkat(tmp, tmp_name->str, 0);
	close(tmp);
}

int
maildir_sync(int maildir, const char *subdir)
{
	return sync_directory(maildir, subdir);
}

void
maildir_sweep(int maildir)
{
	int fd = open_directory(maildir, "tmp");
	time_t now = time(NULL);
	struct dirent *entry;
	struct stat st;
	DIR *tmp;

	if (fd < 0)
		return;
	tmp = fdopendir(fd);
	if (tmp == NULL) {
		close(fd);
		return;
	}
	while ((entry = readdir(tmp)) != NULL) {
		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			!S_ISREG(st.st_mode))
			continue;
		if (st.st_mtime < now - STALE_SECONDS && st.st_ctime < now - STALE_SECONDS)
			unlinkat(fd, entry->d_name, 0);
	}
	closedir(tmp);
}
