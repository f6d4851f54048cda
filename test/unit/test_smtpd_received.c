/* Trace lines: the right words, and nothing of the client's that could become another line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/id.h"
#include "common/message.h"
#include "smtpd/received.h"

static void
protocols(void **state)
{
	static const struct {
		const char *name;
		bool extended, tls, login, utf8;
	} rows[] = {
		{ "SMTP", false, false, false, false }, { "ESMTP", true, false, false, false },
		{ "ESMTPS", true, true, false, false }, { "ESMTPA", true, false, true, false },
		{ "ESMTPSA", true, true, true, false }, { "UTF8SMTP", true, false, false, true },
		{ "UTF8SMTPS", true, true, false, true }, { "UTF8SMTPSA", true, true, true, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct received r = { .extended = rows[i].extended, .tls = rows[i].tls,
			.login = rows[i].login, .utf8 = rows[i].utf8 };

		assert_string_equal(received_protocol(&r), rows[i].name);
	}
}

static void
whole(void **state)
{
	struct text t = TEXT_UP_TO(MOST_TRACE), expected = TEXT_UP_TO(MOST_TRACE);
	struct received r = { .helo = SPAN("client.example"), .ip = SPAN("2001:db8::1"),
		.hostname = SPAN("mx.example.org"), .tls_version = SPAN("TLS1.3"),
		.tls_cipher = SPAN("AES-256-GCM"), .extended = true, .tls = true, .message = 1,
		.recipient = SPAN("b@example.org"), .when = 1700000000 };

	(void)state;
	text_add_str(&expected,
		"Received: from client.example ([IPv6:2001:db8::1])\r\n"
		"\tby mx.example.org with ESMTPS (TLS1.3 AES-256-GCM)\r\n"
		"\tid ");
	text_add_str(&expected, id_name(1).str);
	text_add_str(&expected, "\r\n"
		"\tfor <b@example.org>;\r\n"
		"\tTue, 14 Nov 2023 22:13:20 +0000\r\n");
	received_put(&t, &r);
	assert_string_equal(text_str(&t), text_str(&expected));
	text_reset(&t);
	r.priority = -9;
	received_put(&t, &r);
	assert_true(span_find(text_span(&t), SPAN("\tfor <b@example.org>\r\n\tPRIORITY -9;\r\n\tTue")) < t.len);
	text_clear(&t);
	text_clear(&expected);
}

/* RFC 3865 2.6; no line is longer than RFC 5322 2.1.1 allows, whatever the keywords are. */
static void
solicitations(void **state)
{
	struct text t = TEXT_UP_TO(MOST_TRACE), said = TEXT_UP_TO(MOST_TRACE), joined = TEXT_UP_TO(MOST_TRACE);
	struct received r = { .helo = SPAN("c.example"), .ip = SPAN("192.0.2.1"), .hostname = SPAN("mx.example.org"),
		.extended = true, .solicit = SPAN("net.example:ADV,org.example:ADV:ADLT") };

	(void)state;
	received_put(&t, &r);
	assert_true(span_find(text_span(&t), SPAN("with ESMTP\r\n\t(SOLICIT=net.example:ADV,org.example:ADV:ADLT)\r\n\tid ")) < t.len);
	for (size_t len = 1; len <= 1000; len++)
		for (size_t every = 1; every <= 1000; every = every * 3 + 2) {
			size_t line = 0;

			text_reset(&t);
			text_reset(&said);
			text_reset(&joined);
			for (size_t i = 1; i <= len; i++)
				text_add_byte(&said, i % every == 0 && i > 1 && i < len && every > 1 ? ',' : 'x');
			r.solicit = text_span(&said);
			received_put(&t, &r);
			for (size_t i = 0; i < t.len; i++) {
				line = t.at[i] == '\n' ? 0 : line + 1;
				assert_true(line <= 999);   /* with its CR */
				if (t.at[i] != '\r' && t.at[i] != '\n' && t.at[i] != '\t')
					text_add_byte(&joined, (unsigned char)t.at[i]);
			}
			assert_true((span_find(text_span(&joined), text_span(&said)) < joined.len) == (len <= 980));
		}
	text_clear(&t);
	text_clear(&said);
	text_clear(&joined);
}

/* Extended-Domain (RFC 5321 4.4): the address at which the world reached us. */
static void
by_our_address(void **state)
{
	struct text t = TEXT_UP_TO(MOST_TRACE);
	struct received r = { .helo = SPAN("client.example"), .ip = SPAN("192.0.2.1"), .extended = true,
		.hostname = SPAN("mx.example.org"), .own = SPAN("203.0.113.1"), .when = 1700000000 };

	(void)state;
	received_put(&t, &r);
	assert_true(span_find(text_span(&t), SPAN("\r\n\tby mx.example.org ([203.0.113.1]) with ESMTP\r\n")) < t.len);
	text_clear(&t);
	r.own = SPAN("2001:db8::1");
	t = TEXT_UP_TO(MOST_TRACE);
	received_put(&t, &r);
	assert_true(span_find(text_span(&t), SPAN("\r\n\tby mx.example.org ([IPv6:2001:db8::1]) with ESMTP\r\n")) < t.len);
	text_clear(&t);
}

/* i7: even if a check before had failed. */
static void
i7_no_new_line(void **state)
{
	struct text t = TEXT_UP_TO(MOST_TRACE);
	struct span evil = SPAN("x)\r\nBcc: y");
	struct received r = { .helo = evil, .ip = evil, .hostname = evil, .tls_version = evil,
		.tls_cipher = evil, .tls = true, .recipient = evil };

	(void)state;
	received_put(&t, &r);
	return_path_put(&t, evil);
	message_id_field_put(&t, 1, evil);
	assert_int_equal(span_find(text_span(&t), SPAN("\nBcc")), t.len);
	for (size_t i = 0; i + 1 < t.len; i++)
		if (t.at[i] == '\n')
			assert_non_null(strchr("\tRM", t.at[i + 1]));
	text_clear(&t);
}

static void
zones(void **state)
{
	struct text t = TEXT_UP_TO(100);

	(void)state;
	setenv("TZ", "XXX-05:30", 1);
	tzset();
	date_put(&t, 0);
	assert_string_equal(text_str(&t), "Thu, 1 Jan 1970 05:30:00 +0530");
	text_reset(&t);
	setenv("TZ", "XXX+03:30", 1);
	tzset();
	date_put(&t, 0);
	assert_string_equal(text_str(&t), "Wed, 31 Dec 1969 20:30:00 -0330");
	text_clear(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(protocols), cmocka_unit_test(whole), cmocka_unit_test(solicitations), cmocka_unit_test(by_our_address),
		cmocka_unit_test(i7_no_new_line), cmocka_unit_test(zones) };

	setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests_name("smtpd_received", tests, NULL, NULL);
}
