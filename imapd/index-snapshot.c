/*
 * index-snapshot - the array of records as a file that can be mapped; see index.h, valija-index(5).
 *
 * A snapshot stands for the first `covered` bytes of one journal, which its header names by the
 * moment when that was made. It is written aside and renamed, never changed. It needs no sync of its
 * own: what a crash leaves of it has a wrong checksum, and the journal has everything. Before it is
 * named the journal is durable, so that it never stands for more than the journal has.
 *
 * Everything is checked before anything is used: sizes, checksums, and each record, as if somebody
 * else had written it.
 */
#include "imapd/index-record.h"

#include "common/beneath.h"
#include "common/crc32c.h"
#include "common/wire.h"
#include "imapd/flags.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BYTE_ORDER_MARK 0x01020304u
#define SNAPSHOT_HEADER 256
#define SECTION_ALIGN ((uint64_t)64 * 1024)   /* any machine's page fits in it */
#define MOST_TAIL ((uint64_t)64 * 1024 * 1024)

static const char magic[8] = { 'V', 'A', 'L', 'I', 'J', 'A', 'S', '1' };

static_assert(sizeof(struct index_record) == 88, "the layout is that of SNAPSHOT_VERSION 3");

/* The header's numbers. Sections follow each other, each at a multiple of SECTION_ALIGN: records,
 * names, tail (keywords, their sets, what vanished). */
struct facts {
	uint64_t made, covered, count, names_len, tail_len;
	uint64_t modseq, expunges, inode, garbage, cache_made, cache_covered;
	uint32_t uidvalidity, uidnext, recent_from;
	struct index_stamp in_new, in_cur;
	uint8_t stamped, pending;
	uint32_t records_crc, names_crc, tail_crc;
};

static uint64_t
section_end(uint64_t at)
{
	return (at + SECTION_ALIGN - 1) / SECTION_ALIGN * SECTION_ALIGN;
}

static uint64_t
names_at(const struct facts *f)
{
	return section_end(SECTION_ALIGN + f->count * sizeof(struct index_record));
}

static uint64_t
tail_at(const struct facts *f)
{
	return section_end(names_at(f) + f->names_len);
}

static void
header_write(struct text *out, const struct facts *f, const unsigned char id[MAILBOX_ID_BYTES])
{
	text_add(out, span_of(magic, sizeof(magic)));
	wire_add_u32(out, BYTE_ORDER_MARK, 4);
	wire_add_u32(out, SNAPSHOT_VERSION, 4);
	wire_add_u32(out, sizeof(struct index_record), 4);
	wire_add_u32(out, f->uidvalidity, 4);
	text_add(out, span_of(id, MAILBOX_ID_BYTES));
	wire_add_u64(out, f->made, 8);
	wire_add_u64(out, f->covered, 8);
	wire_add_u64(out, f->count, 8);
	wire_add_u64(out, f->names_len, 8);
	wire_add_u64(out, f->tail_len, 8);
	wire_add_u64(out, f->modseq, 8);
	wire_add_u64(out, f->expunges, 8);
	wire_add_u64(out, f->inode, 8);
	wire_add_u64(out, f->garbage, 8);
	wire_add_u64(out, f->cache_made, 8);
	wire_add_u64(out, f->cache_covered, 8);
	wire_add_u32(out, f->uidnext, 4);
	wire_add_u32(out, f->recent_from, 4);
	wire_add_u64(out, (uint64_t)f->in_new.seconds, 8);
	wire_add_u32(out, f->in_new.nanoseconds, 4);
	wire_add_u64(out, (uint64_t)f->in_cur.seconds, 8);
	wire_add_u32(out, f->in_cur.nanoseconds, 4);
	wire_add_u8(out, f->stamped, 1);
	wire_add_u8(out, f->pending, 1);
	wire_add_u32(out, f->records_crc, 4);
	wire_add_u32(out, f->names_crc, 4);
	wire_add_u32(out, f->tail_crc, 4);
	wire_add_u32(out, crc32c(text_span(out)), 4);
	while (out->len < SNAPSHOT_HEADER)
		text_add_byte(out, 0);
}

static bool
take_stamp(struct span *in, struct index_stamp *stamp)
{
	uint64_t seconds;

	if (!wire_take_u64(in, &seconds, 8) || !wire_take_u32(in, &stamp->nanoseconds, 4))
		return false;
	stamp->seconds = (int64_t)seconds;
	return true;
}

static bool
take_facts(struct span *in, struct facts *f)
{
	return wire_take_u64(in, &f->made, 8) && wire_take_u64(in, &f->covered, 8) &&
		wire_take_u64(in, &f->count, 8) && wire_take_u64(in, &f->names_len, 8) &&
		wire_take_u64(in, &f->tail_len, 8) && wire_take_u64(in, &f->modseq, 8) &&
		wire_take_u64(in, &f->expunges, 8) && wire_take_u64(in, &f->inode, 8) &&
		wire_take_u64(in, &f->garbage, 8) && wire_take_u64(in, &f->cache_made, 8) &&
		wire_take_u64(in, &f->cache_covered, 8) && wire_take_u32(in, &f->uidnext, 4) &&
		wire_take_u32(in, &f->recent_from, 4) && take_stamp(in, &f->in_new) &&
		take_stamp(in, &f->in_cur) && wire_take_u8(in, &f->stamped, 1) &&
		wire_take_u8(in, &f->pending, 1) && wire_take_u32(in, &f->records_crc, 4) &&
		wire_take_u32(in, &f->names_crc, 4) && wire_take_u32(in, &f->tail_crc, 4);
}

static bool
header_read(struct span whole, const unsigned char id[MAILBOX_ID_BYTES], struct facts *f)
{
	struct span in = whole, found, found_id;
	uint32_t order, version, record, crc;

	return span_take_bytes(&in, sizeof(magic), &found) &&
		span_equal(found, span_of(magic, sizeof(magic))) &&
		wire_take_u32(&in, &order, 4) && order == BYTE_ORDER_MARK &&
		wire_take_u32(&in, &version, 4) && version == SNAPSHOT_VERSION &&
		wire_take_u32(&in, &record, 4) && record == sizeof(struct index_record) &&
		wire_take_u32(&in, &f->uidvalidity, 4) && f->uidvalidity != 0 &&
		span_take_bytes(&in, MAILBOX_ID_BYTES, &found_id) &&
		span_equal(found_id, span_of(id, MAILBOX_ID_BYTES)) && take_facts(&in, f) &&
		wire_take_u32(&in, &crc, 4) &&
		crc == crc32c(span_part(whole, 0, (size_t)(in.at - whole.at) - 4));
}

/* --- the tail --- */

static void
tail_write(const struct index *ix, struct text *out)
{
	const struct keywords *k = &ix->keywords;

	wire_add_u16(out, (uint16_t)k->count, 2);
	for (unsigned int i = 0; i < k->count; i++)
		wire_add_text(out, keywords_name(k, i), MOST_KEYWORD);
	wire_add_u32(out, k->set_count, 4);
	text_add(out, span_of(k->sets, k->set_count * sizeof(*k->sets)));
	wire_add_u64(out, ix->vanished.forgotten, 8);
	wire_add_u32(out, (uint32_t)ix->vanished.count, 4);
	for (size_t i = 0; i < ix->vanished.count; i++) {
		wire_add_u64(out, ix->vanished.at[i].modseq, 8);
		wire_add_u32(out, ix->vanished.at[i].from, 4);
		wire_add_u32(out, ix->vanished.at[i].to, 4);
	}
}

/* The sets get the numbers that they had. */
static bool
take_sets(struct span *in, struct keywords *k)
{
	struct keyword_bits bits;
	struct span bytes;
	uint32_t count;

	if (!wire_take_u32(in, &count, 4) || count == 0 ||
		!span_take_bytes(in, sizeof(bits), &bytes))
		return false;
	for (uint32_t i = 1; i < count; i++) {
		if (!span_take_bytes(in, sizeof(bits), &bytes))
			return false;
		memcpy(&bits, bytes.at, sizeof(bits));
		if (keywords_set(k, bits) != i)
			return false;
	}
	return true;
}

static bool
tail_read(struct span in, struct keywords *k, struct vanished *v)
{
	uint16_t words;
	struct span name;
	uint64_t modseq, forgotten;
	uint32_t count, from, to;

	if (!wire_take_u16(&in, &words, 2))
		return false;
	for (unsigned int i = 0; i < words; i++) {
		if (!wire_take_text(&in, &name, MOST_KEYWORD) || name.len == 0 ||
			keywords_add(k, name) == NO_KEYWORD)
			return false;
	}
	if (!take_sets(&in, k) || !wire_take_u64(&in, &forgotten, 8) ||
		!wire_take_u32(&in, &count, 4) || in.len != (uint64_t)count * 16)
		return false;
	vanished_forget(v, forgotten);
	while (wire_take_u64(&in, &modseq, 8) && wire_take_u32(&in, &from, 4) &&
		wire_take_u32(&in, &to, 4)) {
		if (from > to || (v->count > 0 && modseq < v->at[v->count - 1].modseq))
			return false;
		vanished_add(v, modseq, from, to);
	}
	return true;
}

/* --- checking --- */

static bool
record_is_sane(const struct index_record *r, const struct facts *f, uint32_t sets, uint32_t above)
{
	return r->uid > above && r->uid < f->uidnext && r->modseq <= f->modseq &&
		r->keywords < sets && r->name_len > 0 &&
		(uint64_t)r->name + r->name_len <= f->names_len;
}

static bool
records_are_sane(const struct index_record *at, const struct facts *f, uint32_t sets)
{
	uint32_t above = 0;

	if (crc32c_lanes(span_of(at, (size_t)f->count * sizeof(*at))) != f->records_crc)
		return false;
	for (uint64_t i = 0; i < f->count; i++) {
		if (!record_is_sane(&at[i], f, sets, above))
			return false;
		above = at[i].uid;
	}
	return true;
}

/* Neither a slash nor a NUL: what is in it can be no path. */
static bool
names_are_sane(struct span names, const struct facts *f)
{
	return crc32c_lanes(names) == f->names_crc && !span_has(names, '/') &&
		!span_has(names, '\0');
}

/* The header of a file that can be a snapshot of this index. */
static bool
facts_read(int fd, const struct index *ix, uint64_t made, uint64_t size, struct facts *f)
{
	unsigned char header[SNAPSHOT_HEADER];
	struct stat st;

	if (fstat(fd, &st) < 0 ||
		read_at(fd, header, sizeof(header), 0) != (ssize_t)sizeof(header) ||
		!header_read(span_of(header, sizeof(header)), ix->id, f))
		return false;
	if (made != 0 && (f->made != made || f->covered > size || f->covered < JOURNAL_HEADER))
		return false;
	return f->count <= MOST_MESSAGES && f->names_len <= UINT32_MAX && f->tail_len <= MOST_TAIL &&
		f->garbage <= f->names_len && f->uidnext > 0 &&
		(uint64_t)st.st_size == tail_at(f) + f->tail_len;
}

static bool
tail_load(int fd, const struct facts *f, struct keywords *k, struct vanished *v)
{
	unsigned char *bytes = must_alloc((size_t)f->tail_len + 1);
	struct span tail = span_of(bytes, (size_t)f->tail_len);
	bool good = read_at(fd, bytes, tail.len, (off_t)tail_at(f)) == (ssize_t)tail.len &&
		crc32c(tail) == f->tail_crc && tail_read(tail, k, v);

	free(bytes);
	return good;
}

/* --- mapping --- */

void
index_unmap(struct index_map *map)
{
	if (map->at != NULL)
		(void)munmap(map->at, map->len);
	*map = (struct index_map){ NULL, 0 };
}

/* The records, with room for some more behind them. */
static bool
map_records(int fd, const struct facts *f, struct index_map *map, size_t *room)
{
	size_t len = (size_t)f->count * sizeof(struct index_record);
	size_t more = (size_t)(f->count / 8 + 512);

	*room = (size_t)f->count + more;
	map->len = *room * sizeof(struct index_record);
	map->at = mmap(NULL, map->len, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map->at == MAP_FAILED) {
		map->at = NULL;
		return false;
	}
	/* Read-only at first: populated as writable, every page would be copied. */
	if (len > 0 && (mmap(map->at, len, PROT_READ, MAP_PRIVATE | MAP_FIXED | MAP_POPULATE, fd,
		(off_t)SECTION_ALIGN) == MAP_FAILED ||
		mprotect(map->at, len, PROT_READ | PROT_WRITE) < 0)) {
		index_unmap(map);
		return false;
	}
	return true;
}

/* Both, or none. */
static bool
map_both(int fd, const struct facts *f, struct index_map *records, struct index_map *names,
	size_t *room)
{
	*records = *names = (struct index_map){ NULL, 0 };
	if (!map_records(fd, f, records, room))
		return false;
	if (f->names_len == 0)
		return true;
	names->len = (size_t)f->names_len;
	names->at = mmap(NULL, names->len, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd,
		(off_t)names_at(f));
	if (names->at != MAP_FAILED)
		return true;
	names->at = NULL;
	index_unmap(records);
	return false;
}

/* The mappings take the place of what the index has in memory. */
static void
adopt(struct index *ix, const struct facts *f, struct index_map records, struct index_map names,
	size_t room)
{
	if (ix->records_map.at == NULL)
		free(ix->records);
	index_unmap(&ix->records_map);
	index_unmap(&ix->names_map);
	text_clear(&ix->names);
	ix->names = TEXT_UP_TO(UINT32_MAX);
	ix->records_map = records;
	ix->names_map = names;
	ix->records = records.at;
	ix->count = (size_t)f->count;
	ix->room = room;
	ix->old_names = span_of(names.at, names.len);
}

bool
snapshot_load(struct index *ix, uint64_t made, uint64_t size)
{
	int fd = open_in(ix->directory, SNAPSHOT_NAME, O_RDONLY, 0);
	struct index_map records = { NULL, 0 }, names = { NULL, 0 };
	struct keywords k;
	struct vanished v = { NULL, 0, 0, 0 };
	struct facts f;
	size_t room;
	bool good = false;

	if (fd < 0)
		return false;
	keywords_init(&k);
	if (facts_read(fd, ix, made, size, &f) && tail_load(fd, &f, &k, &v) &&
		map_both(fd, &f, &records, &names, &room)) {
		good = records_are_sane(records.at, &f, k.set_count) &&
			names_are_sane(span_of(names.at, names.len), &f);
		/* Names are looked at again only when files are. */
		if (names.at != NULL)
			(void)madvise(names.at, names.len, MADV_DONTNEED);
	}
	close(fd);
	if (!good) {
		index_unmap(&records);
		index_unmap(&names);
		keywords_clear(&k);
		vanished_clear(&v);
		return false;
	}
	adopt(ix, &f, records, names, room);
	keywords_clear(&ix->keywords);
	vanished_clear(&ix->vanished);
	ix->keywords = k;
	ix->vanished = v;
	ix->uidvalidity = f.uidvalidity;
	ix->uidnext = f.uidnext;
	ix->recent_from = f.recent_from;
	ix->modseq = f.modseq;
	ix->expunges = f.expunges;
	ix->inode = f.inode;
	ix->name_garbage = (size_t)f.garbage;
	ix->cache_made = f.cache_made;
	ix->cache_covered = ix->cache_known = f.cache_covered;
	ix->in_new = f.in_new;
	ix->in_cur = f.in_cur;
	ix->stamped = f.stamped == 1;
	ix->names_pending = f.pending == 1;
	ix->covered = f.covered;
	return true;
}

/* --- writing --- */

static bool
any_name_pending(const struct index *ix)
{
	for (size_t i = 0; i < ix->count; i++) {
		if (index_name_pending(&ix->records[i]))
			return true;
	}
	return false;
}

static int
write_at(int fd, struct span bytes, uint64_t at)
{
	return lseek(fd, (off_t)at, SEEK_SET) < 0 ? -1 : write_all(fd, bytes.at, bytes.len);
}

static int
sections_write(int fd, const struct index *ix, const struct facts *f, struct span tail)
{
	struct text header = TEXT_UP_TO(SNAPSHOT_HEADER);
	int result = -1;

	header_write(&header, f, ix->id);
	if (write_at(fd, text_span(&header), 0) == 0 &&
		write_at(fd, span_of(ix->records, ix->count * sizeof(*ix->records)),
		SECTION_ALIGN) == 0 &&
		write_at(fd, text_span(&ix->names), names_at(f)) == 0 &&
		write_at(fd, tail, tail_at(f)) == 0)
		result = 0;
	text_clear(&header);
	return result;
}

/* Old and new names in one piece. */
static void
join_names(struct index *ix)
{
	struct text all = TEXT_UP_TO(UINT32_MAX);

	if (ix->old_names.len == 0)
		return;
	text_add(&all, ix->old_names);
	text_add(&all, text_span(&ix->names));
	text_clear(&ix->names);
	index_unmap(&ix->names_map);
	ix->names = all;
	ix->old_names = SPAN_NONE;
}

int
snapshot_write(struct index *ix)
{
	struct text tail = TEXT_UP_TO(MOST_TAIL);
	struct index_map records, names;
	struct facts f = { .made = ix->journal_made, .covered = ix->journal_size,
		.count = ix->count, .names_len = ix->old_names.len + ix->names.len,
		.modseq = ix->modseq, .expunges = ix->expunges, .inode = ix->inode,
		.garbage = ix->name_garbage, .cache_made = ix->cache_made,
		.cache_covered = ix->cache_covered, .uidvalidity = ix->uidvalidity,
		.uidnext = ix->uidnext, .recent_from = ix->recent_from, .in_new = ix->in_new,
		.in_cur = ix->in_cur, .stamped = ix->stamped };
	size_t room;
	int fd = -1, result = -1;

	/* Lazy records, too, must be there before something stands for them. */
	ix->unsynced = true;
	if (index_sync(ix) < 0)
		return -1;
	tail_write(ix, &tail);
	f.pending = any_name_pending(ix);
	f.tail_len = tail.len;
	f.tail_crc = crc32c(text_span(&tail));
	f.records_crc = crc32c_lanes(span_of(ix->records, ix->count * sizeof(*ix->records)));
	join_names(ix);
	f.names_crc = crc32c_lanes(text_span(&ix->names));
	fd = open_in(ix->directory, SNAPSHOT_NEW, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || tail.failed || sections_write(fd, ix, &f, text_span(&tail)) < 0 ||
		renameat(ix->directory, SNAPSHOT_NEW, ix->directory, SNAPSHOT_NAME) < 0)
		goto out;
	ix->covered = f.covered;
	ix->cache_known = f.cache_covered;
	ix->names_pending = f.pending;
	/* What the file has need not be in memory twice. */
	if (map_both(fd, &f, &records, &names, &room))
		adopt(ix, &f, records, names, room);
	result = 0;
out:
	if (fd >= 0)
		close(fd);
	text_clear(&tail);
	return result;
}
