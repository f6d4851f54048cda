/* Dates of RFC 3339 against the C library's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <time.h>

#include "smtpd/instant.h"

static void
parses(void **state)
{
	static const struct {
		const char *in;
		bool right;
		uint64_t seconds;
	} rows[] = {
		{ "1970-01-01T00:00:00Z", true, 0 }, { "1969-12-31T23:59:59Z", true, 0 },
		{ "2000-02-29T12:00:00Z", true, 951825600 }, { "1900-02-29T12:00:00Z", false, 0 },
		{ "2026-11-28T12:00:00+01:30", true, 1795861800 }, { "2026-11-28T12:00:00-01:30", true, 1795872600 },
		{ "2026-11-28t12:00:00z", true, 1795867200 }, { "2026-11-28T12:00:00.999Z", true, 1795867200 },
		{ "2016-12-31T23:59:60Z", true, 1483228800 }, { "9999-12-31T23:59:59Z", true, 253402300799 },
		{ "2026-11-28T12:00:00.Z", false, 0 }, { "2026-11-28T12:00:00", false, 0 },
		{ "2026-11-28T12:00:00ZZ", false, 0 }, { "2026-13-28T12:00:00Z", false, 0 },
		{ "2026-00-28T12:00:00Z", false, 0 }, { "2026-11-31T12:00:00Z", false, 0 },
		{ "2026-11-28T24:00:00Z", false, 0 }, { "2026-11-28T12:60:00Z", false, 0 },
		{ "2026-11-28T12:00:61Z", false, 0 }, { "2026-11-28 12:00:00Z", false, 0 },
		{ "0000-11-28T12:00:00Z", false, 0 }, { "2026-11-28T12:00:00+24:00", false, 0 },
		{ "", false, 0 }, { "x", false, 0 }, { "-026-11-28T12:00:00Z", false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t seconds = 0;

		if (instant_parse(span_str(rows[i].in), &seconds) != rows[i].right ||
			seconds != rows[i].seconds)
			fail_msg("%s: %llu", rows[i].in, (unsigned long long)seconds);
	}
}

static void
goes_round(void **state)
{
	(void)state;
	for (uint64_t when = 0; when < 5000000000; when += 86400 * 3 + 12345) {
		struct text t = TEXT_UP_TO(40);
		uint64_t again;

		instant_put(&t, when);
		assert_true(instant_parse(text_span(&t), &again));
		assert_int_equal(when, again);
		text_clear(&t);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(parses), cmocka_unit_test(goes_round) };

	return cmocka_run_group_tests_name("smtpd_instant", tests, NULL, NULL);
}
