/* URLs that fetch takes, and those that it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "delivery/fetch-url.h"
#include "delivery/own-address.h"

static void
test_what_a_url_is_made_of(void **state)
{
	static const struct {
		const char *text, *host, *authority, *target;
		uint16_t port;
		bool tls, literal;
	} cases[] = {
		{ "https://mta-sts.example.org/.well-known/mta-sts.txt", "mta-sts.example.org",
			"mta-sts.example.org", "/.well-known/mta-sts.txt", 443, true, false },
		{ "HTTP://Ocsp.Example:8080", "Ocsp.Example", "Ocsp.Example:8080", "", 8080, false, false },
		{ "https://example.org?q=/x@y", "example.org", "example.org", "?q=/x@y", 443, true, false },
		{ "https://[2001:db8::1]:444/a:b", "2001:db8::1", "[2001:db8::1]:444", "/a:b", 444, true, true },
		{ "https://192.0.2.7/", "192.0.2.7", "192.0.2.7", "/", 443, true, true },
		{ "http://h:65535/", "h", "h:65535", "/", 65535, false, false },
	};
	struct fetch_url url;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_null(fetch_url_read(span_str(cases[i].text), &url));
		assert_true(span_equal(url.host, span_str(cases[i].host)));
		assert_true(span_equal(url.authority, span_str(cases[i].authority)));
		assert_true(span_equal(url.target, span_str(cases[i].target)));
		assert_int_equal(url.port, cases[i].port);
		assert_int_equal(url.tls, cases[i].tls);
		assert_int_equal(url.literal, cases[i].literal);
	}
}

static void
test_what_is_refused(void **state)
{
	static const char *const cases[] = { "", "https", "https:/x.example/", "ftp://x.example/", "https://",
		"https:///", "https://@x.example/", "https://u:p@x.example/", "https://x.example:/",
		"https://x.example:0/", "https://x.example:65536/", "https://x.example:4 43/",
		"https://x.example/ y", "https://x.example/#y", "https://x.example\\@y.example/",
		"https://x..example/", "https://.example/", "https://x.example./", "https://-x.example/",
		"https://x-.example/", "https://x_y.example/", "https://1.2.3/", "https://127.1/",
		"https://2130706433/", "https://[::1/", "https://[127.0.0.1]/", "https://[fe80::1%25eth0]/",
		"https://::1/", "https://x.example/\r\nHost: y", "https://x.example/\xc3\xbc",
		"https://\xc3\xbc.example/",
		"https://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example/" };
	struct fetch_url url;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (fetch_url_read(span_str(cases[i]), &url) == NULL)
			fail_msg("%s", cases[i]);
	/* A NUL is no end. */
	assert_non_null(fetch_url_read(span_of("https://x.example/\0y", 20), &url));
}

static const struct sockaddr_storage *
address_of(const char *text)
{
	static struct sockaddr_storage a;

	memset(&a, 0, sizeof a);
	if (inet_pton(AF_INET, text, &((struct sockaddr_in *)(void *)&a)->sin_addr) == 1)
		a.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)(void *)&a)->sin6_addr) == 1)
		a.ss_family = AF_INET6;
	else
		fail_msg("%s", text);
	return &a;
}

/* Both ends of each network, and their neighbours. */
static void
test_private_addresses(void **state)
{
	static const char *const private[] = { "10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0",
		"192.168.255.255", "169.254.0.0", "169.254.169.254", "169.254.255.255", "100.64.0.0", "100.127.255.255", "fe80::1",
		"febf::1", "fec0::1", "fc00::", "fdff:ffff::1", "::ffff:10.0.0.1", "::ffff:169.254.1.1", "64:ff9b::10.0.0.1",
		"64:ff9b::127.0.0.1", "192.0.0.0", "192.0.0.255", "198.18.0.0", "198.19.255.255", "64:ff9b:1::", "64:ff9b:1:ffff::8.8.8.8",
		"2002:0a00:1::1", "2002:7f00:1::1", "::10.0.0.1" };
	static const char *const others[] = { "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255",
		"192.169.0.0", "169.253.255.255", "169.255.0.0", "100.63.255.255", "100.128.0.0", "127.0.0.1", "::1", "2001:db8::1",
		"fbff::1", "fe00::1", "ff02::1", "64:ff9b::11.0.0.1", "::ffff:11.0.0.1", "2001:db8::10.0.0.1", "191.255.255.255", "192.0.1.0", "198.17.255.255", "198.20.0.0", "64:ff9b:0:ffff::",
		"64:ff9b:2::", "2002:0b00:1::1", "2003:0a00:1::1" };

	(void)state;
	for (size_t i = 0; i < sizeof private / sizeof private[0]; i++)
		if (!address_is_private(address_of(private[i])))
			fail_msg("%s", private[i]);
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		if (address_is_private(address_of(others[i])))
			fail_msg("%s", others[i]);
}

/* To the kernel, ::ffff:0.0.0.0 is this machine. */
static void
test_addresses_of_nobody_and_of_this_machine(void **state)
{
	static const char *const nobodys[] = { "0.0.0.0", "0.255.255.255", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::2", "ff02::1", "::ffff:0.0.0.0", "::ffff:0.0.0.1", "::ffff:224.0.0.1", "::ffff:255.255.255.255", "64:ff9b::",
		"64:ff9b::255.255.255.255", "2002::1", "2002:e000:1::1" };
	static const char *const somebodys[] = { "1.0.0.0", "223.255.255.255", "::1", "::ffff:1.0.0.0", "64:ff9b::1.0.0.0", "2001:db8::",
		"2001:db8::224.0.0.1", "2002:0100::1", "feff::1" };
	static const char *const loopback[] = { "127.0.0.0", "127.255.255.255", "::1", "::ffff:127.0.0.1", "::127.0.0.1" };
	static const char *const elsewhere[] = { "126.255.255.255", "128.0.0.0", "::2", "::ffff:128.0.0.1", "2001:db8::127.0.0.1" };

	(void)state;
	for (size_t i = 0; i < sizeof nobodys / sizeof nobodys[0]; i++)
		if (!address_is_nobodys(address_of(nobodys[i])))
			fail_msg("%s", nobodys[i]);
	for (size_t i = 0; i < sizeof somebodys / sizeof somebodys[0]; i++)
		if (address_is_nobodys(address_of(somebodys[i])))
			fail_msg("%s", somebodys[i]);
	for (size_t i = 0; i < sizeof loopback / sizeof loopback[0]; i++)
		if (!address_is_loopback(address_of(loopback[i])))
			fail_msg("%s", loopback[i]);
	for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++)
		if (address_is_loopback(address_of(elsewhere[i])))
			fail_msg("%s", elsewhere[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_a_url_is_made_of),
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_private_addresses),
		cmocka_unit_test(test_addresses_of_nobody_and_of_this_machine),
	};

	return cmocka_run_group_tests_name("fetch", tests, NULL, NULL);
}
