/* What was worked out at delivery: right, or as if it were not there, whatever lies in its file. */
#include "imapd_rig.h"

#include "common/beneath.h"
#include "common/wire.h"
#include "imapd/gist-record.h"
#include "imapd/header.h"

#include <errno.h>
#include <stdio.h>

#define ALL_ITEMS (CACHE_HAS(CACHE_ITEMS) - 1)
#define FILE_SIZE_LIMIT ((off_t)1 << 40)

static const char *const messages[] = {
	"Subject: one\r\nFrom: a@example.com\r\nX-A: 1\r\nX-A: 2\r\n\r\nbody\r\n",
	"subject: two\r\n folded\r\nTO: \"q \\\" q\" <b@example.com>\r\n\r\n",
	"no header at all\r\n\r\nSubject: not one\r\n",
	"Subject: without an end",
	"From: =?utf-8?q?=C3=A9?= <c@example.com>\r\nSubject: 8 bit \xc3\xa9 and \xff\r\n\r\nx\r\n",
	("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n"
	 "Content-Type: text/html; name=\"{3}\\\\\"\r\nContent-Description: 8 \xe4\r\n\r\ntwo\r\n--b--\r\n"),
	"\r\nbody alone\r\n",
	"Subject: a\ttab and \x7f\r\nFrom: \"a\tb\" <c@example.com>\r\n\r\nx\r\n",
	"Subject: {5}\r\nContent-Type: message/rfc822\r\n\r\nSubject: (inner\r\n\r\nx\r\n",
};
#define MESSAGES (sizeof(messages) / sizeof(messages[0]))

static const char *const fields[] = { "Subject", "From", "To", "X-A", "Missing" };

static void
put(struct place *p, const char *directory, size_t n, const char *text)
{
	char name[60];
	int fd;

	snprintf(name, sizeof(name), "%s/%zu.M1P1.host%s", directory, n, directory[0] == 'c' ? ":2," : "");
	fd = openat(p->maildir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static void
close_box(struct place *p, struct mailbox **m)
{
	mailbox_release(m);
	store_close_quiet(&p->store, 0);
}

static bool
get(struct mailbox *m, uint32_t uid, unsigned int items, struct cached *got)
{
	struct change learned;
	bool good;

	change_init(&learned);
	good = cache_get(m, uid, items, cache_names(m, fields, 5), &learned, got);
	change_clear(&learned);
	return good;
}

/* A client has asked for everything, and left: the header of the cache tells. */
static void
ask_once(struct place *p, unsigned char wishes[CACHE_HEADER_BYTES])
{
	struct mailbox *m;
	struct cached got;
	int fd;

	put(p, "cur", 100, "Subject: before\r\n\r\n");
	m = mailbox_open(&p->store, "");
	assert_non_null(m);
	assert_true(get(m, m->index.records[0].uid, ALL_ITEMS, &got));
	cache_flush(m);
	fd = openat(m->index.directory, CACHE_NAME, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(read_at(fd, wishes, CACHE_HEADER_BYTES, 0), CACHE_HEADER_BYTES);
	close(fd);
	close_box(p, &m);
}

static int
index_directory(struct place *p)
{
	char id_text[2 * MAILBOX_ID_BYTES + 2] = "";
	int fd = openat(p->maildir, MAILBOX_ID_FILE, O_RDONLY), directory;

	assert_true(fd >= 0 && read_at(fd, id_text, 2 * MAILBOX_ID_BYTES, 0) == 2 * MAILBOX_ID_BYTES);
	close(fd);
	directory = openat(p->store.private, id_text, O_RDONLY | O_DIRECTORY);
	assert_true(directory >= 0);
	return directory;
}

static void
write_filled(struct place *p, struct span bytes)
{
	int directory = index_directory(p);
	int fd = openat(directory, FILLED_NAME, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0 && write_all(fd, bytes.at, bytes.len) == 0);
	close(fd);
	close(directory);
}

static bool
filled_is_there(struct place *p)
{
	int directory = index_directory(p);
	struct stat st;
	bool is = fstatat(directory, FILLED_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0;

	close(directory);
	return is;
}

/* As local writes it, about message `n`. */
static void
add_record(struct text *out, const unsigned char *wishes, size_t n, const char *text)
{
	struct text gist = TEXT_UP_TO(MOST_FILLED_GIST);
	char name[60];

	snprintf(name, sizeof(name), "%zu.M1P1.host", n);
	assert_true(gist_make(span_of(wishes, CACHE_HEADER_BYTES), span_str(text), &gist));
	assert_true(filled_add(out, &(struct filled){ span_str(name), text_span(&gist) }));
	text_clear(&gist);
}

static uint32_t
uid_of(struct mailbox *m, size_t n)
{
	char name[60];
	size_t at;

	snprintf(name, sizeof(name), "%zu.M1P1.host", n);
	at = name_table_find(&m->names, &m->index, span_str(name));
	assert_true(at != NO_RECORD);
	return m->index.records[at].uid;
}

/* What is got is what the text says. */
static void
check(struct mailbox *m, size_t n, const char *text, const struct cached *got)
{
	struct text payload = TEXT_UP_TO(1000000);
	struct span message = span_str(text);
	struct cached expected;

	cache_payload_write(m->cache, 7, ALL_ITEMS, message, span_part(message, 0, header_length(message)), &payload);
	assert_true(cache_payload_read(text_span(&payload), 7, &expected));
	for (unsigned int i = 0; i < CACHE_ITEMS; i++)
		assert_true(span_equal(expected.item[i], got->item[i]));
	assert_true(span_equal(expected.header, got->header));
	text_clear(&payload);
	(void)n;
}

/* The files say something else by now: what is answered was worked out before, and the messages are not opened. */
static void
test_answers_come_from_what_was_filled(void **state)
{
	struct place *p = *state;
	unsigned char wishes[CACHE_HEADER_BYTES];
	struct text all = TEXT_UP_TO(MOST_FILLED);
	struct mailbox *m;
	struct cached got;

	ask_once(p, wishes);
	for (size_t n = 0; n < MESSAGES; n++) {
		add_record(&all, wishes, n, messages[n]);
		put(p, "new", n, "Subject: another\r\n\r\n");
	}
	write_filled(p, text_span(&all));
	for (int round = 0; round < 3; round++) {
		m = mailbox_open(&p->store, "");
		assert_int_equal(filled_is_there(p), round == 0);      /* only when somebody asks */
		for (size_t n = 0; n < MESSAGES; n++) {
			assert_true(get(m, uid_of(m, n), ALL_ITEMS, &got));
			check(m, n, messages[n], &got);
		}
		assert_false(filled_is_there(p));
		close_box(p, &m);
	}
	text_clear(&all);
}

/* It comes while the mailbox is open, with a message that we know already, and with the next. */
static void
test_it_is_looked_for_when_mail_came(void **state)
{
	struct place *p = *state;
	unsigned char wishes[CACHE_HEADER_BYTES];
	struct text all = TEXT_UP_TO(MOST_FILLED);
	struct mailbox *m;
	struct cached got;

	ask_once(p, wishes);
	m = mailbox_open(&p->store, "");
	for (size_t n = 0; n < 4; n++) {
		put(p, "new", n, "Subject: another\r\n\r\n");
		m->check_new = true;
		assert_int_equal(mailbox_refresh(m), 0);
		text_reset(&all);
		add_record(&all, wishes, n, messages[n]);
		write_filled(p, text_span(&all));
		if (n % 2 == 1)
			continue;                /* nobody asks: the next file takes its place, as if it were full */
		assert_true(get(m, uid_of(m, n), ALL_ITEMS, &got));
		check(m, n, messages[n], &got);
	}
	assert_true(get(m, uid_of(m, 1), ALL_ITEMS, &got));
	check(m, 1, "Subject: another\r\n\r\n", &got);
	close_box(p, &m);
	text_clear(&all);
}

/* Whatever is changed or cut: the answers are right, and the file is gone. */
static void
test_i4_damaged_files_are_as_absent(void **state)
{
	struct place *p = *state;
	unsigned char wishes[CACHE_HEADER_BYTES];
	struct text all = TEXT_UP_TO(MOST_FILLED);
	struct mailbox *m;
	struct cached got;

	ask_once(p, wishes);
	for (size_t n = 0; n < 3; n++) {
		add_record(&all, wishes, n, messages[n]);
		put(p, "new", n, messages[n]);
	}
	m = mailbox_open(&p->store, "");
	for (size_t at = 0; at < 2 * all.len; at += 3) {
		if (at < all.len)
			all.at[at] ^= 0x41;
		write_filled(p, at < all.len ? text_span(&all) : span_of(all.at, at - all.len));
		if (at < all.len)
			all.at[at] ^= 0x41;
		m->filled_seen = false;
		for (size_t i = 0; i < m->index.count; i++)
			m->index.records[i].cache = 0;       /* as if nothing were kept yet */
		for (size_t n = 0; n < 3; n++) {
			assert_true(get(m, uid_of(m, n), ALL_ITEMS, &got));
			check(m, n, messages[n], &got);
		}
		assert_false(filled_is_there(p));
	}
	close_box(p, &m);
	text_clear(&all);
}

/* A gist of a message whose ENVELOPE is `envelope`; what else there is is left away. */
static void
make_lie(const struct cache *c, uint64_t made, uint32_t uid, uint32_t has, uint64_t names, const char *item, size_t len,
	struct text *gist)
{
	(void)c;
	text_reset(gist);
	wire_add_u64(gist, made, 8);
	wire_add_u32(gist, uid, 4);
	wire_add_u32(gist, has, 4);
	wire_add_u64(gist, names, 8);
	if (has != 0)
		wire_add_octets(gist, span_of(item, len), 100000);
	wire_add_octets(gist, SPAN(""), 4);
}

/* Well formed by its checksum, and what must not get into a response. */
static void
test_what_could_end_a_response_is_refused(void **state)
{
	static const struct { const char *item; size_t len; bool good; } rows[] = {
#define ROW(text, good) { text, sizeof(text) - 1, good }
		ROW("(NIL NIL)", true), ROW("(\"a\" (\"b\\\"\\\\\" 12 NIL) {4}\r\n(\")\n)", true), ROW("({0}\r\n)", true),
		ROW("", false), ROW("NIL", false), ROW("\"a\"", false), ROW("(", false), ROW("(NIL", false), ROW("(NIL))", false),
		ROW("(NIL) (NIL)", false), ROW("(NIL)\r\n* BYE\r\n", false), ROW("(NIL\r\n)", false), ROW("(\"a)", false),
		ROW("(\"a\r\n\")", false), ROW("(\"a\\\")", false), ROW("(\"a\t\")", true), ROW("(\"a\n\")", false), ROW("(\"a\\x\")", false), ROW("(\"\xe4\")", false),
		ROW("({5}\r\nabc)", false), ROW("({4294967296}\r\n)", false), ROW("({1}\r\n\0)", false), ROW("({1}\nx)", false),
		ROW("({1+}\r\nx)", false), ROW("({}\r\n)", false), ROW("(})", false), ROW("(\\)", false), ROW("{1}\r\n(", false),
		ROW("(\0)", false), ROW("(\x7f)", false), ROW(")(", false),
	};
	struct place *p = *state;
	unsigned char wishes[CACHE_HEADER_BYTES];
	struct text gist = TEXT_UP_TO(MOST_FILLED_GIST);
	struct span payload;
	struct mailbox *m;
	struct cache *c;

	ask_once(p, wishes);
	m = mailbox_open(&p->store, "");
	c = cache_open(m);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (unsigned int item = CACHE_ENVELOPE; item < CACHE_PREVIEW; item++) {
			make_lie(c, c->made, 0, CACHE_HAS(item), 0, rows[i].item, rows[i].len, &gist);
			if (gist_take(text_span(&gist), c, &payload) != rows[i].good)
				fail_msg("row %zu", i);
		}
	make_lie(c, c->made, 0, CACHE_HAS(CACHE_PREVIEW), 0, "caf\xc3\xa9", 5, &gist);
	assert_true(gist_take(text_span(&gist), c, &payload));
	make_lie(c, c->made, 0, CACHE_HAS(CACHE_PREVIEW), 0, "caf\xe9", 4, &gist);
	assert_false(gist_take(text_span(&gist), c, &payload));
	make_lie(c, c->made, 0, CACHE_HAS(CACHE_PREVIEW), 0, (const char *)wishes, 801, &gist);
	assert_false(gist_take(text_span(&gist), c, &payload));
	/* another cache; a UID; items and fields that there are none of; something behind it */
	make_lie(c, c->made + 1, 0, 0, 0, "", 0, &gist);
	assert_false(gist_take(text_span(&gist), c, &payload));
	make_lie(c, c->made, 1, 0, 0, "", 0, &gist);
	assert_false(gist_take(text_span(&gist), c, &payload));
	make_lie(c, c->made, 0, CACHE_HAS(CACHE_ITEMS), 0, "(NIL)", 5, &gist);
	assert_false(gist_take(text_span(&gist), c, &payload));
	make_lie(c, c->made, 0, 0, 1u << 5, "", 0, &gist);
	assert_false(gist_take(text_span(&gist), c, &payload));
	make_lie(c, c->made, 0, 0, 1u << 4, "", 0, &gist);
	assert_true(gist_take(text_span(&gist), c, &payload));
	text_add_byte(&gist, 0);
	assert_false(gist_take(text_span(&gist), c, &payload));
	assert_false(gist_take(SPAN(""), c, &payload));
	text_clear(&gist);
	close_box(p, &m);
}

/* Of a message that we know and have nothing of, once: others are passed over. */
static void
test_only_what_is_missing_is_taken(void **state)
{
	struct place *p = *state;
	unsigned char wishes[CACHE_HEADER_BYTES];
	struct text all = TEXT_UP_TO(MOST_FILLED);
	struct mailbox *m;
	struct cached got;

	ask_once(p, wishes);
	put(p, "new", 1, messages[1]);
	put(p, "new", 2, messages[2]);
	add_record(&all, wishes, 77, messages[0]);             /* nobody's */
	add_record(&all, wishes, 100, messages[0]);            /* of one that is kept */
	add_record(&all, wishes, 1, messages[1]);
	add_record(&all, wishes, 1, messages[0]);              /* again */
	write_filled(p, text_span(&all));
	m = mailbox_open(&p->store, "");
	assert_true(get(m, uid_of(m, 100), ALL_ITEMS, &got));
	check(m, 100, "Subject: before\r\n\r\n", &got);
	assert_true(filled_is_there(p));                       /* nothing was missing */
	assert_true(get(m, uid_of(m, 2), ALL_ITEMS, &got));
	check(m, 2, messages[2], &got);
	assert_false(filled_is_there(p));
	assert_true(get(m, uid_of(m, 1), ALL_ITEMS, &got));
	check(m, 1, messages[1], &got);
	assert_true(get(m, uid_of(m, 100), ALL_ITEMS, &got));
	check(m, 100, "Subject: before\r\n\r\n", &got);
	close_box(p, &m);
	text_clear(&all);
}

/* A cache that was begun anew means other fields by its bits. */
static void
test_another_cache_takes_nothing(void **state)
{
	struct place *p = *state;
	unsigned char wishes[CACHE_HEADER_BYTES];
	struct text all = TEXT_UP_TO(MOST_FILLED);
	struct mailbox *m;
	struct cached got;
	int directory;

	ask_once(p, wishes);
	put(p, "new", 1, messages[1]);
	add_record(&all, wishes, 1, messages[0]);
	write_filled(p, text_span(&all));
	directory = index_directory(p);
	assert_int_equal(unlinkat(directory, CACHE_NAME, 0), 0);
	close(directory);
	m = mailbox_open(&p->store, "");
	assert_true(get(m, uid_of(m, 1), ALL_ITEMS, &got));
	check(m, 1, messages[1], &got);
	assert_false(filled_is_there(p));
	close_box(p, &m);
	text_clear(&all);
}

/* HARDENING F1: what is no file of a delivery's is not followed, waited for, or read; and goes, if it can. */
static void
test_f1_planted_names(void **state)
{
	struct place *p = *state;
	unsigned char wishes[CACHE_HEADER_BYTES];
	struct text all = TEXT_UP_TO(MOST_FILLED);
	int directory, fd;
	struct mailbox *m;
	struct cached got;
	struct stat st;

	ask_once(p, wishes);
	put(p, "new", 1, messages[1]);
	add_record(&all, wishes, 1, messages[0]);              /* it would be taken */
	write_filled(p, text_span(&all));
	directory = index_directory(p);
	assert_int_equal(renameat(directory, FILLED_NAME, p->maildir, "elsewhere"), 0);
	m = mailbox_open(&p->store, "");
	(void)uid_of(m, 1);
	for (int i = 0; i < 7; i++) {
		if (i == 0) {
			assert_int_equal(symlinkat("../../elsewhere", directory, FILLED_NAME), 0);
		} else if (i == 1) {
			assert_int_equal(mkfifoat(directory, FILLED_NAME, 0600), 0);
		} else if (i == 2) {
			assert_int_equal(linkat(p->maildir, "elsewhere", directory, FILLED_NAME, 0), 0);
		} else if (i == 3) {
			assert_int_equal(mkdirat(directory, FILLED_NAME, 0700), 0);
		} else {
			write_filled(p, i == 6 ? SPAN("") : text_span(&all));
			fd = openat(directory, FILLED_NAME, O_WRONLY);
			if (i == 4)
				assert_int_equal(ftruncate(fd, FILE_SIZE_LIMIT), 0);
			else if (i == 5 && fchown(fd, 65534, 65534) < 0)
				assert_int_equal(ftruncate(fd, 0), 0);       /* not root: nobody else's */
			close(fd);
		}
		m->filled_seen = false;
		for (size_t k = 0; k < m->index.count; k++)
			m->index.records[k].cache = 0;
		assert_true(get(m, uid_of(m, 1), ALL_ITEMS, &got));
		check(m, 1, messages[1], &got);
		assert_int_equal(filled_is_there(p), i == 3);
		if (i == 3)
			assert_int_equal(unlinkat(directory, FILLED_NAME, AT_REMOVEDIR), 0);
	}
	assert_int_equal(fstatat(p->maildir, "elsewhere", &st, 0), 0);
	assert_int_equal(st.st_size, all.len);
	close(directory);
	close_box(p, &m);
	text_clear(&all);
}

/* What gist does not do. */
static void
test_what_is_left_to_whoever_asks(void **state)
{
	struct place *p = *state;
	unsigned char wishes[CACHE_HEADER_BYTES], other[CACHE_HEADER_BYTES];
	struct text gist = TEXT_UP_TO(MOST_FILLED_GIST), message = TEXT_UP_TO((size_t)MOST_GIST_MESSAGE + 1);
	struct span w, in;
	struct cached got;

	ask_once(p, wishes);
	w = span_of(wishes, sizeof(wishes));
	assert_false(gist_make(w, SPAN("Subject: bare\n\nx\n"), &gist));
	text_reset(&gist);
	memcpy(other, wishes, sizeof(other));
	for (size_t at = 0; at < sizeof(other); at += at < 200 || at > 8180 ? 1 : 97) {
		other[at] ^= 1;
		assert_false(gist_make(span_of(other, sizeof(other)), SPAN("Subject: x\r\n\r\n"), &gist));
		assert_int_equal(gist.len, 0);
		other[at] ^= 1;
	}
	assert_false(gist_make(span_part(w, 0, 100), SPAN("Subject: x\r\n\r\n"), &gist));
	/* a charset for which the C library opens files: everything but PREVIEW */
	assert_true(gist_make(w, SPAN("Content-Type: text/plain; charset=koi8-r\r\n\r\nx\r\n"), &gist));
	in = span_part(text_span(&gist), 8, gist.len);
	assert_true(cache_payload_read(in, 0, &got));
	assert_int_equal(got.has, ALL_ITEMS & ~CACHE_HAS(CACHE_PREVIEW));
	text_reset(&gist);
	assert_true(gist_make(w, SPAN("Content-Type: text/plain; charset=\"ISO-8859-1\"\r\n\r\nx\r\n"), &gist));
	assert_true(cache_payload_read(span_part(text_span(&gist), 8, gist.len), 0, &got));
	assert_int_equal(got.has, ALL_ITEMS);
	/* a header over the limit, one that makes more than a record holds, a message over the limit */
	text_add_str(&message, "X: ");
	while (message.len < MOST_GIST_HEADER - 4)
		text_add_byte(&message, 'x');
	text_add_str(&message, "\r\n\r\n");
	text_reset(&gist);
	assert_true(gist_make(w, text_span(&message), &gist));
	message.at[message.len - 4] = 'x';
	message.at[message.len - 3] = 'x';
	text_add_str(&message, "\r\n\r\n");
	text_reset(&gist);
	assert_false(gist_make(w, text_span(&message), &gist));
	text_reset(&message);
	text_add_str(&message, "Subject: ");
	while (message.len < MOST_FILLED_GIST)
		text_add_byte(&message, 'x');
	text_add_str(&message, "\r\n\r\n");
	text_reset(&gist);
	assert_false(gist_make(w, text_span(&message), &gist));
	text_reset(&message);
	text_add_str(&message, "Subject: x\r\n\r\n");
	while (message.len < MOST_GIST_MESSAGE)
		text_add_byte(&message, 'y');
	text_reset(&gist);
	assert_true(gist_make(w, text_span(&message), &gist));
	text_add_byte(&message, 'y');
	text_reset(&gist);
	assert_false(gist_make(w, text_span(&message), &gist));
	text_clear(&gist);
	text_clear(&message);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_answers_come_from_what_was_filled),
		TEST(test_it_is_looked_for_when_mail_came),
		TEST(test_i4_damaged_files_are_as_absent),
		TEST(test_what_could_end_a_response_is_refused),
		TEST(test_only_what_is_missing_is_taken),
		TEST(test_another_cache_takes_nothing),
		TEST(test_f1_planted_names),
		TEST(test_what_is_left_to_whoever_asks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
