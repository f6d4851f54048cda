/* The client of sendmail and pickup: what it says, and what it makes of any answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "smtpd/handin.h"

#define EHLO "250-mx\r\n250-CHUNKING\r\n250 DSN\r\n"

static struct drop envelope;
static struct handin h;

static void
begin(enum handin_mode mode)
{
	handin_clear(&h);
	drop_clear(&envelope);
	envelope.sender = SPAN("a@example.org");
	drop_add(&envelope, SPAN("b@example.org"));
	drop_add(&envelope, SPAN("c@example.org"));
	handin_init(&h, &envelope, 20, mode);
}

static void
hear(const char *words)
{
	handin_feed(&h, span_str(words));
}

/* What is to be sent is this; and it is sent. */
static void
says(const char *words)
{
	assert_string_equal(text_str(&h.out), words);
	text_drop(&h.out, h.out.len);
}

static void
to_rcpt(void)
{
	hear("220 mx\r\n");
	says("EHLO localhost\r\n");
	hear(EHLO);
	says("MAIL FROM:<a@example.org> SIZE=20\r\n");
	hear("250 2.1.0 yes\r\n");
	says("RCPT TO:<b@example.org>\r\n");
}

static void
a_message(void **state)
{
	(void)state;
	begin(HANDIN_ALL);
	to_rcpt();
	hear("250 2.1.5 yes\r\n");
	says("RCPT TO:<c@example.org>\r\n");
	assert_false(h.wants_message);
	hear("250 2.1.5 yes\r\n");
	says("BDAT 20 LAST\r\n");
	assert_true(h.wants_message);
	handin_message_sent(&h);
	/* As the network cuts it. */
	hear("25");
	hear("0 2.0.0 accepted as XYZ\r");
	assert_false(h.over);
	hear("\n");
	assert_true(h.over);
	assert_int_equal(h.outcome, DONE);
	assert_string_equal(h.id, "XYZ");
	says("QUIT\r\n");
}

static void
with_wishes(void **state)
{
	(void)state;
	begin(HANDIN_ALL);
	envelope.eight_bit = true;
	envelope.notify = SPAN("NEVER");
	envelope.ret = SPAN("HDRS");
	envelope.envid = SPAN("a+b =c");
	envelope.recipient[0] = SPAN("\xc3\xa1@example.org");
	hear("220 mx\r\n" EHLO);
	text_drop(&h.out, strlen("EHLO localhost\r\n"));
	says("MAIL FROM:<a@example.org> SIZE=20 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb+20+3Dc\r\n");
	hear("250 2.1.0 yes\r\n");
	says("RCPT TO:<\xc3\xa1@example.org> NOTIFY=NEVER\r\n");
}

static void
one_is_refused(void **state)
{
	(void)state;
	/* All or none. */
	begin(HANDIN_ALL);
	to_rcpt();
	hear("550 5.1.1 nobody\r\n");
	says("RCPT TO:<c@example.org>\r\n");
	hear("250 2.1.5 yes\r\n");
	assert_int_equal(h.outcome, NEVER);
	assert_int_equal(h.refusals, 1);
	assert_int_equal(h.refusal[0].recipient, 0);
	assert_string_equal(h.refusal[0].reason, "550 5.1.1 nobody");
	says("QUIT\r\n");
	/* The others get it. */
	begin(HANDIN_SOME);
	to_rcpt();
	hear("550 5.1.1 nobody\r\n");
	says("RCPT TO:<c@example.org>\r\n");
	hear("250 2.1.5 yes\r\n");
	says("BDAT 20 LAST\r\n");
	handin_message_sent(&h);
	hear("250 2.0.0 accepted as XYZ\r\n");
	assert_int_equal(h.outcome, DONE);
	assert_int_equal(h.refusals, 1);
	/* None is left. */
	begin(HANDIN_SOME);
	to_rcpt();
	hear("550 5.1.1 nobody\r\n550 5.1.1 nobody\r\n");
	assert_int_equal(h.outcome, NEVER);
	/* Asked only. */
	begin(HANDIN_VERIFY);
	to_rcpt();
	hear("250 2.1.5 yes\r\n250 2.1.5 yes\r\n");
	assert_int_equal(h.outcome, DONE);
	assert_false(h.wants_message);
}

/* More recipients than one transaction takes: another one for the rest. */
static void
in_several_transactions(void **state)
{
	(void)state;
	begin(HANDIN_ALL);
	to_rcpt();
	hear("250 2.1.5 yes\r\n");
	says("RCPT TO:<c@example.org>\r\n");
	hear("452 4.5.3 too many\r\n");
	says("BDAT 20 LAST\r\n");
	handin_message_sent(&h);
	hear("250 2.0.0 accepted as X\r\n");
	assert_false(h.over);
	says("MAIL FROM:<a@example.org> SIZE=20\r\n");
	hear("250 2.1.0 yes\r\n");
	says("RCPT TO:<c@example.org>\r\n");
	hear("250 2.1.5 yes\r\n");
	says("BDAT 20 LAST\r\n");
	handin_message_sent(&h);
	hear("250 2.0.0 accepted as Y\r\n");
	assert_int_equal(h.outcome, DONE);
}

/* A later transaction finds somebody who does not exist: the first have the message, so the others get it too, and the refused
 * one is told. */
static void
one_is_refused_later(void **state)
{
	(void)state;
	begin(HANDIN_ALL);
	to_rcpt();
	hear("250 2.1.5 yes\r\n");
	says("RCPT TO:<c@example.org>\r\n");
	hear("452 4.5.3 too many recipients\r\n");
	says("BDAT 20 LAST\r\n");
	handin_message_sent(&h);
	hear("250 2.0.0 accepted as ABC\r\n");
	hear("250 2.1.0 yes\r\n");
	hear("550 5.1.1 nobody\r\n");
	assert_true(h.over);
	assert_int_equal(h.outcome, NEVER);
	assert_int_equal(h.refusals, 1);
	assert_int_equal(h.refusal[0].recipient, 1);
}

/* What one transaction has committed is not handed in again: when a later one is put off, only its recipients have failed, for
 * good. */
static void
nothing_is_sent_twice(void **state)
{
	static const char *const puts_off[] = { "421 4.3.2 later\r\n", "451 4.3.0 later\r\n", "nonsense\r\n" };

	(void)state;
	for (size_t i = 0; i < sizeof(puts_off) / sizeof(puts_off[0]); i++) {
		begin(i % 2 ? HANDIN_ALL : HANDIN_SOME);
		to_rcpt();
		hear("250 2.1.5 yes\r\n");
		says("RCPT TO:<c@example.org>\r\n");
		hear("452 4.5.3 too many recipients\r\n");
		says("BDAT 20 LAST\r\n");
		handin_message_sent(&h);
		hear("250 2.0.0 accepted as ABC\r\n");
		hear(puts_off[i]);
		assert_true(h.over);
		assert_int_equal(h.outcome, NEVER);
		assert_int_equal(h.refusals, 1);
		assert_int_equal(h.refusal[0].recipient, 1);
	}
}

static void
later(void **state)
{
	static const char *const answers[] = { "421 4.3.2 full\r\n", "220 mx\r\n421 4.3.2 go\r\n",
		"220 mx\r\n250 mx\r\n", "220 mx\r\n" EHLO "451 4.3.0 later\r\n",
		"220 mx\r\n" EHLO "250 yes\r\n451 4.3.0 later\r\n",
		"220 mx\r\n" EHLO "250 yes\r\n452 4.5.3 too many\r\n",
		"220 mx\r\n" EHLO "250 yes\r\n250 yes\r\n250 yes\r\n452 4.3.1 full\r\n",
		/* No answers at all. */
		"\r\n", "22\r\n", "HTTP/1.1 400 Bad\r\n", "220 mx\n", "220-a\r\n220xb\r\n", "999 x\r\n",
		"2\r\n", "220 mx\r\n553\r\n" };

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		begin(HANDIN_ALL);
		hear(answers[i]);
		if (i == sizeof(answers) / sizeof(answers[0]) - 1) {
			/* A bare code is an answer (RFC 5321 4.2.1), and a no. */
			assert_int_equal(h.outcome, NEVER);
			continue;
		}
		if (!h.over || h.outcome != LATER || h.refusals != 1)
			fail_msg("%s", answers[i]);
	}
	begin(HANDIN_ALL);
	to_rcpt();
	handin_lost(&h, "gone");
	assert_int_equal(h.outcome, LATER);
	assert_string_equal(h.refusal[0].reason, "gone");
}

static void
s5_endless_reply(void **state)
{
	(void)state;
	begin(HANDIN_ALL);
	for (int i = 0; i < 10000 && !h.over; i++)
		hear("220-and so on, and so on\r\n");
	assert_true(h.over);
	assert_int_equal(h.outcome, LATER);
	begin(HANDIN_ALL);
	for (int i = 0; i < 10000 && !h.over; i++)
		hear("220 and so on, and so on");
	assert_true(h.over);
	assert_int_equal(h.outcome, LATER);
}

static void
s6_what_is_said_is_printable(void **state)
{
	(void)state;
	begin(HANDIN_ALL);
	to_rcpt();
	hear("550 5.1.1 a\x1b[2J\tb\xff\r\n250 yes\r\n");
	assert_int_equal(h.outcome, NEVER);
	assert_string_equal(h.refusal[0].reason, "550 5.1.1 a?[2J?b?");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message),
		cmocka_unit_test(with_wishes),
		cmocka_unit_test(one_is_refused),
		cmocka_unit_test(in_several_transactions),
		cmocka_unit_test(one_is_refused_later),
		cmocka_unit_test(nothing_is_sent_twice),
		cmocka_unit_test(later),
		cmocka_unit_test(s5_endless_reply),
		cmocka_unit_test(s6_what_is_said_is_printable),
	};
	int failed = cmocka_run_group_tests_name("smtpd_handin", tests, NULL, NULL);

	handin_clear(&h);
	drop_clear(&envelope);
	return failed;
}
