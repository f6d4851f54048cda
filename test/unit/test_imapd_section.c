/* BODY[section]<partial>: what parses, how it is printed, what it names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "imapd/crlf.h"
#include "imapd/quote.h"
#include "imapd/section.h"

#include "expect.h"

/* What is taken, and how the response has it; NULL: malformed. */
static const struct {
	const char *section, *printed;
} specs[] = {
	{ "[]", "[]" },
	{ "[TEXT]", "[TEXT]" },
	{ "[header]", "[HEADER]" },
	{ "[1]", "[1]" },
	{ "[1.2.3]", "[1.2.3]" },
	{ "[1.MIME]", "[1.MIME]" },
	{ "[4.2.HEADER]", "[4.2.HEADER]" },
	{ "[4.2.TEXT]<0.10>", "[4.2.TEXT]<0>" },
	{ "[]<4294967295.4294967295>", "[]<4294967295>" },
	{ "[]<9223372036854775807.9223372036854775807>", "[]<9223372036854775807>" },
	{ "[HEADER.FIELDS (From To)]", "[HEADER.FIELDS (From To)]" },
	{ "[Header.Fields.Not (x)]<5.1>", "[HEADER.FIELDS.NOT (x)]<5>" },
	{ "[2.HEADER.FIELDS (a 'b' {1}|c {1+}|d)]", "[2.HEADER.FIELDS (a b c d)]" },
	{ "[HEADER.FIELDS ('a b' '\\'' '' NIL)]", "[HEADER.FIELDS ('a b' '\\'' '' 'NIL')]" },
	{ "", NULL },
	{ "[", NULL },
	{ "[1", NULL },
	{ "[1.]", NULL },
	{ "[.1]", NULL },
	{ "[0]", NULL },
	{ "[1.0]", NULL },
	{ "[4294967296]", NULL },
	{ "[MIME]", NULL },
	{ "[1.TEXT.1]", NULL },
	{ "[FOO]", NULL },
	{ "[HEADERS]", NULL },
	{ "[HEADER.FIELDS]", NULL },
	{ "[HEADER.FIELDS ()]", NULL },
	{ "[HEADER.FIELDS (a  b)]", NULL },
	{ "[HEADER.FIELDS (a ]", NULL },
	{ "[HEADER.FIELDS (a]", NULL },
	{ "[HEADER.FIELDS ({9}|a)]", NULL },
	{ "[HEADER.FIELDS ({99999999999999999999}|a)]", NULL },
	{ "[HEADER.FIELDS ('a)]", NULL },
	{ "[HEADER (a)]", NULL },
	{ "[]<0>", NULL },
	{ "[]<0.0>", NULL },
	{ "[]<0.1", NULL },
	{ "[]<-1.1>", NULL },
	{ "[]<0.9223372036854775808>", NULL },
	{ "[]<.5>", NULL },
};

/* Written with ' for " and | for CRLF. */
static struct text
command_of(const char *written)
{
	struct text t = text_of(written);

	for (size_t i = 0; i < t.len; i++)
		if (t.at[i] == '\'')
			t.at[i] = '"';
	return t;
}

static void
test_specs(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS_OF(specs); i++) {
		struct text command = command_of(specs[i].section),
			    shown = TEXT_UP_TO(MOST_EXPECTED);
		struct span in = text_span(&command);
		struct section section;
		const char *wrong = NULL;

		if (specs[i].printed == NULL) {
			assert_false(section_take(&in, &section, &wrong));
			assert_true(in.at == command.at && in.len == command.len && wrong != NULL);
			/* What follows "Expected" in the answer. */
			assert_int_not_equal(strncmp(wrong, "expected", 8), 0);
		} else {
			assert_true(section_take(&in, &section, &wrong));
			assert_int_equal(in.len, 0);
			section_write(&section, &shown);
			expect_text(specs[i].section, text_span(&shown), specs[i].printed);
			section_clear(&section);
		}
		text_clear(&command);
		text_clear(&shown);
	}
}

static void
test_many(void **state)
{
	struct text t = TEXT_UP_TO(MOST_EXPECTED);
	struct section section;
	const char *wrong;
	struct span in;

	(void)state;
	text_add_str(&t, "[1");
	for (int i = 0; i < 5000; i++)
		text_add_str(&t, ".1");
	text_add_byte(&t, ']');
	in = text_span(&t);
	assert_false(section_take(&in, &section, &wrong));
	text_reset(&t);
	text_add_str(&t, "[HEADER.FIELDS (a");
	for (int i = 0; i < 5000; i++)
		text_add_str(&t, " a");
	text_add_str(&t, ")]");
	in = text_span(&t);
	assert_false(section_take(&in, &section, &wrong));
	text_clear(&t);
}

#define MAIL                                                                                       \
	"From: a@b|To: c@d,| e@f|X: 1|from: g@h|Content-Type: multipart/mixed; boundary=b||pre|"   \
	"--b|Content-Type: text/plain||one|"                                                       \
	"--b|Content-Type: message/rfc822|X: m||Subject: in|Content-Type: multipart/mixed; "       \
	"boundary=c||"                                                                             \
	"--c||c1|--c|Content-Type: message/rfc822||Subject: deep||plain|--c--||"                   \
	"--b|Content-Type: multipart/alternative; boundary=d||--d|X: d1||d1|--d||d2|--d--||"       \
	"--b--|"
#define SINGLE "Subject: x|Y: z||body|"
#define FORWARD "Content-Type: message/rfc822||Subject: in||text"

static const struct {
	const char *message, *section, *bytes;         /* NULL: NIL */
} finds[] = {
	{ MAIL, "[]", MAIL },
	{ MAIL, "[HEADER]",
		"From: a@b|To: c@d,| e@f|X: 1|from: g@h|Content-Type: multipart/mixed; "
		"boundary=b||" },
	{ MAIL, "[HEADER.FIELDS (FROM x)]", "From: a@b|X: 1|from: g@h||" },
	{ MAIL, "[HEADER.FIELDS (to)]", "To: c@d,| e@f||" },
	{ MAIL, "[HEADER.FIELDS (Sub Subject Fro)]", "|" },
	{ MAIL, "[HEADER.FIELDS.NOT (from content-type)]", "To: c@d,| e@f|X: 1||" },
	{ MAIL, "[HEADER.FIELDS (x)]<0.4>", "X: 1" },
	{ MAIL, "[HEADER.FIELDS (x)]<4.100>", "||" },
	{ MAIL, "[HEADER.FIELDS (x)]<100.100>", "" },
	{ MAIL, "[1]", "one" },
	{ MAIL, "[1]<1.1>", "n" },
	{ MAIL, "[1.MIME]", "Content-Type: text/plain||" },
	{ MAIL, "[1.HEADER]", NULL },
	{ MAIL, "[1.TEXT]", NULL },
	{ MAIL, "[1.1]", NULL },
	{ MAIL, "[2.MIME]", "Content-Type: message/rfc822|X: m||" },
	{ MAIL, "[2.HEADER]", "Subject: in|Content-Type: multipart/mixed; boundary=c||" },
	{ MAIL, "[2.HEADER.FIELDS (subject)]", "Subject: in||" },
	{ MAIL, "[2.TEXT]",
		"--c||c1|--c|Content-Type: message/rfc822||Subject: deep||plain|--c--|" },
	{ MAIL, "[2.1]", "c1" },
	{ MAIL, "[2.1.MIME]", "|" },
	{ MAIL, "[2.2]", "Subject: deep||plain" },
	{ MAIL, "[2.2.HEADER]", "Subject: deep||" },
	{ MAIL, "[2.2.1]", "plain" },
	{ MAIL, "[2.2.1.1]", NULL },
	{ MAIL, "[2.2.2]", NULL },
	{ MAIL, "[2.3]", NULL },
	{ MAIL, "[3]", "--d|X: d1||d1|--d||d2|--d--|" },
	{ MAIL, "[3.1]", "d1" },
	{ MAIL, "[3.1.MIME]", "X: d1||" },
	{ MAIL, "[3.2]", "d2" },
	{ MAIL, "[4]", NULL },
	{ MAIL, "[4294967295]", NULL },
	{ SINGLE, "[1]", "body|" },
	{ SINGLE, "[1.1]", NULL },
	{ SINGLE, "[2]", NULL },
	{ SINGLE, "[TEXT]", "body|" },
	{ SINGLE, "[TEXT]<2.100>", "dy|" },
	{ SINGLE, "[1.MIME]", "Subject: x|Y: z||" },
	{ FORWARD, "[1]", "Subject: in||text" },
	{ FORWARD, "[1.HEADER]", "Subject: in||" },
	{ FORWARD, "[1.1]", "text" },
	{ FORWARD, "[1.1.1]", NULL },
	{ "Subject: cut", "[HEADER]", "Subject: cut" },
	{ "Subject: cut", "[HEADER.FIELDS (subject)]", "Subject: cut||" },
	{ "Subject: cut", "[TEXT]", "" },
	{ "", "[HEADER.FIELDS (subject)]", "|" },
	{ "", "[]", "" },
	{ "", "[1]", "" },
};

static void
test_finds(void **state)
{
	struct text store = TEXT_UP_TO(1);

	(void)state;
	for (size_t i = 0; i < ROWS_OF(finds); i++) {
		struct text message = text_of(finds[i].message),
			    command = command_of(finds[i].section);
		struct span in = text_span(&command), bytes;
		struct section section;
		struct mime mime;
		const char *wrong;
		bool found;

		assert_true(section_take(&in, &section, &wrong));
		mime_parse(text_span(&message), &mime);
		found = section_find(&section, text_span(&message),
			section_needs_mime(&section) ? &mime : NULL, &store, &bytes);
		assert_int_equal(found, finds[i].bytes != NULL);
		if (found)
			expect_text(finds[i].section, bytes, finds[i].bytes);
		section_clear(&section);
		mime_clear(&mime);
		text_clear(&message);
		text_clear(&command);
	}
	text_clear(&store);
}

static void
test_quote(void **state)
{
	static const struct {
		struct span in;
		const char *string, *astring;
	} cases[] = {
		{ SPAN(""), "''", "''" },
		{ SPAN("abc"), "'abc'", "abc" },
		{ SPAN("nil"), "'nil'", "'nil'" },
		{ SPAN("a b"), "'a b'", "'a b'" },
		{ SPAN("a\"\\"), "'a\\'\\\\'", "'a\\'\\\\'" },
		{ SPAN("a\tb"), "'a\tb'", "'a\tb'" },
		{ SPAN("a*"), "'a*'", "'a*'" },
		{ SPAN("a]"), "'a]'", "a]" },
		{ SPAN("a\r\nb"), "{4}|a|b", "{4}|a|b" },
		{ SPAN("\xc3\xa9"), "{2}|\xc3\xa9", "{2}|\xc3\xa9" },
		{ SPAN("\0a\0"),
			"{3}|\x80"
			"a\x80",
			"{3}|\x80"
			"a\x80" },
		{ SPAN("\x7f"), "{1}|\x7f", "{1}|\x7f" },
	};
	struct text t = TEXT_UP_TO(MOST_EXPECTED), longer = TEXT_UP_TO(MOST_EXPECTED);

	(void)state;
	for (size_t i = 0; i < ROWS_OF(cases); i++) {
		text_reset(&t);
		quote_string(&t, cases[i].in);
		expect_text("string", text_span(&t), cases[i].string);
		text_reset(&t);
		quote_astring(&t, cases[i].in);
		expect_text("astring", text_span(&t), cases[i].astring);
	}
	text_reset(&t);
	quote_nstring(&t, SPAN_NONE);
	quote_nstring(&t, SPAN(""));
	quote_field(&t, SPAN_NONE);
	quote_field(&t, SPAN(" \r\n"));
	expect_text("nstring", text_span(&t), "NIL''NIL''");
	for (int i = 0; i <= MOST_QUOTED; i++)
		text_add_byte(&longer, 'x');
	text_reset(&t);
	quote_astring(&t, text_span(&longer));
	assert_true(span_starts_nocase(text_span(&t), SPAN("{1001}\r\nxxx")));
	text_clear(&t);
	text_clear(&longer);
}

static void
test_crlf(void **state)
{
	static const struct {
		struct span in, out;
		size_t lines, bare;
	} cases[] = {
		{ SPAN(""), SPAN(""), 0, 0 },
		{ SPAN("a"), SPAN("a"), 0, 0 },
		{ SPAN("\n"), SPAN("\r\n"), 1, 1 },
		{ SPAN("\r\n"), SPAN("\r\n"), 1, 0 },
		{ SPAN("a\nb\r\nc\n"), SPAN("a\r\nb\r\nc\r\n"), 3, 2 },
		{ SPAN("\r\r\n\n"), SPAN("\r\r\n\r\n"), 2, 1 },
		{ SPAN("a\rb\r"), SPAN("a\rb\r"), 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ROWS_OF(cases); i++) {
		struct text out = TEXT_UP_TO(cases[i].out.len);
		struct crlf_facts facts;

		crlf_count(cases[i].in, &facts);
		assert_int_equal(facts.size, cases[i].out.len);
		assert_int_equal(facts.lines, cases[i].lines);
		assert_int_equal(facts.bare, cases[i].bare);
		crlf_convert(cases[i].in, &out);
		assert_false(out.failed);
		assert_true(span_equal(text_span(&out), cases[i].out));
		text_clear(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_specs),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_finds),
		cmocka_unit_test(test_quote),
		cmocka_unit_test(test_crlf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
