/* What guessing costs, what is remembered, and that both are bounded. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/guard.h"
#include "auth/recent.h"
#include "auth/remember.h"
#include "common/network.h"
#include "common/password.h"

static struct settings settings = {.auth_delay_seconds = 2,
	.auth_delay_most_seconds = 16,
	.auth_block_failures = 10,
	.auth_block_seconds = 900,
	.auth_slow_failures = 100};

#define T 1000000u /* some time */

static uint32_t
failed(struct guard *g, const char *ip, const char *user, uint64_t now)
{
	return guard_failed(g, &settings, span_str(ip), span_str(user), now);
}

/* The answer as a number: 0 go, n held for n seconds, -n blocked for n seconds. */
static int
asked(struct guard *g, const char *ip, const char *user, uint64_t now)
{
	uint32_t seconds;
	enum guard_answer a =
		guard_ask(g, &settings, span_str(ip), span_str(user), now, &seconds);

	return a == GUARD_GO ? 0 : a == GUARD_HOLD ? (int)seconds : -(int)seconds;
}

static void
failures_double(void **state)
{
	struct guard *g = guard_new(NULL, T);
	static const uint32_t wanted[] = {2, 4, 8, 16, 16, 16};

	(void)state;
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(failed(g, "192.0.2.1", "", T), wanted[i]);
	/* Another address, another beginning; but the same user from everywhere adds up. */
	assert_int_equal(failed(g, "192.0.2.2", "", T), 2);
	assert_int_equal(failed(g, "192.0.2.3", "ana@x", T), 2);
	assert_int_equal(failed(g, "192.0.2.4", "ana@x", T), 4);
	assert_int_equal(failed(g, "192.0.2.5", "ana@x", T), 8);
	/* Right: the user starts anew, the address does not. */
	guard_right(g, SPAN("192.0.2.6"), SPAN("ana@x"), T);
	assert_int_equal(failed(g, "192.0.2.6", "ana@x", T), 2);
	guard_right(g, SPAN("192.0.2.6"), SPAN("ana@x"), T);
	assert_int_equal(failed(g, "192.0.2.1", "ana@x", T), 16);
	/* Forgotten after a while; a clock that goes back forgets nothing. */
	assert_int_equal(failed(g, "192.0.2.1", "", T + GUARD_FORGET_SECONDS), 16);
	assert_int_equal(failed(g, "192.0.2.1", "", T - 5000), 16);
	assert_int_equal(failed(g, "192.0.2.1", "", T + 2 * GUARD_FORGET_SECONDS), 2);
	guard_free(&g);
	assert_null(g);
}

/* Hanging up does not shorten a penalty: the next try of the pair is held back until it is over, and
 * a crowd of tries goes on one a second. Nobody else waits. */
static void
the_next_try_is_held(void **state)
{
	struct guard *g = guard_new(NULL, T);

	(void)state;
	assert_int_equal(asked(g, "192.0.2.1", "ana@x", T), 0);
	assert_int_equal(failed(g, "192.0.2.1", "ana@x", T), 2);
	assert_int_equal(failed(g, "192.0.2.1", "ana@x", T), 4);
	assert_int_equal(asked(g, "192.0.2.1", "ana@x", T + 1), 3);
	assert_int_equal(asked(g, "192.0.2.1", "ana@x", T + 1), 4);
	assert_int_equal(asked(g, "192.0.2.1", "ana@x", T + 1), 5);
	assert_int_equal(asked(g, "192.0.2.1", "bo@x", T + 1), 0);
	assert_int_equal(asked(g, "192.0.2.2", "ana@x", T + 1), 0);
	/* Who waited for his answer waits no longer. */
	assert_int_equal(asked(g, "192.0.2.1", "ana@x", T + 7), 0);
	failed(g, "192.0.2.1", "ana@x", T + 10);
	guard_right(g, SPAN("192.0.2.1"), SPAN("ana@x"), T + 10);
	assert_int_equal(asked(g, "192.0.2.1", "ana@x", T + 10), 0);
	guard_free(&g);
}

static void
a_pair_is_blocked(void **state)
{
	struct guard *g = guard_new(NULL, T);

	(void)state;
	for (int i = 0; i < 9; i++)
		failed(g, "192.0.2.1", "ana@x", T);
	assert_int_equal(asked(g, "192.0.2.1", "ana@x", T), 16);
	failed(g, "192.0.2.1", "ana@x", T);
	assert_int_equal(asked(g, "192.0.2.1", "ana@x", T + 100), -800);
	assert_int_equal(asked(g, "192.0.2.1", "ana@x", T + 100), -800); /* asking costs nothing */
	/* Ana from elsewhere, others from here: not their matter. */
	assert_int_equal(asked(g, "192.0.2.2", "ana@x", T), 0);
	assert_int_equal(asked(g, "192.0.2.1", "bo@x", T), 0);
	assert_int_equal(asked(g, "192.0.2.1", "ana@x", T + 901), 0);
	assert_int_equal(guard_forgive(g, SPAN("ana@x")), 2); /* the user and the pair */
	assert_int_equal(asked(g, "192.0.2.1", "ana@x", T), 0);
	settings.auth_block_failures = 0;
	for (int i = 0; i < 30; i++)
		failed(g, "192.0.2.7", "cy@x", T);
	assert_int_equal(asked(g, "192.0.2.7", "cy@x", T), 16);
	settings.auth_block_failures = 10;
	guard_free(&g);
}

/* Behind one address, one guesses many names: who logged in from there lately does not notice, who is
 * new waits, and nobody is shut out. */
static void
an_address_is_slowed_never_shut_out(void **state)
{
	struct guard *g = guard_new(NULL, T);
	char name[32];

	(void)state;
	guard_right(g, SPAN("192.0.2.1"), SPAN("ana@x"), T - 86400);
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "guess%d@x", i);
		failed(g, "192.0.2.1", name, T);
	}
	assert_int_equal(asked(g, "192.0.2.1", "ana@x", T), 0);
	assert_int_equal(asked(g, "192.0.2.1", "new@x", T), 16);
	assert_int_equal(asked(g, "192.0.2.1", "new@x", T), 16);
	assert_int_equal(asked(g, "192.0.2.2", "new@x", T), 0);
	assert_int_equal(asked(g, "192.0.2.1", "new@x", T + 901), 0);
	guard_free(&g);
}

/* The default gateway's address, and one from which three users logged in: what one guesses there slows nobody else
 * for long; a pair that guesses is blocked as anywhere. */
static void
an_address_of_many_is_slowed_late(void **state)
{
	struct guard *g = guard_new(NULL, T);
	char name[32];

	(void)state;
	network_gateways(4, SPAN("192.0.2.254"));
	guard_right(g, SPAN("192.0.2.1"), SPAN("ana@x"), T);
	guard_right(g, SPAN("192.0.2.1"), SPAN("bo@x"), T);
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "guess%d@x", i);
		failed(g, "192.0.2.1", name, T);
		failed(g, "192.0.2.254", name, T);
	}
	assert_int_equal(failed(g, "192.0.2.254", "typo@x", T), 2);
	assert_int_equal(failed(g, "192.0.2.1", "typo@x", T), 16);
	assert_int_equal(asked(g, "192.0.2.1", "new@x", T), 16); /* two users are no office */
	assert_int_equal(asked(g, "192.0.2.254", "new@x", T), 0);
	guard_right(g, SPAN("192.0.2.1"), SPAN("cy@x"), T);
	assert_int_equal(asked(g, "192.0.2.1", "new@x", T), 0);
	/* The three may be the guesser's own: ten times as many failures as of others, and no more. */
	for (int i = 200; i < 999; i++) {
		assert_int_equal(asked(g, "192.0.2.1", "new@x", T), 0);
		snprintf(name, sizeof(name), "guess%d@x", i);
		failed(g, "192.0.2.1", name, T);
		failed(g, "192.0.2.254", name, T);
	}
	assert_int_equal(asked(g, "192.0.2.1", "new@x", T), 16);
	assert_int_equal(failed(g, "192.0.2.1", "typo2@x", T), 16);
	assert_int_equal(asked(g, "192.0.2.1", "ana@x", T), 0); /* who was right lately never waits */
	assert_int_equal(asked(g, "192.0.2.254", "new@x", T), 0);
	for (int i = 0; i < 10; i++)
		failed(g, "192.0.2.254", "victim@x", T);
	assert_int_equal(asked(g, "192.0.2.254", "victim@x", T), -900); /* blocked */
	network_gateways(4, SPAN_NONE);
	guard_free(&g);
}

static void
allowed_addresses(void **state)
{
	struct span list[] = {SPAN("192.0.2.0/24"), SPAN("2001:db8::/32")};
	struct guard *g = guard_new(NULL, T);

	(void)state;
	settings.auth_allow = (struct list){list, 2};
	for (int i = 0; i < 300; i++) {
		assert_int_equal(failed(g, "192.0.2.9", "ana@x", T), 0);
		assert_int_equal(failed(g, "2001:db8::1", "ana@x", T), 0);
	}
	assert_int_equal(asked(g, "192.0.2.9", "ana@x", T), 0);
	assert_int_equal(failed(g, "198.51.100.1", "ana@x", T), 2);
	settings.auth_allow = (struct list){NULL, 0};
	guard_free(&g);
}

static bool
count_entry(void *me, const struct guard_entry *e)
{
	unsigned int *n = me;

	n[e->kind]++;
	n[3] += e->until > 0;
	return true;
}

static void
it_outlasts_a_restart(void **state)
{
	char place[] = "/tmp/valija-guard-XXXXXX";
	struct table *t;
	struct guard *g;
	unsigned int n[4] = {0};
	int directory;

	(void)state;
	assert_non_null(mkdtemp(place));
	directory = open(place, O_RDONLY | O_DIRECTORY);
	t = table_private(directory, GUARD_TABLE, 0600);
	g = guard_new(t, T);
	for (int i = 0; i < 10; i++)
		failed(g, "192.0.2.1", "ana@x", T);
	failed(g, "192.0.2.2", "gone@x", T);
	guard_right(g, SPAN("192.0.2.2"), SPAN("gone@x"), T);
	guard_sync(g);
	/* Damage: a row of another form, and one of the future. */
	assert_int_equal(table_put(t, SPAN("anonsense"), SPAN("x")), 0);
	assert_int_equal(table_put(t, SPAN("zz"), SPAN("12345678901234567890")), 0);
	assert_int_equal(table_put(t, SPAN("b\0\0"), SPAN("12345678901234567890")), 0);
	guard_free(&g);
	table_free(&t);

	t = table_private(directory, GUARD_TABLE, 0600);
	g = guard_new(t, T + 60);
	assert_int_equal(asked(g, "192.0.2.1", "ana@x", T + 60), -840);
	guard_each(g, &settings, T + 60, count_entry, n);
	assert_int_equal(n[GUARD_ADDRESS], 2);
	assert_int_equal(n[GUARD_USER], 1);
	assert_int_equal(n[GUARD_PAIR], 1);
	assert_int_equal(n[3], 1);
	guard_free(&g);
	/* Long after: all of it is old, and gone from the table too, but for the pair that was right. */
	g = guard_new(t, T + 10000);
	assert_int_equal(asked(g, "192.0.2.1", "ana@x", T + 10000), 0);
	memset(n, 0, sizeof(n));
	guard_each(g, &settings, T, count_entry, n);
	assert_int_equal(n[0] + n[1] + n[2], 0);
	assert_int_equal(guard_forgive(g, SPAN("all")), 0);
	guard_free(&g);
	table_free(&t);
	unlinkat(directory, GUARD_TABLE, 0);
	close(directory);
	rmdir(place);
}

/* Ten thousands of names from a stranger: what is kept stays bounded, the latest counts. */
static void
what_is_kept_is_bounded(void **state)
{
	struct guard *g = guard_new(NULL, T);
	unsigned int n[4] = {0};
	char name[32];

	(void)state;
	for (int i = 0; i < GUARD_MOST + 1000; i++) {
		snprintf(name, sizeof(name), "guess%d@x", i);
		failed(g, "192.0.2.1", name, T);
	}
	guard_each(g, &settings, T, count_entry, n);
	assert_int_equal(n[GUARD_USER], GUARD_MOST);
	assert_int_equal(n[GUARD_PAIR], GUARD_MOST);
	assert_int_equal(n[GUARD_ADDRESS], 1);
	assert_int_equal(guard_forgive(g, SPAN("192.0.2.1")), GUARD_MOST + 1);
	guard_free(&g);
}

static void
a_prefix_is_one_client(void **state)
{
	struct guard *g = guard_new(NULL, T);

	(void)state;
	assert_int_equal(failed(g, "2001:db8:1:2::1", "", T), 2);
	assert_int_equal(failed(g, "2001:db8:1:2:ffff::9", "", T), 4);
	assert_int_equal(failed(g, "2001:db8:1:3::1", "", T), 2);
	assert_int_equal(failed(g, "192.0.2.1", "", T), 2);
	assert_int_equal(failed(g, "::ffff:192.0.2.1", "", T), 4);
	/* Forgiven by any address of it. */
	assert_int_equal(guard_forgive(g, SPAN("2001:db8:1:2::7")), 1);
	assert_int_equal(failed(g, "2001:db8:1:2::1", "", T), 2);
	guard_free(&g);
}

static void
settings_at_their_edges(void **state)
{
	struct guard *g = guard_new(NULL, T);
	const struct settings usual = settings;

	(void)state;
	for (unsigned int i = 0; i < 100; i++) {
		settings.auth_delay_seconds = 0;
		assert_int_equal(failed(g, "a", "u", T), 0);
		settings.auth_delay_seconds = 60;
		settings.auth_delay_most_seconds = 600;
		assert_true(failed(g, "b", "v", T) <= 600);
		settings.auth_delay_most_seconds = 0;
		assert_int_equal(failed(g, "c", "w", T), 0);
	}
	settings = usual;
	guard_free(&g);
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
		{" !\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~ ", " !\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~ "},
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
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct password_strength low = {span_str(cases[i].scheme), cases[i].low};
		size_t longest = password_scheme(low.scheme)->longest;
		struct text hash = TEXT_UP_TO(MOST_HASH), word = TEXT_UP_TO(MOST_PASSWORD + 1);

		while (word.len < longest)
			text_add_byte(&word, 'x');
		assert_true(password_hash_new(text_span(&word), &low, &hash));
		assert_true(password_verify(text_span(&hash), text_span(&word)));
		assert_false(password_verify(text_span(&hash), span_part(text_span(&word), 1, longest)));
		text_reset(&hash);
		text_add_byte(&word, 'x');
		assert_false(password_hash_new(text_span(&word), &low, &hash));
		assert_int_equal(errno, EMSGSIZE);
		text_clear(&hash);
		text_clear(&word);
	}
	assert_false(password_is_weaker(span_str(password_of_nobody), &best));
	assert_true(password_is_weaker(SPAN("$2b$10$abc"), &best));
	assert_false(password_is_weaker(SPAN("$y$j9T$abc$def"), &bcrypt));
	assert_true(password_is_weaker(SPAN("$1$abc$def"), &bcrypt));
	assert_true(password_is_weaker(SPAN(""), &bcrypt));
	assert_false(password_strength_exists(&(struct password_strength){SPAN("md5"), 0}));
	assert_false(password_strength_exists(&(struct password_strength){SPAN("bcrypt"), 99}));
}

#ifdef HAVE_ARGON2
/* Of other programs: with lanes, of the first version, and what is damaged. Made by argon2(1). */
static void
argon2_of_others(void **state)
{
	static const char *const good[] = {
		"$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQxMjM0NTY3OA$8e4sd7JEepG/JD2t5/dl19x6zFQUDUF7oCQcL29g5d4",
		"$argon2id$v=19$m=64,t=2,p=4$c2FsdHNhbHQxMjM0NTY3OA$yfkN2+mabmXCUWb41UuC7PgwIutFOPmea+D01AIlpVQ",
		"$argon2i$v=19$m=64,t=3,p=3$c2FsdHNhbHQxMjM0NTY3OA$1MgCZTfczwv6KPcOHBdLqn7VAIP3N6h+soOtci4yE1w",
		"$argon2i$v=16$m=64,t=1,p=1$c2FsdHNhbHQxMjM0NTY3OA$Q/z9sVj0i+KOXVlXW4lpwJ/Om/xsK6GudnTbnwP+L6c",
		"$argon2id$v=19$m=64,t=1,p=2$c2FsdHNhbHQxMjM0NTY3OA$A642AUydaCGMHJdEoTrSQI3WF006B90p",
		"$argon2i$m=64,t=1,p=1$c2FsdHNhbHQxMjM0NTY3OA$Q/z9sVj0i+KOXVlXW4lpwJ/Om/xsK6GudnTbnwP+L6c",
	};
	static const char *const bad[] = {
		"$argon2id$v=19$m=1048577,t=2,p=4$c2FsdHNhbHQxMjM0NTY3OA$yfkN2+mabmXCUWb41UuC7PgwIutFOPmea+D01AIlpVQ",
		"$argon2id$v=19$m=4294967360,t=2,p=4$c2FsdHNhbHQxMjM0NTY3OA$yfkN2+mabmXCUWb41UuC7PgwIutFOPmea+D01AIlpVQ",
		"$argon2id$v=19$m=64,t=4294967295,p=4$c2FsdHNhbHQxMjM0NTY3OA$yfkN2+mabmXCUWb41UuC7PgwIutFOPmea+D01AIlpVQ",
		"$argon2id$v=19$m=1048576,t=7,p=4$c2FsdHNhbHQxMjM0NTY3OA$yfkN2+mabmXCUWb41UuC7PgwIutFOPmea+D01AIlpVQ",
		"$argon2id$v=19$m=64,t=2,p=0$c2FsdHNhbHQxMjM0NTY3OA$yfkN2+mabmXCUWb41UuC7PgwIutFOPmea+D01AIlpVQ",
		"$argon2id$v=19$m=64,t=2,p=9$c2FsdHNhbHQxMjM0NTY3OA$yfkN2+mabmXCUWb41UuC7PgwIutFOPmea+D01AIlpVQ",
		"$argon2id$v=19$m=64,t=0,p=4$c2FsdHNhbHQxMjM0NTY3OA$yfkN2+mabmXCUWb41UuC7PgwIutFOPmea+D01AIlpVQ",
		"$argon2id$v=20$m=64,t=2,p=4$c2FsdHNhbHQxMjM0NTY3OA$yfkN2+mabmXCUWb41UuC7PgwIutFOPmea+D01AIlpVQ",
		"$argon2d$v=19$m=64,t=2,p=4$c2FsdHNhbHQxMjM0NTY3OA$yfkN2+mabmXCUWb41UuC7PgwIutFOPmea+D01AIlpVQ",
		"$argon2id$v=19$m=64,t=2,p=4$c2FsdHNhbHQxMjM0NTY3OA$yfkN2+mabmXCUWb41UuC7PgwIutFOPmea+D01AIlpVQ=",
		"$argon2id$v=19$m=64,t=2,p=4$c2FsdHNhbHQxMjM0NTY3OA$yfkN2+mabmXCUWb41UuC7PgwIutFOPmea+D01AIlpVQ$",
		"$argon2id$v=19$64,t=2,p=4$c2FsdHNhbHQxMjM0NTY3OA$yfkN2+mabmXCUWb41UuC7PgwIutFOPmea+D01AIlpVQ",
		"$argon2id$v=19$m=64,t=2,p=4,keyid=AAAA$c2FsdHNhbHQxMjM0NTY3OA$yfkN2+mabmXCUWb41UuC7PgwIutFOPmea+D01AIlpVQ",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(password_verify(span_str(good[i]), SPAN("secret")));
		assert_false(password_verify(span_str(good[i]), SPAN("secrets")));
		assert_false(password_verify(span_str(good[i]), SPAN("")));
		/* No shorter one passes for it. */
		for (size_t len = 0; len < strlen(good[i]); len++)
			assert_false(password_verify(span_of(good[i], len), SPAN("secret")));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(password_verify(span_str(bad[i]), SPAN("secret")));
}
#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failures_double),
		cmocka_unit_test(the_next_try_is_held),
		cmocka_unit_test(a_pair_is_blocked),
		cmocka_unit_test(an_address_is_slowed_never_shut_out),
		cmocka_unit_test(an_address_of_many_is_slowed_late),
		cmocka_unit_test(allowed_addresses),
		cmocka_unit_test(it_outlasts_a_restart),
		cmocka_unit_test(what_is_kept_is_bounded),
		cmocka_unit_test(a_prefix_is_one_client),
		cmocka_unit_test(settings_at_their_edges),
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(a2_remembered_is_this_login),
		cmocka_unit_test(passwords_are_prepared),
		cmocka_unit_test(hashes_verify),
		cmocka_unit_test(schemes_and_costs),
#ifdef HAVE_ARGON2
		cmocka_unit_test(argon2_of_others),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
