/* mailbox-id - what keeps a folder and its index together when the folder is renamed; see
 * mailbox.h. */
#include "imapd/mailbox.h"

#include "common/beneath.h"
#include "common/secret.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define UIDVALIDITY_FILE "uidvalidity"

int
store_write_file(struct store *store, int directory, const char *name, struct span content,
	bool replace)
{
	struct maildir_name aside = maildir_name_new(store->host, content.len, content.len);
	int fd = open_in(store->tmp, aside.str, O_WRONLY | O_CREAT | O_EXCL, 0600), result = -1,
		saved;

	if (fd < 0)
		return -1;
	if (write_all(fd, content.at, content.len) == 0 && fsync(fd) == 0 &&
		renameat2(store->tmp, aside.str, directory, name, replace ?
		0 : RENAME_NOREPLACE) == 0 &&
		fsync(directory) == 0)
		result = 0;
	saved = errno;
	if (result < 0)
		unlinkat(store->tmp, aside.str, 0);
	close(fd);
	errno = saved;
	return result;
}

static bool
hex_digit(unsigned char c, unsigned char *value)
{
	if (c >= '0' && c <= '9')
		*value = (unsigned char)(c - '0');
	else if (c >= 'a' && c <= 'f')
		*value = (unsigned char)(c - 'a' + 10);
	else
		return false;
	return true;
}

/* 1: there is one; 0: none, or nothing that could be one; -1. */
static int
id_read(int directory, unsigned char id[MAILBOX_ID_BYTES])
{
	unsigned char text[2 * MAILBOX_ID_BYTES + 2], high, low;
	int fd = open_in(directory, MAILBOX_ID_FILE, O_RDONLY, 0);
	ssize_t got;

	if (fd < 0)
		return errno == ENOENT || errno == EINVAL || errno == ELOOP ? 0 : -1;
	got = read_at(fd, text, sizeof(text), 0);
	close(fd);
	if (got != 2 * MAILBOX_ID_BYTES + 1 || text[2 * MAILBOX_ID_BYTES] != '\n')
		return 0;
	for (size_t i = 0; i < MAILBOX_ID_BYTES; i++) {
		if (!hex_digit(text[2 * i], &high) || !hex_digit(text[2 * i + 1], &low))
			return 0;
		id[i] = (unsigned char)(high << 4 | low);
	}
	return 1;
}

int
mailbox_id_renew(struct store *store, int directory, unsigned char id[MAILBOX_ID_BYTES])
{
	struct text content = TEXT_UP_TO(2 * MAILBOX_ID_BYTES + 1);
	unsigned char fresh[MAILBOX_ID_BYTES];
	int result;

	secret_random(fresh, sizeof(fresh));
	text_add_hex(&content, span_of(fresh, sizeof(fresh)));
	text_add_byte(&content, '\n');
	result = store_write_file(store, directory, MAILBOX_ID_FILE, text_span(&content), true);
	text_clear(&content);
	if (result == 0)
		memcpy(id, fresh, sizeof(fresh));
	return result;
}

int
mailbox_id(struct store *store, int directory, unsigned char id[MAILBOX_ID_BYTES])
{
	switch (id_read(directory, id)) {
	case 1:
		return 0;
	case 0:
		return mailbox_id_renew(store, directory, id) < 0 ? -1 : 1;
	default:
		return -1;
	}
}

static bool
folder_has_id(struct store *store, const char *folder, const unsigned char id[MAILBOX_ID_BYTES])
{
	unsigned char other[MAILBOX_ID_BYTES];
	int directory = open_in(store->maildir, folder[0] == '\0' ? "." : folder,
		O_RDONLY | O_DIRECTORY, 0);
	bool same;

	if (directory < 0)
		return false;
	same = id_read(directory, other) == 1 && memcmp(id, other, sizeof(other)) == 0;
	close(directory);
	return same;
}

bool
mailbox_id_elsewhere(struct store *store, const char *folder,
	const unsigned char id[MAILBOX_ID_BYTES])
{
	int fd = open_in(store->maildir, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *all = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	bool found;

	if (all == NULL) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	found = folder[0] != '\0' && folder_has_id(store, "", id);
	while (!found && (entry = readdir(all)) != NULL) {
		if (entry->d_name[0] != '.' || strcmp(entry->d_name, ".") == 0 ||
			strcmp(entry->d_name, "..") == 0 ||
			strcmp(entry->d_name, folder) == 0)
			continue;
		found = folder_has_id(store, entry->d_name, id);
	}
	closedir(all);
	return found;
}

static uint32_t
read_uidvalidity(const struct store *store)
{
	unsigned char digits[16];
	struct span in;
	uint64_t last;
	int fd = open_in(store->private, UIDVALIDITY_FILE, O_RDONLY, 0);
	ssize_t got;

	if (fd < 0)
		return 0;
	got = read_at(fd, digits, sizeof(digits), 0);
	close(fd);
	in = span_of(digits, got < 0 ? 0 : (size_t)got);
	return span_take_number(&in, UINT32_MAX - 1, &last) ? (uint32_t)last : 0;
}

static void
write_uidvalidity(struct store *store, uint64_t last)
{
	struct text content = TEXT_UP_TO(16);

	text_add_number(&content, last);
	text_add_byte(&content, '\n');
	/* Were it not written, only mailboxes made in the same second as an earlier one of the same
	 * name could suffer. */
	(void)store_write_file(store, store->private, UIDVALIDITY_FILE, text_span(&content), true);
	text_clear(&content);
}

uint32_t
store_new_uidvalidity(void *me)
{
	struct store *store = me;
	uint64_t last = read_uidvalidity(store), now = (uint64_t)time(NULL);

	if (now <= last || now > UINT32_MAX - 1)
		now = last + 1;
	write_uidvalidity(store, now);
	return (uint32_t)now;
}

void
store_note_uidvalidity(struct store *store, uint32_t uidvalidity)
{
	if (uidvalidity > read_uidvalidity(store) && uidvalidity < UINT32_MAX)
		write_uidvalidity(store, uidvalidity);
}
