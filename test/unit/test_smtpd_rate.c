/* Counts of a minute. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "smtpd/rate.h"

static void
counts(void **state)
{
	struct rates r = { 0 };

	(void)state;
	assert_int_equal(rate_add(&r, "192.0.2.1", RATE_CONNECTIONS, 1, 100), 1);
	assert_int_equal(rate_add(&r, "192.0.2.1", RATE_CONNECTIONS, 1, 119), 2);
	assert_int_equal(rate_add(&r, "192.0.2.1", RATE_ERRORS, 5, 119), 5);
	assert_int_equal(rate_add(&r, "192.0.2.2", RATE_CONNECTIONS, 1, 119), 1);
	assert_int_equal(rate_add(&r, "192.0.2.1", RATE_CONNECTIONS, 1, 120), 1);
	/* One customer has a /64. */
	assert_int_equal(rate_add(&r, "2001:db8::1", RATE_MESSAGES, 1, 121), 1);
	assert_int_equal(rate_add(&r, "2001:db8::ffff:1", RATE_MESSAGES, 1, 121), 2);
	assert_int_equal(rate_add(&r, "2001:db8:0:1::1", RATE_MESSAGES, 1, 121), 1);
	assert_int_equal(rate_add(&r, "local", RATE_MESSAGES, 1, 121), 0);
	assert_int_equal(rate_add(&r, "192.0.2.1", RATE_ERRORS, UINT32_MAX, 122), UINT32_MAX);
	assert_int_equal(rate_add(&r, "192.0.2.1", RATE_ERRORS, 1, 122), UINT32_MAX);
	rates_clear(&r);
}

static void
r4_is_bounded(void **state)
{
	struct rates r = { 0 };
	char ip[32];

	(void)state;
	for (uint32_t i = 0; i < RATE_MOST_CLIENTS + 1000; i++) {
		snprintf(ip, sizeof(ip), "10.%u.%u.%u", i >> 16 & 255, i >> 8 & 255, i & 255);
		rate_add(&r, ip, RATE_CONNECTIONS, 1, 1);
	}
	assert_int_equal(r.count, RATE_MOST_CLIENTS);
	rate_add(&r, ip, RATE_CONNECTIONS, 1, 61);
	assert_int_equal(r.count, 1);
	rates_clear(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(counts), cmocka_unit_test(r4_is_bounded) };

	return cmocka_run_group_tests_name("smtpd_rate", tests, NULL, NULL);
}
