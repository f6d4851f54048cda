/* journal - see journal.h. */
#include "common/journal.h"

#include "common/beneath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

int
journal_written(int fd)
{
	return sync_file_range(fd, 0, 0,
		SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
}

/* The kernel's name of a block device, as /proc/fs/jbd2 has it: the last part of where /sys leads. */
static bool
device_name(dev_t device, char name[256])
{
	char link[64], target[1024];
	ssize_t len;
	const char *slash;

	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(device), minor(device));
	len = readlink(link, target, sizeof(target) - 1);
	if (len <= 0)
		return false;
	target[len] = '\0';
	slash = strrchr(target, '/');
	return snprintf(name, 256, "%s", slash ? slash + 1 : target) < 256;
}

/* Has the kernel a journal open on this device? Its entry is NAME-INODE; one on a device of its own has no number, and
 * does not count. */
static bool
has_journal(dev_t device)
{
	char name[256];
	struct dirent *entry;
	size_t len;
	bool found = false;
	DIR *dir;

	if (!device_name(device, name) || (dir = opendir("/proc/fs/jbd2")) == NULL)
		return false;
	len = strlen(name);
	while (!found && (entry = readdir(dir)) != NULL)
		found = strncmp(entry->d_name, name, len) == 0 && entry->d_name[len] == '-' &&
			strspn(entry->d_name + len + 1, "0123456789") == strlen(entry->d_name + len + 1) &&
			entry->d_name[len + 1] != '\0';
	closedir(dir);
	return found;
}

/* The directory of a mounted file system in /sys is made when it is mounted, and no two there get the same number. */
static uint64_t
mounting_of(dev_t device, const char *kind)
{
	char name[256], path[512];
	struct stat st;

	if (!device_name(device, name))
		return 0;
	snprintf(path, sizeof(path), "/sys/fs/%s/%s", kind, name);
	return stat(path, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

/* Reads a file of /proc from its beginning, and puts NUL behind it. */
static bool
read_text(int fd, char *to, size_t room)
{
	ssize_t got = read_at(fd, to, room - 1, 0);

	if (got <= 0)
		return false;
	to[got] = '\0';
	return true;
}

/* What the kernel tells of an ext4 on this device. -1 with errno. */
static int
open_facts(dev_t device, const char *which)
{
	char name[256], path[512];

	if (!device_name(device, name)) {
		errno = ENODEV;
		return -1;
	}
	snprintf(path, sizeof(path), "/proc/fs/ext4/%s/%s", name, which);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Is it mounted so that the journal's commits are whole, and come after the data? */
static bool
commits_in_order(dev_t device)
{
	int fd = open_facts(device, "options");
	char options[4096];
	bool in_order;

	in_order = fd >= 0 && read_text(fd, options, sizeof(options)) &&
		strstr(options, "journal_async_commit") == NULL;
	if (fd >= 0)
		close(fd);
	return in_order;
}

/* "N commits", or another word, is a line of the text: not there is none. */
static unsigned long
count_of(const char *text, const char *word)
{
	const char *at = strstr(text, word);

	while (at != NULL && at > text && at[-1] != '\n')
		at--;
	return at == NULL ? 0 : strtoul(at, NULL, 10);
}

bool
journal_is_whole(const struct journal *j)
{
	char facts[1024];

	if (j->fast_commits < 0)
		return true;
	return read_text(j->fast_commits, facts, sizeof(facts)) && strstr(facts, " commits") != NULL &&
		count_of(facts, " commits") == 0 && count_of(facts, " ineligible") == 0;
}

bool
journal_orders(int directory, struct journal *j)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(directory, &fs) < 0 || fstat(directory, &st) < 0)
		return false;
	*j = (struct journal){ .device = st.st_dev, .fast_commits = -1 };
	if (fs.f_type == XFS_SUPER_MAGIC) {
		j->mounting = mounting_of(st.st_dev, "xfs");
		return true;
	}
	if (fs.f_type != EXT4_SUPER_MAGIC || !has_journal(st.st_dev) || !commits_in_order(st.st_dev))
		return false;
	j->mounting = mounting_of(st.st_dev, "ext4");
	j->fast_commits = open_facts(st.st_dev, "fc_info");
	/* A kernel from before there were fast commits (5.10) has not that file. */
	if (j->fast_commits < 0)
		return errno == ENOENT;
	if (journal_is_whole(j))
		return true;
	close(j->fast_commits);
	return false;
}
