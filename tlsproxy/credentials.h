/*
 * credentials - the certificates of one generation, as a TLS worker holds them: without keys.
 *
 * Counted: each connection holds the credentials with which it began until it ends, so that a
 * reload changes new connections only.
 *
 * Which certificate a client gets. By the name that it asks for (SNI): all certificates that have it,
 * or, for kinds of keys that none of these has, a wildcard for its first label (RFC 6125 6.4.3). No
 * name, or an unknown one: those of the service's default name, or the first certificate with the
 * others that share its first name. Where none of these has an RSA key, the first that has one is added,
 * for old clients. Among the ones that are left GnuTLS takes the first that the client
 * can verify: ECDSA, Ed25519, RSA. One that must come with an OCSP response (RFC 7633) and has none is left
 * out where there is another.
 */
#ifndef VALIJA_CREDENTIALS_H
#define VALIJA_CREDENTIALS_H

#include <gnutls/gnutls.h>

#include "chain.h"

#define MOST_CERTIFICATES 64
#define MOST_SETS 256            /* choices of certificates that were made; each costs some KiB */

struct credentials;

/* Asks for a signature with the key `id` (KEY_ID_SIZE): over the whole `data`, or its hash. 0 with
 * *signature (gnutls_malloc), or a negative GnuTLS error. */
typedef int credentials_sign(void *me, const unsigned char *id, gnutls_sign_algorithm_t algorithm,
	bool hashed, const gnutls_datum_t *data, gnutls_datum_t *signature);

/* Empty, held once. `me` is handed to `sign`; both outlive every credentials. */
struct credentials *credentials_new(uint32_t generation, credentials_sign *sign, void *me);
/* Reads a chain and adds it. 0, or -1 with a sentence in *why. The caller closes `chain_fd`. */
int credentials_add(struct credentials *c, int chain_fd, struct text *why);
/* Reads an OCSP response (DER) for certificate `number`, to be stapled (RFC 6066 section 8). Added
 * before the first credentials_choose. 0, or -1: it is none, or not of this certificate, or out of
 * date. It is shown as long as it is good. */
int credentials_add_status(struct credentials *c, unsigned int number, int fd, struct text *why);
/* The same, at any time, for the certificate of this SHA-256; 0 also when there is none of these. */
int credentials_staple(struct credentials *c, struct span fingerprint, struct span der, struct text *why);
/* Certificates that were in service `before` too go on with what credentials_staple brought there, where they
 * have nothing of their own. */
void credentials_inherit_staples(struct credentials *c, const struct credentials *before);
/* Authorities (`revoked` false) or revocation lists of clients' certificates. */
int credentials_add_clients(struct credentials *c, bool revoked, int fd, struct text *why);
struct credentials *credentials_hold(struct credentials *c);
void credentials_drop(struct credentials **c);

uint32_t credentials_generation(const struct credentials *c);
unsigned int credentials_count(const struct credentials *c);
/* Are there authorities of clients? */
bool credentials_asks_clients(const struct credentials *c);
/* The channel binding tls-server-end-point (RFC 5929 section 4) of a certificate (DER) of these; empty
 * where it is not defined. Made once: GnuTLS would read the certificate in every handshake. */
struct span credentials_end_point(const struct credentials *c, const gnutls_datum_t *der);
/* For gnutls_credentials_set: what a client gets that asks for `name` (lower case; empty: for none),
 * or else what clients get that should have asked for `otherwise`. Lives as long as *c. NULL: no memory. */
gnutls_certificate_credentials_t credentials_choose(
	struct credentials *c, struct span name, struct span otherwise);

#endif
