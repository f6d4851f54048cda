/* What comes from files and from issuers: hashes of {SCHEME} form, passwd-files, signed tokens. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/jwt.h"
#include "auth/passwd-file.h"
#include "common/password-scheme.h"

/* Made with Python's hashlib and base64. */
static void
schemes(void **state)
{
	static const struct {
		const char *field;
		enum password_form form;
		const char *password; /* that it is of; NULL: not verified here */
	} cases[] = {
		{"{PLAIN}secret", PASSWORD_CLEAR, NULL},
		{"{cleartext}se:cret", PASSWORD_CLEAR, NULL},
		{"{PLAIN}", PASSWORD_STRANGE, NULL},
		{"{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", PASSWORD_HASH, "secret"},
		{"{SHA.HEX}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4", PASSWORD_HASH, "secret"},
		{"{SHA}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4", PASSWORD_HASH, "secret"},
		{"{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69", PASSWORD_HASH, "secret"},
		{"{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=", PASSWORD_HASH, "secret"},
		{"{SSHA}AAAA", PASSWORD_STRANGE, ""},
		{"{SHA256}!!!", PASSWORD_STRANGE, ""},
		{"{SSHA512}garbage", PASSWORD_STRANGE, ""},
		{"{SHA}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05", PASSWORD_STRANGE, ""},
		{"{BLF-CRYPT}this is no hash at all", PASSWORD_STRANGE, NULL},
		{"{SHA512-CRYPT}$99$abcdefgh$abcdefgh", PASSWORD_STRANGE, NULL},
		{"{CRYPT}abJnggxhB/yWI", PASSWORD_HASH, NULL},
		{"{CRYPT}_J9..rasmBYk8r9AiWNc", PASSWORD_HASH, NULL},
		{"{BLF-CRYPT}$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", PASSWORD_HASH, NULL},
		{"{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,"
		 "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
		 "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
			PASSWORD_HASH, "pencil"},
		{"{SCRAM-SHA-256}99999999999,AA==,AA==,AA==", PASSWORD_STRANGE, ""},
		{"{SCRAM-SHA-256}0,AA==,AA==,AA==", PASSWORD_STRANGE, ""},
		{"{CRYPT}$1$abcdefgh$G//4keteveJp0qb8z2DxG/", PASSWORD_HASH, NULL},
		{"$6$rounds=1000$abc$def", PASSWORD_HASH, NULL},
		{"{CRYPT}*", PASSWORD_STRANGE, NULL},
		{"{ARGON2ID}$argon2id$v=19$m=1048576,t=6,p=4$c2FsdHNhbHQxMjM0NTY3OA$AAAAAAAAAAAAAAAAAAAAAA", PASSWORD_HASH, NULL},
		{"{ARGON2ID}$argon2id$v=19$m=1048577,t=1,p=4$c2FsdHNhbHQxMjM0NTY3OA$AAAAAAAAAAAAAAAAAAAAAA", PASSWORD_STRANGE, NULL},
		{"{ARGON2ID}$argon2id$v=19$m=1048576,t=7,p=4$c2FsdHNhbHQxMjM0NTY3OA$AAAAAAAAAAAAAAAAAAAAAA", PASSWORD_STRANGE, NULL},
		{"{ARGON2I}$argon2i$v=19$m=64,t=4294967295,p=1$c2FsdHNhbHQxMjM0NTY3OA$AAAAAAAA", PASSWORD_STRANGE, NULL},
		{"{ARGON2I}$argon2i$v=19$m=64,t=1$c2FsdHNhbHQxMjM0NTY3OA$AAAAAAAA", PASSWORD_STRANGE, NULL},
		{"{NTLM}00", PASSWORD_STRANGE, NULL},
		{"{", PASSWORD_STRANGE, NULL},
		{"{}x", PASSWORD_STRANGE, NULL},
		{"", PASSWORD_NONE, NULL},
		{"!", PASSWORD_NONE, NULL},
		{"!$6$x$y", PASSWORD_NONE, NULL},
		{"*", PASSWORD_NONE, NULL},
		{"x", PASSWORD_NONE, NULL},
		{"short", PASSWORD_STRANGE, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct text to = TEXT_UP_TO(MOST_HASH);

		if (password_scheme_read(span_str(cases[i].field), &to) != cases[i].form)
			fail_msg("%s is of another form", cases[i].field);
		if (cases[i].password != NULL) {
			/* What is not whole stands in tables already, perhaps. */
			struct span kept = cases[i].form == PASSWORD_STRANGE ? span_str(cases[i].field) : text_span(&to);
			bool right = password_scheme_verify(kept, span_str(cases[i].password));

			if (right != (cases[i].password[0] != '\0'))
				fail_msg("%s and %s", cases[i].field, cases[i].password);
			assert_false(password_scheme_verify(kept, SPAN("wrong")));
		}
		text_clear(&to);
	}
}

static struct passwd_file *
file_of(struct span bytes)
{
	struct passwd_file *f;
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], bytes.at, bytes.len), (ssize_t)bytes.len);
	close(ends[1]);
	f = passwd_file_read(ends[0]);
	close(ends[0]);
	return f;
}

static void
passwd_files(void **state)
{
	struct span domains[] = {SPAN("example.org"), SPAN("other.example")};
	struct settings s = {.domains = {domains, 2}};
	struct passwd_file *f = file_of(SPAN("# a comment\n\nbob:{PLAIN}b::\nana@example.org:{PLAIN}a\r\n"
					     "no colon\nzoe@other.example:z"));
	struct span field;

	(void)state;
	assert_non_null(f);
	assert_true(passwd_file_find(f, SPAN("ana@example.org"), &s, &field));
	assert_true(span_equal(field, SPAN("{PLAIN}a")));
	assert_true(passwd_file_find(f, SPAN("bob@example.org"), &s, &field));
	assert_true(span_equal(field, SPAN("{PLAIN}b")));
	assert_true(passwd_file_find(f, SPAN("zoe@other.example"), &s, &field));
	/* A bare name is of the first domain alone. */
	assert_false(passwd_file_find(f, SPAN("bob@other.example"), &s, &field));
	assert_false(passwd_file_find(f, SPAN("# a comment"), &s, &field));
	assert_false(passwd_file_find(f, SPAN(""), &s, &field));
	passwd_file_free(&f);
	assert_null(f);
	assert_false(passwd_file_find(NULL, SPAN("ana@example.org"), &s, &field));
	assert_null(file_of(SPAN("ana:\0:")));
	f = file_of(SPAN(""));
	assert_non_null(f);
	assert_false(passwd_file_find(f, SPAN("a@b"), &s, &field));
	passwd_file_free(&f);
}

#ifdef HAVE_JANSSON
/* RFC 8037 A.1, A.4: what is signed there is no claim, so that a good signature shows as "token-form". */
static void
a_signature_of_the_rfc(void **state)
{
	static const char keys[] = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
				   "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";
	static const char token[] =
		"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
		"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
	const struct jwt_wanted wanted = {SPAN("i"), SPAN_NONE, SPAN_NONE, SPAN("email")};
	struct text why = TEXT_UP_TO(200), user = TEXT_UP_TO(320);
	struct jwks *k = jwks_read(span_str(keys), &why);
	char other[sizeof(token)];
	const char *reason;

	(void)state;
	assert_non_null(k);
	assert_false(jwt_verify(k, &wanted, span_str(token), 1000, &user, &reason));
	assert_string_equal(reason, "token-form");
	for (size_t i = 0; i < sizeof(token) - 1; i += 7) {
		memcpy(other, token, sizeof(token));
		other[i] = other[i] == 'A' ? 'B' : 'A';
		assert_false(jwt_verify(k, &wanted, span_str(other), 1000, &user, &reason));
		if (i > 60) /* in the signature: the last letter has unused bits */
			assert_true(strcmp(reason, "token-signature") == 0 || i > 140);
	}
	for (size_t len = 0; len < sizeof(token); len++) {
		char *cut = malloc(len + 1);

		memcpy(cut, token, len);
		if (len < sizeof(token) - 1)
			assert_false(jwt_verify(k, &wanted, span_of(cut, len), 1000, &user, &reason));
		free(cut);
	}
	jwks_free(&k);
	assert_null(jwks_read(SPAN("{\"keys\":[]}"), &why));
	assert_null(jwks_read(SPAN("[]"), &why));
	assert_null(jwks_read(SPAN(""), &why));
	assert_null(jwks_read(SPAN("{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}"), &why));
	text_clear(&why);
	text_clear(&user);
}

/* What an issuer says that was asked: until when it may be remembered, and all that is no yes. */
static void
answers_of_an_issuer(void **state)
{
	static const struct {
		const char *answer, *why; /* NULL: good */
		uint32_t seconds;
	} rows[] = {
		{"{\"active\":true,\"email\":\"ana@x\"}", NULL, 0},
		{"{\"active\":true,\"email\":\"ana@x\",\"iss\":\"i\",\"exp\":1100}", NULL, 100},
		{"{\"active\":true,\"email\":\"ana@x\",\"exp\":1000.5}", NULL, 1},
		{"{\"active\":true,\"email\":\"ana@x\",\"exp\":999}", NULL, 1}, /* clocks differ a little */
		{"{\"active\":true,\"email\":\"ana@x\",\"exp\":1e300}", NULL, UINT32_MAX},
		{"{\"active\":true,\"email\":\"ana@x\",\"exp\":\"soon\"}", "token-expired", 0},
		{"{\"active\":true,\"email\":\"ana@x\",\"exp\":1}", "token-expired", 0},
		{"{\"active\":true,\"email\":\"ana@x\",\"iss\":\"j\"}", "token-issuer", 0},
		{"{\"active\":false,\"email\":\"ana@x\"}", "token-inactive", 0},
		{"{\"active\":\"true\",\"email\":\"ana@x\"}", "introspection-form", 0},
		{"{\"active\":1,\"email\":\"ana@x\"}", "introspection-form", 0},
		{"{\"active\":true,\"email\":\"ana@x\",\"active\":true}", "introspection-form", 0},
		{"{\"email\":\"ana@x\"}", "introspection-form", 0},
		{"[true]", "introspection-form", 0},
		{"", "introspection-form", 0},
	};
	const struct jwt_wanted wanted = {SPAN("i"), SPAN_NONE, SPAN_NONE, SPAN("email")};
	struct text user = TEXT_UP_TO(320);
	const char *why;
	uint32_t seconds;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool good = jwt_judge_answer(
			&wanted, span_str(rows[i].answer), 1000, &user, &seconds, &why);

		assert_int_equal(good, rows[i].why == NULL);
		assert_int_equal(seconds, rows[i].seconds);
		if (good)
			assert_true(span_equal(text_span(&user), SPAN("ana@x")));
		else
			assert_string_equal(why, rows[i].why);
		for (size_t len = 0; len < strlen(rows[i].answer); len++) {
			char *cut = malloc(len + 1);

			memcpy(cut, rows[i].answer, len);
			assert_false(jwt_judge_answer(
				&wanted, span_of(cut, len), 1000, &user, &seconds, &why));
			free(cut);
		}
	}
	text_clear(&user);
}
#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(schemes),
		cmocka_unit_test(passwd_files),
#ifdef HAVE_JANSSON
		cmocka_unit_test(a_signature_of_the_rfc),
		cmocka_unit_test(answers_of_an_issuer),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
