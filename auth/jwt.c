/* jwt - see jwt.h. */
#include <config.h>

#include "jwt.h"

#ifdef HAVE_JANSSON

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/message.h"

#define MOST_KEY_PART 1024 /* bytes of a modulus: 8192 bits */
#define LEAST_RSA     256  /* 2048 bits (RFC 7518 3.3) */

enum algorithm { RS256, ES256, EDDSA };

struct key {
	enum algorithm algorithm;
	char *id; /* or NULL */
	gnutls_pubkey_t public;
};

struct jwks {
	struct key key[JWT_MOST_KEYS];
	size_t count;
};

/* Base64 without padding, with '-' and '_' (RFC 7515 2). */
static bool
add_base64url(struct text *to, struct span in)
{
	struct text usual = TEXT_UP_TO(2 * JWT_MOST);
	bool ok;

	for (size_t i = 0; i < in.len; i++) {
		unsigned char c = in.at[i];

		if (c == '+' || c == '/' || c == '=') {
			text_clear(&usual);
			return false;
		}
		text_add_byte(&usual, c == '-' ? '+' : c == '_' ? '/' : c);
	}
	while (usual.len % 4 != 0)
		text_add_byte(&usual, '=');
	ok = !usual.failed && text_add_base64_decoded(to, text_span(&usual));
	text_wipe(&usual);
	return ok;
}

static struct span
member(const json_t *object, const char *name)
{
	return span_str(json_string_value(json_object_get(object, name)));
}

static bool
is(const json_t *object, const char *name, const char *value)
{
	return span_equal(member(object, name), span_str(value));
}

/* --- keys --- */

static bool
number_of(const json_t *object, const char *name, struct text *to)
{
	return add_base64url(to, member(object, name)) && to->len > 0;
}

static gnutls_datum_t
datum(const struct text *t)
{
	return (gnutls_datum_t){t->at, (unsigned int)t->len};
}

/* The public key of one JWK, or false: one that is not for us. */
static bool
import(const json_t *jwk, struct key *key)
{
	struct text a = TEXT_UP_TO(MOST_KEY_PART + 1), b = TEXT_UP_TO(MOST_KEY_PART);
	gnutls_datum_t one, two;
	int result = GNUTLS_E_UNSUPPORTED_SIGNATURE_ALGORITHM;

	if (gnutls_pubkey_init(&key->public) < 0)
		return false;
	if (is(jwk, "kty", "RSA") && number_of(jwk, "n", &a) && number_of(jwk, "e", &b) &&
		a.len >= LEAST_RSA) {
		one = datum(&a);
		two = datum(&b);
		key->algorithm = RS256;
		result = gnutls_pubkey_import_rsa_raw(key->public, &one, &two);
	} else if (is(jwk, "kty", "EC") && is(jwk, "crv", "P-256") && number_of(jwk, "x", &a) &&
		   number_of(jwk, "y", &b)) {
		one = datum(&a);
		two = datum(&b);
		key->algorithm = ES256;
		result = gnutls_pubkey_import_ecc_raw(
			key->public, GNUTLS_ECC_CURVE_SECP256R1, &one, &two);
	} else if (is(jwk, "kty", "OKP") && is(jwk, "crv", "Ed25519") && number_of(jwk, "x", &a)) {
		one = datum(&a);
		key->algorithm = EDDSA;
		result = gnutls_pubkey_import_ecc_raw(
			key->public, GNUTLS_ECC_CURVE_ED25519, &one, NULL);
	}
	text_clear(&a);
	text_clear(&b);
	if (result < 0) {
		gnutls_pubkey_deinit(key->public);
		return false;
	}
	return true;
}

struct jwks *
jwks_read(struct span json, struct text *why)
{
	json_error_t error;
	json_t *root = json_loadb((const char *)json.at, json.len, JSON_REJECT_DUPLICATES, &error);
	json_t *list = json_object_get(root, "keys"), *jwk;
	struct jwks *k = must_alloc(sizeof(*k));
	size_t i;

	if (root == NULL)
		text_printf(why, "no JSON: line %d: %s", error.line, error.text);
	json_array_foreach(list, i, jwk)
	{
		struct key *key = &k->key[k->count];

		/* RFC 7517 4.2: a key for encryption signs nothing. */
		if (k->count == JWT_MOST_KEYS || is(jwk, "use", "enc") || !import(jwk, key))
			continue;
		if (json_is_string(json_object_get(jwk, "kid")))
			key->id = must_copy(member(jwk, "kid"));
		k->count++;
	}
	json_decref(root);
	if (k->count == 0) {
		if (why->len == 0)
			text_add_str(why, "no public key for RS256, ES256 or EdDSA is in it");
		jwks_free(&k);
	}
	return k;
}

void
jwks_free(struct jwks **k)
{
	if (*k == NULL)
		return;
	for (size_t i = 0; i < (*k)->count; i++) {
		gnutls_pubkey_deinit((*k)->key[i].public);
		free((*k)->key[i].id);
	}
	free(*k);
	*k = NULL;
}

/* --- signatures --- */

static bool
signed_by(const struct key *key, struct span input, struct span signature)
{
	static const gnutls_sign_algorithm_t algorithms[] = {
		GNUTLS_SIGN_RSA_SHA256, GNUTLS_SIGN_ECDSA_SHA256, GNUTLS_SIGN_EDDSA_ED25519};
	const gnutls_datum_t data = {
		(unsigned char *)(uintptr_t)input.at, (unsigned int)input.len};
	gnutls_datum_t made = {
		(unsigned char *)(uintptr_t)signature.at, (unsigned int)signature.len};
	bool right;

	if (key->algorithm == ES256) {
		/* RFC 7518 3.4: R and S, 32 bytes each. */
		gnutls_datum_t r = {made.data, 32}, s = {made.data + 32, 32};

		if (signature.len != 64 || gnutls_encode_rs_value(&made, &r, &s) < 0)
			return false;
	}
	right = gnutls_pubkey_verify_data2(
			key->public, algorithms[key->algorithm], 0, &data, &made) >= 0;
	if (key->algorithm == ES256)
		gnutls_free(made.data);
	return right;
}

static bool
find_algorithm(const json_t *header, enum algorithm *a)
{
	if (is(header, "alg", "RS256"))
		*a = RS256;
	else if (is(header, "alg", "ES256"))
		*a = ES256;
	else if (is(header, "alg", "EdDSA"))
		*a = EDDSA;
	else
		return false;
	return true;
}

static const char *
check_signature(
	const struct jwks *keys, const json_t *header, struct span input, struct span signature)
{
	enum algorithm algorithm;
	bool has_id = json_is_string(json_object_get(header, "kid"));

	if (!find_algorithm(header, &algorithm))
		return "token-algorithm";
	/* RFC 7515 4.1.11: what must be understood, and is not. */
	if (json_object_get(header, "crit") != NULL)
		return "token-critical-header";
	for (size_t i = 0; i < keys->count; i++) {
		const struct key *k = &keys->key[i];

		if (k->algorithm != algorithm ||
			(has_id && k->id != NULL &&
				!span_equal(member(header, "kid"), span_str(k->id))))
			continue;
		if (signed_by(k, input, signature))
			return NULL;
	}
	return "token-signature";
}

/* --- claims --- */

/* Is `value` the string, or among the strings of the array (RFC 7519 4.1.3)? */
static bool
has(const json_t *claim, struct span value)
{
	const json_t *one;
	size_t i;

	if (json_is_string(claim))
		return span_equal(span_str(json_string_value(claim)), value);
	json_array_foreach(claim, i, one) if (json_is_string(one) &&
		span_equal(span_str(json_string_value(one)), value)) return true;
	return false;
}

/* Words with blanks between (RFC 9068 2.2.3, RFC 8693 4.2). */
static bool
has_word(struct span words, struct span word)
{
	struct span one;

	while (words.len > 0) {
		if (!span_take_until(&words, ' ', &one)) {
			one = words;
			words.len = 0;
		}
		if (span_equal(one, word))
			return true;
	}
	return false;
}

static bool
time_of(const json_t *claims, const char *name, double *t)
{
	const json_t *value = json_object_get(claims, name);

	*t = json_number_value(value);
	return json_is_number(value);
}

static const char *
check_claims(const json_t *claims, const struct jwt_wanted *wanted, bool asked, uint64_t now, struct text *user)
{
	char name[64];
	double t, at = (double)now;

	/* An issuer that was asked need not say who it is, nor until when it will say the same. */
	if (!(asked && (wanted->issuer.len == 0 || json_object_get(claims, "iss") == NULL)) &&
		!span_equal(member(claims, "iss"), wanted->issuer))
		return "token-issuer";
	if (!(asked && json_object_get(claims, "exp") == NULL) &&
		(!time_of(claims, "exp", &t) || t + JWT_LEEWAY <= at))
		return "token-expired";
	if ((time_of(claims, "nbf", &t) && t - JWT_LEEWAY > at) ||
		(time_of(claims, "iat", &t) && t - JWT_LEEWAY > at))
		return "token-not-yet";
	if (wanted->audience.len > 0 && !has(json_object_get(claims, "aud"), wanted->audience))
		return "token-audience";
	if (wanted->scope.len > 0 && !has_word(member(claims, "scope"), wanted->scope))
		return "token-scope";
	if (!span_copy(wanted->user_claim, name, sizeof(name)))
		return "token-user";
	/* An address that its owner never proved is none (OpenID Connect Core 5.1). */
	if (strcmp(name, "email") == 0 && json_is_false(json_object_get(claims, "email_verified")))
		return "token-email-unverified";
	text_reset(user);
	text_add(user, member(claims, name));
	return user->len == 0 || user->failed ? "token-user" : NULL;
}

static json_t *
part(struct span in)
{
	struct text bytes = TEXT_UP_TO(JWT_MOST);
	json_t *made = NULL;

	if (add_base64url(&bytes, in))
		made = json_loadb((const char *)bytes.at, bytes.len, JSON_REJECT_DUPLICATES, NULL);
	text_wipe(&bytes);
	return made;
}

bool
jwt_verify(const struct jwks *keys, const struct jwt_wanted *wanted, struct span token,
	uint64_t now, struct text *user, const char **why)
{
	struct text signature = TEXT_UP_TO(MOST_KEY_PART);
	struct span rest = token, first, second, input;
	json_t *header = NULL, *claims = NULL;

	*why = "token-form";
	if (token.len > JWT_MOST || !span_take_until(&rest, '.', &first) ||
		!span_take_until(&rest, '.', &second) || span_has(rest, '.') ||
		!add_base64url(&signature, rest))
		goto out;
	input = span_of(first.at, first.len + 1 + second.len);
	header = part(first);
	if (!json_is_object(header))
		goto out;
	/* The claims of who signed nothing are not looked at. */
	*why = check_signature(keys, header, input, text_span(&signature));
	if (*why != NULL)
		goto out;
	*why = "token-form";
	claims = part(second);
	if (json_is_object(claims))
		*why = check_claims(claims, wanted, false, now, user);
out:
	json_decref(header);
	json_decref(claims);
	text_clear(&signature);
	return *why == NULL;
}

bool
jwt_judge_answer(const struct jwt_wanted *wanted, struct span json, uint64_t now, struct text *user,
	uint32_t *seconds, const char **why)
{
	json_t *claims = json_loadb((const char *)json.at, json.len, JSON_REJECT_DUPLICATES, NULL);
	double t;

	*seconds = 0;
	*why = "introspection-form";
	if (json_is_object(claims) && json_is_boolean(json_object_get(claims, "active"))) {
		*why = "token-inactive";
		if (json_is_true(json_object_get(claims, "active")))
			*why = check_claims(claims, wanted, true, now, user);
		/* 0 would mean that it does not say: one that ends now ends in a second. */
		if (*why == NULL && time_of(claims, "exp", &t))
			*seconds = t - (double)now < 1			  ? 1
				   : t - (double)now < (double)UINT32_MAX ? (uint32_t)(t - (double)now)
									  : UINT32_MAX;
	}
	json_decref(claims);
	return *why == NULL;
}

#else

bool
jwt_judge_answer(const struct jwt_wanted *wanted, struct span json, uint64_t now, struct text *user,
	uint32_t *seconds, const char **why)
{
	(void)wanted;
	(void)json;
	(void)now;
	(void)user;
	*seconds = 0;
	*why = "built without jansson";
	return false;
}

struct jwks *
jwks_read(struct span json, struct text *why)
{
	(void)json;
	text_add_str(why, "built without jansson");
	return NULL;
}

void
jwks_free(struct jwks **k)
{
	*k = NULL;
}

bool
jwt_verify(const struct jwks *keys, const struct jwt_wanted *wanted, struct span token,
	uint64_t now, struct text *user, const char **why)
{
	(void)keys;
	(void)wanted;
	(void)token;
	(void)now;
	(void)user;
	*why = "built without jansson";
	return false;
}

#endif
