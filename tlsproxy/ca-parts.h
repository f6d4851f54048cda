/*
 * ca-parts - what ca.c and issue.c share: identities, and files of the authority's directory. For these
 * two alone. Functions with *why return 0, or -1 with a sentence; the others a GnuTLS error.
 */
#ifndef VALIJA_CA_PARTS_H
#define VALIJA_CA_PARTS_H

#include <gnutls/x509.h>
#include <sys/types.h>

#include "common/text.h"

#define MOST_COMMON_NAME 64     /* RFC 5280 appendix A, ub-common-name */

/* A certificate and the key that goes with it. */
struct identity {
	gnutls_x509_crt_t crt;
	gnutls_x509_privkey_t key;
};

void identity_clear(struct identity *who);

bool ca_has_file(int directory, const char *name);
/* Writes aside, makes durable, renames, makes the directory durable. */
int ca_put_file(int directory, const char *name, mode_t mode, struct span content, struct text *why);
int ca_put_key(int directory, const char *name, gnutls_x509_privkey_t key, struct text *why);
/* `second` may be NULL. */
int ca_put_certificates(int directory, const char *name, gnutls_x509_crt_t first,
	gnutls_x509_crt_t second, struct text *why);
int ca_get_key(int directory, const char *name, gnutls_x509_privkey_t *key, struct text *why);
/* A new key, ECDSA P-256. */
int ca_make_key(gnutls_x509_privkey_t *key);
/* What all certificates have: version, serial, dates, key and its identifier. Needs who->key. */
int ca_fill(struct identity *who, int days);
int ca_set_common_name(gnutls_x509_crt_t crt, const char *name);
/* The authority of the directory; its key must be there. */
int ca_load(int directory, struct identity *ca, struct text *why);

#endif
