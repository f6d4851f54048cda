/* SEARCH: case, charsets, encodings; strings that lie across the pieces in which text is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "imapd/charset.h"
#include "imapd/fold.h"
#include "common/utf8.h"
#include "imapd/match.h"

#include "expect.h"

#include <malloc.h>

enum where { SUBJECT, TO, BODY, TEXT, NOWHERE };

#define MAIL                                                                                       \
	"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= an =?iso-8859-1?Q?Andr=E9?=|To: \"Joe Q. Public\"| " \
	"<joe@example.org>|"                                                                       \
	"X-Raw: na\xefve|Content-Type: multipart/mixed; boundary=b||preamble|"                     \
	"--b|Content-Type: text/plain; charset=iso-8859-1|Content-Transfer-Encoding: "             \
	"quoted-printable||Stra=DFe =|und Weg|"                                                    \
	"--b|Content-Type: text/html; charset=utf-8|Content-Transfer-Encoding: "                   \
	"base64||w4TDlsOcIDxiPmZldHQ8L2I+|"                                                        \
	"--b|Content-Type: application/octet-stream; name=\"Rechnung.pdf\"||hidden bytes|"         \
	"--b|Content-Type: message/rfc822||Subject: =?koi8-r?Q?=F0=D2=C9?=||inner text|--b--|"

static const struct {
	enum where where;
	struct span needle;
	bool found;
} searches[] = {
	{ SUBJECT, SPAN("gr\xc3\x9c\xc3\x9f" "e an andr\xc3\x89"), true },
	{ SUBJECT, SPAN("gruss"), false },
	{ SUBJECT, SPAN("=?utf-8"), false },
	{ SUBJECT, SPAN(""), true },
	{ SUBJECT, SPAN("joe"), false },
	{ TO, SPAN("PUBLIC\" <JOE@"), true },
	{ NOWHERE, SPAN("x"), false },
	{ NOWHERE, SPAN(""), false },
	{ TEXT, SPAN("Subject: Gr\xc3\xbc"), true },
	{ TEXT, SPAN("na\xc3\xafve"), true },
	{ TEXT, SPAN("joe@example"), true },
	{ BODY, SPAN("joe@example"), false },
	{ BODY, SPAN("gr\xc3\xbc\xc3\x9f"), false },
	{ BODY, SPAN("STRA\xc3\x9f" "E UND weg"), true },
	{ BODY, SPAN("stra=df"), false },
	{ BODY, SPAN("\xc3\xa4\xc3\xb6\xc3\xbc <B>FETT"), true },
	{ BODY, SPAN("hidden"), false },
	{ BODY, SPAN("rechnung.PDF"), true },
	{ BODY, SPAN("INNER"), true },
	{ BODY, SPAN("\xd0\xbf\xd1\x80\xd0\xb8"), true },
	{ BODY, SPAN("preamble"), false },
	{ BODY, SPAN("inner text and more"), false },
	{ BODY, SPAN(""), true },
};

static void
test_searches(void **state)
{
	struct text message = text_of(MAIL);
	struct mime mime;

	(void)state;
	mime_parse(text_span(&message), &mime);
	for (size_t i = 0; i < ROWS_OF(searches); i++) {
		struct span header = mime_header(&mime, &mime.parts[0]);
		struct needle needle;
		bool bad, found = false;

		assert_true(needle_init(&needle, searches[i].needle, SPAN_NONE, &bad));
		switch (searches[i].where) {
		case SUBJECT:
			found = match_field(&needle, header, SPAN("subject"));
			break;
		case TO:
			found = match_field(&needle, header, SPAN("TO"));
			break;
		case NOWHERE:
			found = match_field(&needle, header, SPAN("Bcc"));
			break;
		case BODY:
			found = match_body(&needle, &mime);
			break;
		case TEXT:
			found = match_message(&needle, &mime);
			break;
		}
		if (found != searches[i].found)
			fprintf(stderr, "row %zu\n", i);
		assert_int_equal(found, searches[i].found);
		needle_clear(&needle);
	}
	mime_clear(&mime);
	text_clear(&message);
	charset_close_all();
}

static void
test_charset(void **state)
{
	struct needle needle;
	bool bad;

	(void)state;
	assert_true(needle_init(&needle, SPAN("\xc9"), SPAN("iso-8859-1"), &bad));
	assert_true(match_text(&needle, SPAN("caf\xc3\xa9")));
	needle_clear(&needle);
	assert_false(needle_init(&needle, SPAN("x"), SPAN("x-what"), &bad));
	assert_true(bad);
}

/* A command of 64 KiB may have nine thousand strings, one inside the other's turn: long and short, made and gone in any
 * order. What each costs is little more than itself (HARDENING P2). */
static void
test_p2_many_needles(void **state)
{
	enum { MANY = 9000 };
	static struct needle needles[MANY];
	static unsigned char longest[MOST_NEEDLE];
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd, with;
	bool bad;

	(void)state;
	memset(longest, 'z', sizeof(longest));
	for (int i = 0; i < MANY; i++)
		assert_true(needle_init(&needles[i], i == 4000 ? span_of(longest, sizeof(longest)) : SPAN("abc"), SPAN_NONE, &bad));
	with = mallinfo2().uordblks + mallinfo2().hblkhd;
	assert_true(with - before < (size_t)MANY * 512);
	assert_true(match_text(&needles[4000], span_of(longest, sizeof(longest))));
	assert_false(match_text(&needles[4000], span_of(longest, sizeof(longest) - 1)));
	for (int i = 0; i < MANY; i += 2)
		needle_clear(&needles[i]);
	assert_true(match_text(&needles[8999], SPAN("xxABCxx")));
	for (int i = 1; i < MANY; i += 2)
		needle_clear(&needles[i]);
	assert_true(mallinfo2().uordblks + mallinfo2().hblkhd <= before + 4096);
	assert_true(needle_init(&needles[0], SPAN("a"), SPAN_NONE, &bad));
	assert_true(match_text(&needles[0], SPAN("A")));
	needle_clear(&needles[0]);
}

/* The string lies wherever it wants in a long body, in every encoding. */
static void
across_case(const char *encoding, const char *filler, const char *written, struct span wanted)
{
	struct needle needle;
	bool bad;

	assert_true(needle_init(&needle, wanted, SPAN_NONE, &bad));
	for (size_t lines = 200; lines < 4000; lines += 199) {
		struct text message = TEXT_UP_TO(MOST_EXPECTED);
		struct mime mime;

		text_printf(&message, "Content-Type: text/plain; charset=utf-8\r\n"
			"Content-Transfer-Encoding: %s\r\n\r\n", encoding);
		for (size_t i = 0; i < lines; i++)
			text_add_str(&message, filler);
		mime_parse(text_span(&message), &mime);
		assert_false(match_body(&needle, &mime));
		mime_clear(&mime);
		text_add_str(&message, written);
		mime_parse(text_span(&message), &mime);
		assert_true(match_body(&needle, &mime));
		mime_clear(&mime);
		text_clear(&message);
	}
	needle_clear(&needle);
}

static void
test_across(void **state)
{
	struct span wanted = SPAN("\xc3\x84" "BCDEFGHIJKLMNOPQRSTUVWXYZ");

	(void)state;
	across_case("8bit",
		"\xc3\xa4"
		"bcdefghijklmnopqrstuvwx\r\n",
		"\xc3\xa4"
		"bcdefghijklmnopqrstuvwxyz",
		wanted);
	across_case("quoted-printable", "=C3=A4bcdefghijklm=\r\nopqrstuvwxyz=\r\n",
		"=C3=A4bcdefghijklmn=\r\nopqrst=75vwxyz", wanted);
	across_case("base64", "w6RiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHh4eg==\r\n",
		"w6RiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6\r\n", wanted);
}

static void
test_fold(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "", "" },
		{ "AZaz@[`{09", "AZAZ@[`{09" },
		{ "abcdefghijklmnopq", "ABCDEFGHIJKLMNOPQ" },
		/* a with grave, in one character and in two; multiplication sign; sharp s */
		{ "\xc3\xa0\xc3\x80" "A\xcc\x80", "A\xcc\x80" "A\xcc\x80" "A\xcc\x80" },
		{ "\xc3\x97\xc3\xb8\xc3\x9f", "\xc3\x97\xc3\x98\xc3\x9f" },
		/* sigma, final sigma, alpha with tonos */
		{ "\xcf\x83\xcf\x82\xce\xac", "\xce\xa3\xce\xa3\xce\x91\xcc\x81" },
		{ "\xd0\xbf\xd1\x8f", "\xd0\x9f\xd0\xaf" },
		{ "\xef\xbd\x81", "A" },                                /* full-width a */
		{ "\xef\xac\x81", "fi" },                               /* a ligature */
		{ "\xea\xb0\x81", "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8" }, /* a Hangul syllable */
		{ "A\xff\xc3", "A\xff\xc3" },
		{ "\xf0\x9f\x92\xac", "\xf0\x9f\x92\xac" },
	};

	(void)state;
	for (size_t i = 0; i < ROWS_OF(cases); i++) {
		struct text out = TEXT_UP_TO(1000);

		fold_add(&out, span_str(cases[i].in));
		expect_text(cases[i].in, text_span(&out), cases[i].out);
		text_clear(&out);
	}
	for (uint32_t code = 0x20; code < 0x30000; code = code == 0xd7ff ? 0xe000 : code + 1) {
		unsigned char bytes[4], folded[MOST_FOLDED];
		struct span in = span_of(bytes, utf8_put(bytes, code));
		size_t len = fold_some(&in, folded, sizeof(folded));

		assert_true(len > 0 && len <= MOST_FOLDED && in.len == 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_searches),
		cmocka_unit_test(test_charset),
		cmocka_unit_test(test_p2_many_needles),
		cmocka_unit_test(test_across),
		cmocka_unit_test(test_fold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
