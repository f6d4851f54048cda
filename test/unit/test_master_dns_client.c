/*
 * Records of the DNS as strangers send them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "master/dns-client.h"

#define MOST 4096

static void
expect(enum dns_type type, struct span rdata, const char *text)
{
	/* At the end of a page of its own, so that a sanitizer sees each step too far. */
	unsigned char *copy = malloc(rdata.len ? rdata.len : 1);
	struct text to = TEXT_UP_TO(MOST);
	bool good;

	memcpy(copy, rdata.at, rdata.len);
	good = dns_record_put(type, span_of(copy, rdata.len), &to);
	assert_int_equal(good, text != NULL);
	if (text)
		assert_string_equal(text_str(&to), text);
	text_clear(&to);
	free(copy);
}

static void
test_records(void **state)
{
	(void)state;
	expect(DNS_A, SPAN("\xc0\x00\x02\x01"), "192.0.2.1");
	expect(DNS_AAAA, SPAN("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"), "2001:db8::1");
	expect(DNS_MX, SPAN("\0\x0a\4Mail\7example\3org\0"), "10 mail.example.org");
	expect(DNS_MX, SPAN("\0\0\0"), "0 .");
	expect(DNS_PTR, SPAN("\1a\1b\0"), "a.b");
	expect(DNS_SRV, SPAN("\0\0\0\1\3\xe1\1a\0"), "0 1 993 a");
	expect(DNS_TXT, SPAN("\3v=s\3pf1"), "v=spf1");
	expect(DNS_TXT, SPAN(""), "");
	expect(DNS_TLSA, SPAN("\3\1\1\xab\xcd"), "3 1 1 abcd");
}

static void
test_what_is_not_printable(void **state)
{
	(void)state;
	expect(DNS_PTR, SPAN("\5a.b\n\x1b\1c\0"), "a?b??.c");
	expect(DNS_TXT, SPAN("\4a\r\n\xff"), "a???");
}

static void
test_malformed(void **state)
{
	unsigned char name[400];

	(void)state;
	expect(DNS_A, SPAN("\1\2\3"), NULL);
	expect(DNS_A, SPAN("\1\2\3\4\5"), NULL);
	expect(DNS_AAAA, SPAN("\1\2\3\4"), NULL);
	expect(DNS_MX, SPAN(""), NULL);
	expect(DNS_MX, SPAN("\0"), NULL);
	expect(DNS_MX, SPAN("\0\1"), NULL);
	expect(DNS_PTR, SPAN("\1a"), NULL);
	expect(DNS_PTR, SPAN("\2a\0"), NULL);
	expect(DNS_PTR, SPAN("\1a\0x"), NULL);
	expect(DNS_PTR, SPAN("\xc0\x0c"), NULL); /* compressed */
	expect(DNS_TXT, SPAN("\5abc"), NULL);
	expect(DNS_SRV, SPAN("\0\0\0\1\3"), NULL);
	expect(DNS_TLSA, SPAN("\3\1\1"), NULL);
	/* Names of 255 octets are the longest (RFC 1035 3.1). */
	for (size_t i = 0; i < 254; i++)
		name[i] = i % 2 ? 'a' : 1;
	name[254] = 0;
	expect(DNS_PTR, span_of(name, 255),
		"a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a."
		"a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a."
		"a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a");
	for (size_t i = 254; i < 300; i++)
		name[i] = i % 2 ? 'a' : 1;
	name[300] = 0;
	expect(DNS_PTR, span_of(name, 301), NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_what_is_not_printable),
		cmocka_unit_test(test_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
