/* Base subjects (RFC 5256 2.1). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "expect.h"

#include "imapd/subject.h"

#include <stdlib.h>
#include <string.h>

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

/* What is plain is looked at eight bytes at a time: it has the same base as when blanks behind it make it not plain. */
static void
test_plain_or_not(void **state)
{
	static const unsigned char some[] = { 'a', 'b', ' ', '=', '?', '~', '!', 0x7f, '\t', 0x1f, 0xe9, '>', '\r' };

	(void)state;
	srandom(5);
	for (int round = 0; round < 200000; round++) {
		unsigned char bytes[42];
		size_t len = (size_t)random() % 40;
		struct text plain = TEXT_UP_TO(1000), blanks = TEXT_UP_TO(1000);

		memset(bytes, ' ', sizeof(bytes));
		for (size_t i = 0; i < len; i++)
			bytes[i] = random() % 20 > 0 ? 'c' : some[(size_t)random() % sizeof(some)];
		assert_int_equal(subject_base(span_of(bytes, len), &plain),
			subject_base(span_of(bytes, len + 2), &blanks));
		assert_true(span_equal(text_span(&plain), text_span(&blanks)));
		text_clear(&plain);
		text_clear(&blanks);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bases),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_plain_or_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
