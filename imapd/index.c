/* index - see index.h. The journal's file: opened, read, appended to, made durable, written
 * anew. */
#include "imapd/index.h"

#include "common/beneath.h"
#include "common/log.h"
#include "common/secret.h"
#include "imapd/flags.h"
#include "imapd/index-record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MOST_JOURNAL ((uint64_t)16 * 1024 * 1024 * 1024)
/* A journal is written anew when it is larger than COMPACT_LEAST and COMPACT_TIMES what its
 * messages need. */
#define COMPACT_LEAST (256u * 1024)
#define COMPACT_TIMES 3
#define LEAST_ADD 52    /* bytes that an ADD takes at least */
#define RESYNC_MOST ((size_t)64 * 1024 * 1024)
/* How far ahead of its records a journal's file is filled with zeros: half as long again, in whole
 * blocks, so that a small one takes no block more than it must. */
#define AHEAD_BLOCK 4096u
#define AHEAD_MOST (1024u * 1024)

size_t
index_from(const struct index *ix, uint32_t uid)
{
	size_t low = 0, high = ix->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ix->records[middle].uid < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

size_t
index_find(const struct index *ix, uint32_t uid)
{
	size_t at = index_from(ix, uid);

	return at < ix->count && ix->records[at].uid == uid ? at : NO_RECORD;
}

struct span
index_name(const struct index *ix, const struct index_record *record)
{
	return span_of(ix->names.at + record->name, record->name_len);
}

uint8_t
index_wanted_letters(const struct index_record *record)
{
	return letters_of_flags(record->flags) | (record->letters & LETTER_P);
}

bool
index_name_pending(const struct index_record *record)
{
	/* A bare name in cur/ says "no flags", and need not be touched for it. */
	return index_wanted_letters(record) != (record->letters & (uint8_t)~LETTER_BARE);
}

/* --- reading --- */

/* Where the next whole record begins behind damage; in.len when there is none. */
static size_t
find_next_record(struct span in)
{
	size_t most = in.len < RESYNC_MOST ? in.len : RESYNC_MOST;

	for (size_t at = 1; at + RECORD_HEAD < most; at++) {
		struct span rest = span_part(in, at, SIZE_MAX), payload;
		unsigned char kind = in.at[at + RECORD_HEAD];

		/* Looking only at what can be a short record keeps this linear: no CRC over random
		 * lengths. */
		if (kind < RECORD_ADD || kind > RECORD_INODE || in.at[at + 2] != 0 ||
			in.at[at + 3] != 0)
			continue;
		if (record_take(&rest, &payload))
			return at;
	}
	return in.len;
}

/* Without the zeros at its end. */
static struct span
without_zeros(struct span in)
{
	while (in.len > 0 && in.at[in.len - 1] == 0)
		in.len--;
	return in;
}

/* Applies all records; returns how many bytes are good from the front. Damage in the middle is
 * skipped; zeros up to the end were written ahead, and are none. */
static size_t
replay(struct index *ix, struct span in)
{
	const unsigned char *start = in.at;
	struct span payload;

	while (in.len > 0) {
		size_t skip;

		if (record_take(&in, &payload)) {
			if (!record_apply(ix, payload))
				ix->damaged += payload.len;
			continue;
		}
		skip = find_next_record(in);
		if (skip == in.len) {
			ix->damaged += without_zeros(in).len;
			break;
		}
		ix->damaged += skip;
		in = span_part(in, skip, SIZE_MAX);
	}
	return (size_t)(in.at - start);
}

static int
write_header(struct index *ix, int fd)
{
	struct text header = TEXT_UP_TO(JOURNAL_HEADER);
	int result;

	journal_header_write(&header, ix->id, ix->uidvalidity, (uint64_t)time(NULL));
	result = header.failed ? -1 : write_all(fd, header.at, header.len);
	text_clear(&header);
	return result;
}

static void
index_empty(struct index *ix)
{
	ix->uidnext = 1;
	ix->recent_from = 1;
	ix->modseq = 1;
	ix->names = TEXT_UP_TO(UINT32_MAX);
	keywords_init(&ix->keywords);
}

/* UIDs that stood in a damaged place may have been told to clients: none of them may come again. */
static int
skip_uids(struct index *ix)
{
	struct change c;
	uint64_t lost = ix->damaged / LEAST_ADD + 1;
	uint32_t next = lost < UINT32_MAX - ix->uidnext - 1 ?
		ix->uidnext + (uint32_t)lost : ix->uidnext;
	int result;

	change_init(&c);
	change_state(&c, next, ix->modseq + lost, ix->recent_from);
	result = index_commit(ix, &c);
	change_clear(&c);
	return result;
}

/* Reads the journal; cuts a torn tail. 1: good, 0: there is no header that we know, -1. */
static int
read_journal(struct index *ix)
{
	struct stat st;
	unsigned char *bytes;
	ssize_t got;
	size_t good;
	bool torn;
	unsigned char id[MAILBOX_ID_BYTES];

	if (fstat(ix->journal, &st) < 0)
		return -1;
	if (st.st_size < JOURNAL_HEADER || (uint64_t)st.st_size > MOST_JOURNAL)
		return 0;
	bytes = must_alloc((size_t)st.st_size);
	got = read_at(ix->journal, bytes, (size_t)st.st_size, 0);
	if (got < JOURNAL_HEADER ||
		!journal_header_read(span_of(bytes, (size_t)got), id, &ix->uidvalidity) ||
		memcmp(id, ix->id, sizeof(id)) != 0) {
		free(bytes);
		return got < 0 ? -1 : 0;
	}
	good = JOURNAL_HEADER + replay(ix, span_of(bytes + JOURNAL_HEADER,
		(size_t)got - JOURNAL_HEADER));
	torn = without_zeros(span_of(bytes + good, (size_t)got - good)).len > 0;
	free(bytes);
	ix->journal_size = good;
	ix->journal_room = torn ? good : (uint64_t)got;
	if (torn && ftruncate(ix->journal, (off_t)good) < 0)
		return -1;
	return 1;
}

/* A journal with nothing in it, not named yet. */
static int
make_journal(struct index *ix, uint32_t uidvalidity)
{
	int fd = open_in(ix->directory, JOURNAL_NEW, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0)
		return -1;
	ix->uidvalidity = uidvalidity;
	if (write_header(ix, fd) < 0) {
		close(fd);
		return -1;
	}
	if (ix->journal >= 0)
		close(ix->journal);
	ix->journal = fd;
	ix->journal_size = ix->journal_room = JOURNAL_HEADER;
	ix->unsynced = ix->unnamed = true;
	return 0;
}

static int
open_directory_of(int private, const unsigned char id[MAILBOX_ID_BYTES])
{
	struct text name = TEXT_UP_TO(2 * MAILBOX_ID_BYTES);
	int fd;

	text_add_hex(&name, span_of(id, MAILBOX_ID_BYTES));
	if (mkdirat(private, text_str(&name), 0700) == 0) {
		if (fsync(private) < 0)
			log_warning(0, "index-not-synced", KEY_ERRNO);
	}
	fd = open_in(private, text_str(&name), O_RDONLY | O_DIRECTORY, 0);
	text_clear(&name);
	return fd;
}

int
index_open_held(struct index *ix, int private, const unsigned char id[MAILBOX_ID_BYTES],
	uint32_t (*uidvalidity)(void *me),
	void *me)
{
	int found = 0;

	*ix = (struct index){ .directory = -1, .journal = -1 };
	memcpy(ix->id, id, MAILBOX_ID_BYTES);
	index_empty(ix);
	ix->directory = open_directory_of(private, id);
	if (ix->directory < 0)
		goto fail;
	ix->journal = open_in(ix->directory, JOURNAL_NAME, O_RDWR, 0);
	if (ix->journal < 0 && errno != ENOENT)
		goto fail;
	if (ix->journal >= 0) {
		found = read_journal(ix);
		if (found < 0)
			goto fail;
		if (found == 0)
			log_error(0, "index-unreadable", KEY_STR("why",
				"no journal of ours; made anew, UIDs change"));
	}
	if (found == 0 && make_journal(ix, uidvalidity(me)) < 0)
		goto fail;
	if (ix->damaged > 0) {
		ix->stamped = false;
		log_warning(0, "index-damaged", KEY_NUM("bytes", ix->damaged),
			KEY_NUM("messages", ix->count));
		if (skip_uids(ix) < 0)
			goto fail;
	}
	return 0;
fail:
	found = errno;
	index_close(ix);
	errno = found;
	return -1;
}

int
index_open(struct index *ix, int private, const unsigned char id[MAILBOX_ID_BYTES],
	uint32_t (*uidvalidity)(void *me),
	void *me)
{
	int saved;

	if (index_open_held(ix, private, id, uidvalidity, me) < 0)
		return -1;
	if (!ix->unnamed || index_sync(ix) == 0)
		return 0;
	saved = errno;
	index_close(ix);
	errno = saved;
	return -1;
}

void
index_close(struct index *ix)
{
	if (ix->journal >= 0)
		close(ix->journal);
	if (ix->directory >= 0)
		close(ix->directory);
	free(ix->records);
	text_clear(&ix->names);
	keywords_clear(&ix->keywords);
	*ix = (struct index){ .directory = -1, .journal = -1 };
}

/* --- writing --- */

static int
pwrite_all(int fd, struct span bytes, uint64_t at)
{
	while (bytes.len > 0) {
		ssize_t n = pwrite(fd, bytes.at, bytes.len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		bytes = span_part(bytes, (size_t)n, SIZE_MAX);
		at += (size_t)n;
	}
	return 0;
}

/* Zeros ahead of the records, when these have reached the end of the file. Where there is no room
 * for them the file ends with its records. */
static void
write_ahead(struct index *ix)
{
	static const unsigned char zeros[16 * 1024];
	uint64_t ahead = ix->journal_size / 2, end;

	if (ix->journal_size <= ix->journal_room)
		return;
	if (ahead > AHEAD_MOST)
		ahead = AHEAD_MOST;
	end = (ix->journal_size + ahead + AHEAD_BLOCK - 1) / AHEAD_BLOCK * AHEAD_BLOCK;
	ix->journal_room = ix->journal_size;
	while (ix->journal_room < end) {
		uint64_t left = end - ix->journal_room;
		size_t piece = left < sizeof(zeros) ? (size_t)left : sizeof(zeros);

		if (pwrite_all(ix->journal, span_of(zeros, piece), ix->journal_room) < 0)
			break;
		ix->journal_room += piece;
	}
}

int
index_commit(struct index *ix, struct change *c)
{
	struct span all, payload;
	uint32_t uidnext = ix->uidnext;
	uint64_t modseq = ix->modseq;
	int saved;

	if (c->records.failed || c->adds >= UINT32_MAX - 1 - ix->uidnext ||
		ix->count + c->adds > MOST_MESSAGES) {
		errno = EOVERFLOW;
		return -1;
	}
	if (c->records.len == 0)
		return 0;
	c->first_uid = ix->uidnext;
	records_seal(&c->records, &uidnext, &modseq);
	all = text_span(&c->records);
	if (pwrite_all(ix->journal, all, ix->journal_size) < 0) {
		/* Nothing half written stays; a torn tail would be cut at the next opening
		 * anyway. */
		saved = errno;
		if (ftruncate(ix->journal, (off_t)ix->journal_size) < 0)
			log_error(0, "journal-not-cut", KEY_ERRNO);
		ix->journal_room = ix->journal_size;
		errno = saved;
		return -1;
	}
	ix->journal_size += all.len;
	write_ahead(ix);
	if (!c->lazy)
		ix->unsynced = true;
	while (all.len > 0 && record_take(&all, &payload)) {
		if (!record_apply(ix, payload))
			log_error(0, "index-bug", KEY_NUM("record", payload.at[0]));
	}
	text_clear(&c->records);
	c->records = TEXT_UP_TO((size_t)1 << 32);
	return 0;
}

int
index_sync(struct index *ix)
{
	if (!ix->unsynced)
		return 0;
	if (fdatasync(ix->journal) < 0)
		return -1;
	if (ix->unnamed && (renameat(ix->directory, JOURNAL_NEW, ix->directory, JOURNAL_NAME) < 0 ||
		fsync(ix->directory) < 0))
		return -1;
	ix->unsynced = ix->unnamed = false;
	return 0;
}

int
index_keyword(struct index *ix, struct span name, bool make)
{
	struct change c;
	int number = keywords_find(&ix->keywords, name), result;

	if (number != NO_KEYWORD || !make || ix->keywords.count == MOST_KEYWORDS ||
		name.len > MOST_KEYWORD)
		return number;
	change_init(&c);
	record_keyword(&c.records, ix->keywords.count, name);
	result = index_commit(ix, &c);
	change_clear(&c);
	return result < 0 ? NO_KEYWORD : keywords_find(&ix->keywords, name);
}

/* All that is true now, as records. */
static void
write_present(const struct index *ix, struct text *out)
{
	struct change c = { .records = *out };

	for (unsigned int i = 0; i < ix->keywords.count; i++)
		record_keyword(&c.records, i, keywords_name(&ix->keywords, i));
	for (size_t i = 0; i < ix->count; i++) {
		struct keyword_bits bits = keywords_bits(&ix->keywords, ix->records[i].keywords);

		record_add(&c.records, &ix->records[i], index_name(ix, &ix->records[i]), &bits);
	}
	change_state(&c, ix->uidnext, ix->modseq, ix->recent_from);
	change_inode(&c, ix->inode);
	change_stamps(&c, ix->in_new, ix->in_cur, ix->stamped);
	records_seal_kept(&c.records);
	*out = c.records;
}

/* The names of messages that went are dropped from memory too. */
static void
compact_names(struct index *ix)
{
	struct text names = TEXT_UP_TO(UINT32_MAX);

	for (size_t i = 0; i < ix->count; i++) {
		struct span name = index_name(ix, &ix->records[i]);

		ix->records[i].name = (uint32_t)names.len;
		text_add(&names, name);
	}
	text_clear(&ix->names);
	ix->names = names;
	ix->name_garbage = 0;
}

int
index_compact(struct index *ix)
{
	struct text present = TEXT_UP_TO((size_t)1 << 40);
	uint64_t need = JOURNAL_HEADER + ix->count * (uint64_t)(LEAST_ADD + RECORD_HEAD) +
		ix->names.len - ix->name_garbage;
	int fd = -1, result = -1;

	if (ix->journal_size < COMPACT_LEAST || ix->journal_size < COMPACT_TIMES * need)
		return 0;
	if (ix->name_garbage > ix->names.len / 2)
		compact_names(ix);
	write_present(ix, &present);
	fd = open_in(ix->directory, JOURNAL_NEW, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || present.failed || write_header(ix, fd) < 0 ||
		write_all(fd, present.at, present.len) < 0)
		goto out;
	if (fsync(fd) < 0 || renameat(ix->directory, JOURNAL_NEW, ix->directory,
		JOURNAL_NAME) < 0 ||
		fsync(ix->directory) < 0)
		goto out;
	close(ix->journal);
	ix->journal = fd;
	fd = -1;
	ix->journal_size = ix->journal_room = JOURNAL_HEADER + present.len;
	ix->unsynced = false;
	result = 0;
out:
	if (fd >= 0)
		close(fd);
	text_clear(&present);
	return result;
}
