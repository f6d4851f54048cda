/* Addresses (RFC 5321 4.1.2, RFC 6531 3.3) and the keys under which users are stored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "common/address.h"

#define L64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define L63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
	const char *in;
	bool null, utf8;
	enum address_error error;
	const char *local, *domain, *rest;
} paths[] = {
	{"<a@example.org> X", false, false, ADDRESS_OK, "a", "example.org", " X"},
	{"<>", true, false, ADDRESS_OK, "", "", ""},
	{"<>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<Postmaster>", false, false, ADDRESS_OK, "Postmaster", "", ""},
	{"<postmaster>", true, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<@a.example,@b.example:c@d.example>", false, false, ADDRESS_OK, "c", "d.example", ""},
	{"<@a.example c@d.example>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<@[192.0.2.1]:c@d.example>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<\"a b\"@example.org>", false, false, ADDRESS_OK, "\"a b\"", "example.org", ""},
	{"<\"a@b>\\\"\"@example.org>", false, false, ADDRESS_OK, "\"a@b>\\\"\"", "example.org", ""},
	{"<\"\"@example.org>", false, false, ADDRESS_OK, "\"\"", "example.org", ""},
	{"<\"a\tb\"@example.org>", false, false, ADDRESS_CONTROL, NULL, NULL, NULL},
	{"<\"a\\\nb\"@example.org>", false, false, ADDRESS_CONTROL, NULL, NULL, NULL},
	{"<\"a@example.org>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<a@[192.0.2.1]>", false, false, ADDRESS_OK, "a", "[192.0.2.1]", ""},
	{"<a@[IPv6:2001:db8::1]>", false, false, ADDRESS_OK, "a", "[IPv6:2001:db8::1]", ""},
	{"<a@[ipv6:::ffff:192.0.2.1]>", false, false, ADDRESS_OK, "a", "[ipv6:::ffff:192.0.2.1]",
		""},
	{"<a@[2001:db8::1]>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<a@[192.0.2.256]>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<a@[192.0.2.1>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<a@[x400:c=ch]>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<a.@example.org>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<.a@example.org>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<a..b@example.org>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<a b@example.org>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<a@-example.org>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<a@example-.org>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<a@ex--ample.org>", false, false, ADDRESS_OK, "a", "ex--ample.org", ""},
	{"<a@example.org.>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<a@ex_ample.org>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<a@>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<@example.org>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<;id;>", true, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<a@b@example.org>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<a@example.org", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"a@example.org", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<" L64 "@example.org>", false, false, ADDRESS_OK, L64, "example.org", ""},
	{"<a" L64 "@example.org>", false, false, ADDRESS_TOO_LONG, NULL, NULL, NULL},
	{"<a@" L63 ".org>", false, false, ADDRESS_OK, "a", L63 ".org", ""},
	{"<a@a" L63 ".org>", false, false, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<a@" L63 "." L63 "." L63 "." L63 ">", false, false, ADDRESS_TOO_LONG, NULL, NULL, NULL},
	{"<j\xc3\xb6rg@example.org>", false, false, ADDRESS_NEEDS_UTF8, NULL, NULL, NULL},
	{"<j\xc3\xb6rg@example.org>", false, true, ADDRESS_OK, "j\xc3\xb6rg", "example.org", ""},
	{"<a@m\xc3\xbcnchen.example>", false, false, ADDRESS_NEEDS_UTF8, NULL, NULL, NULL},
	{"<a@m\xc3\xbcnchen.example>", false, true, ADDRESS_OK, "a", "m\xc3\xbcnchen.example", ""},
	{"<a@\xe2\x98\x83.example>", false, true, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<j\xc3@example.org>", false, true, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<j\xc0\xaf@example.org>", false, true, ADDRESS_SYNTAX, NULL, NULL, NULL},
	{"<j\xc2\x85@example.org>", false, true, ADDRESS_CONTROL, NULL, NULL, NULL},
	{"<j\xe2\x80\xa8x@example.org>", false, true, ADDRESS_CONTROL, NULL, NULL, NULL},       /* U+2028 */
	{"<\"j\xe2\x80\xa9x\"@example.org>", false, true, ADDRESS_CONTROL, NULL, NULL, NULL},   /* U+2029 */
	{"<j\xe2\x80\xaex@example.org>", false, true, ADDRESS_CONTROL, NULL, NULL, NULL},       /* U+202E */
	{"<j\xe2\x81\xa6x@example.org>", false, true, ADDRESS_CONTROL, NULL, NULL, NULL},       /* U+2066 */
	{"<j@ex\xe2\x80\x8f" "ample.org>", false, true, ADDRESS_CONTROL, NULL, NULL, NULL},       /* U+200F */
	{"<j\xe2\x80\x8d\xe2\x80\xa7@example.org>", false, true, ADDRESS_OK, "j\xe2\x80\x8d\xe2\x80\xa7", "example.org", ""},
	{"<a\x01@example.org>", false, false, ADDRESS_CONTROL, NULL, NULL, NULL},
	{"<a@exam\x7fple.org>", false, false, ADDRESS_CONTROL, NULL, NULL, NULL},
};

static void
paths_are_exact(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct address a = {SPAN_NONE, SPAN_NONE, false, false, false};
		struct span in = span_str(paths[i].in), before = in;
		enum address_error e = address_take_path(&in, paths[i].null, paths[i].utf8, &a);

		if (e != paths[i].error)
			fail_msg("%s: %d instead of %d", paths[i].in, (int)e, (int)paths[i].error);
		if (e != ADDRESS_OK) {
			assert_ptr_equal(in.at, before.at);
			assert_int_equal(in.len, before.len);
			continue;
		}
		assert_true(span_equal(a.local, span_str(paths[i].local)));
		assert_true(span_equal(a.domain, span_str(paths[i].domain)));
		assert_true(span_equal(in, span_str(paths[i].rest)));
	}
}

/* Every way to cut a path short is refused, with the next page unreadable under ASan. */
static void
truncated_paths_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct address a;
		struct span whole = span_str(paths[i].in);

		if (paths[i].error != ADDRESS_OK)
			continue;
		size_t used = whole.len - strlen(paths[i].rest);
		for (size_t n = 0; n < used; n++) {
			unsigned char *copy = test_malloc(n + 1);
			memcpy(copy + 1, whole.at, n);
			struct span in = span_of(copy + 1, n);
			assert_int_not_equal(
				address_take_path(&in, paths[i].null, paths[i].utf8, &a),
				ADDRESS_OK);
			test_free(copy);
		}
	}
}

static const struct {
	const char *in, *key;
} keys[] = {
	{"Ana@Example.ORG", "ana@example.org"},
	{"\"ana\"@example.org", "ana@example.org"},
	{"\"a\\na\"@example.org", "ana@example.org"},
	{"\"A B\"@example.org", "\"a b\"@example.org"},
	{"\"a\\\"b\\\\\"@example.org", "\"a\\\"b\\\\\"@example.org"},
	{"\"a.\"@example.org", "\"a.\"@example.org"},
	{"\"\"@example.org", "\"\"@example.org"},
	{"a@[IPv6:2001:DB8::1]", "a@[ipv6:2001:db8::1]"},
	/* Normal form C: o with diaeresis as one or two characters is the same user. */
	{"jo\xcc\x88rg@example.org", "j\xc3\xb6rg@example.org"},
	{"J\xcc\x8c@example.org", "\xc7\xb0@example.org"},
	/* U+037E becomes a semicolon, the kelvin sign a K. */
	{"a\xcd\xbe@example.org", "\"a;\"@example.org"},
	{"\xe2\x84\xaa@example.org", "k@example.org"},
	{"a@M\xc3\x9cNCHEN.example", "a@m\xc3\xbcnchen.example"},
};

static void
keys_are_canonical(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		struct address a;
		struct span in = span_str(keys[i].in);
		struct text key = TEXT_UP_TO(320);

		assert_int_equal(address_take_mailbox(&in, true, &a), ADDRESS_OK);
		assert_true(address_key(&a, &key));
		assert_string_equal(text_str(&key), keys[i].key);
		text_clear(&key);
	}
}

static void
a_key_of_a_key_is_the_key(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		struct address a;
		struct span in = span_str(keys[i].key);
		struct text key = TEXT_UP_TO(320);

		assert_int_equal(address_take_mailbox(&in, true, &a), ADDRESS_OK);
		assert_true(address_key(&a, &key));
		assert_string_equal(text_str(&key), keys[i].key);
		text_clear(&key);
	}
}

static void
key_over_its_ceiling_fails(void **state)
{
	struct text key = TEXT_UP_TO(10);
	struct address a;
	struct span in = SPAN("abcdef@example.org");

	(void)state;
	assert_int_equal(address_take_mailbox(&in, false, &a), ADDRESS_OK);
	assert_false(address_key(&a, &key));
	text_clear(&key);
}

static void
domains(void **state)
{
	struct span in = SPAN("example.org rest"), domain;
	bool literal;

	(void)state;
	assert_true(address_take_domain(&in, false, &domain, &literal));
	assert_true(span_equal(domain, SPAN("example.org")));
	assert_false(literal);
	assert_true(span_equal(in, SPAN(" rest")));
	in = SPAN("[127.0.0.1]");
	assert_true(address_take_domain(&in, false, &domain, &literal));
	assert_true(literal);
	in = SPAN("");
	assert_false(address_take_domain(&in, false, &domain, &literal));
	in = SPAN("a..b");
	assert_false(address_take_domain(&in, false, &domain, &literal));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_are_exact),
		cmocka_unit_test(truncated_paths_are_refused),
		cmocka_unit_test(keys_are_canonical),
		cmocka_unit_test(a_key_of_a_key_is_the_key),
		cmocka_unit_test(key_over_its_ceiling_fails),
		cmocka_unit_test(domains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
