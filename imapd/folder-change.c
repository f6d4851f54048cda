/*
 * folder-change - folders made, deleted and renamed; see folder.h.
 *
 * A deleted folder is first renamed to valija-deleted-ID in the Maildir (no dot in front, so it is
 * no folder to anybody), durable: then it is gone. Its files are removed afterwards, some at a
 * time; what a crash leaves is found by its name at the next start.
 */
#include "imapd/folder.h"

#include "common/beneath.h"
#include "common/filled.h"
#include "common/id.h"
#include "common/log.h"
#include "imapd/order.h"
#include "imapd/placing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DELETED_PREFIX "valija-deleted-"

int
folder_create(struct store *store, const char *folder)
{
	char part[MOST_FOLDER_NAME + 1];
	size_t len = strlen(folder);

	if (folder_check(store, folder) == 0) {
		errno = EEXIST;
		return -1;
	}
	if (errno != ENOENT)
		return -1;
	/* Superior names are made too (RFC 3501 6.3.3). */
	for (size_t i = 1; i <= len; i++) {
		if (i < len && folder[i] != '.')
			continue;
		memcpy(part, folder, i);
		part[i] = '\0';
		if (folder_check(store, part) < 0 && (errno != ENOENT ||
			maildir_make(store->maildir, part) < 0))
			return -1;
	}
	return 0;
}

static void
forget_mailboxes(struct store *store, const char *folder)
{
	for (struct mailbox *m = store->mailboxes; m != NULL; m = m->next) {
		if (strcmp(m->folder, folder) == 0)
			m->gone = true;
	}
}

/* The index of a folder that is deleted for good. */
static void
remove_index(struct store *store, const unsigned char id[MAILBOX_ID_BYTES])
{
	static const char *const files[] = { "journal", "journal.new", "snapshot", "snapshot.new",
		"cache", "cache.new", FILLED_NAME, PLACING_NAME, ORDER_FILES };
	struct text name = TEXT_UP_TO(2 * MAILBOX_ID_BYTES);
	int fd;

	text_add_hex(&name, span_of(id, MAILBOX_ID_BYTES));
	fd = open_in(store->private, text_str(&name), O_RDONLY | O_DIRECTORY, 0);
	if (fd >= 0) {
		for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
			(void)unlinkat(fd, files[i], 0);
		close(fd);
		if (unlinkat(store->private, text_str(&name), AT_REMOVEDIR) < 0)
			log_notice(0, "index-not-removed", KEY_ERRNO);
	}
	text_clear(&name);
}

/* Is the index with the folder's id its own, and not that of a folder which it was copied from? */
static bool
owns_index(struct store *store, const char *folder, int directory,
	unsigned char id[MAILBOX_ID_BYTES])
{
	const struct mailbox *open = store_find(store, folder);
	struct index ix;
	struct stat st;
	bool owns;

	if (fstatat(directory, MAILBOX_ID_FILE, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		mailbox_id(store, directory, id) < 0 ||
		fstat(directory, &st) < 0)
		return false;
	if (open != NULL)
		return memcmp(open->index.id, id, MAILBOX_ID_BYTES) == 0;
	if (index_open(&ix, store->private, id, store_new_uidvalidity, store) < 0)
		return false;
	owns = ix.inode == 0 || ix.inode == (uint64_t)st.st_ino;
	index_close(&ix);
	return owns;
}

int
folder_delete(struct store *store, const char *folder)
{
	char deleted[sizeof(DELETED_PREFIX) + ID_LENGTH];
	unsigned char id[MAILBOX_ID_BYTES];
	bool has_index;
	int fd;

	fd = open_in(store->maildir, folder, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0) {
		if (errno == ENOTDIR || errno == ELOOP)
			errno = ENOENT;
		return -1;
	}
	has_index = owns_index(store, folder, fd, id);
	close(fd);
	snprintf(deleted, sizeof(deleted), "%s%s", DELETED_PREFIX, id_name(id_new()).str);
	if (renameat2(store->maildir, folder, store->maildir, deleted, RENAME_NOREPLACE) < 0 ||
		fsync(store->maildir) < 0)
		return -1;
	store_usage_forget(store);
	forget_mailboxes(store, folder);
	if (has_index)
		remove_index(store, id);
	return 0;
}

/* ".Old" and ".Old.x", but not ".Older". */
static bool
is_within(const char *folder, const char *root)
{
	size_t len = strlen(root);

	return strncmp(folder, root, len) == 0 && (folder[len] == '\0' || folder[len] == '.');
}

static int
rename_one(struct store *store, const char *from, const char *old_root, const char *new_root)
{
	char to[2 * MOST_FOLDER_NAME + 2];
	const char *below = from + strlen(old_root);

	if (strlen(new_root) + strlen(below) > MOST_FOLDER_NAME) {
		errno = ENAMETOOLONG;
		return -1;
	}
	snprintf(to, sizeof(to), "%s%s", new_root, below);
	if (renameat2(store->maildir, from, store->maildir, to, RENAME_NOREPLACE) < 0)
		return -1;
	for (struct mailbox *m = store->mailboxes; m != NULL; m = m->next) {
		if (!m->gone && strcmp(m->folder, from) == 0)
			(void)span_copy(span_str(to), m->folder, sizeof(m->folder));
	}
	return 0;
}

/* The folders within `root`, in *names (each on the heap). */
static int
list_within(struct store *store, const char *root, char ***names, size_t *count)
{
	int fd = open_in(store->maildir, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	*names = NULL;
	*count = 0;
	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	while ((entry = readdir(d)) != NULL && *count < MOST_FOLDERS) {
		if (!is_within(entry->d_name, root))
			continue;
		*names = must_realloc(*names, (*count + 1) * sizeof(**names));
		(*names)[(*count)++] = must_copy(span_str(entry->d_name));
	}
	closedir(d);
	return 0;
}

int
folder_rename(struct store *store, const char *from, const char *to)
{
	char parent[MOST_FOLDER_NAME + 1], **names = NULL;
	size_t count = 0, done = 0;
	char *dot;
	int result = -1, saved;

	if (list_within(store, to, &names, &count) < 0)
		return -1;
	if (count > 0) {
		errno = EEXIST;
		goto out;
	}
	if (list_within(store, from, &names, &count) < 0)
		return -1;
	errno = ENOENT;
	if (count == 0)
		goto out;
	errno = EINVAL;
	if (is_within(to, from))      /* into itself */
		goto out;
	(void)span_copy(span_str(to), parent, sizeof(parent));
	dot = strrchr(parent, '.');
	*dot = '\0';
	if (parent[0] != '\0' && folder_create(store, parent) < 0 && errno != EEXIST)
		goto out;
	store->renames++;
	while (done < count && rename_one(store, names[done], from, to) == 0)
		done++;
	saved = errno;
	if (done < count) {      /* all or nothing, as far as it depends on us */
		char back[2 * MOST_FOLDER_NAME + 2];

		while (done-- > 0) {
			snprintf(back, sizeof(back), "%s%s", to, names[done] + strlen(from));
			if (rename_one(store, back, to, from) < 0)
				log_error(0, "rename-not-undone", KEY_STR("folder", back),
					KEY_ERRNO);
		}
		errno = saved;
		goto out;
	}
	result = fsync(store->maildir);
out:
	saved = errno;
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
	errno = saved;
	return result;
}

/* --- removal of what was deleted --- */

/* Removes up to *most entries of directory `name` and then itself. True when it is gone. */
static bool
remove_tree(int parent, const char *name, unsigned int *most, int depth)
{
	int fd = open_in(parent, name, O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	bool all = true;

	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return unlinkat(parent, name, 0) == 0;
	}
	while (*most > 0 && (entry = readdir(d)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		--*most;
		if (unlinkat(dirfd(d), entry->d_name, 0) == 0)
			continue;
		/* Other programs may have left a directory or two in a folder, never a deep
		 * tree. */
		if ((errno != EISDIR && errno != EPERM) || depth == 0 ||
			!remove_tree(dirfd(d), entry->d_name, most, depth - 1))
			all = false;
	}
	all = all && *most > 0;
	closedir(d);
	return all && unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

bool
folder_remove_some(struct store *store, unsigned int most)
{
	int fd = open_in(store->maildir, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	unsigned int had = most;

	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while (most > 0 && (entry = readdir(d)) != NULL) {
		if (strncmp(entry->d_name, DELETED_PREFIX, strlen(DELETED_PREFIX)) == 0)
			(void)remove_tree(store->maildir, entry->d_name, &most, 3);
	}
	closedir(d);
	return most == 0 && had > 0;
}
