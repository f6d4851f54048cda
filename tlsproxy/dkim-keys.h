/*
 * dkim-keys - the keys that sign mail (RFC 6376, RFC 8463), of one generation of the configuration.
 *
 * They lie in the order of the option `dkim` (common/dkim-entry.h), which names them. A hash comes in,
 * a signature goes out; they sign nothing else, and no TLS key signs mail.
 */
#ifndef VALIJA_DKIM_KEYS_H
#define VALIJA_DKIM_KEYS_H

#include <gnutls/abstract.h>

#include "common/dkim-entry.h"
#include "common/settings.h"
#include "common/text.h"

#define DKIM_LEAST_RSA_BITS 1024      /* RFC 8301 3.2: verifiers need not look at shorter ones */
#define DKIM_DIGEST_SIZE 32

struct dkim_keys {
	uint32_t generation;
	gnutls_privkey_t key[MOST_DKIM_KEYS];    /* NULL where none came */
	uint64_t signatures;
};

/* Reads the key of member `number` (PEM). The caller closes `fd`. 0, or -1 with a sentence. */
int dkim_keys_add(struct dkim_keys *keys, unsigned int number, int fd, struct text *why);
/* Has every member of s->dkim its key, of its algorithm? NULL, or a reason in static memory. */
const char *dkim_keys_fit(const struct dkim_keys *keys, const struct settings *s);
/* Signs with the key of domain and selector, as s->dkim names it. NULL, with *signature
 * (gnutls_free); else a reason in static memory. */
const char *dkim_keys_sign(struct dkim_keys *keys, const struct settings *s, struct span domain,
	struct span selector, struct span digest, gnutls_datum_t *signature);
void dkim_keys_clear(struct dkim_keys *keys);

#endif
