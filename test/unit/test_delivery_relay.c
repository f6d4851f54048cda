/* What other servers answer is read as what a stranger wrote; what leaves has one end only; TLS policies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include <sys/mman.h>
#include <unistd.h>

#include "delivery/outgoing.h"
#include "delivery/relay-policy.h"
#include "delivery/smtp-reply.h"

static struct smtp_reply r;

/* Feeds `s` byte by byte, or at once; the state at the end. */
static enum reply_state
feed(const char *s, size_t len, size_t step)
{
	enum reply_state state = REPLY_MORE;

	smtp_reply_reset(&r);
	for (size_t at = 0; at < len && state == REPLY_MORE; at += step) {
		struct span in = span_of(s + at, len - at < step ? len - at : step);

		state = smtp_reply_feed(&r, &in);
	}
	return state;
}

static void
expect_reply(const char *s, uint16_t code, const char *status, const char *sentence)
{
	struct text t = TEXT_UP_TO(400);

	for (size_t step = 1; step < 8; step += 6) {
		assert_int_equal(feed(s, strlen(s), step), REPLY_WHOLE);
		assert_int_equal(r.code, code);
		assert_true(span_equal(smtp_reply_status(&r), span_str(status)));
		text_reset(&t);
		smtp_reply_sentence(&r, &t, 390);
		assert_string_equal(text_str(&t), sentence);
	}
	text_clear(&t);
}

static void
replies(void **state)
{
	(void)state;
	expect_reply("250 ok\r\n", 250, "", "250 ok");
	expect_reply("250\r\n", 250, "", "250");
	expect_reply("250 \n", 250, "", "250");
	expect_reply("550-5.1.1 one\r\n550 5.1.1 two\r\n", 550, "5.1.1", "550 5.1.1 one two");
	expect_reply("550 4.1.1 wrong class\r\n", 550, "", "550 4.1.1 wrong class");
	expect_reply("450 4.7.1\r\n", 450, "4.7.1", "450 4.7.1");
	expect_reply("550 5.1.1 \xc3\xa9\r\n", 550, "5.1.1", "550 5.1.1 \xc3\xa9");
	expect_reply("550 5.1.1 \xff\x1b[2J\r\n", 550, "5.1.1", "550 5.1.1 ??[2J");
}

/* S6: shorter than four characters, other codes, empty, NUL and LF inside. */
static void
s6_reply_parser_out_of_bounds(void **state)
{
	static const char *const broken[] = { "5\r\n", "\r\n", "55\r\n", "5500 x\r\n", "abc\r\n", "150 x\r\n",
		"650 x\r\n", "250-a\r\n251 b\r\n", "553-a\r\n5\r\n", "553-\r\n\r\n", "-250 x\r\n", "25:0 x\r\n" };
	char big[200000];

	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		if (feed(broken[i], strlen(broken[i]), 1) != REPLY_BROKEN)
			fail_msg("taken: %s", broken[i]);
	assert_int_equal(feed("553-\r\n553\r\n", 11, 3), REPLY_WHOLE);
	assert_int_equal(feed("550 a\0b\r\n", 9, 1), REPLY_WHOLE);
	assert_true(span_equal(text_span(&r.text), SPAN("a?b\n")));
	/* A line of 60 kB is cut, and read to its end. */
	memset(big, 'x', sizeof(big));
	memcpy(big, "550 ", 4);
	memcpy(big + 60000, "\r\n", 2);
	assert_int_equal(feed(big, 60002, 4096), REPLY_WHOLE);
	assert_true(r.text.len <= MOST_REPLY_LINE);
}

/* S5: an endless line, an endless reply. */
static void
s5_endless_line_endless_reply(void **state)
{
	char big[MOST_REPLY_BYTES + 10], line[] = "250-more\r\n";
	enum reply_state s = REPLY_MORE;
	unsigned int lines = 0;

	(void)state;
	memset(big, 'x', sizeof(big));
	assert_int_equal(feed(big, sizeof(big), 1000), REPLY_BROKEN);
	smtp_reply_reset(&r);
	while (s == REPLY_MORE && lines++ < 100000) {
		struct span in = span_of(line, strlen(line));

		s = smtp_reply_feed(&r, &in);
	}
	assert_int_equal(s, REPLY_BROKEN);
	assert_true(lines <= MOST_REPLY_LINES);
	assert_true(r.text.len <= MOST_REPLY_TEXT);
}

/* Sends `in` out in pieces of `room`; the caller frees. */
static char *
out(const char *top, const char *in, size_t len, enum outgoing_form form, size_t room, size_t *out_len)
{
	int fd = memfd_create("message", 0);
	unsigned char piece[4096];
	char *all = NULL;
	struct outgoing o;
	size_t n;

	assert_true(fd >= 0 && write(fd, in, len) == (ssize_t)len);
	*out_len = 0;
	outgoing_begin(&o, fd, len, span_str(top), form);
	while ((n = outgoing_next(&o, piece, room)) > 0) {
		assert_true(n <= room);
		all = realloc(all, *out_len + n);
		memcpy(all + *out_len, piece, n);
		*out_len += n;
	}
	assert_true(o.whole && !o.failed);
	close(fd);
	return all;
}

static void
s1_outgoing_has_one_end(void **state)
{
	static const struct {
		const char *in, *data, *chunks;
	} cases[] = {
		{ "a\r\nb\r\n", "a\r\nb\r\n", "a\r\nb\r\n" },
		{ "a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n", "a\r\n.\r\nb\r\n" },
		{ "a\n.\nb\n", "a\r\n..\r\nb\r\n", "a\r\n.\r\nb\r\n" },
		{ "a\r.\rb", "a\r\n..\r\nb\r\n", "a\r\n.\r\nb\r\n" },
		{ "a\n.\r\nb", "a\r\n..\r\nb\r\n", "a\r\n.\r\nb\r\n" },
		{ "a\r\n.\nb\r\n", "a\r\n..\r\nb\r\n", "a\r\n.\r\nb\r\n" },
		{ "a\r\r\n.\r\r\nb\r\n", "a\r\n\r\n..\r\n\r\nb\r\n", "a\r\n\r\n.\r\n\r\nb\r\n" },
		{ ".", "..\r\n", ".\r\n" }, { "", "", "" }, { "a\r", "a\r\n", "a\r\n" }, { "\n", "\r\n", "\r\n" },
		{ "..x\r\n", "...x\r\n", "..x\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t room = 16; room <= 4096; room += room < 24 ? 1 : 1000) {
			size_t len;
			char *s = out("", cases[i].in, strlen(cases[i].in), OUTGOING_DATA, room, &len);

			assert_int_equal(len, strlen(cases[i].data));
			assert_memory_equal(s, cases[i].data, len);
			free(s);
			s = out("", cases[i].in, strlen(cases[i].in), OUTGOING_CHUNKS, room, &len);
			assert_int_equal(len, strlen(cases[i].chunks));
			assert_memory_equal(s, cases[i].chunks, len);
			free(s);
		}
}

static void
outgoing_top_and_raw(void **state)
{
	size_t len;
	char *s = out("Top: line\r\n", "A: b\r\n\r\n.\r\n", 11, OUTGOING_DATA, 16, &len);

	(void)state;
	assert_int_equal(len, 23);
	assert_memory_equal(s, "Top: line\r\nA: b\r\n\r\n..\r\n", len);
	free(s);
	s = out("", "a\0\r\n.\n\r", 8, OUTGOING_RAW, 16, &len);
	assert_int_equal(len, 8);
	assert_memory_equal(s, "a\0\r\n.\n\r", 8);
	free(s);
}

/* Random bytes: whatever comes out, no other end of the message than the last is in it. */
static void
s1_random(void **state)
{
	static const char alphabet[] = "a.\r\n";
	char in[300];

	(void)state;
	srandom(7);
	for (int n = 0; n < 3000; n++) {
		size_t len = (size_t)random() % sizeof(in), out_len;
		char *s;

		for (size_t i = 0; i < len; i++)
			in[i] = alphabet[random() % 4];
		s = out("", in, len, OUTGOING_DATA, 16 + (size_t)random() % 100, &out_len);
		for (size_t i = 0; i < out_len; i++) {
			if (s[i] == '\n')
				assert_true(i > 0 && s[i - 1] == '\r');
			if (s[i] == '\r')
				assert_true(i + 1 < out_len && s[i + 1] == '\n');
			if (s[i] == '.' && (i == 0 || s[i - 1] == '\n'))
				assert_true(s[i + 1] == '.');
		}
		free(s);
	}
}

static void
policies(void **state)
{
	struct span rules[] = { SPAN("* may"), SPAN("example.org verify mx.example.org other.example"),
		SPAN(".example.org encrypt"), SPAN("a.example.org none"), SPAN("broken") };
	struct settings s = { .tls_policy = { rules, 5 } };
	struct tls_policy p;
	struct span domain;

	(void)state;
	tls_policy_find(&s, SPAN("Example.ORG"), &p);
	assert_int_equal(p.wanted, WANT_VERIFY);
	assert_string_equal(p.names, "mx.example.org,other.example");
	tls_policy_find(&s, SPAN("b.example.org"), &p);
	assert_int_equal(p.wanted, WANT_ENCRYPT);
	tls_policy_find(&s, SPAN("a.example.org"), &p);
	assert_int_equal(p.wanted, WANT_NONE);
	tls_policy_find(&s, SPAN("elsewhere.example"), &p);
	assert_int_equal(p.wanted, WANT_MAY);
	s.tls_policy.count = 0;
	tls_policy_find(&s, SPAN("elsewhere.example"), &p);
	assert_int_equal(p.wanted, WANT_DANE);
	assert_false(tls_policy_read(SPAN("x"), &domain, &p));
	assert_false(tls_policy_read(SPAN("x maybe"), &domain, &p));
	assert_false(tls_policy_read(SPAN("x may name"), &domain, &p));
	assert_false(tls_policy_read(SPAN(""), &domain, &p));
}

static int
prepare(void **state)
{
	(void)state;
	smtp_reply_init(&r);
	return 0;
}

static int
finish(void **state)
{
	(void)state;
	smtp_reply_clear(&r);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replies), cmocka_unit_test(s6_reply_parser_out_of_bounds),
		cmocka_unit_test(s5_endless_line_endless_reply), cmocka_unit_test(s1_outgoing_has_one_end),
		cmocka_unit_test(outgoing_top_and_raw), cmocka_unit_test(s1_random), cmocka_unit_test(policies),
	};

	return cmocka_run_group_tests(tests, prepare, finish);
}
