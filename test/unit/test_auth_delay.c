/* What guessing costs, what is remembered, and that both are bounded. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "auth/delay.h"
#include "auth/recent.h"
#include "auth/remember.h"
#include "common/password.h"

static void
failures_double(void **state)
{
	struct delays *d = delays_new();
	static const uint32_t wanted[] = {2, 4, 8, 16, 16, 16};

	(void)state;
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(
			delays_failed(d, SPAN("192.0.2.1"), SPAN_NONE, 1000, 2, 16), wanted[i]);
	/* Another address, another beginning; but the same user from everywhere adds up. */
	assert_int_equal(delays_failed(d, SPAN("192.0.2.2"), SPAN_NONE, 1000, 2, 16), 2);
	assert_int_equal(delays_failed(d, SPAN("192.0.2.3"), SPAN("ana@x"), 1000, 2, 16), 2);
	assert_int_equal(delays_failed(d, SPAN("192.0.2.4"), SPAN("ana@x"), 1000, 2, 16), 4);
	assert_int_equal(delays_failed(d, SPAN("192.0.2.5"), SPAN("ana@x"), 1000, 2, 16), 8);
	/* Right: the user starts anew, the address does not. */
	delays_right(d, SPAN("192.0.2.6"), SPAN("ana@x"));
	assert_int_equal(delays_failed(d, SPAN("192.0.2.6"), SPAN("ana@x"), 1000, 2, 16), 2);
	delays_right(d, SPAN("192.0.2.6"), SPAN("ana@x"));
	assert_int_equal(delays_failed(d, SPAN("192.0.2.1"), SPAN("ana@x"), 1000, 2, 16), 16);
	/* Forgotten after a while. */
	assert_int_equal(
		delays_failed(d, SPAN("192.0.2.1"), SPAN_NONE, 1000 + DELAY_FORGET_SECONDS, 2, 16),
		16);
	assert_int_equal(delays_failed(d, SPAN("192.0.2.1"), SPAN_NONE,
				 1001 + 2 * DELAY_FORGET_SECONDS, 2, 16),
		2);
	delays_free(&d);
	assert_null(d);
}

/* Hanging up does not shorten a penalty: the next try of the pair is held back until it is over, and
 * a crowd of tries goes on one a second. Nobody else waits. */
static void
the_next_try_is_held(void **state)
{
	struct delays *d = delays_new();
	struct span here = SPAN("192.0.2.1"), ana = SPAN("ana@x");

	(void)state;
	assert_int_equal(delays_hold(d, here, ana, 1000), 0);
	assert_int_equal(delays_failed(d, here, ana, 1000, 4, 16), 4);
	assert_int_equal(delays_hold(d, here, ana, 1001), 3);
	assert_int_equal(delays_hold(d, here, ana, 1001), 4);
	assert_int_equal(delays_hold(d, here, ana, 1001), 5);
	assert_int_equal(delays_hold(d, here, SPAN("bo@x"), 1001), 0);
	assert_int_equal(delays_hold(d, SPAN("192.0.2.2"), ana, 1001), 0);
	/* Who waited for his answer waits no longer. */
	assert_int_equal(delays_hold(d, here, ana, 1007), 0);
	delays_failed(d, here, ana, 1010, 4, 16);
	delays_right(d, here, ana);
	assert_int_equal(delays_hold(d, here, ana, 1010), 0);
	delays_free(&d);
}

static void
a_prefix_is_one_client(void **state)
{
	struct delays *d = delays_new();

	(void)state;
	assert_int_equal(delays_failed(d, SPAN("2001:db8:1:2::1"), SPAN_NONE, 1, 2, 16), 2);
	assert_int_equal(delays_failed(d, SPAN("2001:db8:1:2:ffff::9"), SPAN_NONE, 1, 2, 16), 4);
	assert_int_equal(delays_failed(d, SPAN("2001:db8:1:3::1"), SPAN_NONE, 1, 2, 16), 2);
	assert_int_equal(delays_failed(d, SPAN("192.0.2.1"), SPAN_NONE, 1, 2, 16), 2);
	assert_int_equal(delays_failed(d, SPAN("::ffff:192.0.2.1"), SPAN_NONE, 1, 2, 16), 4);
	delays_free(&d);
}

static void
settings_at_their_edges(void **state)
{
	struct delays *d = delays_new();

	(void)state;
	for (unsigned int i = 0; i < 100; i++) {
		assert_int_equal(delays_failed(d, SPAN("a"), SPAN("u"), 1, 0, 600), 0);
		assert_true(delays_failed(d, SPAN("b"), SPAN("v"), 1, 60, 600) <= 600);
		assert_int_equal(delays_failed(d, SPAN("c"), SPAN("w"), 1, 60, 0), 0);
	}
	delays_free(&d);
}

static void
memory_is_bounded(void **state)
{
	struct recent *r = recent_new(100);
	struct digest_key key;
	struct digest d[150];
	char name[16];

	(void)state;
	digest_key_new(&key);
	for (int i = 0; i < 150; i++) {
		snprintf(name, sizeof(name), "%d", i);
		struct span part = span_str(name);
		d[i] = digest_of(&key, &part, 1);
		recent_touch(r, &d[i])->count = (uint32_t)i;
		recent_touch(r, &d[0]); /* stays the youngest */
	}
	assert_int_equal(recent_count(r), 100);
	assert_non_null(recent_find(r, &d[0]));
	assert_null(recent_find(r, &d[1]));
	assert_int_equal(recent_find(r, &d[149])->count, 149);
	recent_forget(r, &d[149]);
	recent_forget(r, &d[149]);
	assert_null(recent_find(r, &d[149]));
	recent_clear(r);
	assert_int_equal(recent_count(r), 0);
	recent_free(&r);
}

/* The same password of two users, and the same user with a new hash. */
static void
a2_remembered_is_this_login(void **state)
{
	struct remember *r = remember_new();
	struct span h = SPAN("$y$1"), other = SPAN("$y$2");

	(void)state;
	remember_add(r, SPAN("ana@x"), SPAN("pw"), h, 100);
	assert_true(remember_knows(r, SPAN("ana@x"), SPAN("pw"), h, 100, 600));
	assert_true(remember_knows(r, SPAN("ana@x"), SPAN("pw"), h, 699, 600));
	assert_false(remember_knows(r, SPAN("bob@x"), SPAN("pw"), h, 100, 600));
	assert_false(remember_knows(r, SPAN("ana@x"), SPAN("pv"), h, 100, 600));
	assert_false(remember_knows(r, SPAN("ana@x"), SPAN("pw"), other, 100, 600));
	/* No two ways to cut the same bytes. */
	assert_false(remember_knows(r, SPAN("ana@"), SPAN("xpw"), h, 100, 600));
	assert_false(remember_knows(r, SPAN("ana@x"), SPAN("pw"), h, 700, 600));
	remember_add(r, SPAN("ana@x"), SPAN("pw"), h, 100);
	assert_false(remember_knows(r, SPAN("ana@x"), SPAN("pw"), h, 100, 0)); /* switched off */
	remember_free(&r);
}

static void
passwords_are_prepared(void **state)
{
	static const struct {
		const char *raw, *prepared; /* NULL: refused */
	} cases[] = {
		{"secret", "secret"},
		{"with space", "with space"},
		{"a\xc2\xa0"
		 "b",
			"a b"}, /* no-break space */
		{"jo\xcc\x88rg", "j\xc3\xb6rg"},
		{"j\xc3\xb6rg", "j\xc3\xb6rg"},
		{"a\xc2\xad"
		 "b",
			"ab"},		    /* soft hyphen: nothing */
		{"\xe2\x85\xa8", "IX"},	    /* RFC 4013 3 */
		{"\xf0\x9f\x98\x80", NULL}, /* younger than Unicode 3.2 */
		{"", NULL},
		{"a\tb", NULL},
		{"a\nb", NULL},
		{"a\x01", NULL},
		{"\x7f", NULL},
		{"a\xc2\x85", NULL},
		{"\xc0\xaf", NULL},
		{"\xff", NULL},
	};
	static char long_one[MOST_PASSWORD + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct text t = TEXT_UP_TO(MOST_PASSWORD);
		if (password_prepare(span_str(cases[i].raw), &t) != (cases[i].prepared != NULL))
			fail_msg("case %zu: %s", i, text_str(&t));
		if (cases[i].prepared != NULL)
			assert_string_equal(text_str(&t), cases[i].prepared);
		text_wipe(&t);
	}
	memset(long_one, 'x', MOST_PASSWORD + 1);
	struct text t = TEXT_UP_TO(MOST_PASSWORD);
	assert_false(password_prepare(span_str(long_one), &t));
	long_one[MOST_PASSWORD] = '\0';
	assert_true(password_prepare(span_str(long_one), &t));
	text_wipe(&t);
}

static void
hashes_verify(void **state)
{
	static const struct password_strength usual = {SPAN("yescrypt"), 0};
	struct text hash = TEXT_UP_TO(MOST_HASH), again = TEXT_UP_TO(MOST_HASH);

	(void)state;
	assert_true(password_hash_new(SPAN("secret"), &usual, &hash));
	assert_true(password_hash_new(SPAN("secret"), &usual, &again));
	assert_false(span_equal(text_span(&hash), text_span(&again)));
	assert_true(password_verify(text_span(&hash), SPAN("secret")));
	assert_false(password_verify(text_span(&hash), SPAN("secres")));
	assert_false(password_verify(text_span(&hash), SPAN("")));
	assert_false(password_verify(text_span(&hash), SPAN("secret\0x")));
	/* No hash that crypt() does not make: not "", not "*", not plain text. */
	assert_false(password_verify(SPAN(""), SPAN("secret")));
	assert_false(password_verify(SPAN("*"), SPAN("secret")));
	assert_false(password_verify(SPAN("*0"), SPAN("secret")));
	assert_false(password_verify(SPAN("!"), SPAN("secret")));
	assert_false(password_verify(SPAN("secret"), SPAN("secret")));
	/* Who does not exist costs what who exists costs. */
	assert_memory_equal(password_of_nobody, hash.at, strlen("$y$j9T$"));
	assert_false(password_verify(span_str(password_of_nobody), SPAN("secret")));
	text_clear(&hash);
	text_clear(&again);
}

/* Each scheme verifies what it made, and says whether a hash is weaker than what is wanted. */
static void
schemes_and_costs(void **state)
{
	static const struct {
		const char *scheme;
		uint32_t low, high;
	} cases[] = {
		{"yescrypt", 1, 2},
		{"bcrypt", 4, 5},
		{"sha512crypt", 1000, 1001},
#ifdef HAVE_ARGON2
		{"argon2id", 1, 2},
#endif
	};
	const struct password_strength best = {SPAN("yescrypt"), 0}, bcrypt = {SPAN("bcrypt"), 0};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct password_strength low = {span_str(cases[i].scheme), cases[i].low},
					 high = {span_str(cases[i].scheme), cases[i].high};
		struct text hash = TEXT_UP_TO(MOST_HASH);

		assert_true(password_strength_exists(&low));
		assert_true(password_hash_new(SPAN("secret"), &low, &hash));
		assert_true(password_verify(text_span(&hash), SPAN("secret")));
		assert_false(password_verify(text_span(&hash), SPAN("Secret")));
		assert_false(password_is_weaker(text_span(&hash), &low));
		assert_true(password_is_weaker(text_span(&hash), &high));
		text_reset(&hash);
		assert_true(password_hash_new(SPAN("secret"), &high, &hash));
		assert_false(password_is_weaker(text_span(&hash), &low));
		text_clear(&hash);
	}
	assert_false(password_is_weaker(span_str(password_of_nobody), &best));
	assert_true(password_is_weaker(SPAN("$2b$10$abc"), &best));
	assert_false(password_is_weaker(SPAN("$y$j9T$abc$def"), &bcrypt));
	assert_true(password_is_weaker(SPAN("$1$abc$def"), &bcrypt));
	assert_true(password_is_weaker(SPAN(""), &bcrypt));
	assert_false(password_strength_exists(&(struct password_strength){SPAN("md5"), 0}));
	assert_false(password_strength_exists(&(struct password_strength){SPAN("bcrypt"), 99}));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failures_double),
		cmocka_unit_test(the_next_try_is_held),
		cmocka_unit_test(a_prefix_is_one_client),
		cmocka_unit_test(settings_at_their_edges),
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(a2_remembered_is_this_login),
		cmocka_unit_test(passwords_are_prepared),
		cmocka_unit_test(hashes_verify),
		cmocka_unit_test(schemes_and_costs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
