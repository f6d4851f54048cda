/*
 * dkim-make - keys that sign mail: made, and told as DNS records (RFC 6376 3.6.1, RFC 8463 section 4).
 */
#ifndef VALIJA_DKIM_MAKE_H
#define VALIJA_DKIM_MAKE_H

#include "common/dkim-entry.h"
#include "common/text.h"

#define DKIM_RSA_BITS 2048
#define MOST_DKIM_PEM 16384

/* Makes a key: PEM (PKCS 8) to `pem`, to be wiped by the caller. 0, or -1 with a sentence in *why. */
int dkim_make_key(enum dkim_algorithm algorithm, struct text *pem, struct text *why);
/* Appends the value of the TXT record of a key: "v=DKIM1; k=rsa; p=...". *algorithm is what the key is of. 0,
 * or -1 with a sentence in *why. */
int dkim_record(struct span pem, enum dkim_algorithm *algorithm, struct text *record, struct text *why);

#endif
