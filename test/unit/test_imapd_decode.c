/* Transfer encodings, charsets and encoded words: whole, and in pieces of every size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "imapd/charset.h"
#include "imapd/encoded-word.h"
#include "imapd/transfer.h"

#include "expect.h"

static const struct {
	const char *encoding, *in, *out;
	bool broken;
} transfers[] = {
	{ "7bit", "a=20|", "a=20|", false },
	{ "8BIT (x)", "a=20|", "a=20|", false },
	{ "x-uue", "abc", "abc", true },
	{ "base64", "", "", false },
	{ "Base64", "SGVs|bG8=|", "Hello", false },
	{ "base64", "SGVsbG8", "Hello", true },
	{ "base64", "SGVsbA==", "Hell", false },
	{ "base64", "SGVsbA", "Hell", true },
	{ "base64", "SGVsb", "Hel", true },
	{ "base64", "SG Vs\tbG8=", "Hello", false },
	{ "base64", "SG!Vs*bG8=", "Hello", true },
	{ "base64", "SGk=SGk=", "HiHi", true },
	{ "base64", "====", "", true },
	{ "base64", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5eg==|",
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", false },
	{ "quoted-printable", "a=20b|c", "a b|c", false },
	{ "quoted-printable", "a =|b=|c", "a bc", false },
	{ "quoted-printable", "a= \t|b", "ab", false },
	{ "quoted-printable", "a  \t|b \t", "a|b", false },
	{ "quoted-printable", "a  b\t c", "a  b\t c", false },
	{ "quoted-printable", "=c3=A9=3D", "\xc3\xa9=", false },
	{ "quoted-printable", "a=|", "a", false },
	{ "quoted-printable", "a=", "a", false },
	{ "quoted-printable", "a=4", "a=4", true },
	{ "quoted-printable", "a=XY", "a=XY", true },
	{ "quoted-printable", "a=4Xb==41", "a=4Xb=A", true },
	{ "quoted-printable", "a= b", "a=b", true },
};

static void
transfer_all(size_t row, size_t piece)
{
	struct text in = text_of(transfers[row].in), out = TEXT_UP_TO(1000);
	struct transfer_stream stream;

	transfer_begin(&stream, transfer_of(span_str(transfers[row].encoding)));
	for (size_t at = 0; at < in.len; at += piece)
		transfer_feed(&stream, span_part(text_span(&in), at, piece), &out);
	transfer_end(&stream, &out);
	expect_text(transfers[row].in, text_span(&out), transfers[row].out);
	assert_int_equal(stream.broken, transfers[row].broken);
	text_clear(&in);
	text_clear(&out);
}

static void
test_transfers(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS_OF(transfers); i++)
		for (size_t piece = 1; piece < 80; piece++)
			transfer_all(i, piece);
	assert_int_equal(transfer_of(SPAN_NONE), TRANSFER_IDENTITY);
	assert_int_equal(transfer_of(SPAN(" ")), TRANSFER_IDENTITY);
	assert_int_equal(transfer_of(SPAN("@")), TRANSFER_UNKNOWN);
}

static const struct {
	const char *charset;
	struct span in;
	const char *out;
} charsets[] = {
	{ "utf-8", SPAN("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x92\xac"),
		"a\xc3\xa9\xe2\x82\xac\xf0\x9f\x92\xac" },
	{ "UTF8", SPAN("a\xff\xc3"), "a\xef\xbf\xbd\xef\xbf\xbd" },
	{ "", SPAN("a\xe9 \xc3\xa9 \x80"), "a\xc3\xa9 \xc3\xa9 \xe2\x82\xac" },
	{ "us-ascii", SPAN("caf\xe9"), "caf\xc3\xa9" },
	{ "ISO-8859-1", SPAN("\xe9\xc3\xa9"), "\xc3\xa9\xc3\x83\xc2\xa9" },
	{ "windows-1252",
		SPAN("\x93"
		     "a\x94"),
		"\xe2\x80\x9c"
		"a\xe2\x80\x9d" },
	{ "iso-8859-15", SPAN("\xa4"), "\xe2\x82\xac" },
	{ "koi8-r", SPAN("\xf0\xd2"), "\xd0\x9f\xd1\x80" },
	{ "iso-2022-jp", SPAN("a\x1b$B$\"$$\x1b(Bb"),
		"a\xe3\x81\x82\xe3\x81\x84"
		"b" },
	{ "Shift_JIS", SPAN("\x82\xa0z"), "\xe3\x81\x82z" },
	{ "gb2312", SPAN("\xc4\xe3\xba\xc3"), "\xe4\xbd\xa0\xe5\xa5\xbd" },
	{ "big5", SPAN("\xa7\x41"), "\xe4\xbd\xa0" },
	{ "utf-16le", SPAN("a\0\xac\x20"), "a\xe2\x82\xac" },
	{ "x-unknown", SPAN("a\xe9\xc3\xa9"), "a\xc3\xa9\xc3\xa9" },
	{ "//TRANSLIT", SPAN("a"), "a" },
};

static void
test_charsets(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS_OF(charsets); i++) {
		for (size_t piece = 1; piece < 16; piece++) {
			struct text out = TEXT_UP_TO(1000);
			struct charset_stream stream;

			charset_begin(&stream, charset_or_guess(span_str(charsets[i].charset)));
			for (size_t at = 0; at < charsets[i].in.len; at += piece)
				charset_feed(&stream, span_part(charsets[i].in, at, piece), &out);
			charset_end(&stream, &out);
			expect_text(charsets[i].charset, text_span(&out), charsets[i].out);
			text_clear(&out);
		}
	}
	assert_null(charset_find(SPAN("x-unknown")));
	assert_null(charset_find(SPAN("utf-8//IGNORE")));
	assert_null(charset_find(SPAN("../../x")));
	assert_non_null(charset_find(SPAN("Utf-8")));
}

/* Two streams of one charset do not disturb each other; more charsets than handles. */
static void
test_handles(void **state)
{
	static const char *const names[] = { "iso-8859-2", "iso-8859-3", "iso-8859-4", "iso-8859-5",
		"iso-8859-6", "iso-8859-7", "iso-8859-8", "iso-8859-9", "iso-8859-10", "koi8-r",
		"koi8-u", "cp437" };
	struct charset_stream one, two;
	struct text a = TEXT_UP_TO(100), b = TEXT_UP_TO(100);

	(void)state;
	charset_begin(&one, charset_find(SPAN("iso-2022-jp")));
	charset_begin(&two, charset_find(SPAN("iso-2022-jp")));
	charset_feed(&one, SPAN("\x1b$B$\""), &a);
	charset_feed(&two, SPAN("$\""), &b);
	for (size_t i = 0; i < ROWS_OF(names); i++) {
		text_reset(&b);
		charset_convert(charset_find(span_str(names[i])), SPAN("a"), &b);
		expect_text(names[i], text_span(&b), "a");
	}
	charset_feed(&one, SPAN("$\""), &a);
	charset_end(&one, &a);
	charset_end(&two, &b);
	expect_text("nested", text_span(&a), "\xe3\x81\x82\xe3\x81\x82");
	charset_close_all();
	text_clear(&a);
	text_clear(&b);
}

static const struct {
	const char *value, *out;
} values[] = {
	{ "", "" },
	{ "plain", "plain" },
	{ "fol|\tded| text", "fol\tded text" },
	/* RFC 2047 section 8 */
	{ "(=?ISO-8859-1?Q?a?=)", "(a)" },
	{ "(=?ISO-8859-1?Q?a?= b)", "(a b)" },
	{ "(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)" },
	{ "(=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=)", "(ab)" },
	{ "(=?ISO-8859-1?Q?a?=|     =?ISO-8859-1?Q?b?=)", "(ab)" },
	{ "(=?ISO-8859-1?Q?a_b?=)", "(a b)" },
	{ "(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)", "(a b)" },
	{ "=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?= <keld@dkuug.dk>",
		"Keld J\xc3\xb8rn Simonsen <keld@dkuug.dk>" },
	{ "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=|    "
	  "=?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
		"If you can read this you understand the example." },
	/* RFC 2231 section 5 */
	{ "=?US-ASCII*EN?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>" },
	{ "=?utf-8*de?q?gr=c3=bcn?=", "gr\xc3\xbcn" },
	/* a character in two words */
	{ "=?utf-8?Q?gr=c3?= =?UTF-8?Q?=bcn?=", "gr\xc3\xbcn" },
	{ "=?utf-8?B?w7w=?==?utf-8?B?w7w=?=", "\xc3\xbc\xc3\xbc" },
	{ "=?iso-2022-jp?B?GyRCJCIbKEI=?=", "\xe3\x81\x82" },
	/* broken ones stay */
	{ "=?utf-8?Q?x", "=?utf-8?Q?x" },
	{ "=?utf-8?X?x?=", "=?utf-8?X?x?=" },
	{ "=??Q?x?=", "=??Q?x?=" },
	{ "=?=?=?=?", "=?=?=?=?" },
	{ "=?utf-8?Q?"
	  "?=",
		"" },
	{ "=?utf-8?Q?a b?= c", "a b c" },
	{ "=?utf-8?Q?a=?= b", "a= b" },
	{ "=?x-what?Q?=e9?=", "\xc3\xa9" },
	{ "caf\xe9 \xc3\xa9", "caf\xc3\xa9 \xc3\xa9" },
	{ "a =?utf-8?Q?b?= ", "a b" },
	{ "=?utf-8?Q?a?= (c) =?utf-8?Q?b?=", "a (c) b" },
	{ "=?utf-8?Q?=ff?=", "\xef\xbf\xbd" },
	{ "=?utf-8?Q?=c3?= x", "\xef\xbf\xbd x" },
};

static void
test_values(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS_OF(values); i++) {
		struct text value = text_of(values[i].value), out = TEXT_UP_TO(1000);

		encoded_word_decode(text_span(&value), &out);
		expect_text(values[i].value, text_span(&out), values[i].out);
		assert_true(span_is_utf8(text_span(&out)));
		text_clear(&value);
		text_clear(&out);
	}
	charset_close_all();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transfers),
		cmocka_unit_test(test_charsets),
		cmocka_unit_test(test_handles),
		cmocka_unit_test(test_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
