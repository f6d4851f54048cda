/* ENVELOPE and address lists: RFC examples, what senders write, hostile lists, and reads past the
 * end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "imapd/bodystructure.h"
#include "imapd/date.h"
#include "imapd/encoded-word.h"
#include "imapd/envelope.h"
#include "imapd/header.h"
#include "imapd/match.h"

#include "expect.h"
#include "../fuzz/imap_grammar.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Address lists as a To field has them -> the sixth element of the envelope. */
static const struct {
	const char *list, *expected;
} lists[] = {
	{ "", "NIL" },
	{ " \t| ", "NIL" },
	{ "a@b", "((NIL NIL 'a' 'b'))" },
	{ "Terry Gray <gray@cac.washington.edu>",
		"(('Terry Gray' NIL 'gray' 'cac.washington.edu'))" },
	{ "imap@cac.washington.edu, minutes@CNRI.Reston.VA.US",
		"((NIL NIL 'imap' 'cac.washington.edu')(NIL NIL 'minutes' 'CNRI.Reston.VA.US'))" },
	/* RFC 5322 appendix A */
	{ "John Doe <jdoe@machine.example>", "(('John Doe' NIL 'jdoe' 'machine.example'))" },
	{ "\"Joe Q. Public\" <john.q.public@example.com>",
		"(('Joe Q. Public' NIL 'john.q.public' 'example.com'))" },
	{ "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
		"(('Mary Smith' NIL 'mary' 'x.test')(NIL NIL 'jdoe' 'example.org')('Who?' NIL "
		"'one' 'y.test'))" },
	{ "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
		"((NIL NIL 'boss' 'nil.test')('Giant; \\'Big\\' Box' NIL 'sysservices' "
		"'example.net'))" },
	{ "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
		"((NIL NIL 'A Group' NIL)('Ed Jones' NIL 'c' 'a.test')(NIL NIL 'joe' 'where.test')"
		"('John' NIL 'jdoe' 'one.test')(NIL NIL NIL NIL))" },
	{ "Undisclosed recipients:;", "((NIL NIL 'Undisclosed recipients' NIL)(NIL NIL NIL NIL))" },
	{ "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
		"(('Pete' NIL 'pete' 'silly.test'))" },
	{ "A Group(Some people)|     :Chris Jones <c@(Chris's host.)public.example>,|"
	  "         joe@example.org,|  John <jdoe@one.test> (my dear friend); (the end of the "
	  "group)",
		"((NIL NIL 'A Group' NIL)('Chris Jones' NIL 'c' 'public.example')(NIL NIL 'joe' "
		"'example.org')"
		"('John' NIL 'jdoe' 'one.test')(NIL NIL NIL NIL))" },
	{ "(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;",
		"((NIL NIL 'Hidden recipients' NIL)(NIL NIL NIL NIL))" },
	{ "Joe Q. Public <john.q.public@example.com>",
		"(('Joe Q. Public' NIL 'john.q.public' 'example.com'))" },
	{ "Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
		"(('Mary Smith' '@node.test' 'mary' 'example.net')(NIL NIL 'jdoe' "
		"'test.example'))" },
	{ "<@a.test, @b.test:c@d.test>", "((NIL '@a.test,@b.test' 'c' 'd.test'))" },
	{ "john . doe @ example.org", "((NIL NIL 'john.doe' 'example.org'))" },
	{ "pete@silly.test (Pete)", "(('Pete' NIL 'pete' 'silly.test'))" },
	{ "pete@[192.0.2.1], p@[IPv6:2001:db8::1]",
		"((NIL NIL 'pete' '[192.0.2.1]')(NIL NIL 'p' '[IPv6:2001:db8::1]'))" },
	{ "\"a b\"@c, \"\"@d, a.\"b c\".d@e",
		"((NIL NIL 'a b' 'c')(NIL NIL '' 'd')(NIL NIL 'a.b c.d' 'e'))" },
	{ "=?utf-8?Q?Gr=C3=BC=C3=9Fe?= =?utf-8?Q?x?= <a@b>",
		"(('=?utf-8?Q?Gr=C3=BC=C3=9Fe?= =?utf-8?Q?x?=' NIL 'a' 'b'))" },
	/* missing and broken parts: a mailbox is never NIL without a group */
	{ "root", "((NIL NIL 'root' ''))" },
	{ "John Doe", "(('John Doe' NIL '' ''))" },
	{ "<>", "((NIL NIL '' ''))" },
	{ "X <>", "(('X' NIL '' ''))" },
	{ "@b", "((NIL NIL '' 'b'))" },
	{ "a@", "((NIL NIL 'a' ''))" },
	{ "<@b>", "((NIL NIL '' 'b'))" },
	{ "a@b@c", "((NIL NIL 'a' 'b'))" },
	{ "X <a@b", "(('X' NIL 'a' 'b'))" },
	{ "X <a@b, c@d", "(('X' NIL 'a' 'b')(NIL NIL 'c' 'd'))" },
	{ "a@b> , c@d", "((NIL NIL 'a' 'b')(NIL NIL 'c' 'd'))" },
	{ "a@b c@d, e@f", "((NIL NIL 'a' 'b')(NIL NIL 'e' 'f'))" },
	{ "a@b; c@d", "((NIL NIL 'a' 'b')(NIL NIL 'c' 'd'))" },
	{ ",,,", "NIL" },
	{ ";;", "NIL" },
	{ ":;", "((NIL NIL '' ''))" },
	{ "g: a@b", "((NIL NIL 'g' NIL)(NIL NIL 'a' 'b')(NIL NIL NIL NIL))" },
	{ "g: h: a@b;, c@d",
		"((NIL NIL 'g' NIL)(NIL NIL 'h' '')(NIL NIL NIL NIL)(NIL NIL 'c' 'd'))" },
	{ "\"no end <a@b>", "((NIL NIL 'no end <a@b>' ''))" },
	{ "(no end <a@b>", "NIL" },
	{ "a@b (ends in \\", "(('ends in ' NIL 'a' 'b'))" },
	{ "a@b (nested (c) d)", "(('nested (c) d' NIL 'a' 'b'))" },
	{ "gr\xc3\xbc\xc3\x9f@b", "((NIL NIL {6}|gr\xc3\xbc\xc3\x9f 'b'))" },
	{ "\x01\x02 <a@b>", "(({2}|\x01\x02 NIL 'a' 'b'))" },
};

static void
test_lists(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS_OF(lists); i++) {
		struct text header = text_of("To: "), list = text_of(lists[i].list);
		struct text shown = TEXT_UP_TO(MOST_EXPECTED);
		struct span in, body;

		text_add(&header, text_span(&list));
		text_add_str(&header, "\r\n\r\n");
		envelope_write(text_span(&header), &shown);
		in = text_span(&shown);
		assert_true(g_envelope(&in) && in.len == 0);
		body = text_span(&shown);
		assert_true(span_take_word(&body, SPAN("(NIL NIL NIL NIL NIL ")));
		assert_true(body.len > 17);
		body.len -= 17;          /* what follows the To field */
		expect_text(lists[i].list, body, lists[i].expected);
		text_clear(&header);
		text_clear(&list);
		text_clear(&shown);
	}
}

static const struct {
	const char *header, *expected;
} envelopes[] = {
	{ "", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)" },
	/* RFC 3501 section 8 */
	{ "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)|From: Terry Gray <gray@cac.washington.edu>|"
	  "Subject: IMAP4rev1 WG mtg summary and minutes|To: imap@cac.washington.edu|"
	  "cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>|"
	  "Message-Id: <B27397-0100000@cac.washington.edu>|MIME-Version: 1.0||",
		"('Wed, 17 Jul 1996 02:23:25 -0700 (PDT)' 'IMAP4rev1 WG mtg summary and minutes' "
		"(('Terry Gray' NIL 'gray' 'cac.washington.edu')) (('Terry Gray' NIL 'gray' "
		"'cac.washington.edu')) "
		"(('Terry Gray' NIL 'gray' 'cac.washington.edu')) ((NIL NIL 'imap' "
		"'cac.washington.edu')) "
		"((NIL NIL 'minutes' 'CNRI.Reston.VA.US')('John Klensin' NIL 'KLENSIN' 'MIT.EDU')) "
		"NIL NIL "
		"'<B27397-0100000@cac.washington.edu>')" },
	{ "From: a@b|Sender: c@d|Reply-To:||", "(NIL NIL ((NIL NIL 'a' 'b')) ((NIL NIL 'c' 'd')) "
					       "((NIL NIL 'a' 'b')) NIL NIL NIL NIL NIL)" },
	{ "Subject:||", "(NIL '' NIL NIL NIL NIL NIL NIL NIL NIL)" },
	{ "Subject: =?utf-8?Q?x?=|\tfolded  |||",
		"(NIL '=?utf-8?Q?x?=\tfolded' NIL NIL NIL NIL NIL NIL NIL NIL)" },
	{ "Subject : one|SUBJECT: two||", "(NIL 'one' NIL NIL NIL NIL NIL NIL NIL NIL)" },
	{ "Subject: a \"b\" \\c||", "(NIL 'a \\'b\\' \\\\c' NIL NIL NIL NIL NIL NIL NIL NIL)" },
	{ "Subject: caf\xe9||", "(NIL {4}|caf\xe9 NIL NIL NIL NIL NIL NIL NIL NIL)" },
	/* several fields are one list */
	{ "To: a@b|To: c@d|Cc: e@f|From: x@y|From: z@z||",
		"(NIL NIL ((NIL NIL 'x' 'y')) ((NIL NIL 'x' 'y')) "
		"((NIL NIL 'x' 'y')) ((NIL NIL 'a' 'b')(NIL NIL 'c' 'd')) ((NIL NIL 'e' 'f')) NIL "
		"NIL NIL)" },
	{ "In-Reply-To: <a@b>| <c@d>|Message-ID: <e@f>",
		"(NIL NIL NIL NIL NIL NIL NIL NIL '<a@b> <c@d>' '<e@f>')" },
};

static void
test_envelopes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS_OF(envelopes); i++) {
		struct text header = text_of(envelopes[i].header),
			    shown = TEXT_UP_TO(MOST_EXPECTED);

		envelope_write(text_span(&header), &shown);
		expect_text(envelopes[i].header, text_span(&shown), envelopes[i].expected);
		text_clear(&header);
		text_clear(&shown);
	}
}

static void
test_nul(void **state)
{
	struct text shown = TEXT_UP_TO(1000);

	(void)state;
	envelope_write(SPAN("Subject: a\0b\r\nTo: c\0@d\r\n\r\n"), &shown);
	expect_text("NUL", text_span(&shown),
		"(NIL {3}|a\x80" "b NIL NIL NIL ((NIL NIL {2}|c\x80 'd')) NIL NIL NIL NIL)");
	text_clear(&shown);
}

/* The envelope stays valid and bounded. */
static void
hostile_case(const char *start, const char *again, size_t times)
{
	struct text header = text_of(start), shown = TEXT_UP_TO(MOST_EXPECTED);
	struct span in;

	for (size_t i = 0; i < times; i++)
		text_add_str(&header, again);
	envelope_write(text_span(&header), &shown);
	in = text_span(&shown);
	assert_true(g_envelope(&in) && in.len == 0);
	assert_true(shown.len <= MOST_ENVELOPE);
	text_clear(&header);
	text_clear(&shown);
}

static void
test_c2_hostile_addresses(void **state)
{
	static const char *const again[] = { "a@b,", "g:", "g:;", "(", "()", "<", "\"", "\\", "@",
		",", "<a@b>", "a ", "(\\)", "\"\\\"", ".", "g:a@b;", "[", "@a:" };

	(void)state;
	for (size_t i = 0; i < ROWS_OF(again); i++)
		hostile_case("From: ", again[i], 100000);
	hostile_case("X: y\r\n", "To: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@b\r\n", 100000);
	hostile_case("To: a",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		100000);
}

/* Places `bytes` so that the byte behind them cannot be read. */
static unsigned char *
guarded(struct span bytes, unsigned char *page, size_t page_size)
{
	unsigned char *at = page + page_size - bytes.len;

	memcpy(at, bytes.at, bytes.len);
	return at;
}

static const char *const guards[] = {
	"Date: Fri, 21 Nov 1997 09:(comment \\) x):55 -0600 (a\\",
	"From: (c\\) \"q\\\" <@r,@s:\"l\\l\"@[do\\main]> (x\\",
	"To: g: \"a\\\"b\" . c @ d . e, <f@g> ; h",
	"Subject: =?utf-8*en?Q?a=C3=A9?= =?iso-2022-jp?B?GyRCJCIbKEI=?= =?x?B?",
	"Subject: \xe2\x82\xac \xf0\x9f\x93\xac|\tfolded| again",
	"Content-Type: multipart/mixed (c\\) ; boundary*0*=utf-8'en'%41%4; boundary*1=\"b\\\"\"; "
	"x=\"\\|| |--Ab\"|x|--Ab\"--|",
	"Content-Type: message/rfc822||Content-Type: message/rfc822||Subject: (|",
	"Content-Type: text/plain; charset=\"utf-8|Content-Transfer-Encoding: "
	"quoted-printable||a=C3=A9=| b =|c= ",
	"Content-Type: text/plain; charset=iso-2022-jp|Content-Transfer-Encoding: "
	"base64||GyRCJCIbKEI=",
	"Content-Disposition: attachment; filename*=utf-8''%e2%82%ac.txt|Content-Language: en, (c) "
	"de|Content-ID: <",
};

/* Every header truncated at every byte, the next page unreadable. */
static void
test_c3_guard_page(void **state)
{
	size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char *page = mmap(
		NULL, 2 * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_true(page != MAP_FAILED);
	assert_int_equal(mprotect(page + page_size, page_size, PROT_NONE), 0);
	for (size_t i = 0; i < ROWS_OF(guards); i++) {
		struct text message = text_of(guards[i]), shown = TEXT_UP_TO(MOST_EXPECTED);
		struct needle needle;
		bool bad;

		assert_true(needle_init(&needle, SPAN("\xe3\x81\x82z"), SPAN_NONE, &bad));
		for (size_t len = 0; len <= message.len; len++) {
			struct span cut = { guarded(span_part(text_span(&message), 0, len), page,
						    page_size),
				len };
			struct span in, value = span_part(cut, span_index(cut, ':') + 1, len);
			struct date date;
			struct mime mime;

			text_reset(&shown);
			envelope_write(cut, &shown);
			in = text_span(&shown);
			assert_true(g_envelope(&in) && in.len == 0);
			text_reset(&shown);
			mime_parse(cut, &mime);
			bodystructure_write(&mime, true, &shown);
			in = text_span(&shown);
			assert_true(g_body(&in, true, 0) && in.len == 0);
			assert_false(match_message(&needle, &mime) && len < 10);
			mime_clear(&mime);
			encoded_word_decode(value, &shown);
			(void)date_parse(value, &date);
		}
		needle_clear(&needle);
		text_clear(&message);
		text_clear(&shown);
	}
	munmap(page, 2 * page_size);
}

static struct span
any_text(unsigned char bytes[24], const char *some)
{
	size_t len = (size_t)random() % 24;

	for (size_t i = 0; i < len; i++)
		bytes[i] = (unsigned char)some[(size_t)random() % strlen(some)];
	return span_of(bytes, len);
}

/* The short way to a local part says what the long way says, or nothing. */
static void
test_plain_local(void **state)
{
	unsigned char bytes[24];
	size_t plain = 0;

	(void)state;
	srandom(9);
	for (int round = 0; round < 300000; round++) {
		struct span value = any_text(bytes, "aab  @<>.,:;\"\\()\t\r\n"), local;
		struct address_reader reader;
		struct address_item item;

		if (!address_plain_local(value, &local))
			continue;
		plain++;
		address_item_init(&item);
		address_reader_init(&reader, value);
		assert_true(address_next(&reader, &item));
		assert_int_equal(item.kind, ADDRESS_MAILBOX);
		assert_true(span_equal(local, text_span(&item.local)));
		address_item_clear(&item);
	}
	assert_true(plain > 1000);
	assert_true(address_plain_local(SPAN("Ana Lopez <ana.l@example.org>, b@c"), &(struct span){ NULL, 0 }));
}

/* A field is found where reading all fields finds it. */
static void
test_find(void **state)
{
	unsigned char bytes[24];
	size_t found = 0;

	(void)state;
	srandom(10);
	for (int round = 0; round < 300000; round++) {
		struct span header = any_text(bytes, "Tto::  \t\r\n\n"), rest = header, value, expected = SPAN_NONE;
		struct field field;
		bool there = false;

		while (!there && field_take(&rest, &field)) {
			there = span_equal_nocase(field.name, SPAN("to"));
			expected = field.value;
		}
		assert_int_equal(header_find(header, SPAN("To"), &value), there);
		assert_true(!there || (value.at == expected.at && value.len == expected.len));
		found += there;
	}
	assert_true(found > 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_envelopes),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_c2_hostile_addresses),
		cmocka_unit_test(test_c3_guard_page),
		cmocka_unit_test(test_plain_local),
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
