/*
 * What the kernel tells of links, addresses and routes: read whole, and without harm when it is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "master/netstate.h"

#define PROTO_ATTRIBUTE 11 /* IFA_PROTO */

/* --- kinds and names --- */

static void
test_kinds(void **state)
{
	static const struct {
		const char *address, *kind;
	} cases[] = {
		{ "127.0.0.1", "loopback" }, { "127.255.255.255", "loopback" }, { "::1", "loopback" },
		{ "169.254.0.1", "link-local" }, { "fe80::1", "link-local" },
		{ "febf:ffff::1", "link-local" }, { "10.0.0.0", "private" },
		{ "10.255.255.255", "private" }, { "9.255.255.255", "global" },
		{ "11.0.0.0", "global" }, { "172.15.255.255", "global" }, { "172.16.0.0", "private" },
		{ "172.31.255.255", "private" }, { "172.32.0.0", "global" },
		{ "192.167.255.255", "global" }, { "192.168.0.0", "private" },
		{ "192.168.255.255", "private" }, { "192.169.0.0", "global" },
		{ "100.63.255.255", "global" }, { "100.64.0.0", "shared" },
		{ "100.127.255.255", "shared" }, { "100.128.0.0", "global" },
		{ "fc00::1", "unique-local" }, { "fdff::1", "unique-local" }, { "fec0::1", "unusable" },
		{ "ff02::1", "unusable" }, { "::", "unusable" }, { "0.0.0.0", "unusable" },
		{ "224.0.0.1", "unusable" }, { "255.255.255.255", "unusable" },
		{ "2001:db8::1", "global" }, { "203.0.113.1", "global" }, { "::ffff:10.1.2.3", "private" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint8_t family, at[16];
		char name[MOST_ADDRESS_TEXT];

		assert_true(netstate_address_take(span_str(cases[i].address), &family, at));
		assert_string_equal(netstate_kind_name(netstate_kind_of(family, at)), cases[i].kind);
		netstate_address_name(family, at, name);
		assert_string_equal(name, cases[i].address);
	}
}

static void
test_no_address(void **state)
{
	static const char *const wrong[] = { "", "1.2.3", "1.2.3.4.5", "1.2.3.256", "::g", "1.2.3.4 ",
		"[::1]", "1.2.3.4:25", "::1%eth0",
		"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000" };
	uint8_t family, at[16];

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_false(netstate_address_take(span_str(wrong[i]), &family, at));
	assert_false(netstate_address_take(span_of("1.2.3.4\0x", 9), &family, at));
}

static void
test_link_names(void **state)
{
	static const char *const good[] = { "eth0", "any", "br-1a2b", "wlp3s0", "eth0.100", "veth@x",
		"abcdefghijklmno", "_x" };
	static const char *const wrong[] = { "", "1.2.3.4", "192.0.2", "100", "abcdefghijklmnop",
		"eth0:1", "a/b", "a b", "eth0\n", "\xc3\xa9th0", "..", "a%b", "-" };

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_true(netstate_is_link_name(span_str(good[i])));
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_false(netstate_is_link_name(span_str(wrong[i])));
}

/* --- messages as the kernel makes them --- */

struct packet {
	unsigned char at[4096];
	size_t len, begin; /* of the message that is being made */
};

static void
put(struct packet *p, const void *at, size_t len)
{
	memcpy(p->at + p->len, at, len);
	p->len += (len + 3) & ~(size_t)3;
}

static void
begin(struct packet *p, uint16_t type, const void *body, size_t len)
{
	struct nlmsghdr head = { .nlmsg_type = type };

	p->begin = p->len;
	put(p, &head, sizeof head);
	put(p, body, len);
}

static void
attribute(struct packet *p, uint16_t type, const void *value, size_t len)
{
	struct rtattr head = { .rta_len = (uint16_t)(sizeof head + len), .rta_type = type };

	put(p, &head, sizeof head);
	put(p, value, len);
}

static void
end(struct packet *p)
{
	uint32_t len = (uint32_t)(p->len - p->begin);

	memcpy(p->at + p->begin, &len, sizeof len);
}

static void
put_address(struct packet *p, const char *address, uint32_t flags, uint32_t valid, uint8_t proto)
{
	uint8_t family, at[16];
	struct ifaddrmsg body = { .ifa_prefixlen = 24, .ifa_index = 2 };
	struct ifa_cacheinfo life = { .ifa_valid = valid, .ifa_prefered = valid };

	assert_true(netstate_address_take(span_str(address), &family, at));
	body.ifa_family = family == 4 ? AF_INET : AF_INET6;
	begin(p, RTM_NEWADDR, &body, sizeof body);
	attribute(p, IFA_ADDRESS, at, family == 4 ? 4 : 16);
	attribute(p, IFA_FLAGS, &flags, sizeof flags);
	attribute(p, IFA_CACHEINFO, &life, sizeof life);
	if (proto)
		attribute(p, PROTO_ATTRIBUTE, &proto, 1);
	end(p);
}

static void
test_lives(void **state)
{
	static const struct {
		const char *address;
		uint32_t flags, valid;
		uint8_t proto;
		const char *life;
		bool usable;
	} cases[] = {
		{ "192.168.1.2", IFA_F_PERMANENT, NETSTATE_FOREVER, 0, "no-lifetime", true },
		{ "192.168.1.3", 0, 3600, 0, "leased", true },
		{ "2001:db8::1", IFA_F_PERMANENT, NETSTATE_FOREVER, 0, "no-lifetime", true },
		{ "2001:db8::2", 0, 86400, 2, "advertised", true },
		{ "2001:db8::3", IFA_F_TEMPORARY, 86400, 2, "temporary", true },
		{ "2001:db8::4", 0, 7200, 0, "leased", true },
		{ "fe80::1", IFA_F_PERMANENT, NETSTATE_FOREVER, 3, "kernel", true },
		{ "127.0.0.1", IFA_F_PERMANENT, NETSTATE_FOREVER, 1, "kernel", true },
		{ "2001:db8::5", IFA_F_TENTATIVE, NETSTATE_FOREVER, 0, "no-lifetime", false },
		{ "2001:db8::6", IFA_F_TENTATIVE | IFA_F_OPTIMISTIC, NETSTATE_FOREVER, 0,
			"no-lifetime", true },
		{ "2001:db8::7", IFA_F_DADFAILED | IFA_F_TENTATIVE, NETSTATE_FOREVER, 0,
			"no-lifetime", false },
	};
	struct netstate n = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct packet p = { .len = 0 };

		put_address(&p, cases[i].address, cases[i].flags, cases[i].valid, cases[i].proto);
		assert_int_equal(netstate_take(&n, span_of(p.at, p.len)), 1);
		assert_int_equal(n.address_count, i + 1);
		assert_string_equal(netstate_life_name(n.addresses[i].life), cases[i].life);
		assert_int_equal(netstate_is_usable(&n.addresses[i]), cases[i].usable);
		assert_int_equal(n.addresses[i].valid, cases[i].valid);
		assert_ptr_equal(netstate_has(&n, n.addresses[i].family, n.addresses[i].at),
			&n.addresses[i]);
	}
	netstate_clear(&n);
}

static void
put_route(struct packet *p, uint8_t prefix, uint8_t table, const char *gateway)
{
	uint8_t family, at[16];
	struct rtmsg body = { .rtm_dst_len = prefix, .rtm_table = table, .rtm_type = RTN_UNICAST };
	uint32_t link = 2, metric = 100;

	assert_true(netstate_address_take(span_str(gateway), &family, at));
	body.rtm_family = family == 4 ? AF_INET : AF_INET6;
	begin(p, RTM_NEWROUTE, &body, sizeof body);
	attribute(p, RTA_GATEWAY, at, family == 4 ? 4 : 16);
	attribute(p, RTA_OIF, &link, sizeof link);
	attribute(p, RTA_PRIORITY, &metric, sizeof metric);
	end(p);
}

static void
put_link(struct packet *p, uint32_t flags)
{
	struct ifinfomsg body = { .ifi_index = 2, .ifi_flags = flags };

	begin(p, RTM_NEWLINK, &body, sizeof body);
	attribute(p, IFLA_IFNAME, "eth0", 5);
	end(p);
}

static void
test_routes_and_links(void **state)
{
	struct netstate n = { 0 };
	struct packet p = { .len = 0 };
	char name[MOST_ADDRESS_TEXT];

	(void)state;
	put_link(&p, IFF_UP | IFF_RUNNING);
	put_route(&p, 0, RT_TABLE_MAIN, "192.0.2.1");
	put_route(&p, 24, RT_TABLE_MAIN, "192.0.2.2");
	put_route(&p, 0, RT_TABLE_LOCAL, "192.0.2.3");
	assert_true(netstate_concerns(span_of(p.at, p.len)));
	assert_int_equal(netstate_take(&n, span_of(p.at, p.len)), 1);
	assert_int_equal(n.link_count, 1);
	assert_int_equal(n.route_count, 1);
	netstate_address_name(4, n.routes[0].gateway, name);
	assert_string_equal(name, "192.0.2.1");
	assert_true(netstate_has_route(&n, 4));
	assert_false(netstate_has_route(&n, 6));
	assert_ptr_equal(netstate_link(&n, 2), netstate_link_named(&n, SPAN("eth0")));
	assert_null(netstate_link_named(&n, SPAN("eth")));
	n.links[0].running = false;
	assert_false(netstate_has_route(&n, 4));
	netstate_clear(&n);
}

static void
test_what_concerns(void **state)
{
	struct packet p = { .len = 0 };

	(void)state;
	put_route(&p, 24, RT_TABLE_MAIN, "192.0.2.2");
	assert_false(netstate_concerns(span_of(p.at, p.len)));
	put_address(&p, "192.0.2.7", 0, 60, 0);
	assert_true(netstate_concerns(span_of(p.at, p.len)));
}

/* Every way to cut a datagram, and every length in it set wrong, leaves a snapshot of what was whole. */
static void
test_cut_and_wrong_lengths(void **state)
{
	struct packet p = { .len = 0 };

	(void)state;
	put_link(&p, IFF_UP);
	put_address(&p, "192.0.2.7", 0, 60, 0);
	put_route(&p, 0, RT_TABLE_MAIN, "192.0.2.1");
	for (size_t len = 0; len <= p.len; len++) {
		unsigned char *cut = malloc(len ? len : 1); /* so that a sanitizer sees each step too far */
		struct netstate n = { 0 };

		memcpy(cut, p.at, len);
		netstate_take(&n, span_of(cut, len));
		netstate_concerns(span_of(cut, len));
		assert_true(n.address_count <= 1 && n.route_count <= 1 && n.link_count <= 1);
		if (len == p.len)
			assert_true(n.address_count && n.route_count && n.link_count);
		netstate_clear(&n);
		free(cut);
	}
	for (size_t at = 0; at + 4 <= p.len; at += 2) {
		static const uint32_t lengths[] = { 0, 1, 3, 4, 15, 17, 0xffff, 0xffffffff };

		for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
			unsigned char *copy = malloc(p.len);
			struct netstate n = { 0 };

			memcpy(copy, p.at, p.len);
			memcpy(copy + at, &lengths[i], sizeof lengths[i]);
			netstate_take(&n, span_of(copy, p.len));
			netstate_clear(&n);
			free(copy);
		}
	}
}

static void
test_errors(void **state)
{
	struct packet p = { .len = 0 };
	struct netstate n = { 0 };
	int no = -EPERM;

	(void)state;
	begin(&p, NLMSG_ERROR, &no, sizeof no);
	end(&p);
	assert_int_equal(netstate_take(&n, span_of(p.at, p.len)), -1);
	assert_int_equal(errno, EPERM);
	p.len = 0;
	begin(&p, NLMSG_DONE, &no, sizeof no);
	end(&p);
	assert_int_equal(netstate_take(&n, span_of(p.at, p.len)), 0);
	netstate_clear(&n);
}

/* More addresses than we keep: the first ones stay, and it is said. */
static void
test_too_many(void **state)
{
	struct netstate n = { 0 };

	(void)state;
	for (int i = 0; i < MOST_ADDRESSES + 10; i++) {
		struct packet p = { .len = 0 };

		assert_int_equal(n.cut, i > MOST_ADDRESSES);
		put_address(&p, "192.0.2.7", 0, 60, 0);
		netstate_take(&n, span_of(p.at, p.len));
	}
	assert_int_equal(n.address_count, MOST_ADDRESSES);
	netstate_clear(&n);
}

static void
test_this_machine(void **state)
{
	struct netstate n;
	uint8_t loopback[16] = { 127, 0, 0, 1 };

	(void)state;
	assert_true(netstate_read(&n));
	assert_non_null(netstate_link_named(&n, SPAN("lo")));
	assert_true(n.address_count == 0 || netstate_has(&n, 4, loopback) != NULL);
	netstate_clear(&n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_no_address),
		cmocka_unit_test(test_link_names),
		cmocka_unit_test(test_lives),
		cmocka_unit_test(test_routes_and_links),
		cmocka_unit_test(test_what_concerns),
		cmocka_unit_test(test_cut_and_wrong_lengths),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_this_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
