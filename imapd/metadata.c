/* metadata - see metadata.h. */
#include "imapd/metadata.h"

#include "common/beneath.h"
#include "common/crc32c.h"
#include "common/log.h"
#include "common/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define MAGIC "valija-metadata 1\n"

/* The directory in which the file lies: -1 with errno. To be closed unless it is store->private. */
static int
directory_of(const struct store *store, const char *folder)
{
	if (folder == NULL)
		return store->private;
	return open_in(store->maildir, folder[0] == '\0' ? "." : folder, O_RDONLY | O_DIRECTORY, 0);
}

static const char *
file_of(const char *folder)
{
	return folder == NULL ? METADATA_SERVER_FILE : METADATA_FILE;
}

static void
leave(const struct store *store, int directory)
{
	int saved = errno;

	if (directory >= 0 && directory != store->private)
		close(directory);
	errno = saved;
}

/* 0, also when there is no file. */
static int
read_content(int directory, const char *name, struct text *content)
{
	int fd = open_in(directory, name, O_RDONLY, 0), saved;
	unsigned char piece[8192];
	off_t at = 0;
	ssize_t got;

	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	while ((got = read_at(fd, piece, sizeof(piece), at)) > 0 && !content->failed) {
		text_add(content, span_of(piece, (size_t)got));
		at += got;
	}
	saved = errno;
	close(fd);
	errno = saved;
	return got < 0 ? -1 : 0;
}

/* MAGIC, checksum of what follows, then entries. */
static bool
decode(struct metadata *m)
{
	struct span in = text_span(&m->content);
	uint32_t crc;

	if (m->content.failed || !span_take_word(&in, SPAN(MAGIC)) ||
		!wire_take_u32(&in, &crc, 4) || crc != crc32c(in))
		return false;
	while (in.len > 0) {
		struct metadata_entry *e = &m->at[m->count];

		if (m->count == MOST_METADATA_ENTRIES ||
			!wire_take_octets(&in, &e->name, MOST_METADATA_NAME) ||
			!wire_take_octets(&in, &e->value, MOST_METADATA_VALUE))
			return false;
		m->count++;
	}
	return true;
}

int
metadata_read(const struct store *store, const char *folder, struct metadata *m)
{
	int directory = directory_of(store, folder), result;

	m->content = TEXT_UP_TO(MOST_METADATA_FILE);
	m->count = 0;
	if (directory < 0)
		return -1;
	result = read_content(directory, file_of(folder), &m->content);
	leave(store, directory);
	if (result < 0 || m->content.len == 0)
		return result;
	if (!decode(m)) {
		log_warning(0, "metadata-damaged", KEY_STR("folder", folder == NULL ? "" : folder));
		m->count = 0;
	}
	return 0;
}

int
metadata_write(struct store *store, const char *folder, const struct metadata *m)
{
	struct text entries = TEXT_UP_TO(MOST_METADATA_FILE), file = TEXT_UP_TO(MOST_METADATA_FILE);
	int directory = directory_of(store, folder), result = -1;

	if (directory < 0)
		return -1;
	for (size_t i = 0; i < m->count; i++) {
		wire_add_octets(&entries, m->at[i].name, MOST_METADATA_NAME);
		wire_add_octets(&entries, m->at[i].value, MOST_METADATA_VALUE);
	}
	text_add(&file, SPAN(MAGIC));
	wire_add_u32(&file, crc32c(text_span(&entries)), 4);
	text_add(&file, text_span(&entries));
	if (entries.failed || file.failed)
		errno = EFBIG;
	else
		result = store_write_file(store, directory, file_of(folder), text_span(&file), true);
	leave(store, directory);
	text_clear(&entries);
	text_clear(&file);
	return result;
}

void
metadata_clear(struct metadata *m)
{
	text_clear(&m->content);
	m->count = 0;
}

const struct metadata_entry *
metadata_find(const struct metadata *m, struct span name)
{
	for (size_t i = 0; i < m->count; i++) {
		if (span_equal_nocase(m->at[i].name, name))
			return &m->at[i];
	}
	return NULL;
}

bool
metadata_set(struct metadata *m, struct span name, struct span value)
{
	struct metadata_entry *there = NULL;

	for (size_t i = 0; i < m->count; i++) {
		if (span_equal_nocase(m->at[i].name, name))
			there = &m->at[i];
	}
	if (value.at == NULL) {
		if (there != NULL)
			*there = m->at[--m->count];
		return true;
	}
	if (there == NULL && m->count == MOST_METADATA_ENTRIES)
		return false;
	if (there == NULL)
		there = &m->at[m->count++];
	*there = (struct metadata_entry){ name, value };
	return true;
}
