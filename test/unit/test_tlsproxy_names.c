/*
 * What clients may call a server, and ticket keys by service.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "tlsproxy/names.h"
#include "tlsproxy/tickets.h"

static void
hosts(void **state)
{
	static const char *const good[] = { "localhost", "mail.example.org",
		"xn--mnchen-3ya.example", "a-b.c", "4ever.example", "1.2.3.example" };
	static const struct span bad[] = {
		{ (const unsigned char *)"", 0 }, { (const unsigned char *)"a\\", 2 },
		{ (const unsigned char *)"a\0b", 3 }, { (const unsigned char *)"a\\\0", 3 },
		{ (const unsigned char *)"../../x", 7 }, { (const unsigned char *)"%s%n", 4 },
		{ (const unsigned char *)"a..b", 4 }, { (const unsigned char *)".a", 2 },
		{ (const unsigned char *)"a.", 2 }, { (const unsigned char *)"-a", 2 },
		{ (const unsigned char *)"a-", 2 }, { (const unsigned char *)"a-.b", 4 },
		{ (const unsigned char *)"127.0.0.1", 9 }, { (const unsigned char *)"::1", 3 },
		{ (const unsigned char *)"m\xc3\xbc", 3 }, { (const unsigned char *)"a b", 3 },
		{ (const unsigned char *)"a_b", 3 },
	};
	char big[300];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(names_is_host(span_str(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(names_is_host(bad[i]));
	memset(big, 'a', sizeof(big));
	assert_true(names_is_host(span_of(big, 63)));
	assert_false(names_is_host(span_of(big, 64)));
	for (size_t i = 63; i < sizeof(big); i += 64)
		big[i] = '.';
	assert_true(names_is_host(span_of(big, 253)));
	assert_false(names_is_host(span_of(big, 254)));
}

static void
tickets_differ_by_service(void **state)
{
	static const unsigned char master[TICKET_MASTER_SIZE] = { 1 };
	unsigned char key[SERVICE_COUNT][TICKET_SERVICE_SIZE], again[TICKET_SERVICE_SIZE];

	(void)state;
	for (int i = 0; i < SERVICE_COUNT; i++) {
		tickets_derive(master, (enum service)i, key[i]);
		tickets_derive(master, (enum service)i, again);
		assert_memory_equal(key[i], again, sizeof(again));
		for (int j = 0; j < i; j++)
			assert_memory_not_equal(key[i], key[j], sizeof(key[i]));
	}
}

static void
protocols(void **state)
{
	(void)state;
	assert_string_equal(names_protocol(SERVICE_IMAP), "imap");
	assert_string_equal(names_protocol(SERVICE_IMAPS), "imap");
	assert_string_equal(names_protocol(SERVICE_SUBMISSIONS), "smtp");
	assert_string_equal(names_protocol(SERVICE_SMTP), "smtp");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts),
		cmocka_unit_test(tickets_differ_by_service),
		cmocka_unit_test(protocols),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
