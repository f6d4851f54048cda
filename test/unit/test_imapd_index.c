/* The index on disk: snapshots, what vanished, the format of version 1, and every place where a
 * process can be killed or a byte can rot. */
#include "imapd_rig.h"

#include "common/beneath.h"
#include "common/crc32c.h"
#include "common/wire.h"
#include "imapd/index-record.h"
#include "imapd/name-table.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#define INDEX_DIRECTORY "30313233343536373839616263646566/"
#define MANY 3000u

/* --- files --- */

static size_t
read_file(struct place *p, const char *name, unsigned char **bytes)
{
	char path[100];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), INDEX_DIRECTORY "%s", name);
	fd = openat(p->store.private, path, O_RDONLY);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	*bytes = malloc((size_t)st.st_size + 1);
	assert_int_equal(read_at(fd, *bytes, (size_t)st.st_size, 0), st.st_size);
	close(fd);
	return (size_t)st.st_size;
}

static void
write_file(struct place *p, const char *name, const unsigned char *bytes, size_t len)
{
	char path[100];
	int fd;

	/* A new file: somebody may have the old one mapped. */
	snprintf(path, sizeof(path), INDEX_DIRECTORY "%s", name);
	(void)unlinkat(p->store.private, path, 0);
	fd = openat(p->store.private, path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write_all(fd, bytes, len), 0);
	close(fd);
}

static void
remove_file(struct place *p, const char *name)
{
	char path[100];

	snprintf(path, sizeof(path), INDEX_DIRECTORY "%s", name);
	assert_true(unlinkat(p->store.private, path, 0) == 0 || errno == ENOENT);
}

/* --- content --- */

static void
add_many(struct index *ix, unsigned int count)
{
	struct change c;
	char name[40];

	change_init(&c);
	for (unsigned int i = 0; i < count; i++) {
		struct index_record r = { .date = i, .saved = 2 * (int64_t)i, .size = 100 + i,
			.vsize = 200 + i, .thread = i % 7, .flags = (uint8_t)(i % 3 == 0 ?
			FLAG_SEEN : 0), .lower = i % 5 };

		snprintf(name, sizeof(name), "1700000000.M%uP1.host", i);
		change_add(&c, &r, span_str(name), NULL);
	}
	assert_int_equal(index_commit(ix, &c), 0);
	change_clear(&c);
}

/* Thousands of messages, some with keywords, with holes between them. */
static void
fill_many(struct index *ix)
{
	struct keyword_bits bits = { { 0 } };

	add_many(ix, MANY);
	assert_int_equal(index_keyword(ix, SPAN("Work"), true), 0);
	assert_int_equal(index_keyword(ix, SPAN("$Forwarded"), true), 1);
	bits.word[0] = 1;
	flag(ix, 10, 500, CHANGE_ADD, FLAG_FLAGGED, &bits);
	bits.word[0] = 3;
	flag(ix, 400, 450, CHANGE_ADD, 0, &bits);
	expunge(ix, 20, 29);
	expunge(ix, 1000, 1000);
}

static void
same_record(const struct index *a, const struct index *b, size_t i)
{
	struct index_record x = a->records[i], y = b->records[i];
	struct keyword_bits k = keywords_bits(&a->keywords, x.keywords);
	struct keyword_bits l = keywords_bits(&b->keywords, y.keywords);

	assert_true(span_equal(index_name(a, &a->records[i]), index_name(b, &b->records[i])));
	assert_memory_equal(&k, &l, sizeof(k));
	x.name = y.name = x.seen = y.seen = 0;
	x.keywords = y.keywords = 0;
	assert_memory_equal(&x, &y, sizeof(x));
}

static void
same(const struct index *a, const struct index *b)
{
	assert_int_equal(a->count, b->count);
	assert_int_equal(a->uidvalidity, b->uidvalidity);
	assert_int_equal(a->uidnext, b->uidnext);
	assert_int_equal(a->modseq, b->modseq);
	assert_int_equal(a->recent_from, b->recent_from);
	assert_int_equal(a->keywords.count, b->keywords.count);
	assert_int_equal(a->vanished.count, b->vanished.count);
	assert_int_equal(a->vanished.forgotten, b->vanished.forgotten);
	for (size_t i = 0; i < a->vanished.count; i++)
		assert_memory_equal(&a->vanished.at[i], &b->vanished.at[i], sizeof(*a->vanished.at));
	for (size_t i = 0; i < a->count; i++)
		same_record(a, b, i);
}

/* --- snapshots --- */

static void
test_a_snapshot_is_the_journal_replayed(void **state)
{
	struct place *p = *state;
	struct index replayed, mapped;

	assert_int_equal(open_index(p, &replayed, 77), 0);
	fill_many(&replayed);
	assert_null(replayed.records_map.at);
	index_close(&replayed);
	assert_int_equal(open_index(p, &replayed, 77), 0);
	assert_int_equal(open_index(p, &mapped, 77), 0);
	assert_int_equal(index_snapshot(&mapped), 0);
	assert_non_null(mapped.records_map.at);      /* what it has written it uses itself */
	same(&replayed, &mapped);
	index_close(&mapped);
	assert_int_equal(open_index(p, &mapped, 77), 0);
	assert_non_null(mapped.records_map.at);
	assert_int_equal(mapped.covered, mapped.journal_size);
	same(&replayed, &mapped);
	index_close(&mapped);
	index_close(&replayed);
}

/* Also when there is no room left in the mapping, and when mapped records move. */
static void
test_what_comes_behind_a_snapshot_is_replayed(void **state)
{
	struct place *p = *state;
	struct index replayed, mapped;

	assert_int_equal(open_index(p, &mapped, 77), 0);
	fill_many(&mapped);
	assert_int_equal(index_snapshot(&mapped), 0);
	flag(&mapped, 5, 2000, CHANGE_REPLACE, FLAG_DRAFT, NULL);
	expunge(&mapped, 100, 199);
	add_many(&mapped, 100);
	assert_non_null(mapped.records_map.at);
	add_many(&mapped, 3 * MANY);
	assert_null(mapped.records_map.at);
	expunge(&mapped, 3050, 3060);
	index_close(&mapped);
	assert_int_equal(open_index(p, &mapped, 77), 0);
	assert_true(mapped.covered > 0 && mapped.covered < mapped.journal_size);
	remove_file(p, SNAPSHOT_NAME);
	assert_int_equal(open_index(p, &replayed, 77), 0);
	assert_int_equal(replayed.covered, 0);
	same(&replayed, &mapped);
	index_close(&mapped);
	index_close(&replayed);
}

/* I4: whatever stands in the file: it is used whole and right, or not at all. */
static void
test_i4_a_damaged_snapshot_is_as_none(void **state)
{
	struct place *p = *state;
	struct index right, ix;
	unsigned char *bytes;
	size_t len, unused = 0;

	assert_int_equal(open_index(p, &right, 77), 0);
	fill_many(&right);
	assert_int_equal(index_snapshot(&right), 0);
	len = read_file(p, SNAPSHOT_NAME, &bytes);
	for (size_t at = 0; at < len; at += at < 300 ? 1 : 4093) {
		bytes[at] ^= 0x10;
		write_file(p, SNAPSHOT_NAME, bytes, len);
		bytes[at] ^= 0x10;
		assert_int_equal(open_index(p, &ix, 99), 0);
		unused += ix.covered == 0;
		same(&right, &ix);
		index_close(&ix);
	}
	assert_true(unused > 180);       /* gaps between sections do not count */
	for (size_t cut = 0; cut < len; cut += 1 + cut) {
		write_file(p, SNAPSHOT_NAME, bytes, cut);
		assert_int_equal(open_index(p, &ix, 99), 0);
		assert_int_equal(ix.covered, 0);
		same(&right, &ix);
		index_close(&ix);
	}
	free(bytes);
	index_close(&right);
}

/* With checksums that are right: what a hand could write. */
static void
seal_snapshot(unsigned char *bytes, size_t count, size_t crcs_at)
{
	uint32_t crc = crc32c_lanes(span_of(bytes + 65536, count * sizeof(struct index_record)));

	memcpy(bytes + crcs_at, &crc, 4);
	crc = crc32c(span_of(bytes, crcs_at + 12));
	memcpy(bytes + crcs_at + 12, &crc, 4);
}

static void
test_i4_a_snapshot_that_lies_is_as_none(void **state)
{
	/* magic, order, version, record size, uidvalidity, id, eleven u64, two u32, two stamps, two
	 * u8 */
	const size_t crcs_at = 8 + 4 * 4 + 16 + 11 * 8 + 2 * 4 + 2 * 12 + 2;
	struct place *p = *state;
	struct index right, ix;
	struct index_record *r;
	unsigned char *bytes;
	size_t len;

	assert_int_equal(open_index(p, &right, 77), 0);
	fill_many(&right);
	assert_int_equal(index_snapshot(&right), 0);
	len = read_file(p, SNAPSHOT_NAME, &bytes);
	r = (struct index_record *)(void *)(bytes + 65536);
	for (int lie = 0; lie < 7; lie++) {
		struct index_record whole = r[7];
		uint32_t version = lie == 1 ? 4 : SNAPSHOT_VERSION;

		r[7].uid = lie == 2 ? r[6].uid : lie == 3 ? UINT32_MAX : whole.uid;
		r[7].name = lie == 4 ? UINT32_MAX - 3 : whole.name;
		r[7].keywords = lie == 5 ? 1000 : whole.keywords;
		r[7].modseq = lie == 6 ? right.modseq + 1 : whole.modseq;
		memcpy(bytes + 12, &version, 4);
		seal_snapshot(bytes, right.count, crcs_at);
		write_file(p, SNAPSHOT_NAME, bytes, len);
		r[7] = whole;
		assert_int_equal(open_index(p, &ix, 99), 0);
		assert_int_equal(ix.covered > 0, lie == 0);
		same(&right, &ix);
		index_close(&ix);
	}
	free(bytes);
	index_close(&right);
}

/* Damage that the snapshot stands for does no harm; without it UIDs and modification sequences go
 * on above all that was told. */
static void
test_a_damaged_journal(void **state)
{
	struct place *p = *state;
	struct index right, ix;
	unsigned char *bytes;
	size_t len;
	uint64_t modseq;

	assert_int_equal(open_index(p, &right, 77), 0);
	fill_many(&right);
	assert_int_equal(index_snapshot(&right), 0);
	len = read_file(p, JOURNAL_NAME, &bytes);
	bytes[JOURNAL_HEADER + 1000] ^= 1;
	write_file(p, JOURNAL_NAME, bytes, len);
	assert_int_equal(open_index(p, &ix, 99), 0);
	assert_int_equal(ix.damaged, 0);
	same(&right, &ix);
	index_close(&ix);
	remove_file(p, SNAPSHOT_NAME);
	assert_int_equal(open_index(p, &ix, 99), 0);
	assert_true(ix.damaged > 0);
	assert_int_equal(ix.uidvalidity, 77);
	assert_int_equal(ix.count, right.count - 1);
	assert_true(ix.uidnext > right.uidnext && ix.modseq > right.modseq);
	/* Every client must ask for everything again. */
	assert_int_equal(ix.records[0].modseq, ix.modseq);
	assert_int_equal(ix.vanished.forgotten, ix.modseq);
	modseq = ix.modseq;
	index_close(&ix);
	assert_int_equal(open_index(p, &ix, 99), 0);
	assert_int_equal(ix.damaged, 0);         /* it was written anew */
	assert_int_equal(ix.modseq, modseq);
	assert_int_equal(ix.records[0].modseq, modseq);
	index_close(&ix);
	free(bytes);
	index_close(&right);
}

static void
test_a_lost_journal_comes_from_the_snapshot(void **state)
{
	struct place *p = *state;
	struct index right, ix;

	for (int way = 0; way < 2; way++) {
		assert_int_equal(open_index(p, &right, 77), 0);
		if (way == 0)
			fill_many(&right);
		right.covered = 0;
		assert_int_equal(index_snapshot(&right), 0);
		if (way == 0)
			remove_file(p, JOURNAL_NAME);
		else
			write_file(p, JOURNAL_NAME, (const unsigned char *)"rubbish", 7);
		assert_int_equal(open_index(p, &ix, 99), 0);
		assert_int_equal(ix.uidvalidity, 77);
		assert_int_equal(ix.count, right.count);
		for (size_t i = 0; i < ix.count; i++)
			assert_int_equal(ix.records[i].uid, right.records[i].uid);
		assert_true(ix.uidnext >= right.uidnext + 1000000);
		assert_true(ix.modseq > right.modseq);
		index_close(&ix);
		index_close(&right);
	}
}

/* A snapshot stands for one journal only. */
static void
test_a_snapshot_of_another_journal_is_as_none(void **state)
{
	struct place *p = *state;
	struct index ix, again;
	unsigned char *bytes;
	size_t len;

	assert_int_equal(open_index(p, &ix, 77), 0);
	fill_many(&ix);
	assert_int_equal(index_snapshot(&ix), 0);
	len = read_file(p, SNAPSHOT_NAME, &bytes);
	for (int i = 0; i < 50000; i++)
		flag(&ix, 1, 1, i % 2 ? CHANGE_ADD : CHANGE_REMOVE, FLAG_FLAGGED, NULL);
	assert_int_equal(index_compact(&ix), 0);
	assert_int_equal(ix.covered, 0);
	write_file(p, SNAPSHOT_NAME, bytes, len);
	assert_int_equal(open_index(p, &again, 77), 0);
	assert_int_equal(again.covered, 0);
	same(&ix, &again);
	index_close(&again);
	index_close(&ix);
	free(bytes);
}

/* --- what vanished --- */

static void
check_gone(const struct index *ix, uint64_t since, const char *expected)
{
	struct number_ranges gone = { NULL, 0, 0 };
	struct text out = TEXT_UP_TO(10000);

	index_vanished(ix, since, &gone);
	number_ranges_write(&gone, &out);
	assert_string_equal(text_str(&out), expected);
	text_clear(&out);
	number_ranges_clear(&gone);
}

static void
test_what_vanished_is_remembered(void **state)
{
	struct place *p = *state;
	struct index ix;
	uint64_t a, b, c;

	assert_int_equal(open_index(p, &ix, 77), 0);
	add_many(&ix, 20);
	a = ix.modseq;
	check_gone(&ix, a, "");
	expunge(&ix, 5, 7);
	b = ix.modseq;
	assert_true(b > a);
	expunge(&ix, 2, 2);
	expunge(&ix, 8, 9);
	c = ix.modseq;
	for (int round = 0; round < 3; round++) {
		check_gone(&ix, 0, "2,5:9");
		check_gone(&ix, a, "2,5:9");
		check_gone(&ix, b, "2,8:9");
		check_gone(&ix, c, "");
		check_gone(&ix, UINT64_MAX, "");
		if (round == 1) {     /* and it comes through a rewriting */
			for (int i = 0; i < 10000; i++)
				flag(&ix, 1, 1, i % 2 ? CHANGE_ADD : CHANGE_REMOVE, FLAG_SEEN, NULL);
			assert_int_equal(index_compact(&ix), 0);
			assert_true(ix.journal_size < 10000);
		}
		index_close(&ix);
		assert_int_equal(open_index(p, &ix, 77), 0);
	}
	index_close(&ix);
}

/* Of too many the oldest are forgotten: then more is told, never less. */
static void
test_what_vanished_is_bounded(void **state)
{
	struct number_ranges gone = { NULL, 0, 0 };
	struct vanished v = { NULL, 0, 0, 0 };
	struct index ix = { .uidnext = 3 * MOST_VANISHED };

	(void)state;
	for (uint32_t i = 1; i <= MOST_VANISHED + 10; i++)
		vanished_add(&v, i, 2 * i, 2 * i);
	assert_true(v.count <= MOST_VANISHED && v.count > MOST_VANISHED / 2);
	assert_true(v.forgotten > 0 && v.forgotten < MOST_VANISHED);
	assert_false(vanished_since(&v, v.forgotten - 1, &gone));
	assert_int_equal(gone.count, 0);
	assert_true(vanished_since(&v, v.forgotten, &gone));
	assert_int_equal(gone.count, v.count);
	number_ranges_clear(&gone);
	ix.vanished = v;
	index_vanished(&ix, 0, &gone);
	assert_int_equal(gone.count, 1);
	assert_int_equal(gone.at[0].from, 1);
	assert_int_equal(gone.at[0].to, ix.uidnext - 1);
	number_ranges_clear(&gone);
	vanished_clear(&v);
}

/* --- where a UID stands --- */

static void
test_find_with_holes(void **state)
{
	struct index_record records[300];
	struct index ix = { .records = records };
	uint32_t seed = 7;

	(void)state;
	for (int round = 0; round < 200; round++) {
		uint32_t uid = 1 + seed % 5, step = 1 + (uint32_t)round % 9;

		ix.count = (size_t)round % 300;
		for (size_t i = 0; i < ix.count; i++) {
			records[i].uid = uid;
			seed = seed * 1664525u + 1013904223u;
			uid += 1 + (seed >> 16) % step;
		}
		for (uint32_t u = 0; u < uid + 5; u++) {
			size_t expected = 0;

			while (expected < ix.count && records[expected].uid < u)
				expected++;
			assert_int_equal(index_from(&ix, u), expected);
		}
		assert_int_equal(index_from(&ix, UINT32_MAX), ix.count);
	}
}

/* --- names --- */

#define FLOOD 50000u

/* Microseconds to find each of FLOOD names, which `make` makes. */
static double
time_of_names(void (*make)(unsigned int n, char name[60]))
{
	struct index ix = { .uidnext = FLOOD + 1, .names = TEXT_UP_TO(UINT32_MAX) };
	struct name_table table = { NULL, 0, 0, 0 };
	struct timespec begun, ended;
	char name[60];

	ix.records = must_alloc(FLOOD * sizeof(*ix.records));
	for (; ix.count < FLOOD; ix.count++) {
		make((unsigned int)ix.count, name);
		ix.records[ix.count].uid = (uint32_t)ix.count + 1;
		ix.records[ix.count].name = (uint32_t)ix.names.len;
		ix.records[ix.count].name_len = (uint8_t)strlen(name);
		text_add_str(&ix.names, name);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begun);
	for (size_t i = 0; i < ix.count; i++)
		assert_int_equal(name_table_find(&table, &ix, index_name(&ix, &ix.records[i])), i);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
	name_table_clear(&table);
	free(ix.records);
	text_clear(&ix.names);
	return (double)(ended.tv_sec - begun.tv_sec) * 1e6 +
		(double)(ended.tv_nsec - begun.tv_nsec) / 1e3;
}

static void
random_name(unsigned int n, char name[60])
{
	snprintf(name, 60, "%08x%08x.M%uP1.host", n * 2654435761u, (n ^ 77u) * 2246822519u, n);
}

/* Collide under djb2 (times 33, plus the byte): "bA" and "ab" are the same to it. */
static void
colliding_name(unsigned int n, char name[60])
{
	size_t at = 0;

	for (unsigned int bit = 0; bit < 17; bit++) {
		name[at++] = n >> bit & 1 ? 'b' : 'a';
		name[at++] = n >> bit & 1 ? 'A' : 'b';
	}
	name[at] = '\0';
}

static uint32_t
djb2(const char *name)
{
	uint32_t h = 5381;

	while (*name != '\0')
		h = h * 33 + (unsigned char)*name++;
	return h;
}

static void
test_f7_hash_flooding(void **state)
{
	char a[60], b[60];
	double random, flood;

	(void)state;
	colliding_name(12345, a);
	colliding_name(4711, b);
	assert_int_equal(djb2(a), djb2(b));      /* they are what they are meant to be */
	random = time_of_names(random_name);
	flood = time_of_names(colliding_name);
	assert_true(flood < 3 * random + 20000);
}

/* --- version 1 --- */

static void
old_record(struct text *out, struct text *payload)
{
	wire_add_u32(out, (uint32_t)payload->len, 4);
	wire_add_u32(out, crc32c(text_span(payload)), 4);
	text_add(out, text_span(payload));
	text_reset(payload);
}

/* As the first version wrote it: ADD twice, KEYWORD, FLAGS, FACTS. */
static void
write_old_journal(struct place *p)
{
	static const char *const names[] = { "1.a.host", "2.b.host" };
	struct text out = TEXT_UP_TO(10000), payload = TEXT_UP_TO(10000);

	text_add(&out, SPAN("VALIJAJ1"));
	wire_add_u32(&out, 0x01020304, 4);
	wire_add_u32(&out, 1, 4);
	wire_add_u32(&out, 4711, 4);
	wire_add_u32(&out, 0, 4);
	text_add(&out, span_of(id, sizeof(id)));
	wire_add_u64(&out, 1700000000, 8);
	wire_add_u32(&out, crc32c(text_span(&out)), 4);
	while (out.len < JOURNAL_HEADER)
		text_add_byte(&out, 0);
	for (uint32_t i = 0; i < 2; i++) {
		wire_add_u8(&payload, 1, 1);
		wire_add_u64(&payload, 2 + i, 8);
		wire_add_u32(&payload, 7 + i, 4);
		wire_add_u8(&payload, 0, 1);
		wire_add_u8(&payload, 0, 1);
		wire_add_u32(&payload, 0, 4);
		wire_add_u64(&payload, 1600000000 + i, 8);
		wire_add_u64(&payload, 500, 8);
		wire_add_u64(&payload, 510, 8);
		wire_add_text(&payload, span_str(names[i]), 255);
		wire_add_u16(&payload, 0, 2);
		old_record(&out, &payload);
	}
	wire_add_u8(&payload, 4, 1);
	wire_add_u16(&payload, 0, 2);
	wire_add_text(&payload, SPAN("Work"), 100);
	old_record(&out, &payload);
	wire_add_u8(&payload, 2, 1);
	wire_add_u64(&payload, 9, 8);
	wire_add_u8(&payload, 0, 1);
	wire_add_u8(&payload, FLAG_SEEN, 1);
	wire_add_u16(&payload, 1, 2);
	wire_add_u16(&payload, 0, 2);
	wire_add_u32(&payload, 1, 4);
	wire_add_u32(&payload, 8, 4);
	wire_add_u32(&payload, 8, 4);
	old_record(&out, &payload);
	wire_add_u8(&payload, 5, 1);
	wire_add_u32(&payload, 7, 4);
	wire_add_u64(&payload, 1500000000, 8);
	wire_add_u64(&payload, 600, 8);
	wire_add_u64(&payload, 610, 8);
	old_record(&out, &payload);
	write_file(p, JOURNAL_NAME, out.at, out.len);
	text_clear(&out);
	text_clear(&payload);
}

static void
check_old(const struct index *ix)
{
	unsigned char email[EMAIL_ID_BYTES];

	assert_int_equal(ix->uidvalidity, 4711);
	assert_int_equal(ix->count, 2);
	assert_int_equal(ix->uidnext, 9);
	assert_int_equal(ix->modseq, 9);
	assert_int_equal(ix->records[0].uid, 7);
	assert_int_equal(ix->records[0].date, 1500000000);
	assert_int_equal(ix->records[0].vsize, 610);
	assert_true(ix->records[0].saved == UNKNOWN_DATE);
	assert_int_equal(ix->records[1].flags, FLAG_SEEN);
	assert_int_equal(ix->records[1].modseq, 9);
	assert_true(keywords_has(&ix->keywords, ix->records[1].keywords, 0));
	email_id_of_name(SPAN("1.a.host"), email);
	assert_memory_equal(ix->records[0].email, email, sizeof(email));
	assert_memory_not_equal(ix->records[1].email, email, sizeof(email));
}

static void
test_version_1_is_read_and_written_anew(void **state)
{
	struct place *p = *state;
	unsigned char *bytes;
	struct index ix;
	uint32_t version;

	assert_int_equal(open_index(p, &ix, 77), 0);
	index_close(&ix);
	write_old_journal(p);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(open_index(p, &ix, 99), 0);
		assert_int_equal(ix.damaged, 0);
		check_old(&ix);
		index_close(&ix);
		(void)read_file(p, JOURNAL_NAME, &bytes);
		memcpy(&version, bytes + 12, 4);
		assert_int_equal(version, 2);
		free(bytes);
	}
}

/* --- killed --- */

/* Runs `work` in a process that is killed as its `nth` system call begins. True: it came to its end
 * before. */
static bool
killed_at(int nth, void (*work)(struct place *p), struct place *p)
{
	pid_t child = fork();
	int status, calls = 0;

	assert_true(child >= 0);
	if (child == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(1);
		(void)raise(SIGSTOP);
		work(p);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESYSGOOD), 0);
	for (;;) {
		assert_int_equal(ptrace(PTRACE_SYSCALL, child, NULL, NULL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		if (WIFEXITED(status)) {
			assert_int_equal(WEXITSTATUS(status), 0);
			return true;
		}
		/* Entry and exit are told alike: entries are the odd ones. */
		if (WIFSTOPPED(status) && WSTOPSIG(status) == (SIGTRAP | 0x80) &&
			++calls == 2 * nth - 1) {
			assert_int_equal(kill(child, SIGKILL), 0);
			assert_int_equal(waitpid(child, &status, 0), child);
			return false;
		}
	}
}

static void
work_compact(struct place *p)
{
	struct index ix;

	if (open_index(p, &ix, 99) < 0)
		_exit(2);
	for (int i = 0; i < 10; i++)
		flag(&ix, 1, 1, i % 2 ? CHANGE_ADD : CHANGE_REMOVE, FLAG_DELETED, NULL);
	if (index_compact(&ix) < 0 || index_snapshot(&ix) < 0)
		_exit(3);
}

/* Journal written anew, snapshot made: killed at each step, nothing changes but the one flag. */
static void
test_killed_at_each_step_of_compaction(void **state)
{
	struct place *p = *state;
	struct index right, ix;
	bool ended = false;
	int steps = 0;

	assert_int_equal(open_index(p, &right, 77), 0);
	fill_many(&right);
	for (int i = 0; i < 50000; i++)
		flag(&right, 1, 1, i % 2 ? CHANGE_ADD : CHANGE_REMOVE, FLAG_FLAGGED, NULL);
	assert_int_equal(index_sync(&right), 0);
	while (!ended) {
		ended = killed_at(++steps, work_compact, p);
		assert_int_equal(open_index(p, &ix, 99), 0);
		assert_int_equal(ix.uidvalidity, 77);
		assert_int_equal(ix.damaged, 0);
		assert_int_equal(ix.count, right.count);
		assert_true(ix.modseq >= right.modseq);
		for (size_t i = 1; i < ix.count; i++)
			same_record(&ix, &right, i);
		assert_int_equal(ix.vanished.count, right.vanished.count);
		index_close(&ix);
	}
	assert_true(steps > 20);
	index_close(&right);
}

/* The journal of messages that come and go: each is there or not, whole, and UIDs ascend. */
static void
work_change(struct place *p)
{
	struct index ix;

	if (open_index(p, &ix, 99) < 0)
		_exit(2);
	add(&ix, "another", 0);
	if (index_sync(&ix) < 0)
		_exit(3);
	flag(&ix, ix.uidnext - 1, ix.uidnext - 1, CHANGE_ADD, FLAG_SEEN, NULL);
	if (index_sync(&ix) < 0)
		_exit(4);
	expunge(&ix, ix.uidnext - 1, ix.uidnext - 1);
	if (index_sync(&ix) < 0)
		_exit(5);
}

static void
test_killed_at_each_step_of_a_change(void **state)
{
	struct place *p = *state;
	uint32_t uidnext = 0;
	uint64_t modseq = 0;
	bool ended = false;
	struct index ix;

	assert_int_equal(open_index(p, &ix, 77), 0);
	index_close(&ix);
	for (int step = 1; !ended; step++) {
		ended = killed_at(step, work_change, p);
		assert_int_equal(open_index(p, &ix, 77), 0);
		assert_int_equal(ix.damaged, 0);
		assert_int_equal(ix.uidvalidity, 77);
		assert_true(ix.uidnext >= uidnext && ix.modseq >= modseq);
		for (size_t i = 1; i < ix.count; i++)
			assert_true(ix.records[i].uid > ix.records[i - 1].uid);
		uidnext = ix.uidnext;
		modseq = ix.modseq;
		index_close(&ix);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_snapshot_is_the_journal_replayed),
		TEST(test_what_comes_behind_a_snapshot_is_replayed),
		TEST(test_i4_a_damaged_snapshot_is_as_none),
		TEST(test_i4_a_snapshot_that_lies_is_as_none),
		TEST(test_a_damaged_journal),
		TEST(test_a_lost_journal_comes_from_the_snapshot),
		TEST(test_a_snapshot_of_another_journal_is_as_none),
		TEST(test_what_vanished_is_remembered),
		cmocka_unit_test(test_what_vanished_is_bounded),
		cmocka_unit_test(test_find_with_holes),
		cmocka_unit_test(test_f7_hash_flooding),
		TEST(test_version_1_is_read_and_written_anew),
		TEST(test_killed_at_each_step_of_compaction),
		TEST(test_killed_at_each_step_of_a_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
