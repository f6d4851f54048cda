/* INPROGRESS (RFC 9585): how far a long command is, every ten seconds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "imapd/command.h"

void
account_housekeep(struct account *a)
{
	(void)a;
}

static void
test_progress_is_told_every_ten_seconds(void **state)
{
	struct session s = { .out = TEXT_UP_TO(1000) };
	struct command c = { .session = &s, .tag = SPAN("A001") };

	(void)state;
	c.progress_at = session_clock();
	command_progress(&c, 1, 1000);
	assert_int_equal(s.out.len, 0);
	c.progress_at = session_clock() - PROGRESS_MICROSECONDS + 1000000;
	command_progress(&c, 1, 1000);
	assert_int_equal(s.out.len, 0);
	c.progress_at = session_clock() - PROGRESS_MICROSECONDS;
	command_progress(&c, 454, 1000);
	assert_string_equal(text_str(&s.out),
		"* OK [INPROGRESS (\"A001\" 454 1000)] Still at work.\r\n");
	text_reset(&s.out);
	command_progress(&c, 455, 1000);
	assert_int_equal(s.out.len, 0);
	text_clear(&s.out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_progress_is_told_every_ten_seconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
