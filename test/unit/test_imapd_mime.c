/* The tree of parts: boundaries of every kind, broken ones, limits; and BODYSTRUCTURE of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "imapd/bodystructure.h"
#include "imapd/header.h"
#include "imapd/mime.h"

#include "expect.h"
#include "../fuzz/imap_grammar.h"

/* type/subtype{body}, children in parentheses. */
static void
tree_show(const struct mime *mime, const struct part *part, struct text *out)
{
	struct span body = mime_body(mime, part);

	text_add(out, part->type);
	text_add_byte(out, '/');
	text_add(out, part->subtype);
	if (part->kind == PART_LEAF) {
		text_add_byte(out, '{');
		text_add(out, body);
		text_add_byte(out, '}');
		text_add_number(out, part->lines);
		return;
	}
	text_add_byte(out, '(');
	for (uint32_t i = part->first_child; i != NO_PART; i = mime->parts[i].next) {
		if (i != part->first_child)
			text_add_byte(out, ' ');
		tree_show(mime, &mime->parts[i], out);
	}
	text_add_byte(out, ')');
}

#define MIXED "Content-Type: multipart/mixed; boundary=b||"

static const struct {
	const char *message, *tree;
} trees[] = {
	/* no MIME at all */
	{ "", "text/plain{}0" },
	{ "|", "text/plain{}0" },
	{ "Subject: x|", "text/plain{}0" },
	{ "Subject: x", "text/plain{}0" },
	{ "Subject: x||", "text/plain{}0" },
	{ "Subject: x||hello|", "text/plain{hello|}1" },
	{ "Subject: x||hello|there", "text/plain{hello|there}1" },
	{ "just text, no header||more|", "text/plain{just text, no header||more|}3" },
	{ "From me Mon|Subject: x||b", "text/plain{b}0" },
	/* a broken first line hides no header of a message; of a part, or where there is one field only, it is text */
	{ "+OK 120 octets|From: a@b|Subject: x|Content-Type: text/html||b", "text/html{b}0" },
	{ " folded|received: x|DATE: y||b", "text/plain{b}0" },
	{ "Dear Bob,|Subject: that|Subject: this||b|", "text/plain{Dear Bob,|Subject: that|Subject: this||b|}5" },
	{ "Dear Bob,||From: a|To: b||", "text/plain{Dear Bob,||From: a|To: b||}5" },
	{ MIXED "--b|- original -|From: x|To: y||t|--b--", "multipart/mixed(text/plain{- original -|From: x|To: y||t}4)" },
	{ MIXED "--b|Content-Type: message/rfc822||junk|From: x|To: y|Content-Type: text/html||t|--b--",
		"multipart/mixed(message/rfc822(text/html{t}0))" },
	{ MIXED "--b|Content-Type: message/rfc822||junk|--b|From: x|To: y||t|--b--",
		"multipart/mixed(message/rfc822(text/plain{junk}0) text/plain{t}0)" },
	{ "Content-Type: text|Subject: x||b", "text/plain{b}0" },
	{ "Content-Type: TEXT/Html (page) ; charset=x||b", "TEXT/Html{b}0" },
	{ "Content-Type: (a (b)) text (c) / (d) html||b", "text/html{b}0" },
	{ "Content-Type:| text/|\thtml||b", "text/html{b}0" },
	{ "Content-Type : text/html||b", "text/html{b}0" },
	{ "Content-Type: text/html|Content-Type: image/gif||b", "text/html{b}0" },
	{ "Content-Type: image/gif||R0lG|", "image/gif{R0lG|}1" },
	/* one multipart */
	{ MIXED "--b||one|--b||two|--b--|", "multipart/mixed(text/plain{one}0 text/plain{two}0)" },
	{ MIXED "preamble|--b||one||--b--|epilogue|", "multipart/mixed(text/plain{one|}1)" },
	{ MIXED "--b  \t||one|--b-- |", "multipart/mixed(text/plain{one}0)" },
	{ MIXED "--b||one|", "multipart/mixed(text/plain{one|}1)" },
	{ MIXED "--b||one|--b", "multipart/mixed(text/plain{one}0 text/plain{}0)" },
	{ MIXED "--b||one|--b--", "multipart/mixed(text/plain{one}0)" },
	{ MIXED "--b|Content-Type: image/png|--b--|", "multipart/mixed(image/png{}0)" },
	{ MIXED "--b|--b||--b--|", "multipart/mixed(text/plain{}0 text/plain{}0)" },
	{ MIXED "--b|no header|--b--|", "multipart/mixed(text/plain{no header}0)" },
	{ MIXED "--b||a|--c|b|--b--|", "multipart/mixed(text/plain{a|--c|b}2)" },
	{ MIXED "--b||a|-- b|--|--b--|", "multipart/mixed(text/plain{a|-- b|--}2)" },
	{ MIXED "--b||one|--b--|--b||not a part|", "multipart/mixed(text/plain{one}0)" },
	{ "Content-Type: multipart/mixed; boundary=\"b c\"||--b c||one|--b c--|",
		"multipart/mixed(text/plain{one}0)" },
	{ "Content-Type: multipart/mixed; boundary=\"b \"||--b||one|--b--|",
		"multipart/mixed(text/plain{one}0)" },
	{ "Content-Type: multipart/mixed; boundary=\"a\\\"b\"||--a\"b||one|--a\"b--|",
		"multipart/mixed(text/plain{one}0)" },
	{ "Content-Type: multipart/mixed;| boundary*0=ab;|\tboundary*1=cd||--abcd||one|--abcd--|",
		"multipart/mixed(text/plain{one}0)" },
	{ "Content-Type: multipart/mixed; boundary*=us-ascii'en'a%62||--ab||one|--ab--|",
		"multipart/mixed(text/plain{one}0)" },
	{ "Content-Type: multipart/mixed; x=\"boundary=c; \"; boundary=b||--b||one|--b--|",
		"multipart/mixed(text/plain{one}0)" },
	/* multiparts that are none: text, so that somebody can read it */
	{ "Content-Type: multipart/mixed||--b||one|--b--|", "text/plain{--b||one|--b--|}4" },
	{ "Content-Type: multipart/mixed; boundary=\"\"||--||one|", "text/plain{--||one|}3" },
	{ MIXED "nothing|", "text/plain{nothing|}1" },
	{ MIXED "--b--|", "text/plain{--b--|}1" },
	{ MIXED, "text/plain{}0" },
	/* nested: boundaries that start alike, missing ends */
	{ MIXED "--b|Content-Type: multipart/alternative; "
		"boundary=bb||--bb||1|--bb||2|--bb--||--b||3|"
		"--b--|",
		"multipart/mixed(multipart/alternative(text/plain{1}0 text/plain{2}0) "
		"text/plain{3}0)" },
	{ "Content-Type: multipart/mixed; boundary=bb||--bb|Content-Type: multipart/alternative; "
	  "boundary=b||--b||1|--b--||--bb||2|--bb--|",
		"multipart/mixed(multipart/alternative(text/plain{1}0) text/plain{2}0)" },
	{ MIXED "--b|Content-Type: multipart/alternative; boundary=c||--c||1|--b||2|--b--|",
		"multipart/mixed(multipart/alternative(text/plain{1}0) text/plain{2}0)" },
	{ MIXED "--b|Content-Type: multipart/alternative; boundary=c||--b||2|--b--|",
		"multipart/mixed(text/plain{}0 text/plain{2}0)" },
	{ MIXED "--b|Content-Type: multipart/alternative; boundary=b||--b||1|--b--|--b||2|--b--|",
		"multipart/mixed(multipart/alternative(text/plain{1}0) text/plain{2}0)" },
	/* messages in messages */
	{ "Content-Type: message/rfc822||Subject: in||text|",
		"message/rfc822(text/plain{text|}1)" },
	{ "Content-Type: message/global||Subject: in||text|",
		"message/global(text/plain{text|}1)" },
	{ "Content-Type: message/rfc822||", "message/rfc822(text/plain{}0)" },
	{ "Content-Type: message/rfc822", "message/rfc822(text/plain{}0)" },
	{ "Content-Type: message/partial||Subject: in||text",
		"message/partial{Subject: in||text}2" },
	{ MIXED "--b|Content-Type: message/rfc822||Subject: cut|--b||2|--b--|",
		"multipart/mixed(message/rfc822(text/plain{}0) text/plain{2}0)" },
	{ MIXED "--b|Content-Type: message/rfc822||Content-Type: multipart/mixed; "
		"boundary=c||--c||1|"
		"--c--|--b||2|--b--|",
		"multipart/mixed(message/rfc822(multipart/mixed(text/plain{1}0)) "
		"text/plain{2}0)" },
	{ "Content-Type: multipart/digest; boundary=b||--b||Subject: 1||one|--b|Content-Type: "
	  "text/plain|"
	  "|two|--b--|",
		"multipart/digest(message/rfc822(text/plain{one}0) text/plain{two}0)" },
};

static void
test_trees(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS_OF(trees); i++) {
		struct text message = text_of(trees[i].message), shown = TEXT_UP_TO(MOST_EXPECTED);
		struct mime mime;

		mime_parse(text_span(&message), &mime);
		tree_show(&mime, &mime.parts[0], &shown);
		expect_text(trees[i].message, text_span(&shown), trees[i].tree);
		assert_false(mime.limited);
		mime_clear(&mime);
		text_clear(&message);
		text_clear(&shown);
	}
}

/* LF alone is understood, too. */
static void
test_lf(void **state)
{
	struct text shown = TEXT_UP_TO(1000);
	struct mime mime;

	(void)state;
	mime_parse(SPAN("Content-Type: multipart/mixed; "
			"boundary=b\n\n--b\n\none\n--b\n\ntwo\n\n--b--\n"),
		&mime);
	tree_show(&mime, &mime.parts[0], &shown);
	expect_text(
		"LF", text_span(&shown), "multipart/mixed(text/plain{one}0 text/plain{two\n}1)");
	mime_clear(&mime);
	text_clear(&shown);
}

#define TOP "Content-Type: text/plain; charset=utf-8||"
#define PLAIN "'text' 'plain' ('charset' 'us-ascii') NIL NIL '7bit' "

static const struct {
	const char *message, *body, *bodystructure;
} structures[] = {
	{ "", "(" PLAIN "0 0)", "(" PLAIN "0 0 NIL NIL NIL NIL)" },
	{ "Content-Type: text/plain; charset=UTF-8; format=flowed|Content-Transfer-Encoding: "
	  "QUOTED-PRINTABLE|"
	  "||a|b|",
		"('text' 'plain' ('charset' 'UTF-8' 'format' 'flowed') NIL NIL "
		"'QUOTED-PRINTABLE' 8 3)",
		NULL },
	{ "Content-Type: application/pdf; name=\"a \\\"b\\\".pdf\"|Content-ID: "
	  "<x@y>|Content-Description: my| pdf|"
	  "Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==|Content-Disposition: attachment; "
	  "filename=\"a.pdf\"; size=3|"
	  "Content-Language: en, de (German)|Content-Location: http://x/y|"
	  "Content-Transfer-Encoding: base64 (x)||AAAA",
		NULL,
		"('application' 'pdf' ('name' 'a \\'b\\'.pdf') '<x@y>' 'my pdf' 'base64' 4 "
		"'Q2hlY2sgSW50ZWdyaXR5IQ==' ('attachment' ('filename' 'a.pdf' 'size' '3')) ('en' "
		"'de') "
		"'http://x/y')" },
	{ "Content-Disposition: inline|Content-Language: fr||x", NULL,
		"(" PLAIN "1 0 NIL ('inline' NIL) 'fr' NIL)" },
	/* what came in pieces is told as one (RFC 2231 section 6, RFC 9051 7.5.2), whatever their order */
	{ "Content-Type: image/png; name*0*=utf-8''a%20; name*1=\"b c%.png\"||x",
		"('image' 'png' ('name*' 'utf-8''a%20b%20c%25.png') NIL NIL '7bit' 1)", NULL },
	{ "Content-Type: image/png; x=1; NAME*1=\"\\\"b\"; name*2=c; y=2; name*0=a||x",
		"('image' 'png' ('x' '1' 'y' '2' 'name' 'a\\'bc') NIL NIL '7bit' 1)", NULL },
	{ "Content-Disposition: attachment; filename*0=\"gr\xc3\xbc\"; filename*1*=%C3%9Fe||x", NULL,
		"(" PLAIN "1 0 NIL ('attachment' ('filename*' '''gr%C3%BC%C3%9Fe')) NIL NIL)" },
	{ "Content-Type: image/png; a*=utf-8''%C3%A9; b*1=no; c*0=c; c*2=lost; c*0=again; d*x=y; *0=z; e*0||x",
		"('image' 'png' ('a*' 'utf-8''%C3%A9' 'b*1' 'no' 'c' 'c' 'c*2' 'lost' 'c' 'again' 'd*x' 'y' "
		"'*0' 'z') NIL NIL '7bit' 1)", NULL },
	/* what senders write */
	{ "Content-Type: image/png; name=my file.png; ; x; =y; charset = z (c)||x",
		"('image' 'png' ('name' 'my file.png' 'charset' 'z') NIL NIL '7bit' 1)", NULL },
	{ "Content-Type: image/png; name=\"gr\xc3\xbc\xc3\x9f\"||x",
		"('image' 'png' ('name' {6}|gr\xc3\xbc\xc3\x9f) NIL NIL '7bit' 1)", NULL },
	{ "Content-Type: image/png; name=\"no end||x",
		"('image' 'png' ('name' 'no end') NIL NIL '7bit' 1)", NULL },
	{ "Content-Type: multipart/mixed; boundary=b|Content-Language: "
	  "de||--b||one|--b||two|--b--|",
		"((" PLAIN "3 0)(" PLAIN "3 0) 'mixed')",
		"((" PLAIN "3 0 NIL NIL NIL NIL)(" PLAIN
		"3 0 NIL NIL NIL NIL) 'mixed' ('boundary' 'b') NIL 'de' NIL)" },
	{ "Content-Type: message/rfc822||Subject: in|From: a@b||text|",
		"('message' 'rfc822' NIL NIL NIL '7bit' 32 (NIL 'in' ((NIL NIL 'a' 'b')) ((NIL NIL "
		"'a' 'b')) "
		"((NIL NIL 'a' 'b')) NIL NIL NIL NIL NIL) (" PLAIN "6 1) 4)",
		NULL },
};

static void
test_structures(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS_OF(structures); i++) {
		struct text message = text_of(structures[i].message),
			    shown = TEXT_UP_TO(MOST_EXPECTED);
		struct mime mime;
		struct span in;

		mime_parse(text_span(&message), &mime);
		for (int extended = 0; extended < 2; extended++) {
			const char *expected =
				extended ? structures[i].bodystructure : structures[i].body;

			text_reset(&shown);
			bodystructure_write(&mime, extended, &shown);
			in = text_span(&shown);
			assert_true(g_body(&in, extended, 0) && in.len == 0);
			if (expected != NULL)
				expect_text(structures[i].message, text_span(&shown), expected);
		}
		mime_clear(&mime);
		text_clear(&message);
		text_clear(&shown);
	}
}

/* `times` x `opening`, with a number in each for boundaries. */
static struct text
repeated(const char *opening, unsigned times)
{
	struct text t = TEXT_UP_TO(MOST_EXPECTED);

	for (unsigned i = 0; i < times; i++) {
		for (const char *c = opening; *c != '\0'; c++) {
			if (*c == '|')
				text_add_str(&t, "\r\n");
			else if (*c == '#')
				text_add_number(&t, i);
			else
				text_add_byte(&t, (unsigned char)*c);
		}
	}
	return t;
}

/* As many parts as the limits let through, a valid structure, every byte still
 * reachable. */
static void
limited_case(const char *opening, unsigned times, uint32_t least_parts)
{
	struct text message = repeated(opening, times), shown = TEXT_UP_TO(MOST_EXPECTED);
	struct mime mime;
	struct span in;

	mime_parse(text_span(&message), &mime);
	assert_true(mime.limited);
	assert_in_range(mime.count, least_parts, MOST_PARTS);
	for (uint32_t i = 0; i < mime.count; i++) {
		const struct part *part = &mime.parts[i];

		assert_true(part->depth <= MOST_PART_DEPTH);
		assert_true(part->body_at + part->body_len <= message.len);
		assert_true(part->parent == NO_PART || part->parent < i);
	}
	bodystructure_write(&mime, true, &shown);
	in = text_span(&shown);
	assert_true(g_body(&in, true, 0) && in.len == 0);
	mime_clear(&mime);
	text_clear(&message);
	text_clear(&shown);
}

static void
test_c1_limits(void **state)
{
	(void)state;
	limited_case("Content-Type: multipart/mixed; boundary=b#||--b#|", 3000, MOST_PART_DEPTH);
	limited_case("Content-Type: message/rfc822||", 5000, MOST_PART_DEPTH);
	limited_case("Content-Type: multipart/digest; boundary=b#||--b#||", 3000, MOST_PART_DEPTH);
	/* the same boundary each time: the inner one takes the parts */
	limited_case("Content-Type: multipart/mixed; boundary=b||--b|", 3000, MOST_PART_DEPTH);
}

static void
test_c1_many_parts(void **state)
{
	struct text message = text_of(MIXED), parts = repeated("--b|Content-Type: a/b||x|", 60000);
	struct text shown = TEXT_UP_TO(MOST_EXPECTED);
	const struct part *last;
	struct mime mime;
	struct span in;

	(void)state;
	text_add(&message, text_span(&parts));
	mime_parse(text_span(&message), &mime);
	assert_true(mime.limited);
	assert_int_equal(mime.count, MOST_PARTS);
	last = &mime.parts[MOST_PARTS - 1];
	assert_int_equal(last->body_at + last->body_len, message.len);
	bodystructure_write(&mime, true, &shown);
	in = text_span(&shown);
	assert_true(g_body(&in, true, 0) && in.len == 0);
	mime_clear(&mime);
	text_clear(&message);
	text_clear(&parts);
	text_clear(&shown);
}

/* The last that there is room for is a message, which has one inside. */
static void
test_c1_a_message_as_the_last_part(void **state)
{
	struct text message = text_of(MIXED), parts = repeated("--b|Content-Type: message/rfc822||Subject: x||x|", MOST_PARTS);
	struct mime mime;

	(void)state;
	text_add(&message, text_span(&parts));
	mime_parse(text_span(&message), &mime);
	assert_true(mime.limited);
	assert_int_equal(mime.count, MOST_PARTS);
	mime_clear(&mime);
	text_clear(&message);
	text_clear(&parts);
}

/* A structure that would be too long is told as one part. */
static void
test_long_structure(void **state)
{
	struct text message = text_of("Content-Type: multipart/mixed; boundary=b||"), shown =
		TEXT_UP_TO(MOST_EXPECTED), one = TEXT_UP_TO(MOST_EXPECTED);
	struct mime mime;

	(void)state;
	text_add_str(&one, "--b\r\nContent-Type: a/b; c=\"");
	for (int i = 0; i < 200000; i++)
		text_add_byte(&one, 'x');
	text_add_str(&one, "\"\r\n\r\n\r\n");
	for (int i = 0; i < 60; i++)
		text_add(&message, text_span(&one));
	mime_parse(text_span(&message), &mime);
	assert_int_equal(mime.count, 61);
	bodystructure_write(&mime, false, &shown);
	assert_true(span_starts_nocase(text_span(&shown),
		SPAN("(\"application\" \"octet-stream\" NIL NIL NIL \"8bit\" 1200")));
	assert_true(shown.len < 100);
	mime_clear(&mime);
	text_clear(&message);
	text_clear(&one);
	text_clear(&shown);
}

static void
test_header_length(void **state)
{
	static const struct {
		const char *message;
		size_t len;
	} cases[] = {
		{ "", 0 },
		{ "|", 2 },
		{ "A: b||c", 8 },
		{ "A: b|", 6 },
		{ "A: b", 4 },
		{ "text||more", 0 },
		{ "A: b| folded|broken line|C: d||x", 36 },
		{ " A: b||", 0 },
		{ "From x|A: b||", 16 },
	};

	(void)state;
	for (size_t i = 0; i < ROWS_OF(cases); i++) {
		struct text message = text_of(cases[i].message);

		assert_int_equal(header_length(text_span(&message)), cases[i].len);
		text_clear(&message);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trees),
		cmocka_unit_test(test_lf),
		cmocka_unit_test(test_structures),
		cmocka_unit_test(test_c1_limits),
		cmocka_unit_test(test_c1_many_parts),
		cmocka_unit_test(test_c1_a_message_as_the_last_part),
		cmocka_unit_test(test_long_structure),
		cmocka_unit_test(test_header_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
