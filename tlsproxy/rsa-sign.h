/*
 * rsa-sign - RSA signatures for tls-key, in little more than half of the time that GnuTLS takes.
 *
 * The arithmetic is nettle's, as in GnuTLS: rsa_compute_root, whose time and memory accesses do not depend
 * on the key. What differs is the blinding, by which the number that is raised to the private exponent is
 * none that anybody knows. nettle inverts a new random number modulo n for each signature, which takes two
 * fifths of the time; here that number and its inverse are squared after each use, and made anew after
 * MOST_USES, as OpenSSL does. And as there each signature is verified before it leaves: one that a fault of
 * the machine made wrong would tell the key (Boneh, DeMillo, Lipton 1997).
 */
#ifndef VALIJA_RSA_SIGN_H
#define VALIJA_RSA_SIGN_H

#include "signing.h"

struct rsa_signer;

/* For a key that is RSA and is here, not in a token; its numbers are copied. NULL: use signing_do. */
struct rsa_signer *rsa_signer_new(gnutls_privkey_t key);
/* Wipes what it frees. Sets *s to NULL; accepts NULL in it. */
void rsa_signer_free(struct rsa_signer **s);
/* As signing_do; `what` was checked for a key of this kind. */
int rsa_signer_do(struct rsa_signer *s, const struct signing *what, gnutls_datum_t *signature);
/* From now on GMP's memory is wiped when it is given back, here and in GnuTLS. Once, before any key. */
void rsa_signer_prepare(void);

#endif
