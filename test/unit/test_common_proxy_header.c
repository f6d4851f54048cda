/* The header of the PROXY protocol, of both versions, whole, in pieces, and wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/guest.h"
#include "common/proxy-header.h"
#include "common/text.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

/* "address port" or "own"; NULL when it is refused. */
static const char *
said(struct span header, struct proxy_facts *f)
{
	static char words[MOST_IP + 8];
	char ip[MOST_IP];
	struct guest_key key;
	const char *why = NULL;

	if (!proxy_header_parse(header, f, &why)) {
		assert_non_null(why);
		return NULL;
	}
	if (f->own)
		return "own";
	guest_name((const struct sockaddr *)&f->from, ip, &key);
	snprintf(words, sizeof(words), "%s %u", ip,
		ntohs(((const struct sockaddr_in *)(const void *)&f->from)->sin_port));
	return words;
}

static void
version_one(void **state)
{
	static const struct {
		const char *line, *says;
	} cases[] = {
		{ "PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\n", "192.0.2.7 4711" },
		{ "PROXY TCP4 192.0.2.7 192.0.2.1 0 65535\r\n", "192.0.2.7 0" },
		{ "PROXY TCP6 2001:db8::7 2001:db8::1 4711 25\r\n", "2001:db8::7 4711" },
		{ "PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 25\r\n", "192.0.2.7 4711" },
		{ "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
			"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535" },
		{ "PROXY UNKNOWN\r\n", "own" },
		{ "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "own" },
		{ "PROXY UNKNOWNS\r\n", NULL },
		{ "PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\n", NULL },
		{ "PROXY TCP4 192.0.2.7 192.0.2.1 4711 25 \r\n", NULL },
		{ "PROXY TCP4  192.0.2.7 192.0.2.1 4711 25\r\n", NULL },
		{ "PROXY TCP4 192.0.2.7 192.0.2.1 4711 65536\r\n", NULL },
		{ "PROXY TCP4 192.0.2.7 192.0.2.1 04711 25\r\n", NULL },
		{ "PROXY TCP4 192.0.2.7 192.0.2.1 +4711 25\r\n", NULL },
		{ "PROXY TCP4 192.0.2.7 192.0.2.1 4711\r\n", NULL },
		{ "PROXY TCP4 192.0.2.256 192.0.2.1 4711 25\r\n", NULL },
		{ "PROXY TCP4 2001:db8::7 2001:db8::1 4711 25\r\n", NULL },
		{ "PROXY TCP6 192.0.2.7 192.0.2.1 4711 25\r\n", NULL },
		{ "PROXY TCP5 192.0.2.7 192.0.2.1 4711 25\r\n", NULL },
		{ "proxy TCP4 192.0.2.7 192.0.2.1 4711 25\r\n", NULL },
		{ "PROXY\tTCP4 192.0.2.7 192.0.2.1 4711 25\r\n", NULL },
		{ "EHLO client.example\r\n", NULL },
		{ "GET / HTTP/1.1\r\n", NULL },
	};
	struct proxy_facts f;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *says = said(span_str(cases[i].line), &f);

		if (!says != !cases[i].says || (says && strcmp(says, cases[i].says) != 0))
			fail_msg("%s: %s", cases[i].line, says ? says : "refused");
	}
}

/* Feeds it as a reader would: never is an octet asked for that lies behind the header. */
static void
pieces(struct span header)
{
	size_t at = 0, wants;
	bool peek;

	while ((wants = proxy_header_wants(span_part(header, 0, at), &peek)) > 0) {
		if (!peek)
			assert_true(at + wants <= header.len);
		at++;
		assert_true(at <= header.len);
		if (peek && header.at[at - 1] == '\n')
			break;
	}
	assert_int_equal(at, header.len);
}


static struct span
v2(struct text *t, unsigned char command, unsigned char over, struct span body)
{
	text_reset(t);
	text_add(t, SPAN(SIGNATURE));
	text_add_byte(t, command);
	text_add_byte(t, over);
	text_add_byte(t, (unsigned char)(body.len >> 8));
	text_add_byte(t, (unsigned char)body.len);
	text_add(t, body);
	return text_span(t);
}

#define ADDRESSES4 "\xc0\x00\x02\x07\xc0\x00\x02\x01\x12\x67\x00\x19"
#define ADDRESSES6                                                                                 \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"     \
	"\x12\x67\x00\x19"

static void
version_two(void **state)
{
	struct text t = TEXT_UP_TO(70000);
	struct proxy_facts f;
	static unsigned char unix_body[216], long_body[4096];

	(void)state;
	assert_string_equal(said(v2(&t, 0x21, 0x11, SPAN(ADDRESSES4)), &f), "192.0.2.7 4711");
	pieces(text_span(&t));
	assert_string_equal(f.tls, "");
	assert_string_equal(said(v2(&t, 0x21, 0x21, SPAN(ADDRESSES6)), &f), "2001:db8::7 4711");
	pieces(text_span(&t));
	assert_string_equal(said(v2(&t, 0x20, 0x00, SPAN_NONE), &f), "own");
	pieces(text_span(&t));
	assert_string_equal(said(v2(&t, 0x20, 0x11, SPAN("anything")), &f), "own");
	assert_string_equal(said(v2(&t, 0x21, 0x00, SPAN("anything")), &f), "own");
	assert_string_equal(said(v2(&t, 0x21, 0x31, span_of(unix_body, 216)), &f), "own");
	pieces(SPAN("PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\n"));
	pieces(SPAN("PROXY UNKNOWN\r\n"));

	/* Another version, command, family, too little for its addresses, half a TLV. */
	assert_null(said(v2(&t, 0x11, 0x11, SPAN(ADDRESSES4)), &f));
	assert_null(said(v2(&t, 0x22, 0x11, SPAN(ADDRESSES4)), &f));
	assert_null(said(v2(&t, 0x21, 0x12, SPAN(ADDRESSES4)), &f));
	assert_null(said(v2(&t, 0x21, 0x41, SPAN(ADDRESSES4)), &f));
	assert_null(said(v2(&t, 0x21, 0x21, SPAN(ADDRESSES4)), &f));
	assert_null(said(v2(&t, 0x21, 0x31, span_of(unix_body, 215)), &f));
	assert_null(said(v2(&t, 0x21, 0x11, SPAN(ADDRESSES4 "\x04\x00")), &f));
	assert_null(said(v2(&t, 0x21, 0x11, SPAN(ADDRESSES4 "\x04\xff\xff")), &f));
	assert_null(said(v2(&t, 0x21, 0x11, SPAN(ADDRESSES4 "\x04\x00\x02x")), &f));
	assert_string_equal(said(v2(&t, 0x21, 0x11, SPAN(ADDRESSES4 "\x04\x00\x00")), &f),
		"192.0.2.7 4711");
	/* Over our ceiling, though the protocol has more room. */
	assert_null(said(v2(&t, 0x20, 0x00, span_of(long_body, sizeof(long_body))), &f));
	/* Cut anywhere. */
	v2(&t, 0x21, 0x21, SPAN(ADDRESSES6));
	for (size_t n = 0; n < t.len; n++)
		assert_null(said(span_of(t.at, n), &f));
	text_clear(&t);
}

static void
tls_of_the_proxy(void **state)
{
	struct text t = TEXT_UP_TO(4096);
	struct proxy_facts f;

	(void)state;
	v2(&t, 0x21, 0x11, SPAN(ADDRESSES4
		"\x20\x00\x1f\x01\0\0\0\0\x21\x00\x07TLSv1.3\x23\x00\x0d" "AES128-SHA256"));
	assert_string_equal(said(text_span(&t), &f), "192.0.2.7 4711");
	assert_string_equal(f.tls, "TLSv1.3 AES128-SHA256");
	/* Without TLS; without saying which; with what would forge the log. */
	v2(&t, 0x21, 0x11, SPAN(ADDRESSES4 "\x20\x00\x05\x00\0\0\0\0"));
	assert_non_null(said(text_span(&t), &f));
	assert_string_equal(f.tls, "");
	v2(&t, 0x21, 0x11, SPAN(ADDRESSES4 "\x20\x00\x0c\x01\0\0\0\0\x21\x00\x04x\ny\x1b"));
	assert_non_null(said(text_span(&t), &f));
	assert_string_equal(f.tls, "yes");
	/* Too short inside. */
	v2(&t, 0x21, 0x11, SPAN(ADDRESSES4 "\x20\x00\x04\x01\0\0\0"));
	assert_null(said(text_span(&t), &f));
	v2(&t, 0x21, 0x11, SPAN(ADDRESSES4 "\x20\x00\x08\x01\0\0\0\0\x21\x00\x07"));
	assert_null(said(text_span(&t), &f));
	text_clear(&t);
}

static void
the_sum_counts(void **state)
{
	struct text t = TEXT_UP_TO(4096);
	struct proxy_facts f;
	uint32_t sum;

	(void)state;
	v2(&t, 0x21, 0x11, SPAN(ADDRESSES4 "\x03\x00\x04\0\0\0\0"));
	sum = crc32c(text_span(&t));
	for (int i = 0; i < 4; i++)
		t.at[t.len - 4 + (size_t)i] = (unsigned char)(sum >> (24 - 8 * i));
	assert_non_null(said(text_span(&t), &f));
	t.at[t.len - 1] ^= 1;
	assert_null(said(text_span(&t), &f));
	v2(&t, 0x21, 0x11, SPAN(ADDRESSES4 "\x03\x00\x03\0\0\0"));
	assert_null(said(text_span(&t), &f));
	text_clear(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(version_one),
		cmocka_unit_test(version_two),
		cmocka_unit_test(tls_of_the_proxy),
		cmocka_unit_test(the_sum_counts),
	};

	return cmocka_run_group_tests_name("common_proxy_header", tests, NULL, NULL);
}
