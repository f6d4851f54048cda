/*
 * chain - a certificate chain and a private key, read from PEM files that somebody else opened.
 *
 * Used by tls-key (both) and by the TLS worker (chains only). Every function that fails hands up a
 * sentence in *why; none logs, none opens a file.
 */
#ifndef VALIJA_CHAIN_H
#define VALIJA_CHAIN_H

#include <gnutls/abstract.h>
#include <gnutls/x509.h>

#include "certificate.h"

#define KEY_ID_SIZE 32          /* SHA-256 of the public key (SubjectPublicKeyInfo) */

/* The first certificate is the server's own; each is signed by the next. */
struct chain {
	gnutls_x509_crt_t at[MOST_CHAIN];
	unsigned int count;
	gnutls_pk_algorithm_t kind;          /* of the first one's key */
	unsigned int bits;                   /* RSA: of the modulus */
	gnutls_ecc_curve_t curve;            /* ECDSA */
	unsigned char key_id[KEY_ID_SIZE];
};

/* Reads and checks a chain: PEM, at most MOST_CHAIN, in order, a key that we can serve with. 0, or
 * -1 with *chain empty. */
int chain_read(int fd, struct chain *chain, struct text *why);
void chain_clear(struct chain *chain);

/* Reads a private key (PEM, not encrypted; or the URL of one in a token, token.h) that belongs to no
 * certificate. 0, or -1 with a sentence. The caller owns *key: gnutls_privkey_deinit. */
int chain_read_bare_key(int fd, gnutls_privkey_t *key, struct text *why);
/* Reads a private key (PEM, not encrypted; or the URL of one in a token, token.h) and proves that it belongs to the first certificate of
 * `chain`, by a signature. 0, or -1. The caller owns *key: gnutls_privkey_deinit. */
int chain_read_key(int fd, const struct chain *chain, gnutls_privkey_t *key, struct text *why);

/* Reads all of a file of at most `most` bytes from its start. The file position is
 * not used. `what` names it in *why. The caller wipes *to (a key) or clears it. */
int chain_read_file(int fd, const char *what, size_t most, struct text *to, struct text *why);

#endif
