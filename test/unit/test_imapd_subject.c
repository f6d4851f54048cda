/* Base subjects (RFC 5256 2.1). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "expect.h"

#include "imapd/subject.h"

static void
test_bases(void **state)
{
	static const struct {
		const char *in, *out;
		bool reply;
	} cases[] = {
		{ "", "", false },
		{ "Hello", "HELLO", false },
		{ "Re: Hello", "HELLO", true },
		{ "RE : [x] fwd:  Hello (fwd) (FWD) ", "HELLO", true },
		{ "Re[2]: Hello", "HELLO", true },
		{ "[list] Re: Hello", "HELLO", true },
		{ "[list] Hello", "HELLO", false },
		{ "[a][b] Hello", "HELLO", false },
		{ "[a] [b] ", "[B]", false },
		{ "[a]", "[A]", false },
		{ "Re: [a]", "[A]", true },
		{ "[fwd: Re: Hello]", "HELLO", true },
		{ "[Fwd: Hello (fwd)] (fwd)", "HELLO", true },
		{ "[fwd:]", "", true },
		{ "Regarding: x", "REGARDING: X", false },
		{ "re", "RE", false },
		{ "Fw:\r\n\tone \t two", "ONE TWO", true },
		{ "=?utf-8?q?Re=3A_=C3=A9?=", "E\xcc\x81", true },
		{ "[[x] y", "[[X] Y", false },
		{ "(fwd)", "", true },
	};

	(void)state;
	for (size_t i = 0; i < ROWS_OF(cases); i++) {
		struct text out = TEXT_UP_TO(1000);

		assert_int_equal(subject_base(span_str(cases[i].in), &out), cases[i].reply);
		expect_text(cases[i].in, text_span(&out), cases[i].out);
		text_clear(&out);
	}
}

/* Hostile subjects: whatever comes, no more than MOST_SUBJECT bytes are looked at. */
static void
test_many(void **state)
{
	static const char *const pieces[] = { "[a]", "re:", "[fwd:", "(fwd)", "[", " ", "=?" };

	(void)state;
	for (size_t i = 0; i < ROWS_OF(pieces); i++) {
		struct text in = TEXT_UP_TO(1 << 20), out = TEXT_UP_TO(1 << 20);

		while (in.len < (1 << 20) - 16)
			text_add_str(&in, pieces[i]);
		(void)subject_base(text_span(&in), &out);
		assert_false(out.failed);
		assert_true(out.len <= 4 * MOST_SUBJECT);
		text_clear(&in);
		text_clear(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bases),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
