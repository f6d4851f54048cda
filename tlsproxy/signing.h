/*
 * signing - what tls-key signs, and nothing else.
 *
 * Each row of the table is one kind of handshake signature: algorithm, kind of key, exact size of
 * the input. GnuTLS hands an external key the bare hash for ECDSA and RSA-PSS, a DigestInfo for RSA
 * PKCS#1 v1.5, and the whole message for Ed25519; the last two are taken apart here.
 */
#ifndef VALIJA_SIGNING_H
#define VALIJA_SIGNING_H

#include <gnutls/abstract.h>

#include "common/span.h"

/* What to sign, after the check. */
struct signing {
	gnutls_sign_algorithm_t algorithm;
	bool whole;             /* input is the message (Ed25519), else its hash */
	struct span input;      /* inside the input that was checked */
};

/* May a key of `kind` sign this? `algorithm` is a gnutls_sign_algorithm_t as the worker said it.
 * NULL and *what filled, or the reason why not (static memory). */
const char *signing_check(gnutls_pk_algorithm_t kind, uint32_t algorithm, bool hashed,
	struct span input, struct signing *what);

/* Signs. 0 with *signature (gnutls_free its data), or a negative GnuTLS error. */
int signing_do(gnutls_privkey_t key, const struct signing *what, gnutls_datum_t *signature);

/* Takes apart a DigestInfo (RFC 8017 9.2 note 1) of SHA-256, SHA-384 or SHA-512, NULL parameters
 * present, nothing before or behind. False: it is anything else. */
bool signing_take_digest_info(
	struct span input, gnutls_sign_algorithm_t *algorithm, struct span *hash);

/* Is this what a TLS 1.3 server signs (RFC 8446 4.4.3): 64 spaces, its context, NUL, a hash? */
bool signing_is_server_verify(struct span input);

/* Is it what a TLS 1.2 server signs (RFC 5246 7.4.3, RFC 8422 5.4): both randoms, P-256, P-384, P-521 or
 * X25519, and a point of the right size? */
bool signing_is_server_exchange(struct span input);

#endif
