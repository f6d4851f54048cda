/* Records of users.db and passwd.db, and the homes that follow from addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/users.h"

static void
a_user_survives(void **state)
{
	struct user u = {SPAN("ana@example.org"), SPAN("example.org/ana"), 1000, 8, 1ull << 40,
			    1700000000, true},
		    v;
	struct text record = TEXT_UP_TO(4096);

	(void)state;
	user_encode(&u, &record);
	assert_false(record.failed);
	assert_true(user_decode(u.address, text_span(&record), &v));
	assert_true(span_equal(v.home, u.home));
	assert_int_equal(v.uid, 1000);
	assert_int_equal(v.gid, 8);
	assert_true(v.quota_bytes == u.quota_bytes && v.created == u.created && v.disabled);
	text_clear(&record);
}

/* What is read back is not believed. */
static void
every_cut_and_every_addition_is_refused(void **state)
{
	struct user u = {SPAN("ana@example.org"), SPAN("example.org/ana"), 1000, 8, 0, 1, false}, v;
	struct password p = {SPAN("$y$j9T$abc"), 7}, q;
	struct text record = TEXT_UP_TO(4096), secret = TEXT_UP_TO(4096);

	(void)state;
	user_encode(&u, &record);
	password_encode(&p, &secret);
	for (size_t n = 0; n < record.len; n++) {
		unsigned char *copy = malloc(n + 1);
		memcpy(copy, record.at, n);
		assert_false(user_decode(u.address, span_of(copy, n), &v));
		free(copy);
	}
	for (size_t n = 0; n < secret.len; n++)
		assert_false(password_decode(span_of(secret.at, n), &q));
	assert_true(password_decode(text_span(&secret), &q));
	assert_true(span_equal(q.hash, p.hash) && q.changed == 7);
	text_add_byte(&record, 0);
	text_add_byte(&secret, 0);
	assert_false(user_decode(u.address, text_span(&record), &v));
	assert_false(password_decode(text_span(&secret), &q));
	record.len--;
	secret.len--;
	record.at[0] = 2;
	secret.at[0] = 2;
	assert_false(user_decode(u.address, text_span(&record), &v));
	assert_false(password_decode(text_span(&secret), &q));
	record.at[0] = 1;
	record.at[1] = 0x80; /* a flag that nobody knows */
	assert_false(user_decode(u.address, text_span(&record), &v));
	text_clear(&record);
	text_clear(&secret);
}

static void
over_a_ceiling_fails(void **state)
{
	static unsigned char big[MOST_PATH_FIELD + 1];
	struct user u = {SPAN("a@b"), span_of(big, sizeof(big)), 1, 1, 0, 1, false};
	struct password p = {span_of(big, MOST_HASH + 1), 1};
	struct text record = TEXT_UP_TO(4096);

	(void)state;
	memset(big, 'x', sizeof(big));
	user_encode(&u, &record);
	assert_true(record.failed);
	text_reset(&record);
	password_encode(&p, &record);
	assert_true(record.failed);
	text_clear(&record);
}

/* No address leads out of the mail root or onto another's home. */
static void
homes_are_safe(void **state)
{
	static const struct {
		const char *key, *home; /* NULL: none */
	} cases[] = {
		{"ana@example.org", "example.org/ana"},
		{"a.b+c_d-e=f@example.org", "example.org/a.b+c_d-e=f"},
		{"\"../../etc\"@example.org", "example.org/%22..%2F..%2Fetc%22"},
		{"..@example.org", "example.org/%2E."},
		{".@..", "%2E./%2E"},
		{"a/b@example.org", "example.org/a%2Fb"},
		{"a%2Fb@example.org", "example.org/a%252Fb"},
		{"\"a@b\"@example.org", "example.org/%22a%40b%22"},
		{"j\xc3\xb6rg@example.org", "example.org/j%C3%B6rg"},
		{"a@[192.0.2.1]", "%5B192.0.2.1%5D/a"},
		{"a", NULL},
		{"a@", NULL},
		{"@b", NULL},
		{"", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct text home = TEXT_UP_TO(MOST_PATH_FIELD);
		bool ok = user_home(span_str(cases[i].key), &home);

		assert_int_equal(ok, cases[i].home != NULL);
		if (ok)
			assert_string_equal(text_str(&home), cases[i].home);
		text_clear(&home);
	}
}

static void
a_home_that_no_file_system_takes_is_refused(void **state)
{
	char key[400];
	struct text home = TEXT_UP_TO(MOST_PATH_FIELD);

	(void)state;
	memset(key, 0xc3, sizeof(key));
	key[0] = 'a';
	key[1] = '@';
	assert_false(user_home(span_of(key, 2 + 86), &home)); /* 258 characters */
	text_reset(&home);
	assert_true(user_home(span_of(key, 2 + 85), &home)); /* 255 */
	text_clear(&home);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_user_survives),
		cmocka_unit_test(every_cut_and_every_addition_is_refused),
		cmocka_unit_test(over_a_ceiling_fails),
		cmocka_unit_test(homes_are_safe),
		cmocka_unit_test(a_home_that_no_file_system_takes_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
