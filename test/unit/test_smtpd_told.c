/* told: what trusted clients tell of others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtpd/told.h"

static bool
parse(const char *arguments, bool forward, struct told *t)
{
	return told_parse(span_str(arguments), forward, t) == NULL;
}

static void
test_values_are_kept_and_added_to(void **state)
{
	struct told t = { 0 };

	(void)state;
	assert_true(parse(" NAME=a.example ADDR=192.0.2.1", true, &t));
	assert_true(parse(" IDENT=x+3Dy  helo=[UNAVAILABLE]", true, &t));
	assert_string_equal(told_value(&t, TOLD_NAME), "a.example");
	assert_string_equal(told_value(&t, TOLD_ADDR), "192.0.2.1");
	assert_string_equal(told_value(&t, TOLD_IDENT), "x=y");
	assert_int_equal(t.of[TOLD_HELO].how, TOLD_UNAVAILABLE);
	assert_null(told_value(&t, TOLD_PORT));
	assert_null(told_value(NULL, TOLD_PORT));
}

static void
test_one_wrong_word_changes_nothing(void **state)
{
	static const char *const wrong[] = { "", " ", " NAME", " NAME=", "NAME=a.example", " NAME=a.example ADDR=x",
		" PORT=65536", " PORT=0", " PORT=2x", " PROTO=x", " ADDR=IPV6:x", " ADDR=::1", " IDENT=x",
		" LOGIN=+0A", " LOGIN=+", " HELO=a+20b", " NAME=a.example;" };

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct told t = { 0 };

		assert_true(parse(" NAME=b.example", false, &t));
		assert_false(parse(wrong[i], false, &t));
		assert_string_equal(told_value(&t, TOLD_NAME), "b.example");
		assert_null(told_value(&t, TOLD_ADDR));
	}
}

static void
test_each_command_has_its_own(void **state)
{
	struct told t = { 0 };

	(void)state;
	assert_false(parse(" LOGIN=x", true, &t));
	assert_false(parse(" SOURCE=LOCAL", false, &t));
	assert_true(parse(" SOURCE=LOCAL", true, &t));
	assert_true(parse(" DESTADDR=IPv6:2001:DB8::1", false, &t));
	assert_string_equal(told_value(&t, TOLD_DESTADDR), "2001:db8::1");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_are_kept_and_added_to),
		cmocka_unit_test(test_one_wrong_word_changes_nothing),
		cmocka_unit_test(test_each_command_has_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
