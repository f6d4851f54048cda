/* Addresses and networks as options name them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "common/network.h"

static void
what_lies_in_a_network(void **state)
{
	static const struct {
		const char *network, *ip;
		bool inside;
	} cases[] = {
		{ "192.0.2.7", "192.0.2.7", true },
		{ "192.0.2.7", "192.0.2.8", false },
		{ "192.0.2.0/24", "192.0.2.255", true },
		{ "192.0.2.0/24", "192.0.3.0", false },
		{ "192.0.2.128/25", "192.0.2.127", false },
		{ "192.0.2.128/25", "192.0.2.128", true },
		{ "0.0.0.0/0", "255.255.255.255", true },
		{ "0.0.0.0/0", "2001:db8::1", false },
		{ "192.0.2.0/24", "::ffff:192.0.2.9", true },
		{ "::/0", "192.0.2.1", true },
		{ "2001:db8::/32", "2001:db8:ffff::1", true },
		{ "2001:db8::/32", "2001:db9::", false },
		{ "2001:db8::/33", "2001:db8:8000::", false },
		{ "::1", "::1", true },
		{ "127.0.0.1", "local", false },
		{ "0.0.0.0/0", "unknown", false },
		{ "0.0.0.0/0", "", false },
		{ "0.0.0.0/0", NULL, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct span one[] = { span_str(cases[i].network) };
		struct list list = { one, 1 };
		struct network n;

		assert_true(network_parse(one[0], &n));
		if (network_has(&n, cases[i].ip) != cases[i].inside)
			fail_msg("%s in %s", cases[i].ip, cases[i].network);
		assert_int_equal(networks_have(&list, cases[i].ip), cases[i].inside);
	}
}

static void
what_is_no_network(void **state)
{
	static const char *const bad[] = { "", "/", "/8", "192.0.2", "192.0.2.0/", "192.0.2.0/33",
		"192.0.2.1/24", "2001:db8::/129", "2001:db8::1/64", "192.0.2.0/24 ", "192.0.2.0/-1",
		"192.0.2.0/4294967320", "localhost", "192.0.2.0/24/24", "[::1]" };
	struct list nobody = { NULL, 0 };
	struct network n;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (network_parse(span_str(bad[i]), &n))
			fail_msg("\"%s\" was taken", bad[i]);
	assert_false(networks_have(&nobody, "127.0.0.1"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_lies_in_a_network),
		cmocka_unit_test(what_is_no_network),
	};

	return cmocka_run_group_tests_name("common_network", tests, NULL, NULL);
}
