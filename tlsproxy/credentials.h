/*
 * credentials - the certificates of one generation, as a TLS worker holds them: without keys.
 *
 * Counted: each connection holds the credentials with which it began until it ends, so that a
 * reload changes new connections only.
 */
#ifndef VALIJA_CREDENTIALS_H
#define VALIJA_CREDENTIALS_H

#include <gnutls/gnutls.h>

#include "chain.h"

#define MOST_CERTIFICATES 64

struct credentials;

/* Asks for a signature with the key `id` (KEY_ID_SIZE): over the whole `data`, or its hash. 0 with
 * *signature (gnutls_malloc), or a negative GnuTLS error. */
typedef int credentials_sign(void *me, const unsigned char *id, gnutls_sign_algorithm_t algorithm,
	bool hashed, const gnutls_datum_t *data, gnutls_datum_t *signature);

/* Empty, held once. `me` is handed to `sign`; both outlive every credentials. */
struct credentials *credentials_new(uint32_t generation, credentials_sign *sign, void *me);
/* Reads a chain and adds it. 0, or -1 with a sentence in *why. The caller closes `chain_fd`. */
int credentials_add(struct credentials *c, int chain_fd, struct text *why);
struct credentials *credentials_hold(struct credentials *c);
void credentials_drop(struct credentials **c);

uint32_t credentials_generation(const struct credentials *c);
unsigned int credentials_count(const struct credentials *c);
/* For gnutls_credentials_set. GnuTLS chooses among the certificates by name and kind. */
gnutls_certificate_credentials_t credentials_gnutls(const struct credentials *c);

#endif
