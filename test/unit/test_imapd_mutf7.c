/* Modified UTF-7: the RFC's examples, strictness, and that every name comes back as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "imapd/mutf7.h"
#include "common/utf8.h"

#include "expect.h"

static const struct {
	struct span mutf7;
	const char *utf8;          /* NULL: refused */
} names[] = {
	{ SPAN(""), "" },
	{ SPAN("INBOX"), "INBOX" },
	{ SPAN("a&-b"), "a&b" },
	{ SPAN("&-&-"), "&&" },
	/* RFC 3501 5.1.3 */
	{ SPAN("~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
		"~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e" },
	{ SPAN("&Jjo-!"), "\xe2\x98\xba!" },
	{ SPAN("&Jjo!"), NULL },
	{ SPAN("&U,BTFw-&ZeVnLIqe-"), NULL },
	{ SPAN("&U,BTF2XlZyyKng-"),
		"\xe5\x8f\xb0\xe5\x8c\x97\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e" },
	{ SPAN("Entw&APw-rfe"), "Entw\xc3\xbcrfe" },
	{ SPAN("&2D3crA-"), "\xf0\x9f\x92\xac" },
	/* refused */
	{ SPAN("&"), NULL },
	{ SPAN("a&"), NULL },
	{ SPAN("&APw"), NULL },
	{ SPAN("&AA-"), NULL },
	{ SPAN("&APx-"), NULL }, /* bits left over are not zero */
	{ SPAN("&APwA-"), NULL }, /* a character too many */
	{ SPAN("&AP/8-"), NULL }, /* not this alphabet */
	{ SPAN("&APw=-"), NULL },
	{ SPAN("&AGE-"), NULL }, /* "a" must stand for itself */
	{ SPAN("&ACY-"), NULL }, /* "&" too */
	{ SPAN("&AC4ALg-/x"), NULL }, /* ".." in disguise */
	{ SPAN("&AAA-"), NULL }, /* NUL */
	{ SPAN("&AAo-"), NULL }, /* LF */
	{ SPAN("&AH8-"), NULL },
	{ SPAN("&AIU-"), NULL }, /* C1 */
	{ SPAN("&2D0-"), NULL }, /* half a pair */
	{ SPAN("&3Kw-"), NULL },
	{ SPAN("&3KzYPQ-"), NULL },
	{ SPAN("&2D0AYQ-"), NULL },
	{ SPAN("a\0b"), NULL },
	{ SPAN("a\nb"), NULL },
	{ SPAN("a\x7f"), NULL },
	{ SPAN("\xc3\xbc"), NULL },
};

static void
test_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS_OF(names); i++) {
		struct text utf8 = TEXT_UP_TO(1000), back = TEXT_UP_TO(1000);
		bool good;

		text_add_str(&utf8, "before ");
		good = mutf7_to_utf8(names[i].mutf7, &utf8);
		if (good != (names[i].utf8 != NULL))
			fprintf(stderr, "row %zu\n", i);
		assert_int_equal(good, names[i].utf8 != NULL);
		text_drop(&utf8, 7);
		if (!good) {
			assert_int_equal(utf8.len, 0);
		} else {
			assert_true(span_equal(text_span(&utf8), span_str(names[i].utf8)));
			assert_true(mutf7_from_utf8(text_span(&utf8), &back));
			assert_true(span_equal(text_span(&back), names[i].mutf7));
		}
		text_clear(&utf8);
		text_clear(&back);
	}
}

static void
test_bad_utf8(void **state)
{
	static const struct span bad[] = { SPAN("\xff"), SPAN("a\xc3"), SPAN("\xc0\xaf"),
		SPAN("\xed\xa0\x80"), SPAN("a\0"), SPAN("\n"), SPAN("\x7f"), SPAN("\xc2\x85"),
		SPAN("\xe2\x80\xa8"), SPAN("\xe2\x80\xa9") };

	(void)state;
	for (size_t i = 0; i < ROWS_OF(bad); i++) {
		struct text out = TEXT_UP_TO(100);

		assert_false(mutf7_from_utf8(bad[i], &out));
		assert_int_equal(out.len, 0);
		text_clear(&out);
	}
}

/* Every character alone, and beside its neighbours. */
static void
test_round_trip(void **state)
{
	struct text name = TEXT_UP_TO(100), mutf7 = TEXT_UP_TO(100), back = TEXT_UP_TO(100);

	(void)state;
	for (uint32_t code = 0xa0; code <= 0x10ffff; code += code < 0x3000 ? 1 : 61) {
		if ((code >= 0xd800 && code <= 0xdfff) || code == 0x2028 || code == 0x2029)
			continue;
		text_reset(&name);
		text_reset(&mutf7);
		text_reset(&back);
		text_add_str(&name, "a&");
		utf8_add(&name, code);
		if (code % 3 != 0)
			utf8_add(&name, 0x20ac);
		if (code % 2 != 0)
			text_add_str(&name, "-b");
		assert_true(mutf7_from_utf8(text_span(&name), &mutf7));
		assert_true(mutf7_to_utf8(text_span(&mutf7), &back));
		assert_true(span_equal(text_span(&name), text_span(&back)));
	}
	text_clear(&name);
	text_clear(&mutf7);
	text_clear(&back);
}

/* A full text is a failure that leaves nothing behind. */
static void
test_ceiling(void **state)
{
	struct text out = TEXT_UP_TO(4);

	(void)state;
	assert_false(mutf7_to_utf8(SPAN("abcde"), &out));
	assert_int_equal(out.len, 0);
	text_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_bad_utf8),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_ceiling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
