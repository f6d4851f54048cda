/* journal - see journal.h. */
#include "journal.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

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

bool
journal_orders(int directory, dev_t *device)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(directory, &fs) < 0 || fstat(directory, &st) < 0)
		return false;
	*device = st.st_dev;
	return fs.f_type == XFS_SUPER_MAGIC ||
		(fs.f_type == EXT4_SUPER_MAGIC && has_journal(st.st_dev));
}
