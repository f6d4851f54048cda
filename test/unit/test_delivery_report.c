/* Reports: fields and parts as RFC 3464 has them, and nothing from outside adds a line (I7); logins at relayhosts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include <sys/mman.h>
#include <unistd.h>

#include "delivery/relayhost.h"
#include "delivery/report.h"
#include "delivery/srs.h"

static const char ascii_message[] = "Message-ID: <a@b>\r\nSubject: x\r\n\r\nbody\n.\r\n";
static const char *message = ascii_message;

static bool
has(struct text *t, const char *s)
{
	return strstr(text_str(t), s) != NULL;
}

/* A report of one recipient that failed with `reason`. */
static void
write_one(struct text *to, struct span address, struct span envid, struct span orcpt, struct span reason,
	uint8_t ret)
{
	struct envelope_recipient who = { .address = address, .orcpt = orcpt };
	struct envelope e = { .id = 7, .size = strlen(message), .arrived = 1700000000,
		.wishes = { .envid = envid, .ret = ret } };
	struct reported one = { &who, REPORT_FAILED, { NEVER, 550, SPAN("5.1.1"), reason } };
	struct report r = { .hostname = SPAN("mail.example.org"), .envelope = &e, .to = SPAN("ana@example.org"),
		.at = &one, .count = 1, .now = 1700000100, .message = memfd_create("m", 0) };
	bool eight_bit, utf8;

	assert_int_equal(write(r.message, message, strlen(message)), strlen(message));
	assert_true(report_write(&r, to, &eight_bit, &utf8));
	close(r.message);
}

/* RFC 4865 5.1.2, RFC 2852 section 5: what was asked for, as it was said. */
static void
times_that_were_asked_for(void **state)
{
	static const struct {
		struct wishes wishes;
		const char *has, *has_not;
	} all[] = {
		{ { .hold_until = 1700000300, .hold_for = 300 }, "\r\nFuture-Release-Request: for;300\r\n", "Deliver-By" },
		{ { .hold_until = 1700000300 }, "\r\nFuture-Release-Request: until;2023-11-14T22:18:20Z\r\n", "Deliver-By" },
		{ { .deliver_by = 1700000300, .by_mode = 'R' }, "\r\nDeliver-By-Date: Tue, 14 Nov 2023 22:18:20 +0000\r\n",
			"Future-Release" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct text t = TEXT_UP_TO(MOST_REPORT);
		struct envelope_recipient who = { .address = SPAN("bob@far.example") };
		struct envelope e = { .id = 7, .size = strlen(message), .arrived = 1700000000, .wishes = all[i].wishes };
		struct reported one = { &who, REPORT_FAILED, { NEVER, 550, SPAN("5.1.1"), SPAN("no") } };
		struct report r = { .hostname = SPAN("mail.example.org"), .envelope = &e, .to = SPAN("ana@example.org"),
			.at = &one, .count = 1, .now = 1700000100, .message = -1 };
		bool eight_bit, utf8;

		assert_true(report_write(&r, &t, &eight_bit, &utf8));
		assert_true(has(&t, all[i].has) && !has(&t, all[i].has_not));
		text_clear(&t);
	}
}

static void
fields_of_a_failure(void **state)
{
	struct text t = TEXT_UP_TO(MOST_REPORT);

	(void)state;
	write_one(&t, SPAN("bob@far.example"), SPAN("order 7"), SPAN("rfc822;Bob@far.example"),
		SPAN("mx.far.example[192.0.2.1]:25 said: 550 5.1.1 who? (in reply to RCPT)"), 0);
	assert_true(has(&t, "From: Mail Delivery System <MAILER-DAEMON@mail.example.org>\r\nTo: <ana@example.org>\r\n"));
	assert_true(has(&t, "Content-Type: multipart/report; report-type=delivery-status;"));
	assert_true(has(&t, "In-Reply-To: <a@b>\r\n") && has(&t, "Auto-Submitted: auto-replied\r\n"));
	assert_true(has(&t, "Reporting-MTA: dns; mail.example.org\r\nOriginal-Envelope-Id: order 7\r\n"));
	assert_true(has(&t, "Arrival-Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"));
	assert_true(has(&t, "\r\n\r\nFinal-Recipient: rfc822; bob@far.example\r\nOriginal-Recipient: rfc822; Bob@far.example\r\n"
		"Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.far.example\r\n"
		"Diagnostic-Code: smtp; 550 5.1.1 who? (in reply to RCPT)\r\n"));
	/* The message comes back whole, with CRLF; with RET=HDRS its header only. */
	assert_true(has(&t, "Content-Type: message/rfc822\r\n") && has(&t, "body\r\n.\r\n"));
	text_reset(&t);
	write_one(&t, SPAN("bob@far.example"), SPAN(""), SPAN(""), SPAN("no"), 2);
	assert_true(has(&t, "Content-Type: text/rfc822-headers\r\n") && !has(&t, "body"));
	assert_true(has(&t, "Diagnostic-Code: X-Valija; no\r\n"));
	text_clear(&t);
}

/* RFC 6533: what is in UTF-8 is called so; octets of other character sets are not. */
static void
internationalised(void **state)
{
	static const struct {
		const char *message;
		uint8_t ret;
		const char *type;
	} cases[] = {
		{ "Subject: \xc3\xa9\r\n\r\nx\r\n", 2, "message/global-headers" },
		{ "Subject: \xc3\xa9\r\n\r\nx\r\n", 1, "message/global" },
		{ "Subject: \xe9\r\n\r\nx\r\n", 2, "text/rfc822-headers" },
		{ "Subject: x\r\n\r\n\xc3\xa9\r\n", 1, "message/rfc822" },
		{ "Subject: x\r\n\r\n\xc3\xa9\r\n", 2, "text/rfc822-headers" },
	};
	struct text t = TEXT_UP_TO(MOST_REPORT), want = TEXT_UP_TO(100);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		message = cases[i].message;
		text_reset(&t);
		text_reset(&want);
		write_one(&t, SPAN("b@far.example"), SPAN(""), SPAN(""), SPAN("no"), cases[i].ret);
		text_printf(&want, "\r\nContent-Type: %s\r\n", cases[i].type);
		assert_true(has(&t, text_str(&want)) && has(&t, "\r\nContent-Type: message/delivery-status\r\n"));
	}
	message = ascii_message;
	text_reset(&t);
	write_one(&t, SPAN("gr\xc3\xbc\xc3\x9f" "e@far.example"), SPAN(""), SPAN("utf-8;gr\\x{FC}\\x{DF}e@far.example"), SPAN("no"), 2);
	assert_true(has(&t, "Content-Type: message/global-delivery-status\r\n"));
	assert_true(has(&t, "Final-Recipient: utf-8; gr\xc3\xbc\xc3\x9f" "e@far.example\r\nOriginal-Recipient: utf-8; gr\xc3\xbc\xc3\x9f" "e@far.example\r\n"));
	/* Of what is none, nothing changes; and where all else is ASCII it stays so, for a sender who may have no SMTPUTF8. */
	text_reset(&t);
	write_one(&t, SPAN("gr\xc3\xbc\xc3\x9f" "e@far.example"), SPAN(""), SPAN("utf-8;\\x{A}\\x{5C}x@far.example"), SPAN("no"), 2);
	assert_true(has(&t, "Original-Recipient: utf-8; \\x{A}\\x@far.example\r\n"));
	text_reset(&t);
	write_one(&t, SPAN("b@far.example"), SPAN(""), SPAN("utf-8;gr\\x{FC}e@far.example"), SPAN("no"), 2);
	assert_true(has(&t, "Original-Recipient: utf-8; gr\\x{FC}e@far.example\r\n"));
	assert_true(has(&t, "Content-Type: message/delivery-status\r\n"));
	text_clear(&want);
	text_clear(&t);
}

static void
i7_no_line_from_outside(void **state)
{
	struct text t = TEXT_UP_TO(MOST_REPORT);
	struct span evil = SPAN("x\r\nBcc: v@example.org\r\n\r\nhi\0\x1b[2J");

	(void)state;
	write_one(&t, evil, evil, evil, evil, 2);
	assert_false(has(&t, "\nBcc:"));
	for (size_t i = 0; i < t.len; i++)
		assert_true(t.at[i] >= 0x20 || t.at[i] == '\r' || t.at[i] == '\n' || t.at[i] == '\t');
	text_clear(&t);
}

static void
who_is_told(void **state)
{
	(void)state;
	assert_true(report_is_wanted(0, REPORT_FAILED) && report_is_wanted(0, REPORT_DELAYED));
	assert_false(report_is_wanted(0, REPORT_DELIVERED) || report_is_wanted(0, REPORT_RELAYED));
	assert_false(report_is_wanted(NOTIFY_NEVER, REPORT_FAILED) || report_is_wanted(NOTIFY_SUCCESS, REPORT_FAILED));
	assert_true(report_is_wanted(NOTIFY_SUCCESS, REPORT_RELAYED) && report_is_wanted(NOTIFY_DELAY, REPORT_DELAYED));
	assert_false(report_is_wanted(NOTIFY_FAILURE, REPORT_DELAYED));
}

static void
relayhosts(void **state)
{
	struct span rules[] = { SPAN("@example.org a.example:587"), SPAN("Bob@example.org b.example"), SPAN("bad") };
	struct settings s = { .relayhost = SPAN("default.example"), .sender_relayhosts = { rules, 3 } };

	(void)state;
	assert_true(span_equal(relayhost_of(&s, SPAN("ana@EXAMPLE.org")), SPAN("a.example:587")));
	assert_true(span_equal(relayhost_of(&s, SPAN("bob@example.org")), SPAN("b.example")));
	assert_true(span_equal(relayhost_of(&s, SPAN("x@other.example")), SPAN("default.example")));
	assert_true(span_equal(relayhost_of(&s, SPAN("")), SPAN("default.example")));
}

static void
credentials(void **state)
{
	struct span file = SPAN("# comment\n\nbroken\na.example:587 for=@example.org  us  with  spaces \r\n"
		"a.example:587 other secret\nb.example tok oauth:t0ken\nc.example nosecret\nd.example asks oauth-command:\n");
	struct credentials c;

	(void)state;
	assert_true(credentials_find(file, SPAN("A.example"), 587, SPAN("ana@example.org"), &c));
	assert_string_equal(c.login, "us");
	assert_string_equal(c.secret, "with  spaces");
	assert_true(credentials_find(file, SPAN("a.example"), 587, SPAN("ana@else.example"), &c));
	assert_string_equal(c.login, "other");
	assert_false(credentials_find(file, SPAN("a.example"), 25, SPAN("ana@example.org"), &c));
	assert_true(credentials_find(file, SPAN("b.example"), 25, SPAN(""), &c));
	assert_true(c.token);
	assert_string_equal(c.secret, "t0ken");
	assert_false(credentials_find(file, SPAN("c.example"), 25, SPAN(""), &c));
	assert_true(credentials_find(file, SPAN("d.example"), 25, SPAN(""), &c));
	assert_true(c.token && c.command && c.secret[0] == '\0');
	assert_false(credentials_find(file, SPAN("#"), 25, SPAN(""), &c));
}

/* There and back; not for others, not after three weeks, not with a byte changed. */
static void
rewritten_senders(void **state)
{
	struct span key = SPAN("0123456789abcdef0123456789abcdef"), ours = SPAN("our.example");
	struct text one = TEXT_UP_TO(320), back = TEXT_UP_TO(320), two = TEXT_UP_TO(320);

	(void)state;
	assert_true(srs_encode(SPAN("bob=x@far.example"), ours, key, 20000, &one));
	assert_true(span_starts_nocase(text_span(&one), SPAN("SRS0=")) && one.len < 90);
	assert_true(srs_decode(text_span(&one), SPAN("OUR.example"), key, 20021, &back));
	assert_string_equal(text_str(&back), "bob=x@far.example");
	assert_false(srs_decode(text_span(&one), ours, key, 20022, &two));
	assert_false(srs_decode(text_span(&one), ours, key, 19999, &two));
	assert_false(srs_decode(text_span(&one), SPAN("other.example"), key, 20000, &two));
	assert_false(srs_decode(text_span(&one), ours, SPAN("x123456789abcdef0123456789abcdef"), 20000, &two));
	for (size_t i = 0; i < one.len; i++) {
		one.at[i] ^= 1;
		text_reset(&two);
		assert_false(srs_decode(text_span(&one), ours, key, 20000, &two));
		one.at[i] ^= 1;
	}
	/* Rewritten before, by another, and by one more. */
	text_reset(&two);
	assert_true(srs_encode(SPAN("SRS0=HHHH=TT=far.example=bob@first.example"), ours, key, 20000, &two));
	assert_true(span_starts_nocase(text_span(&two), SPAN("SRS1=")));
	text_reset(&back);
	assert_true(srs_decode(text_span(&two), ours, key, 20000, &back));
	assert_string_equal(text_str(&back), "SRS0=HHHH=TT=far.example=bob@first.example");
	text_reset(&one);
	assert_true(srs_encode(SPAN("SRS1=hhhhhhhh=first.example==HHHH=TT=far.example=bob@second.example"), ours,
		key, 20000, &one));
	text_reset(&back);
	assert_true(srs_decode(text_span(&one), ours, key, 20000, &back));
	assert_string_equal(text_str(&back), "SRS0=HHHH=TT=far.example=bob@first.example");
	/* What is none. */
	text_reset(&back);
	assert_false(srs_encode(SPAN(""), ours, key, 1, &back) || srs_encode(SPAN("x"), ours, key, 1, &back) ||
		srs_encode(SPAN("\"a b\"@far.example"), ours, key, 1, &back) ||
		srs_encode(SPAN("a-very-long-local-part-of-an-address-indeed@a-long-domain.example"), ours, key, 1, &back));
	assert_false(srs_decode(SPAN("SRS0=@our.example"), ours, key, 1, &back) ||
		srs_decode(SPAN("SRS1=a=b=c@our.example"), ours, key, 1, &back) ||
		srs_decode(SPAN("bob@our.example"), ours, key, 1, &back));
	text_clear(&one);
	text_clear(&two);
	text_clear(&back);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_of_a_failure), cmocka_unit_test(times_that_were_asked_for), cmocka_unit_test(internationalised), cmocka_unit_test(i7_no_line_from_outside),
		cmocka_unit_test(who_is_told), cmocka_unit_test(relayhosts), cmocka_unit_test(credentials),
		cmocka_unit_test(rewritten_senders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
