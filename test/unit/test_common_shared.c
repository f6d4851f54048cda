/*
 * Addresses that many share, connections that count for users, and gateways that nobody trusts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/network.h"
#include "common/shared.h"

static struct shared_addresses table;

static int
forget(void **state)
{
	(void)state;
	memset(&table, 0, sizeof(table));
	network_gateways(4, SPAN_NONE);
	network_gateways(6, SPAN_NONE);
	return 0;
}

static void
test_three_users_share(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++)
		shared_note(&table, "192.0.2.1", SPAN("a@example.org"), 100);
	shared_note(&table, "192.0.2.1", SPAN("b@example.org"), 100);
	assert_false(shared_is(&table, "192.0.2.1", 100));
	shared_note(&table, "192.0.2.1", SPAN("c@example.org"), 100);
	assert_true(shared_is(&table, "192.0.2.1", 100));
	assert_true(shared_is(&table, "192.0.2.1", 100 + SHARED_SECONDS));
	assert_false(shared_is(&table, "192.0.2.1", 101 + SHARED_SECONDS));
	assert_false(shared_is(&table, "192.0.2.2", 100));
	/* After a day of silence it begins anew. */
	shared_note(&table, "192.0.2.1", SPAN("d@example.org"), 102 + SHARED_SECONDS);
	assert_false(shared_is(&table, "192.0.2.1", 102 + SHARED_SECONDS));
}

static void
test_ipv6_by_its_network(void **state)
{
	(void)state;
	shared_note(&table, "2001:db8:1:2::1", SPAN("a"), 1);
	shared_note(&table, "2001:db8:1:2::2", SPAN("b"), 1);
	shared_note(&table, "2001:db8:1:2:3::", SPAN("c"), 1);
	assert_true(shared_is(&table, "2001:db8:1:2:ffff::", 1));
	assert_false(shared_is(&table, "2001:db8:1:3::1", 1));
}

static void
test_who_was_quiet_gives_way(void **state)
{
	char ip[32];

	(void)state;
	for (int user = 0; user < 3; user++)
		shared_note(&table, "192.0.2.1", user == 0 ? SPAN("a") : user == 1 ? SPAN("b") : SPAN("c"), 5);
	for (unsigned int i = 0; i < SHARED_ADDRESSES - 1; i++) {
		snprintf(ip, sizeof(ip), "198.51.%u.%u", i / 250, i % 250);
		shared_note(&table, ip, SPAN("x"), 10 + i);
	}
	assert_true(shared_is(&table, "192.0.2.1", 300));
	shared_note(&table, "203.0.113.1", SPAN("x"), 1000);
	assert_false(shared_is(&table, "192.0.2.1", 1000));
}

static void
test_no_address(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++)
		shared_note(&table, "local", i == 0 ? SPAN("a") : i == 1 ? SPAN("b") : SPAN("c"), 1);
	assert_false(shared_is(&table, "local", 1));
	assert_false(shared_is(&table, "unknown", 1));
}

static void
test_connections_move_to_the_user(void **state)
{
	struct guest_key address, ana, bo;
	struct guest *list[5];
	void *root = NULL;

	(void)state;
	assert_true(guest_key_of("192.0.2.1", &address));
	guest_key_of_user(&address, SPAN("ana@example.org"), &ana);
	guest_key_of_user(&address, SPAN("bo@example.org"), &bo);
	assert_memory_not_equal(&ana, &bo, sizeof(ana));
	assert_memory_not_equal(&ana, &address, sizeof(ana));
	for (int i = 0; i < 2; i++)
		assert_non_null(list[i] = guest_enter(&root, &address, 2));
	assert_null(guest_enter(&root, &address, 2));
	assert_true(guest_move(&root, &list[0], &ana, 2));
	assert_non_null(list[2] = guest_enter(&root, &address, 2)); /* there is room again */
	assert_true(guest_move(&root, &list[1], &ana, 2));
	assert_false(guest_move(&root, &list[2], &ana, 2)); /* his third */
	assert_true(guest_move(&root, &list[2], &bo, 2));
	for (int i = 0; i < 3; i++)
		guest_leave(&root, &list[i]);
	assert_null(root);
}

static void
test_gateways(void **state)
{
	struct span members[] = { SPAN("192.168.77.0/24"), SPAN("192.168.78.1"), SPAN("fe80::/10") };
	struct list networks = { members, 3 };

	(void)state;
	assert_true(networks_trust(&networks, "192.168.77.1") && networks_name(&networks, "192.168.77.1"));
	network_gateways(4, SPAN("192.168.77.1,192.168.78.1"));
	network_gateways(6, SPAN("fe80::1"));
	assert_true(networks_have(&networks, "192.168.77.1"));
	assert_false(networks_trust(&networks, "192.168.77.1"));
	assert_false(networks_name(&networks, "192.168.77.1"));
	assert_false(networks_trust(&networks, "192.168.78.1"));
	assert_true(networks_name(&networks, "192.168.78.1"));
	assert_false(networks_trust(&networks, "fe80::1"));
	assert_true(networks_trust(&networks, "192.168.77.2"));
	assert_true(shared_is(&table, "192.168.77.1", 1));
	/* The next gateways of one family take the place of the last. */
	network_gateways(4, SPAN("10.0.0.1"));
	assert_true(networks_trust(&networks, "192.168.77.1"));
	assert_true(network_is_gateway("10.0.0.1") && network_is_gateway("fe80::1"));
	assert_false(network_is_gateway(NULL));
	/* More than are kept, and what is no address. */
	network_gateways(4, SPAN("1,2,3,4,5,6,7,8,9,,,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
	assert_true(network_is_gateway("8"));
	assert_false(network_is_gateway("9"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_three_users_share, forget),
		cmocka_unit_test_setup(test_ipv6_by_its_network, forget),
		cmocka_unit_test_setup(test_who_was_quiet_gives_way, forget),
		cmocka_unit_test_setup(test_no_address, forget),
		cmocka_unit_test_setup(test_connections_move_to_the_user, forget),
		cmocka_unit_test_setup(test_gateways, forget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
