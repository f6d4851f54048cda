/*
 * dkim-entry - one member of the option `dkim`: DOMAIN:SELECTOR, or DOMAIN:SELECTOR:ALGORITHM.
 *
 * master finds the key file by it, tls-key the key, smtpd what to put into the signature.
 */
#ifndef VALIJA_DKIM_ENTRY_H
#define VALIJA_DKIM_ENTRY_H

#include "span.h"

#define MOST_DKIM_KEYS 256
#define MOST_SELECTOR 63        /* octets (a label; RFC 6376 3.1 allows several, with dots) */

enum dkim_algorithm { DKIM_RSA, DKIM_ED25519 };   /* rsa-sha256 (RFC 6376), ed25519-sha256 (RFC 8463) */

struct dkim_entry {
	struct span domain, selector;   /* letters, digits, hyphens, dots; in `text` of the call */
	enum dkim_algorithm algorithm;  /* RSA when none is named */
};

/* Spans lie in `text`. False when it is not of that form. */
bool dkim_entry_parse(struct span text, struct dkim_entry *entry);
/* "rsa-sha256": for a=. */
const char *dkim_algorithm_name(enum dkim_algorithm algorithm);

#endif
