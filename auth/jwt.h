/*
 * jwt - signed tokens (JSON Web Token, RFC 7519; JWS compact, RFC 7515) and the keys of who signs them
 * (JWKS, RFC 7517).
 *
 * RS256, ES256 and EdDSA with Ed25519 (RFC 7518, RFC 8037), nothing else: no "none", no symmetric key,
 * no key that comes with the token. The key id is only compared. Signatures are GnuTLS's, JSON is
 * jansson's.
 */
#ifndef VALIJA_JWT_H
#define VALIJA_JWT_H

#include "common/text.h"

#define JWT_MOST      8192 /* bytes of a token */
#define JWT_MOST_KEYS 32
#define JWT_LEEWAY    60   /* seconds that clocks may differ */

struct jwks;

/* Takes the keys of a JWKS that can be used here; NULL with a sentence in *why when it is none, or has
 * none. */
struct jwks *jwks_read(struct span json, struct text *why);
void jwks_free(struct jwks **k);

/* What a token must say. Empty: need not. */
struct jwt_wanted {
	struct span issuer, audience, scope;
	struct span user_claim; /* the claim whose value is the user */
};

/* Is it a token that one of the keys signed, and good at `now` (seconds since 1970)? *user gets the
 * user; otherwise false, and *why (static) says what is wrong, for the log. */
bool jwt_verify(const struct jwks *keys, const struct jwt_wanted *wanted, struct span token,
	uint64_t now, struct text *user, const char **why);

/* The answer of an issuer that was asked (RFC 7662 2.2), by the same rules; what it leaves out besides "active" and what
 * `wanted` names is no fault. *seconds: until the token expires, or 0. */
bool jwt_judge_answer(const struct jwt_wanted *wanted, struct span json, uint64_t now, struct text *user,
	uint32_t *seconds, const char **why);

#endif
