/*
 * priorities - which versions, ciphers and signatures we speak: ours, or an administrator's string
 * (option tls_priorities), which may say less or in another order, but nothing that is weak.
 */
#ifndef VALIJA_PRIORITIES_H
#define VALIJA_PRIORITIES_H

#include <gnutls/gnutls.h>

#include "common/text.h"

/* Makes priorities of GnuTLS's string `said`; empty: our own. -1 with a sentence in *why when GnuTLS
 * does not understand it or it lets something weak in: TLS before 1.2, ciphers without authenticated
 * encryption, key exchange without forward secrecy or without a certificate. */
int priorities_make(struct span said, gnutls_priority_t *made, struct text *why);

#endif
