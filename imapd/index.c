/* index - see index.h. The journal's file: opened, read, appended to, made durable, written
 * anew. */
#include "imapd/index.h"

#include "common/beneath.h"
#include "common/log.h"
#include "common/secret.h"
#include "imapd/flags.h"
#include "imapd/index-record.h"

#include <errno.h>
#include <inttypes.h>
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
#define LEAST_ADD 52        /* bytes that the record of a message takes at least, in any version */
#define LEAST_MESSAGE 84    /* and in this one */
/* What may have been given since a snapshot whose journal is lost. */
#define LOST_UIDS 1000000u
#define LOST_MODSEQS ((uint64_t)1 << 32)
/* A snapshot is written when so much of the journal stands behind the last one, and a sixteenth of
 * what it would hold. */
#define SNAPSHOT_LEAST (128u * 1024)
#define SNAPSHOT_PART 16
/* Or when so much of the cache would have to be looked through at the next opening. */
#define CACHE_LEAST ((uint64_t)2 * 1024 * 1024)
#define RESYNC_MOST ((size_t)64 * 1024 * 1024)
/* How far ahead of its records a journal's file is filled with zeros: half as long again, in whole
 * blocks, so that a small one takes no block more than it must. */
#define AHEAD_BLOCK 4096u
#define AHEAD_MOST (256u * 1024)

/* UIDs ascend: where there are few holes, the number of messages above and below a UID tells nearly
 * where it stands. */
size_t
index_from(const struct index *ix, uint32_t uid)
{
	size_t low = 0, high = ix->count;
	uint32_t first, last;

	if (ix->count == 0 || uid <= (first = ix->records[0].uid))
		return 0;
	last = ix->records[ix->count - 1].uid;
	if (uid > last)
		return ix->count;
	if (uid - first < high)
		high = uid - first;
	if (last - uid < ix->count - 1)
		low = ix->count - 1 - (last - uid);
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
	if (record->name < ix->old_names.len)
		return span_of(ix->old_names.at + record->name, record->name_len);
	return span_of(ix->names.at + (record->name - ix->old_names.len), record->name_len);
}

void
index_vanished(const struct index *ix, uint64_t since, struct number_ranges *gone)
{
	uint32_t next = 1;

	if (vanished_since(&ix->vanished, since, gone))
		return;
	for (size_t i = 0; i < ix->count; i++) {
		if (ix->records[i].uid > next)
			number_ranges_add_range(gone, next, ix->records[i].uid - 1);
		next = ix->records[i].uid + 1;
	}
	if (ix->uidnext > next)
		number_ranges_add_range(gone, next, ix->uidnext - 1);
}

/* Not keyed: it must come out the same everywhere, and nobody but the owner chooses names. */
void
email_id_of_name(struct span base, unsigned char email[EMAIL_ID_BYTES])
{
	uint64_t a = 0x9fb21c651e98df25u ^ base.len, b = 0xc2b2ae3d27d4eb4fu, piece;

	while (base.len > 0) {
		size_t len = base.len < 8 ? base.len : 8;

		piece = 0;
		memcpy(&piece, base.at, len);
		base = span_part(base, len, SIZE_MAX);
		a = (a ^ piece) * 0x9e3779b97f4a7c15u;
		a ^= a >> 29;
		b = (b + piece) * 0xd6e8feb86659fd93u;
		b ^= b >> 32;
	}
	a = (a ^ a >> 33) * 0xff51afd7ed558ccdu;
	b = (b ^ b >> 31) * 0xc4ceb9fe1a85ec53u;
	a ^= a >> 33;
	b ^= b >> 29;
	memcpy(email, &a, 8);
	memcpy(email + 8, &b, 8);
}

void
email_id_write(const struct index_record *record, struct text *out)
{
	text_add_byte(out, 'M');
	text_add_hex(out, span_of(record->email, EMAIL_ID_BYTES));
}

void
thread_id_write(const struct index_record *record, struct text *out)
{
	text_printf(out, "T%016" PRIx64, record->thread);
}

void
mailbox_id_write(const struct index *ix, struct text *out)
{
	text_add_byte(out, 'F');
	text_add_hex(out, span_of(ix->id, MAILBOX_ID_BYTES));
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
		if (kind < RECORD_ADD || kind > RECORD_LAST || in.at[at + 2] != 0 ||
			in.at[at + 3] != 0)
			continue;
		if (record_take(&rest, &payload))
			return at;
	}
	return in.len;
}

static bool
all_zeros(struct span in)
{
	return in.len == 0 || (in.at[0] == 0 && memcmp(in.at, in.at + 1, in.len - 1) == 0);
}

/* Without the zeros at its end. */
static struct span
without_zeros(struct span in)
{
	if (all_zeros(in))
		return span_part(in, 0, 0);
	while (in.len > 0 && in.at[in.len - 1] == 0)
		in.len--;
	return in;
}

static int index_rewrite(struct index *ix);

/* Applies all records; returns how many bytes are good from the front. Damage in the middle is
 * skipped; zeros up to the end were written ahead, and are none. */
static size_t
replay(struct index *ix, struct span in)
{
	const unsigned char *start = in.at;
	struct span payload;

	while (in.len > 0) {
		size_t skip;

		if (in.at[0] == 0 && all_zeros(in))
			break;
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

/* *made is which journal it will be. */
static int
write_header(struct index *ix, int fd, uint64_t *made)
{
	struct text header = TEXT_UP_TO(JOURNAL_HEADER);
	struct timespec now;
	int result;

	clock_gettime(CLOCK_REALTIME, &now);
	*made = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	journal_header_write(&header, ix->id, ix->uidvalidity, *made);
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

static void
forget_everything(struct index *ix)
{
	if (ix->records_map.at == NULL)
		free(ix->records);
	index_unmap(&ix->records_map);
	index_unmap(&ix->names_map);
	text_clear(&ix->names);
	keywords_clear(&ix->keywords);
	vanished_clear(&ix->vanished);
}

/* UIDs and modification sequences that stood in a damaged place may have been told to clients: none
 * of them may come again. What stands there of flags and expunges is not known: clients ask for
 * all. */
static void
skip_lost(struct index *ix, uint64_t uids, uint64_t modseqs)
{
	uint64_t next = ix->uidnext + uids;

	/* (At the upper end UIDs would have to begin anew: then it is better to risk one twice.) */
	if (next < UINT32_MAX - 1)
		ix->uidnext = (uint32_t)next;
	ix->modseq += modseqs;
	for (size_t i = 0; i < ix->count; i++)
		ix->records[i].modseq = ix->modseq;
	vanished_forget(&ix->vanished, ix->modseq);
	ix->stamped = false;
}

/* Reads the journal behind what the snapshot stands for; cuts a torn tail. 1: good, 0: there is no
 * header that we know, -1. */
static int
read_journal(struct index *ix)
{
	unsigned char header[JOURNAL_HEADER], id[MAILBOX_ID_BYTES], *bytes;
	uint32_t version, uidvalidity;
	struct stat st;
	size_t good, from = JOURNAL_HEADER, len;
	ssize_t got;
	bool torn;

	if (fstat(ix->journal, &st) < 0)
		return -1;
	if (st.st_size < JOURNAL_HEADER || (uint64_t)st.st_size > MOST_JOURNAL)
		return 0;
	got = read_at(ix->journal, header, sizeof(header), 0);
	if (got < 0)
		return -1;
	if (!journal_header_read(span_of(header, (size_t)got), id, &uidvalidity,
		&ix->journal_made, &version) || memcmp(id, ix->id, sizeof(id)) != 0)
		return 0;
	ix->old_format = version != JOURNAL_VERSION;
	if (snapshot_load(ix, ix->journal_made, (uint64_t)st.st_size))
		from = (size_t)ix->covered;
	ix->uidvalidity = uidvalidity;
	len = (size_t)st.st_size - from;
	bytes = must_alloc(len + 1);
	got = read_at(ix->journal, bytes, len, (off_t)from);
	if (got < 0) {
		free(bytes);
		return -1;
	}
	good = replay(ix, span_of(bytes, (size_t)got));
	torn = without_zeros(span_of(bytes + good, (size_t)got - good)).len > 0;
	free(bytes);
	ix->journal_size = from + good;
	ix->journal_room = torn ? ix->journal_size : (uint64_t)st.st_size;
	if (torn && ftruncate(ix->journal, (off_t)ix->journal_size) < 0)
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
	if (write_header(ix, fd, &ix->journal_made) < 0) {
		close(fd);
		return -1;
	}
	if (ix->journal >= 0)
		close(ix->journal);
	ix->journal = fd;
	ix->journal_size = ix->journal_room = JOURNAL_HEADER;
	ix->covered = 0;
	ix->old_format = false;
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

/* What is left without a journal: the snapshot, or nothing. */
static int
begin_journal(struct index *ix, bool was_there, uint32_t (*uidvalidity)(void *me), void *me)
{
	bool recovered = snapshot_load(ix, 0, 0);

	if (recovered) {
		log_error(0, "journal-lost", KEY_STR("why", "made anew from the snapshot"),
			KEY_NUM("messages", ix->count));
		skip_lost(ix, LOST_UIDS, LOST_MODSEQS);
		ix->covered = 0;
		return index_rewrite(ix);
	}
	if (was_there)
		log_error(0, "index-unreadable", KEY_STR("why",
			"no journal of ours; made anew, UIDs change"));
	return make_journal(ix, uidvalidity(me));
}

/* What was found is written anew without what was found wrong; that, too, may fail on a full disk:
 * then the next opening tries again. */
static void
heal(struct index *ix)
{
	uint64_t lost = ix->damaged / LEAST_ADD + 1;

	if (ix->damaged > 0) {
		log_warning(0, "index-damaged", KEY_NUM("bytes", ix->damaged),
			KEY_NUM("messages", ix->count));
		skip_lost(ix, lost, lost);
	}
	if ((ix->damaged > 0 || ix->old_format) && index_rewrite(ix) < 0)
		log_warning(0, "index-not-rewritten", KEY_ERRNO);
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
	}
	if (found == 0 && begin_journal(ix, ix->journal >= 0, uidvalidity, me) < 0)
		goto fail;
	heal(ix);
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
	forget_everything(ix);
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
	c.lazy = true;           /* what uses it comes behind it in the journal, and becomes durable with it */
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
	record_vanished(&c.records, &ix->vanished);
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
	index_unmap(&ix->names_map);
	ix->old_names = SPAN_NONE;
	ix->names = names;
	ix->name_garbage = 0;
}

static int
index_rewrite(struct index *ix)
{
	struct text present = TEXT_UP_TO((size_t)1 << 40);
	uint64_t made;
	int fd, result = -1;

	if (ix->name_garbage > (ix->old_names.len + ix->names.len) / 2)
		compact_names(ix);
	write_present(ix, &present);
	fd = open_in(ix->directory, JOURNAL_NEW, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || present.failed || write_header(ix, fd, &made) < 0 ||
		write_all(fd, present.at, present.len) < 0)
		goto out;
	if (fsync(fd) < 0 || renameat(ix->directory, JOURNAL_NEW, ix->directory,
		JOURNAL_NAME) < 0 ||
		fsync(ix->directory) < 0)
		goto out;
	if (ix->journal >= 0)
		close(ix->journal);
	ix->journal = fd;
	fd = -1;
	ix->journal_size = ix->journal_room = JOURNAL_HEADER + present.len;
	ix->journal_made = made;
	ix->covered = 0;          /* the snapshot is of the old one */
	ix->unsynced = ix->unnamed = ix->old_format = false;
	result = 0;
out:
	if (fd >= 0)
		close(fd);
	text_clear(&present);
	return result;
}

/* Bytes of base names that messages have. */
static uint64_t
names_used(const struct index *ix)
{
	return ix->old_names.len + ix->names.len - ix->name_garbage;
}

int
index_compact(struct index *ix)
{
	uint64_t need = JOURNAL_HEADER + ix->count * (uint64_t)(LEAST_MESSAGE + RECORD_HEAD) +
		names_used(ix);

	if (ix->journal_size < COMPACT_LEAST || ix->journal_size < COMPACT_TIMES * need)
		return 0;
	return index_rewrite(ix);
}

int
index_snapshot(struct index *ix)
{
	uint64_t behind = ix->journal_size - ix->covered;
	uint64_t whole = ix->count * (uint64_t)sizeof(*ix->records) + names_used(ix);

	if ((behind < SNAPSHOT_LEAST || behind < whole / SNAPSHOT_PART) &&
		ix->cache_covered < ix->cache_known + CACHE_LEAST)
		return 0;
	if (ix->name_garbage > (ix->old_names.len + ix->names.len) / 2)
		compact_names(ix);
	return snapshot_write(ix);
}
