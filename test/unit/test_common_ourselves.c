/* Which addresses are ours, and how we call ourselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "common/ourselves.h"

static void
forget_all(void)
{
	ourselves_public(SPAN_NONE);
	ourselves_gone(SPAN("192.168.1.2"));
	ourselves_gone(SPAN("2001:db8::2"));
}

static void
own_addresses_come_and_go(void **state)
{
	(void)state;
	forget_all();
	assert_false(ourselves_have(SPAN("192.168.1.2")));
	ourselves_came(SPAN("192.168.1.2"));
	ourselves_came(SPAN("192.168.1.2"));
	ourselves_came(SPAN("2001:db8::2"));
	assert_true(ourselves_have(SPAN("192.168.1.2")) && ourselves_have(SPAN("::ffff:192.168.1.2")));
	assert_true(ourselves_have(SPAN("2001:DB8::2")) && ourselves_have(SPAN("2001:db8:0::2")));
	assert_false(ourselves_have(SPAN("192.168.1.3")) || ourselves_have(SPAN("192.168.1.0/24")));
	ourselves_gone(SPAN("192.168.1.2"));
	assert_false(ourselves_have(SPAN("192.168.1.2")));
	assert_true(ourselves_have(SPAN("2001:db8::2")));
	/* Nobody reaches us there; and what is no address is none of ours. */
	ourselves_came(SPAN("127.0.0.1"));
	ourselves_came(SPAN("::1"));
	ourselves_came(SPAN("not an address"));
	ourselves_came(SPAN("10.0.0.0/8"));
	ourselves_came(SPAN_NONE);
	assert_false(ourselves_have(SPAN("127.0.0.1")) || ourselves_have(SPAN("::1")) || ourselves_have(SPAN("10.0.0.1")) ||
		ourselves_have(SPAN_NONE));
}

static void
many_addresses(void **state)
{
	char ip[32];

	(void)state;
	forget_all();
	for (unsigned int i = 0; i < 10000; i++) {
		snprintf(ip, sizeof(ip), "10.1.%u.%u", i / 256, i % 256);
		ourselves_came(span_str(ip));
	}
	assert_true(ourselves_have(SPAN("10.1.0.0")) && ourselves_have(SPAN("10.1.15.255")));
	assert_false(ourselves_have(SPAN("10.1.16.0"))); /* the 4097th */
	for (unsigned int i = 0; i < 10000; i++) {
		snprintf(ip, sizeof(ip), "10.1.%u.%u", i / 256, i % 256);
		ourselves_gone(span_str(ip));
	}
	assert_false(ourselves_have(SPAN("10.1.0.0")));
}

static void
public_ones_replace_each_other(void **state)
{
	(void)state;
	forget_all();
	ourselves_public(SPAN("203.0.113.1,203.0.113.2,2001:db8::1"));
	assert_true(ourselves_have(SPAN("203.0.113.2")));
	assert_true(span_equal(ourselves_reached_at(4), SPAN("203.0.113.1")));
	assert_true(span_equal(ourselves_reached_at(6), SPAN("2001:db8::1")));
	ourselves_public(SPAN(",,x,203.0.113.9"));
	assert_false(ourselves_have(SPAN("203.0.113.2")));
	assert_true(span_equal(ourselves_reached_at(4), SPAN("203.0.113.9")));
	assert_int_equal(ourselves_reached_at(6).len, 0);
}

static void
literals(void **state)
{
	static const struct {
		const char *domain;
		bool ours;
	} rows[] = {
		{ "[203.0.113.1]", true }, { "[192.168.1.2]", true }, { "[IPv6:2001:db8::2]", true },
		{ "[ipv6:2001:DB8:0:0::2]", true }, { "[203.0.113.2]", false }, { "203.0.113.1", false },
		{ "[203.0.113.1", false }, { "[]", false }, { "[", false }, { "", false },
		{ "[203.0.113.1/32]", false }, { "[203.0.113.1]x", false }, { "[127.0.0.1]", false },
	};

	(void)state;
	forget_all();
	ourselves_came(SPAN("192.168.1.2"));
	ourselves_came(SPAN("2001:db8::2"));
	ourselves_public(SPAN("203.0.113.1"));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (ourselves_have_literal(span_str(rows[i].domain)) != rows[i].ours)
			fail_msg("%s", rows[i].domain);
}

static void
name_is(const char *hostname, unsigned int family, const char *wanted)
{
	struct text name = TEXT_UP_TO(MOST_HOST);

	ourselves_name(span_str(hostname), family, &name);
	assert_string_equal(text_str(&name), wanted);
	text_clear(&name);
}

static void
names(void **state)
{
	(void)state;
	forget_all();
	name_is("mail.example.org", 4, "mail.example.org");
	name_is("mail", 4, "mail");     /* better than nothing */
	ourselves_public(SPAN("203.0.113.1,2001:db8::1"));
	name_is("mail.example.org", 4, "mail.example.org");
	name_is("mail", 4, "[203.0.113.1]");
	name_is("localhost.localdomain", 6, "[IPv6:2001:db8::1]");
	name_is("mail", 0, "[203.0.113.1]");
	ourselves_public(SPAN("2001:db8::1"));
	name_is("mail", 0, "[IPv6:2001:db8::1]");
	name_is("mail", 4, "mail");
	forget_all();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_addresses_come_and_go),
		cmocka_unit_test(many_addresses),
		cmocka_unit_test(public_ones_replace_each_other),
		cmocka_unit_test(literals),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
