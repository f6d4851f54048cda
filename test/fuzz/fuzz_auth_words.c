/* What strangers, issuers and files say to auth and its workers: tokens, their keys, what is said of them, hashes of {SCHEME} form,
 * first and last words of each mechanism. The first byte chooses. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "auth/introspect.h"
#include "auth/jwt.h"
#include "auth/mechanism.h"
#include "common/password-scheme.h"
#include "common/users.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
no_secret(void *me, const struct claim *claim, struct scram_secret *secret)
{
	static const unsigned char salt[SCRAM_SALT], key[SCRAM_MOST_KEY];

	(void)me;
	(void)claim;
	secret->iterations = 4096;
	secret->salt = span_of(salt, sizeof(salt));
	for (secret->count = 0; secret->count < 2; secret->count++)
		secret->keys[secret->count] =
			(struct scram_keys){span_of(key, 20), span_of(key, 20)};
	return true;
}

/* Messages with a newline between. */
static void
mechanism(const char *name, struct span in)
{
	static Gsasl *library;
	struct sasl_owner owner = {
		no_secret, NULL, {SPAN("binding"), SPAN("unique"), SPAN("end point")}};
	struct text said = TEXT_UP_TO(MOST_SASL);
	struct span message;
	struct sasl s;

	if (library == NULL && (library = mechanisms_open()) == NULL)
		abort();
	if (!sasl_init(&s, library, mechanism_find(span_str(name)), &owner))
		abort();
	while (in.len > 0) {
		if (!span_take_until(&in, '\n', &message)) {
			message = in;
			in.len = 0;
		}
		switch (sasl_step(&s, message, true, &said)) {
		case SASL_CHALLENGE:
			continue;
		case SASL_PROVEN: /* nobody knows the keys */
			abort();
		default:
			in.len = 0;
		}
	}
	sasl_clear(&s);
	text_clear(&said);
}

static void
token(struct span in)
{
	static const char set[] = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a\","
				  "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";
	struct jwt_wanted wanted = {SPAN("i"), SPAN_NONE, SPAN_NONE, SPAN("email")};
	struct text why = TEXT_UP_TO(256), user = TEXT_UP_TO(MOST_ADDRESS);
	struct jwks *keys = jwks_read(span_str(set), &why);
	const char *reason;

	if (keys != NULL)
		(void)jwt_verify(keys, &wanted, in, 1000000, &user, &reason);
	jwks_free(&keys);
	keys = jwks_read(in, &why);
	jwks_free(&keys);
	text_clear(&why);
	text_clear(&user);
}

static void
introspection(struct span in)
{
	struct jwt_wanted wanted = {SPAN_NONE, SPAN_NONE, SPAN("mail"), SPAN("email")};
	struct text user = TEXT_UP_TO(MOST_ADDRESS), value = TEXT_UP_TO(MOST_AUTHORIZATION);
	const char *why;
	uint32_t seconds;
	bool later;

	if (introspect_judge(&wanted, 200, in, 1000000, &user, &seconds, &why, &later) && user.len == 0)
		abort();
	(void)introspect_authorization(in, &value);
	text_wipe(&value);
	value = TEXT_UP_TO(MOST_FETCH_BODY_SENT);
	(void)introspect_body(in, &value);
	text_wipe(&value);
	text_clear(&user);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {"PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS",
		"EXTERNAL", "OAUTHBEARER", "XOAUTH2"};
	struct span in = span_of(data + 1, size - 1);
	struct text hash = TEXT_UP_TO(MOST_HASH);
	struct password p;
	struct user u;

	if (size == 0)
		return 0;
	if (data[0] == 255) {
		introspection(in);
		return 0;
	}
	switch (data[0] % 10) {
	case 7:
		token(in);
		break;
	case 8:
		if (password_scheme_read(in, &hash) == PASSWORD_HASH &&
			!span_has(in, ',')) /* SCRAM takes as long as it is told */
			(void)password_scheme_verify(text_span(&hash), SPAN("secret"));
		break;
	case 9:
		(void)password_decode(in, &p);
		(void)user_decode(SPAN("a@b"), in, &u);
		break;
	default:
		mechanism(names[data[0] % 10], in);
	}
	text_wipe(&hash);
	return 0;
}
