/* Records of users.db and passwd.db, and the homes that follow from addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/scram.h"
#include "common/users.h"

static void
a_user_survives(void **state)
{
	struct user u = {.address = SPAN("ana@example.org"),
			.home = SPAN("example.org/ana"),
			.uid = 1000,
			.gid = 8,
			.quota_bytes = 1ull << 40,
			.quota_messages = 77,
			.created = 1700000000,
			.expires = 1900000000,
			.disabled = true},
		    v;
	struct text record = TEXT_UP_TO(4096);

	(void)state;
	user_encode(&u, &record);
	assert_false(record.failed);
	assert_true(user_decode(u.address, text_span(&record), &v));
	assert_true(span_equal(v.home, u.home));
	assert_int_equal(v.uid, 1000);
	assert_int_equal(v.gid, 8);
	assert_true(v.quota_messages == 77 && v.expires == u.expires);
	assert_true(v.quota_bytes == u.quota_bytes && v.created == u.created && v.disabled);
	text_clear(&record);
}

/* What is read back is not believed. */
static void
every_cut_and_every_addition_is_refused(void **state)
{
	static const unsigned char key[32];
	struct user u = {.address = SPAN("ana@example.org"),
			.home = SPAN("example.org/ana"),
			.uid = 1000,
			.gid = 8,
			.created = 1},
		    v;
	struct password p = {.hash = SPAN("$y$j9T$abc"),
				.changed = 7,
				.scram_iterations = 4096,
				.scram_salt = span_of(key, SCRAM_SALT),
				.app_count = 2},
			q;
	struct text record = TEXT_UP_TO(4096), secret = TEXT_UP_TO(4096);

	(void)state;
	p.scram[SCRAM_SHA256] = (struct scram_keys){span_of(key, 32), span_of(key, 32)};
	for (size_t i = 0; i < 2; i++)
		p.app[i] = (struct app_password){.name = SPAN("phone"),
			.services = 6,
			.created = 9,
			.hash = span_of(key, 32)};
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
	assert_true(q.scram_iterations == 4096 && q.scram_salt.len == SCRAM_SALT);
	assert_true(q.scram[SCRAM_SHA256].server.len == 32 && q.scram[SCRAM_SHA1].stored.len == 0);
	assert_true(q.app_count == 2 && q.app[1].services == 6 && q.app[1].created == 9 &&
		    span_equal(q.app[1].name, SPAN("phone")));
	text_add_byte(&record, 0);
	text_add_byte(&secret, 0);
	assert_false(user_decode(u.address, text_span(&record), &v));
	assert_false(password_decode(text_span(&secret), &q));
	record.len--;
	secret.len--;
	record.at[0] = 3;
	secret.at[0] = 3;
	assert_false(user_decode(u.address, text_span(&record), &v));
	assert_false(password_decode(text_span(&secret), &q));
	record.at[0] = 2;
	record.at[1] = 0x80; /* a flag that nobody knows */
	assert_false(user_decode(u.address, text_span(&record), &v));
	text_clear(&record);
	text_clear(&secret);
}

static void
over_a_ceiling_fails(void **state)
{
	static unsigned char big[MOST_PATH_FIELD + 1];
	struct user u = {
		.address = SPAN("a@b"), .home = span_of(big, sizeof(big)), .uid = 1, .gid = 1};
	struct password p = {.hash = span_of(big, MOST_HASH + 1), .changed = 1};
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

/* What the first version wrote is still read. */
static void
version_1_is_read(void **state)
{
	static const unsigned char user[] = "\1\1" "\3\0\0\0" "\4\0\0\0" "\5\0\0\0\0\0\0\0"
					    "\6\0\0\0\0\0\0\0" "\3\0o/a";
	static const unsigned char secret[] = "\1" "\7\0\0\0\0\0\0\0" "\3\0$y$";
	struct user u;
	struct password p;

	(void)state;
	assert_true(user_decode(SPAN("a@o"), span_of(user, sizeof(user) - 1), &u));
	assert_true(u.uid == 3 && u.gid == 4 && u.quota_bytes == 5 && u.created == 6 && u.disabled);
	assert_true(u.expires == 0 && u.quota_messages == 0 && span_equal(u.home, SPAN("o/a")));
	assert_true(password_decode(span_of(secret, sizeof(secret) - 1), &p));
	assert_true(p.changed == 7 && span_equal(p.hash, SPAN("$y$")) && p.app_count == 0 &&
		    p.scram[SCRAM_SHA1].stored.len == 0);
}

/* RFC 5802 5 and RFC 7677 3: the keys of "pencil", and the proofs of these dialogues. */
static void
scram_of_the_rfcs(void **state)
{
	static const struct {
		enum scram kind;
		const char *salt, *auth, *proof;
	} cases[] = {
		{SCRAM_SHA1, "QSXCR+Q6sek8bf92",
			"n=user,r=fyko+d2lbbFgONRv9qkxdawL,"
			"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,"
			"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
			"v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="},
		{SCRAM_SHA256, "W22ZaJ0SNY7soEsUEjb6gQ==",
			"n=user,r=rOprNGfwEbeRWgbNEkqO,"
			"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
			"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
			"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
			"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="},
	};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct text salt = TEXT_UP_TO(100), proof = TEXT_UP_TO(100);
		struct scram_room room;
		struct scram_keys keys[SCRAM_COUNT];

		text_add_base64_decoded(&salt, span_str(cases[i].salt));
		text_add_base64_decoded(&proof, span_str(cases[i].proof));
		scram_make(SPAN("pencil"), text_span(&salt), 4096, &room, keys);
		assert_true(scram_proves(cases[i].kind, &keys[cases[i].kind],
			span_str(cases[i].auth), text_span(&proof)));
		proof.at[3] ^= 1;
		assert_false(scram_proves(cases[i].kind, &keys[cases[i].kind],
			span_str(cases[i].auth), text_span(&proof)));
		text_clear(&salt);
		text_clear(&proof);
	}
}

static void
application_passwords(void **state)
{
	static const unsigned char salt[SCRAM_SALT] = "0123456789abcdef";
	unsigned char hash[2][SCRAM_MOST_KEY];
	struct text one = TEXT_UP_TO(100), two = TEXT_UP_TO(100);
	struct password p = {.scram_salt = span_of(salt, SCRAM_SALT), .app_count = 2};

	(void)state;
	app_password_new(&one);
	app_password_new(&two);
	assert_int_equal(one.len, APP_PASSWORD_LENGTH);
	assert_false(span_equal(text_span(&one), text_span(&two)));
	app_password_hash(text_span(&one), p.scram_salt, hash[0]);
	app_password_hash(text_span(&two), p.scram_salt, hash[1]);
	p.app[0] = (struct app_password){.hash = span_of(hash[0], 32), .services = 1u << 4};
	p.app[1] = (struct app_password){.hash = span_of(hash[1], 32)};
	assert_ptr_equal(app_password_find(&p, 4, text_span(&one)), &p.app[0]);
	assert_null(app_password_find(&p, 1, text_span(&one))); /* another service */
	assert_ptr_equal(app_password_find(&p, 1, text_span(&two)), &p.app[1]);
	assert_null(app_password_find(&p, 4, SPAN("guessed")));
	text_wipe(&one);
	text_wipe(&two);
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
		cmocka_unit_test(version_1_is_read),
		cmocka_unit_test(scram_of_the_rfcs),
		cmocka_unit_test(application_passwords),
		cmocka_unit_test(homes_are_safe),
		cmocka_unit_test(a_home_that_no_file_system_takes_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
