/* What a name server says is read as what a stranger wrote; so are resolv.conf and hosts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/server-address.h"
#include "delivery/dns-files.h"
#include "delivery/dns-packet.h"

/* --- messages, made by hand --- */

struct message {
	unsigned char at[65536];
	size_t len;
};

static void
put(struct message *m, const void *at, size_t len)
{
	assert_true(m->len + len <= sizeof(m->at));
	memcpy(m->at + m->len, at, len);
	m->len += len;
}

static void
put16(struct message *m, unsigned int n)
{
	put(m, (unsigned char[]){ (unsigned char)(n >> 8), (unsigned char)n }, 2);
}

static void
put_name(struct message *m, const char *name)
{
	while (*name != '\0') {
		size_t len = strcspn(name, ".");

		put(m, (unsigned char[]){ (unsigned char)len }, 1);
		put(m, name, len);
		name += len + (name[len] == '.');
	}
	put(m, "", 1);
}

/* An answer to (name, type), with room for `answers` records and `authority`. */
static void
begin(struct message *m, unsigned int rcode, const char *name, unsigned int type,
	unsigned int answers, unsigned int authority)
{
	m->len = 0;
	put(m, "\1\2\x81", 3);
	put(m, (unsigned char[]){ (unsigned char)(0x80 | rcode) }, 1);
	put16(m, 1);
	put16(m, answers);
	put16(m, authority);
	put16(m, 0);
	put_name(m, name);
	put16(m, type);
	put16(m, 1);
}

static void
record(struct message *m, const char *owner, unsigned int type, unsigned int ttl, const void *data,
	size_t len)
{
	put_name(m, owner);
	put16(m, type);
	put16(m, 1);
	put16(m, ttl >> 16);
	put16(m, ttl);
	put16(m, (unsigned int)len);
	put(m, data, len);
}

/* An MX or CNAME record; `name` as labels with dots. */
static void
record_name(struct message *m, const char *owner, unsigned int type, int preference, const char *name)
{
	static struct message data;

	data.len = 0;
	if (preference >= 0)
		put16(&data, (unsigned int)preference);
	put_name(&data, name);
	record(m, owner, type, 300, data.at, data.len);
}

static struct message m;
static struct dns_packet p;
static const char *why;

/* Reads a copy that ends where the message ends, so that a byte too many is found. */
static enum dns_outcome
read_it(const char *name, uint16_t type)
{
	unsigned char *exact = malloc(m.len > 0 ? m.len : 1);

	assert_non_null(exact);
	memcpy(exact, m.at, m.len);
	dns_packet_read(span_of(exact, m.len), span_str(name), type, &p, &why);
	free(exact);
	return p.outcome;
}

static void
r5_what_is_right(void **state)
{
	struct span answers, name;
	uint16_t preference;

	(void)state;
	begin(&m, 0, "example.org", DNS_MX, 2, 0);
	record_name(&m, "EXAMPLE.org", DNS_MX, 10, "Mail.example.ORG");
	record_name(&m, "example.org", DNS_MX, 20, "");
	assert_int_equal(read_it("example.org", DNS_MX), DNS_FOUND);
	answers = text_span(&p.answers);
	assert_true(dns_take_mx(&answers, &preference, &name));
	assert_int_equal(preference, 10);
	assert_true(span_equal(name, SPAN("mail.example.org")));
	assert_true(dns_take_mx(&answers, &preference, &name));
	assert_int_equal(name.len, 0);
	assert_false(dns_take_mx(&answers, &preference, &name));
	assert_int_equal(p.ttl, 300);

	/* Aliases are followed, in any order; what belongs to no name on the way does not count. */
	begin(&m, 0, "a.example", DNS_A, 4, 0);
	record(&m, "evil.example", DNS_A, 300, "\x7f\0\0\1", 4);
	record(&m, "c.example", DNS_A, 7, "\xc0\0\2\1", 4);
	record_name(&m, "b.example", DNS_CNAME, -1, "c.example");
	record_name(&m, "a.example", DNS_CNAME, -1, "b.example");
	assert_int_equal(read_it("a.example", DNS_A), DNS_FOUND);
	assert_true(span_equal(text_span(&p.canonical), SPAN("c.example")));
	assert_int_equal(p.answers.len, 6);
	assert_int_equal(p.ttl, 7);
}

static void
r5_denials(void **state)
{
	unsigned char soa[24] = { 0 };

	(void)state;
	soa[23] = 9;
	begin(&m, 3, "x.example", DNS_MX, 0, 1);
	record(&m, "example", DNS_SOA, 300, soa, sizeof(soa));
	assert_int_equal(read_it("x.example", DNS_MX), DNS_NXDOMAIN);
	assert_int_equal(p.ttl, 9);
	begin(&m, 0, "x.example", DNS_MX, 0, 0);
	assert_int_equal(read_it("x.example", DNS_MX), DNS_NODATA);
	assert_true(p.ttl > 0 && p.ttl < 3600);
	begin(&m, 2, "x.example", DNS_MX, 0, 0);
	assert_int_equal(read_it("x.example", DNS_MX), DNS_LATER);
	/* An alias to a name that is not there. */
	begin(&m, 3, "x.example", DNS_MX, 1, 0);
	record_name(&m, "x.example", DNS_CNAME, -1, "y.example");
	assert_int_equal(read_it("x.example", DNS_MX), DNS_NXDOMAIN);
	assert_true(span_equal(text_span(&p.canonical), SPAN("y.example")));
}

/* A message cut at every byte, and each of its bytes changed, does no harm. */
static void
r5_truncated_mx(void **state)
{
	struct message whole;

	(void)state;
	begin(&whole, 0, "example.org", DNS_MX, 2, 0);
	record_name(&whole, "example.org", DNS_MX, 10, "mail.example.org");
	record_name(&whole, "example.org", DNS_MX, 20, "other.example.org");
	for (size_t len = 0; len < whole.len; len++) {
		m = whole;
		m.len = len;
		assert_int_equal(read_it("example.org", DNS_MX), DNS_LATER);
		assert_int_equal(p.answers.len, 0);
	}
	for (size_t at = 0; at < whole.len; at++)
		for (unsigned int bit = 0; bit < 8; bit++) {
			m = whole;
			m.at[at] ^= (unsigned char)(1u << bit);
			(void)read_it("example.org", DNS_MX);
		}
	/* Data that ends inside the preference. */
	begin(&m, 0, "example.org", DNS_MX, 1, 0);
	record(&m, "example.org", DNS_MX, 300, "\0", 1);
	assert_int_equal(read_it("example.org", DNS_MX), DNS_LATER);
}

static void
r5_cname_loop(void **state)
{
	(void)state;
	begin(&m, 0, "a.example", DNS_A, 2, 0);
	record_name(&m, "a.example", DNS_CNAME, -1, "b.example");
	record_name(&m, "b.example", DNS_CNAME, -1, "a.example");
	assert_int_equal(read_it("a.example", DNS_A), DNS_LATER);
	begin(&m, 0, "a.example", DNS_A, 1, 0);
	record_name(&m, "a.example", DNS_CNAME, -1, "a.example");
	assert_int_equal(read_it("a.example", DNS_A), DNS_LATER);
}

/* Pointers that lead to themselves, forward, or behind the end. */
static void
r5_pointer_loops(void **state)
{
	(void)state;
	for (unsigned int where = 0; where < 0x4000; where += where < 64 ? 1 : 61) {
		begin(&m, 0, "example.org", DNS_MX, 1, 0);
		record(&m, "example.org", DNS_MX, 300,
			(unsigned char[]){ 0, 10, (unsigned char)(0xc0 | where >> 8),
				(unsigned char)where },
			4);
		(void)read_it("example.org", DNS_MX);
		begin(&m, 0, "example.org", DNS_MX, 1, 0);
		put16(&m, 0xc000 | where);
		put(&m, "\0\x0f\0\1\0\0\0\1\0\1\0", 11);
		(void)read_it("example.org", DNS_MX);
	}
}

static void
r5_names_that_are_none(void **state)
{
	static const struct {
		const char *label;
		size_t len;
	} bad[] = { { "a\0b", 3 }, { "a b", 3 }, { "a;b", 3 }, { "a.b", 3 }, { "\xff", 1 },
		{ "a\r\nb", 4 }, { "%n", 2 }, { "$(id)", 5 } };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		unsigned char data[32] = { 0, 10, (unsigned char)bad[i].len };

		memcpy(data + 3, bad[i].label, bad[i].len);
		begin(&m, 0, "example.org", DNS_MX, 1, 0);
		record(&m, "example.org", DNS_MX, 300, data, bad[i].len + 4);
		/* Not "no MX", which would lead to the address of the domain itself. */
		assert_int_equal(read_it("example.org", DNS_MX), DNS_LATER);
	}
}

static void
r5_a_thousand_mx(void **state)
{
	struct span answers, name;
	uint16_t preference;
	char host[64];
	size_t n = 0;

	(void)state;
	begin(&m, 0, "example.org", DNS_MX, 1000, 0);
	for (int i = 0; i < 1000; i++) {
		snprintf(host, sizeof(host), "mail%d.example.org", i);
		record_name(&m, "example.org", DNS_MX, i, host);
	}
	assert_int_equal(read_it("example.org", DNS_MX), DNS_FOUND);
	for (answers = text_span(&p.answers); dns_take_mx(&answers, &preference, &name);)
		n++;
	assert_int_equal(n, 1000);
}

static void
r5_txt_of_64_kilobytes(void **state)
{
	static unsigned char data[62000], to[4096];
	struct span answers;
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i += 248)
		data[i] = 247;
	begin(&m, 0, "example.org", DNS_TXT, 1, 0);
	record(&m, "example.org", DNS_TXT, 300, data, sizeof(data));
	assert_int_equal(read_it("example.org", DNS_TXT), DNS_LATER);
	begin(&m, 0, "example.org", DNS_TXT, 2, 0);
	record(&m, "example.org", DNS_TXT, 300, data, 49600);
	record(&m, "example.org", DNS_TXT, 300, "\3abc\3def", 8);
	assert_int_equal(read_it("example.org", DNS_TXT), DNS_FOUND);
	answers = text_span(&p.answers);
	/* What does not fit is passed over. */
	assert_true(dns_take_txt(&answers, to, sizeof(to), &len));
	assert_int_equal(len, 6);
	assert_memory_equal(to, "abcdef", 6);
	assert_false(dns_take_txt(&answers, to, sizeof(to), &len));
}

static void
r5_short_tlsa(void **state)
{
	uint8_t usage, selector, matching;
	struct span answers, data;

	(void)state;
	for (size_t len = 0; len < 4; len++) {
		begin(&m, 0, "example.org", DNS_TLSA, 1, 0);
		record(&m, "example.org", DNS_TLSA, 300, "\3\1\1", len);
		assert_int_equal(read_it("example.org", DNS_TLSA), DNS_LATER);
		/* Nor does a lying dns get it past the reader. */
		unsigned char packed[5] = { 0, (unsigned char)len, 3, 1, 1 };

		answers = span_of(packed, len + 2);
		assert_false(dns_take_tlsa(&answers, &usage, &selector, &matching, &data));
	}
	begin(&m, 0, "example.org", DNS_A, 2, 0);
	record(&m, "example.org", DNS_A, 300, "\1\2\3", 3);
	record(&m, "example.org", DNS_A, 300, "\1\2\3\4\5", 5);
	assert_int_equal(read_it("example.org", DNS_A), DNS_LATER);
}

/* --- files --- */

static void
servers(void **state)
{
	static const struct {
		const char *given, *host;
		uint16_t port;
	} good[] = { { "192.0.2.1", "192.0.2.1", 53 }, { "192.0.2.1:5353", "192.0.2.1", 5353 },
		{ "2001:db8::1", "2001:db8::1", 53 }, { "[2001:db8::1]", "2001:db8::1", 53 },
		{ "[2001:db8::1]:54", "2001:db8::1", 54 }, { "fe80::1%eth0", "fe80::1%eth0", 53 },
		{ "mail.example.org:587", "mail.example.org", 587 }, { "[mail.example.org]", "mail.example.org", 53 } };
	static const char *const bad[] = { "", ":", ":25", "a:", "a:0", "a:65536", "a:1x", "[a", "[a]x",
		"[a]:", "a b", "a;b", "[]", "a\nb", "[a]:99999999999999999999" };
	struct server_address a;
	char text[MOST_SERVER_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(server_address_read(span_str(good[i].given), 53, &a));
		assert_true(span_equal(a.host, span_str(good[i].host)));
		assert_int_equal(a.port, good[i].port);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (server_address_read(span_str(bad[i]), 53, &a))
			fail_msg("taken: %s", bad[i]);
	}
	assert_true(name_server_read(SPAN("192.0.2.1:5353"), text));
	assert_string_equal(text, "192.0.2.1@5353");
	assert_false(name_server_read(SPAN("localhost"), text));
}

static void
resolv_conf(void **state)
{
	struct name_servers s;
	struct text many = TEXT_UP_TO(100000);

	(void)state;
	resolv_conf_read(SPAN("# nameserver 1.1.1.1\nsearch x\nnameserver 192.0.2.1 # a\n"
		"nameserver\n\tnameserver\t::1\nnameserver evil;\nNAMESERVER 192.0.2.3"), &s);
	assert_int_equal(s.count, 3);
	assert_string_equal(s.at[0], "192.0.2.1@53");
	assert_string_equal(s.at[1], "::1@53");
	assert_string_equal(s.at[2], "192.0.2.3@53");
	for (int i = 0; i < 1000; i++)
		text_add_str(&many, "nameserver 192.0.2.9\n");
	resolv_conf_read(text_span(&many), &s);
	assert_int_equal(s.count, MOST_NAME_SERVERS);
	text_clear(&many);
}

static void
hosts(void **state)
{
	struct hosts *h = hosts_read(SPAN("127.0.0.1 localhost\n192.0.2.1 Mail.Example mail # x\n"
		"2001:db8::1\tmail.example.\n# 1.2.3.4 no\nbad bad\n192.0.2.2 mail.example"));
	struct text t = TEXT_UP_TO(MOST_DNS_ANSWERS);

	(void)state;
	assert_true(hosts_find(h, SPAN("mail.example"), DNS_A, &t));
	assert_int_equal(t.len, 12);
	text_reset(&t);
	assert_true(hosts_find(h, SPAN("mail.example"), DNS_AAAA, &t));
	assert_int_equal(t.len, 18);
	text_reset(&t);
	assert_true(hosts_find(h, SPAN("1.2.0.192.in-addr.arpa"), DNS_PTR, &t));
	assert_memory_equal(t.at, "\0\x0cmail.example", 14);
	text_reset(&t);
	assert_false(hosts_find(h, SPAN("no"), DNS_A, &t));
	assert_false(hosts_find(h, SPAN("bad"), DNS_A, &t));
	text_clear(&t);
	hosts_free(&h);
	assert_null(h);
}

static void
reverse(void **state)
{
	char name[DNS_REVERSE_ROOM], small[20];

	(void)state;
	assert_true(dns_reverse(SPAN("\xc0\0\2\1"), NULL, name, sizeof(name)));
	assert_string_equal(name, "1.2.0.192.in-addr.arpa");
	assert_true(dns_reverse(SPAN("\xc0\0\2\1"), "list.example", name, sizeof(name)));
	assert_string_equal(name, "1.2.0.192.list.example");
	assert_true(dns_reverse(SPAN("\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"), NULL, name, sizeof(name)));
	assert_string_equal(
		name, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
	assert_false(dns_reverse(SPAN("\xc0\0\2\1"), NULL, small, sizeof(small)));
	assert_false(dns_reverse(SPAN("\xc0\0\2"), NULL, name, sizeof(name)));
}

static int
prepare(void **state)
{
	(void)state;
	dns_packet_init(&p);
	return 0;
}

static int
finish(void **state)
{
	(void)state;
	dns_packet_clear(&p);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(r5_what_is_right), cmocka_unit_test(r5_denials),
		cmocka_unit_test(r5_truncated_mx), cmocka_unit_test(r5_cname_loop),
		cmocka_unit_test(r5_pointer_loops), cmocka_unit_test(r5_names_that_are_none),
		cmocka_unit_test(r5_a_thousand_mx), cmocka_unit_test(r5_txt_of_64_kilobytes),
		cmocka_unit_test(r5_short_tlsa), cmocka_unit_test(servers), cmocka_unit_test(resolv_conf),
		cmocka_unit_test(hosts), cmocka_unit_test(reverse),
	};

	return cmocka_run_group_tests(tests, prepare, finish);
}
