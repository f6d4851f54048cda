/* What programs give to sendmail, and what becomes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "smtpd/stdin-message.h"

static struct text out;

static bool
put(void *me, struct span piece)
{
	(void)me;
	text_add(&out, piece);
	return true;
}

/* Through a pipe, in pieces of `step` octets. */
static void
read_it(struct stdin_message *m, struct span in, size_t step)
{
	int ends[2];
	pid_t child;

	out = TEXT_UP_TO(1 << 22);
	m->put = put;
	m->size = 0;
	m->found_bad = m->eight_bit = false;
	assert_int_equal(pipe(ends), 0);
	if ((child = fork()) == 0) {
		close(ends[0]);
		while (in.len > 0) {
			size_t n = step < in.len ? step : in.len;

			if (write(ends[1], in.at, n) < 0)
				break;
			in = span_part(in, n, in.len);
		}
		_exit(0);
	}
	close(ends[1]);
	assert_true(child > 0);
	assert_true(stdin_message_read(m, ends[0]));
	close(ends[0]);
	assert_int_equal(m->size, out.len);
}

static void
lines(void **state)
{
	static const struct {
		const char *in, *out;
		bool dot_is_text;
	} cases[] = {
		{ "Subject: x\n\nbody\n", "F\r\nSubject: x\r\n\r\nbody\r\n", false },
		{ "Subject: x\r\n\r\nbody\r\n", "F\r\nSubject: x\r\n\r\nbody\r\n", false },
		{ "Subject: x\n\nbody", "F\r\nSubject: x\r\n\r\nbody\r\n", false },
		{ "From: a\n\nx\n", "From: a\r\n\r\nx\r\n", false },
		{ "from : a\n\nx\n", "from : a\r\n\r\nx\r\n", false },
		{ "no field\nbody\n", "F\r\n\r\nno field\r\nbody\r\n", false },
		{ " folded\nbody\n", "F\r\n\r\n folded\r\nbody\r\n", false },
		{ "A: b\nno field\n", "F\r\nA: b\r\n\r\nno field\r\n", false },
		{ "A: b\n c\n\td\n\n", "F\r\nA: b\r\n c\r\n\td\r\n\r\n", false },
		{ "", "F\r\n\r\n", false },
		{ "A: b", "F\r\nA: b\r\n\r\n", false },
		{ "\nbody\n", "F\r\n\r\nbody\r\n", false },
		/* What mbox files have on top. */
		{ "From a Mon Jan  1\nA: b\n\nFrom c\n", "F\r\nA: b\r\n\r\nFrom c\r\n", false },
		/* The dot. */
		{ "A: b\n\nx\n.\ny\n", "F\r\nA: b\r\n\r\nx\r\n", false },
		{ "A: b\n\nx\r\n.\r\ny\n", "F\r\nA: b\r\n\r\nx\r\n", false },
		{ "A: b\n\nx\n.\ny\n", "F\r\nA: b\r\n\r\nx\r\n.\r\ny\r\n", true },
		{ "A: b\n\n..\n.x\n. \n", "F\r\nA: b\r\n\r\n..\r\n.x\r\n. \r\n", false },
		{ "A: b\n\nx\n.", "F\r\nA: b\r\n\r\nx\r\n", false },
		{ "A: b\n\n.\r.\n", "F\r\nA: b\r\n\r\n.\r\n.\r\n", false },
		/* Lone carriage returns: lines of a text, nothing in a header. */
		{ "A: b\n\n10%\r20%\r\n", "F\r\nA: b\r\n\r\n10%\r\n20%\r\n", false },
		{ "A: b\n\nx\r", "F\r\nA: b\r\n\r\nx\r\n", false },
		{ "A: b\n\nx\r\r\n", "F\r\nA: b\r\n\r\nx\r\n\r\n", false },
		{ "A: b\rBcc: x\n\n", "F\r\nA: b Bcc: x\r\n\r\n", false },
		/* Blind copies stay blind. */
		{ "Bcc: a,\n b\nA: b\nRESENT-BCC: c\n\nBcc: d\n", "F\r\nA: b\r\n\r\nBcc: d\r\n", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t step = 1; step < 200; step += 198) {
			struct stdin_message m = {
				.dot_is_text = cases[i].dot_is_text, .from = SPAN("F") };

			read_it(&m, span_str(cases[i].in), step);
			if (strcmp(text_str(&out), cases[i].out) != 0)
				fail_msg("%s: \"%s\"", cases[i].in, text_str(&out));
			text_clear(&out);
			text_clear(&m.found);
		}
	}
}

static void
recipients(void **state)
{
	static const struct {
		const char *in, *found;
	} cases[] = {
		{ "To: a, B <b@c.example>\nCc: d\nBcc: e,\n f\nSubject: To: g\n\nTo: h\n",
			"a b@c.example d e f " },
		{ "To: a\nResent-To: b\nResent-Bcc: c\n\n", "b c " },
		{ "Subject: x\n\n", "" },
		{ "To: undisclosed-recipients:;\nBcc: a\n\n", "a " },
		{ "To : a\n\n", "a " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct stdin_message m = { .recipients = true };

		read_it(&m, span_str(cases[i].in), 7);
		for (size_t n = 0; n < m.found.len; n++)
			if (m.found.at[n] == '\0')
				m.found.at[n] = ' ';
		assert_string_equal(text_str(&m.found), cases[i].found);
		assert_false(m.found_bad);
		text_clear(&out);
		text_clear(&m.found);
	}
}

static void
odd_octets(void **state)
{
	struct stdin_message m = { .recipients = true };

	(void)state;
	read_it(&m, SPAN("To: John Smith\nA: \xc3\xa1\n\nx\0y\n"), 3);
	assert_true(m.eight_bit && m.found_bad);
	assert_string_equal(text_str(&out), "To: John Smith\r\nA: \xc3\xa1\r\n\r\nx?y\r\n");
	text_clear(&out);
	text_clear(&m.found);
}

static void
s7_header_blob(void **state)
{
	struct text in = TEXT_UP_TO(8 << 20);
	struct stdin_message m = { .put = put };
	int ends[2];
	pid_t child;

	(void)state;
	for (int i = 0; i < 200000; i++)
		text_add_str(&in, "A: bcdefghi\n");
	out = TEXT_UP_TO(1 << 22);
	assert_int_equal(pipe(ends), 0);
	if ((child = fork()) == 0) {
		close(ends[0]);
		for (size_t at = 0; at < in.len;) {
			ssize_t n = write(ends[1], in.at + at, in.len - at);

			if (n < 0)
				_exit(0);
			at += (size_t)n;
		}
		_exit(0);
	}
	assert_true(child > 0);
	close(ends[1]);
	assert_false(stdin_message_read(&m, ends[0]));
	assert_true(m.header_too_large);
	close(ends[0]);
	assert_int_equal(out.len, 0);
	text_clear(&in);
	text_clear(&m.found);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),
		cmocka_unit_test(recipients),
		cmocka_unit_test(odd_octets),
		cmocka_unit_test(s7_header_blob),
	};

	return cmocka_run_group_tests_name("smtpd_stdin_message", tests, NULL, NULL);
}
