/* DKIM: canonical forms (RFC 6376 3.4.5 and 3.7), the field, and who signs. Signatures are verified by
 * other implementations in test/e2e/test_dkim.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "smtpd/dkim.h"

static void
expect_body(const char *in, const char *canonical, size_t piece)
{
	unsigned char got[DKIM_HASH_SIZE], wanted[DKIM_HASH_SIZE];
	struct sha256_ctx hash;
	struct dkim_body b;

	dkim_body_init(&b);
	for (size_t at = 0; at < strlen(in); at += piece)
		dkim_body_feed(&b, span_part(span_str(in), at, piece));
	dkim_body_finish(&b, got);
	sha256_init(&hash);
	sha256_update(&hash, strlen(canonical), (const uint8_t *)canonical);
	sha256_digest(&hash, sizeof(wanted), wanted);
	if (memcmp(got, wanted, sizeof(got)) != 0)
		fprintf(stderr, "of: %s\n", in);
	assert_memory_equal(got, wanted, sizeof(got));
}

static void
test_body(void **state)
{
	static const char *const cases[][2] = {
		{ "", "" },
		{ "\r\n", "" },
		{ "\r\n\r\n\r\n", "" },
		{ " \t\r\n", "" },
		{ " C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n" },
		{ "x", "x\r\n" },
		{ "x\r\n\r\n\r\ny\r\n", "x\r\n\r\n\r\ny\r\n" },
		{ "x \r\n \r\ny", "x\r\n\r\ny\r\n" },
		{ "a\rb\r\n", "a\rb\r\n" },
		{ "a\r", "a\r\r\n" },
		{ "a\nb\r\n", "a\nb\r\n" },
		{ "\r\n\r\nx\r\n", "\r\n\r\nx\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t piece = 1; piece < 6; piece++)
			expect_body(cases[i][0], cases[i][1], piece);
	}
}

static void
test_from(void **state)
{
	static const char *const cases[][2] = {
		{ "From: a@Example.ORG\r\n", "example.org" },
		{ "Subject: x\r\nfrom : \"x@y.example\" (z@z.example)\r\n <a@example.org>\r\n", "example.org" },
		{ "From: a@example.org, b@other.example\r\n", "example.org" },
		{ "From: \"a@b\"@example.org\r\n", "example.org" },
		{ "From: nobody\r\n", NULL },
		{ "From: a@b.example\r\nFrom: c@d.example\r\n", NULL },
		{ "To: a@b.example\r\n", NULL },
		{ "From: (((a@b.example\r\n", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct text domain = TEXT_UP_TO(300);
		bool good = dkim_from_domain(span_str(cases[i][0]), &domain);

		assert_int_equal(good, cases[i][1] != NULL);
		if (good)
			assert_string_equal(text_str(&domain), cases[i][1]);
		text_clear(&domain);
	}
}

/* The same fields written in another way have the same hash; another value has not. */
static void
test_header(void **state)
{
	struct dkim_entry e;
	unsigned char body[DKIM_HASH_SIZE] = { 1 }, a[DKIM_HASH_SIZE], b[DKIM_HASH_SIZE];
	struct text one = TEXT_UP_TO(MOST_DKIM_FIELD), two = TEXT_UP_TO(MOST_DKIM_FIELD),
		three = TEXT_UP_TO(MOST_DKIM_FIELD);

	(void)state;
	assert_true(dkim_entry_parse(SPAN("example.org:s1:ed25519"), &e));
	assert_true(dkim_field_begin(&e, SPAN("From: a@b\r\nSubject: one\r\n two\r\nX: y\r\n"), body, 7,
		&one, a));
	assert_non_null(strstr(text_str(&one), "a=ed25519-sha256; c=relaxed/relaxed; d=example.org;"));
	assert_non_null(strstr(text_str(&one), "h=From:From:To:Cc:Subject:Subject"));
	assert_true(dkim_field_begin(&e, SPAN("X: z\r\nFROM :  a@b \r\nsubject:one  two\r\n"), body, 7,
		&two, b));
	assert_memory_equal(a, b, sizeof(a));
	assert_true(dkim_field_begin(&e, SPAN("From: a@b\r\nSubject: one three\r\n"), body, 7, &three, b));
	assert_memory_not_equal(a, b, sizeof(a));
	dkim_field_end(&one, span_of(body, sizeof(body)));
	assert_true(one.at[one.len - 1] == '\n');
	text_clear(&one);
	text_clear(&two);
	text_clear(&three);
}

static void
test_entries(void **state)
{
	static const char *const bad[] = { "", "x", "x:", ":s", "x:s:dsa", "../x:s", "x:../s", "x:s/t", "x..y:s",
		"x:s:", "x.:s", "-x:s", "x:s:ed25519:" };
	struct dkim_entry e;

	(void)state;
	assert_true(dkim_entry_parse(SPAN("example.org:2026"), &e));
	assert_int_equal(e.algorithm, DKIM_RSA);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(dkim_entry_parse(span_str(bad[i]), &e));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_body),
		cmocka_unit_test(test_from),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
