/* Reports about TLS (RFC 8460): where they go, what is counted, and JSON whatever strangers write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "delivery/tls-report.h"

static void
test_where_to(void **state)
{
	static const struct {
		const char *txt;
		size_t count;
		const char *first;
	} cases[] = {
		{ "v=TLSRPTv1;rua=mailto:reports@example.com", 1, "mailto:reports@example.com" },
		{ "v=TLSRPTv1; rua=https://a.example/x , mailto:b@c.d;", 2, "https://a.example/x" },
		{ "v=TLSRPTv1; more=1; rua=ftp://a/,https://b.example", 1, "https://b.example" },
		{ "v=TLSRPTv1; rua=https://1.e,https://2.e,https://3.e,https://4.e,https://5.e", MOST_RUA, "https://1.e" },
		{ "v=TLSRPTv1; rua=", 0, NULL }, { "v=TLSRPTv1", 0, NULL }, { "v=TLSRPTv12; rua=mailto:a@b", 0, NULL },
		{ "rua=mailto:a@b; v=TLSRPTv1", 0, NULL }, { "", 0, NULL },
		{ "v=TLSRPTv1; rua=mailto:a b@c", 0, NULL }, { "v=TLSRPTv1; rua=http://a.example/", 0, NULL },
	};
	struct span uri[MOST_RUA];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(tls_rua_read(span_str(cases[i].txt), uri), cases[i].count);
		if (cases[i].count > 0)
			assert_true(span_equal(uri[0], span_str(cases[i].first)));
	}
}

static struct msg_tls_seen
seen(const char *result, const char *mx, const char *reason)
{
	return (struct msg_tls_seen){ .result = span_str(result), .mx = span_str(mx), .ip = SPAN("192.0.2.1"),
		.own_ip = SPAN("192.0.2.2"), .reason = span_str(reason) };
}

static void
test_counting(void **state)
{
	struct text bytes = TEXT_UP_TO(MOST_TLS_ROW);
	struct tls_row row = { 0 }, again;
	char names[MOST_TLS_FAILURES + 5][8];
	struct msg_tls_seen m;

	(void)state;
	m = seen("", "mx.e", "");
	tls_row_count(&row, &m);
	m = seen("certificate-expired", "mx.e", "why");
	tls_row_count(&row, &m);
	tls_row_count(&row, &m);
	assert_int_equal(row.good, 1);
	assert_int_equal(row.bad, 2);
	assert_int_equal(row.failures, 1);
	assert_int_equal(row.failure[0].count, 2);
	for (size_t i = 0; i < MOST_TLS_FAILURES + 5; i++) {
		memcpy(names[i], "mx00.e", 7);
		names[i][2] = (char)('0' + i / 10);
		names[i][3] = (char)('0' + i % 10);
		m = seen("validation-failure", names[i], "");
		tls_row_count(&row, &m);
	}
	assert_int_equal(row.failures, MOST_TLS_FAILURES);
	assert_int_equal(row.bad, 2 + MOST_TLS_FAILURES + 5);
	tls_row_encode(&row, &bytes);
	assert_false(bytes.failed);
	assert_true(tls_row_decode(text_span(&bytes), &again));
	assert_int_equal(again.bad, row.bad);
	assert_true(span_equal(again.failure[3].mx, row.failure[3].mx));
	for (size_t len = 1; len < bytes.len; len++)
		(void)tls_row_decode(span_of(bytes.at, len), &again); /* under sanitizers */
	assert_false(tls_row_decode(span_of(bytes.at, bytes.len - 1), &again));
	text_clear(&bytes);
}

static void
test_what_strangers_write(void **state)
{
	struct text json = TEXT_UP_TO(MOST_TLS_REPORT);
	const struct tls_report r = { SPAN("us.example"), SPAN("a \"b\"\\"), SPAN("they.example"), "2026-11-28", "1" };
	struct tls_row row = { 0 };
	struct msg_tls_seen m = seen("validation-failure", "mx\n\"", "\x01\xff}]");

	(void)state;
	tls_row_count(&row, &m);
	tls_report_begin(&json, &r);
	tls_report_policy(&json, &r, TLS_POLICY_NONE, NULL, &row, true);
	tls_report_policy(&json, &r, TLS_POLICY_TLSA, NULL, &row, false);
	tls_report_end(&json);
	assert_non_null(strstr(text_str(&json), "\"contact-info\":\"a \\\"b\\\"\\\\\","));
	assert_non_null(strstr(text_str(&json), "\"receiving-mx-hostname\":\"mx\\u000a\\\"\""));
	assert_non_null(strstr(text_str(&json), "\"failure-reason-code\":\"\\u0001\\u00ff}]\"}]},{\"policy\":{\"policy-type\":\"tlsa\""));
	assert_true(span_is_printable(text_span(&json)));
	text_clear(&json);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_where_to),
		cmocka_unit_test(test_counting),
		cmocka_unit_test(test_what_strangers_write),
	};

	return cmocka_run_group_tests_name("tls-report", tests, NULL, NULL);
}
