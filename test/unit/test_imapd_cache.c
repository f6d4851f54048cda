/* The cache of what was computed of messages: right, or absent, whatever its file holds. */
#include "imapd_rig.h"

#include "common/beneath.h"
#include "common/crc32c.h"
#include "imapd/bodystructure.h"
#include "imapd/cache-file.h"
#include "imapd/envelope.h"
#include "imapd/preview.h"
#include "imapd/section.h"

#include <errno.h>
#include <stdio.h>

/* Ordinary, and as odd as headers come. */
static const char *const messages[] = {
	"Subject: one\r\nFrom: a@example.com\r\nX-A: 1\r\nX-A: 2\r\n\r\nbody\r\n",
	"subject: two\r\n folded\r\nTO: b@example.com\r\n\r\n",
	"no header at all\r\n\r\nSubject: not one\r\n",
	"From a@example.com Thu Jan  1 00:00:00 1970\r\nSubject: mbox\r\n\r\nx\r\n",
	"Subject: without an end",
	"Subject: bare\nFrom: lf@example.com\n\nlines\n",
	"From: c@example.com\r\nrubbish\r\nSubject: behind rubbish\r\n\r\nx\r\n",
	("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n"
	 "Content-Type: text/html\r\n\r\ntwo\r\n--b--\r\n"),
	"\r\nbody alone\r\n",
};
#define MESSAGES (sizeof(messages) / sizeof(messages[0]))
#define ALL_ITEMS (CACHE_HAS(CACHE_ITEMS) - 1)

static struct mailbox *
fill(struct place *p)
{
	char name[60];

	for (size_t i = 0; i < MESSAGES; i++) {
		int fd;

		snprintf(name, sizeof(name), "cur/%zu.M1P1.host:2,", i + 1);
		fd = openat(p->maildir, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
		assert_true(fd >= 0);
		assert_int_equal(write_all(fd, messages[i], strlen(messages[i])), 0);
		close(fd);
	}
	return mailbox_open(&p->store, "");
}

/* All closed and written down, and opened again. */
static struct mailbox *
again(struct place *p, struct mailbox **m)
{
	mailbox_release(m);
	store_close_quiet(&p->store, 0);
	return mailbox_open(&p->store, "");
}

/* As the message itself says. */
static void
check_against_mail(struct mailbox *m, uint32_t uid, const struct cached *got)
{
	static const char *const sections[] = { "[HEADER.FIELDS (Subject)]",
		"[HEADER.FIELDS (X-A FROM)]", "[HEADER.FIELDS (subject missing to)]<3.20>" };
	struct text expected = TEXT_UP_TO(100000), store = TEXT_UP_TO(0), other = TEXT_UP_TO(0);
	struct change learned;
	struct mail mail;

	change_init(&learned);
	assert_int_equal(mail_open(m, uid, &learned, &mail), 0);
	envelope_write(mail.header, &expected);
	assert_true(span_equal(text_span(&expected), got->item[CACHE_ENVELOPE]));
	text_reset(&expected);
	bodystructure_write(mail_mime(&mail), true, &expected);
	assert_true(span_equal(text_span(&expected), got->item[CACHE_STRUCTURE]));
	text_reset(&expected);
	bodystructure_write(mail_mime(&mail), false, &expected);
	assert_true(span_equal(text_span(&expected), got->item[CACHE_BODY]));
	text_reset(&expected);
	preview_write(mail_mime(&mail), &expected);
	assert_true(span_equal(text_span(&expected), got->item[CACHE_PREVIEW]));
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		struct span in = span_str(sections[i]), from_mail, from_cache;
		struct section section;
		const char *wrong;

		assert_true(section_take(&in, &section, &wrong));
		assert_true(section_find(&section, mail.bytes, NULL, &store, &from_mail));
		assert_true(section_find(&section, got->header, NULL, &other, &from_cache));
		assert_true(span_equal(from_mail, from_cache));
		section_clear(&section);
	}
	text_clear(&expected);
	text_clear(&store);
	text_clear(&other);
	mail_close(&mail);
	change_clear(&learned);
}

static uint64_t
some_names(struct mailbox *m)
{
	static const char *const names[] = { "Subject", "From", "To", "X-A", "Missing" };
	uint64_t bits = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		bits |= cache_name(m, span_str(names[i]));
	return bits;
}

static void
check_all(struct mailbox *m)
{
	struct change learned;
	struct cached got;

	change_init(&learned);
	for (size_t i = 0; i < m->index.count; i++) {
		uint32_t uid = m->index.records[i].uid;

		assert_true(cache_get(m, uid, ALL_ITEMS, some_names(m), &learned, &got));
		check_against_mail(m, uid, &got);
	}
	change_clear(&learned);
}

static void
test_it_says_what_the_message_says(void **state)
{
	struct place *p = *state;
	struct mailbox *m = fill(p);

	check_all(m);       /* computed */
	check_all(m);       /* not written yet */
	cache_flush(m);
	check_all(m);       /* from the file */
	m = again(p, &m);
	check_all(m);
	mailbox_release(&m);
}

/* Nothing is opened for what is there. */
static void
test_it_needs_no_message(void **state)
{
	struct place *p = *state;
	struct mailbox *m = fill(p);
	struct change learned;
	struct cached got;

	change_init(&learned);
	check_all(m);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(renameat(p->maildir, "cur/1.M1P1.host:2,", p->maildir, "tmp/x"), 0);
		assert_true(cache_get(m, 1, CACHE_HAS(CACHE_ENVELOPE), some_names(m), &learned, &got));
		assert_true(span_find(got.item[CACHE_ENVELOPE], SPAN("\"one\"")) <
			got.item[CACHE_ENVELOPE].len);
		assert_true(cache_get(m, 1, CACHE_HAS(CACHE_PREVIEW), 0, &learned, &got));
		assert_true(span_equal(got.item[CACHE_PREVIEW], SPAN("body")));
		assert_int_equal(renameat(p->maildir, "tmp/x", p->maildir, "cur/1.M1P1.host:2,"), 0);
		m = again(p, &m);
	}
	change_clear(&learned);
	mailbox_release(&m);
}

/* --- files --- */

static size_t
read_cache(struct mailbox *m, unsigned char **bytes)
{
	int fd = openat(m->index.directory, CACHE_NAME, O_RDONLY);
	struct stat st;

	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	*bytes = malloc((size_t)st.st_size + 1);
	assert_int_equal(read_at(fd, *bytes, (size_t)st.st_size, 0), st.st_size);
	close(fd);
	return (size_t)st.st_size;
}

static void
write_cache(struct mailbox *m, const unsigned char *bytes, size_t len)
{
	int fd = openat(m->index.directory, CACHE_NAME, O_WRONLY | O_TRUNC | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write_all(fd, bytes, len), 0);
	close(fd);
}

/* The content changes under an open cache, and is there at the next opening too. */
static void
test_i4_damaged_records_are_as_absent(void **state)
{
	struct place *p = *state;
	struct mailbox *m = fill(p);
	unsigned char *bytes;
	size_t len;

	check_all(m);
	cache_flush(m);
	len = read_cache(m, &bytes);
	for (size_t at = 0; at < len; at += at < 200 || at > CACHE_HEADER_BYTES ? 3 : 1001) {
		bytes[at] ^= 0x55;
		write_cache(m, bytes, len);
		bytes[at] ^= 0x55;
		if (at % 2 == 0)
			m = again(p, &m);
		else
			cache_flush(m);
		check_all(m);
	}
	for (size_t cut = 0; cut < len; cut += 1 + cut / 3) {
		write_cache(m, bytes, cut);
		if (cut % 2 == 0)
			m = again(p, &m);
		check_all(m);
	}
	free(bytes);
	mailbox_release(&m);
}

static void
seal(unsigned char *bytes)
{
	uint32_t crc = crc32c(span_of(bytes, CACHE_HEADER_BYTES - 4));

	memcpy(bytes + CACHE_HEADER_BYTES - 4, &crc, 4);
}

/* With right checksums: another version, another mailbox, another UIDVALIDITY; a message's record in
 * the place of another's; one that says it is longer than it may be. */
static void
test_i4_records_that_lie_are_as_absent(void **state)
{
	struct place *p = *state;
	struct mailbox *m = fill(p);
	unsigned char *bytes, *lie;
	size_t len;

	check_all(m);
	cache_flush(m);
	len = read_cache(m, &bytes);
	lie = malloc(len + 300000);
	for (int i = 0; i < 6; i++) {
		uint32_t uid = 2, size = MOST_CACHE_RECORD + 1, crc;
		size_t more = 0;

		memcpy(lie, bytes, len);
		if (i == 0)
			lie[12] ^= 1;
		else if (i == 1)
			lie[16] ^= 1;
		else if (i == 2)
			lie[20] ^= 1;
		else if (i == 3) {
			memcpy(&size, lie + CACHE_HEADER_BYTES, 4);
			memcpy(lie + CACHE_HEADER_BYTES + 8, &uid, 4);
			crc = crc32c(span_of(lie + CACHE_HEADER_BYTES + 8, size));
			memcpy(lie + CACHE_HEADER_BYTES + 4, &crc, 4);
		} else if (i == 4) {
			more = 200000;
			memset(lie + CACHE_HEADER_BYTES + 8, 'x', size);
			crc = crc32c(span_of(lie + CACHE_HEADER_BYTES + 8, size));
			memcpy(lie + CACHE_HEADER_BYTES, &size, 4);
			memcpy(lie + CACHE_HEADER_BYTES + 4, &crc, 4);
		} else {
			/* items longer than the record */
			memcpy(&size, lie + CACHE_HEADER_BYTES, 4);
			memset(lie + CACHE_HEADER_BYTES + 8 + CACHE_FIXED, 0xff, 4);
			crc = crc32c(span_of(lie + CACHE_HEADER_BYTES + 8, size));
			memcpy(lie + CACHE_HEADER_BYTES + 4, &crc, 4);
		}
		seal(lie);
		write_cache(m, lie, len + more);
		if (i < 3)
			m = again(p, &m);
		else
			cache_flush(m);
		check_all(m);
		write_cache(m, lie, len + more);
		m = again(p, &m);
		check_all(m);
	}
	free(bytes);
	free(lie);
	mailbox_release(&m);
}

static void
test_a_deleted_file_is_made_again(void **state)
{
	struct place *p = *state;
	struct mailbox *m = fill(p);
	struct stat st;

	check_all(m);
	cache_flush(m);
	assert_int_equal(unlinkat(m->index.directory, CACHE_NAME, 0), 0);
	check_all(m);
	m = again(p, &m);
	check_all(m);
	assert_int_equal(fstatat(m->index.directory, CACHE_NAME, &st, 0), 0);
	m = again(p, &m);
	check_all(m);
	mailbox_release(&m);
}

/* What it needs while it is asked is bounded by one block and what is written in one go; when the mailbox is quiet it
 * needs nothing. */
static void
test_memory_is_given_back(void **state)
{
	const size_t most = 2 * MOST_CACHE_RECORD + 256 * 1024;
	struct place *p = *state;
	struct mailbox *m = fill(p);
	const struct cache *c = NULL;

	for (int i = 0; i < 500; i++) {
		check_all(m);
		c = m->cache;
		assert_true(c->block_room <= most && c->pending.room <= 2 * most);
		for (size_t k = 0; k < m->index.count; k++)
			m->index.records[k].cache = 0;       /* as if it had none of them yet */
	}
	cache_flush(m);
	check_all(m);
	assert_true(c->size > most);                         /* more than once was written */
	mailbox_tidy(m);
	assert_true(m->cache == c && c->block == NULL && c->block_room == 0);
	assert_true(c->pending.room == 0 && c->work.room == 0);
	check_all(m);
	mailbox_release(&m);
}

/* P5-like: a client that names fields without end fills no table, and still gets its answer. */
static void
test_names_are_bounded(void **state)
{
	struct place *p = *state;
	struct mailbox *m = fill(p);
	const char *fields[1] = { "X-A" };
	struct change learned;
	struct span header;
	char name[80];

	change_init(&learned);
	for (int i = 0; i < MOST_CACHE_NAMES; i++) {
		snprintf(name, sizeof(name), "X-%d", i);
		assert_true(cache_name(m, span_str(name)) == (uint64_t)1 << i);
	}
	assert_true(cache_name(m, SPAN("x-63")) == (uint64_t)1 << 63);
	assert_true(cache_name(m, SPAN("Other")) == 0);
	assert_true(cache_names(m, fields, 1) == 0);
	memset(name, 'x', sizeof(name));
	assert_true(cache_name(m, span_of(name, MOST_CACHE_NAME + 1)) == 0);
	assert_true(cache_lines(m, 1, cache_names(m, fields, 1), &learned, &header));
	assert_true(span_find(header, SPAN("X-A: 2")) < header.len);
	m = again(p, &m);
	assert_true(cache_name(m, SPAN("X-63")) == (uint64_t)1 << 63);
	assert_true(cache_lines(m, 1, cache_names(m, fields, 1), &learned, &header));
	assert_true(span_find(header, SPAN("X-A: 2")) < header.len);
	change_clear(&learned);
	mailbox_release(&m);
}

/* What belongs to no message any more goes at the closing. */
static void
test_it_is_compacted(void **state)
{
	struct place *p = *state;
	struct mailbox *m = fill(p);
	unsigned char *bytes;
	size_t len, before;
	struct cached got;
	struct change learned;

	change_init(&learned);
	check_all(m);
	for (int i = 0; i < 1100; i++) {
		m->index.records[0].cache = 0;      /* as if it had been damaged */
		assert_true(cache_get(m, 1, ALL_ITEMS, 0, &learned, &got));
	}
	cache_flush(m);
	before = read_cache(m, &bytes);
	free(bytes);
	m = again(p, &m);
	len = read_cache(m, &bytes);
	free(bytes);
	assert_true(len < before / 10 && len > CACHE_HEADER_BYTES);
	check_all(m);
	assert_int_equal(read_cache(m, &bytes), len);      /* nothing had to be added */
	free(bytes);
	change_clear(&learned);
	mailbox_release(&m);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_it_says_what_the_message_says),
		TEST(test_it_needs_no_message),
		TEST(test_i4_damaged_records_are_as_absent),
		TEST(test_i4_records_that_lie_are_as_absent),
		TEST(test_a_deleted_file_is_made_again),
		TEST(test_memory_is_given_back),
		TEST(test_names_are_bounded),
		TEST(test_it_is_compacted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
