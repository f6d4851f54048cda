/*
 * dane - TLSA records (RFC 6698, RFC 7671) against the certificates that a mail server showed, by
 * the rules of RFC 7672.
 *
 * Only usages 2 (DANE-TA) and 3 (DANE-EE) count; 0 and 1 are unusable for SMTP (RFC 7672 3.1.3), as
 * is what we do not know or what has not the length of its hash. Where SHA-512 stands beside SHA-256
 * for one usage and selector, SHA-256 is not looked at (RFC 7671 section 9).
 */
#ifndef VALIJA_DANE_H
#define VALIJA_DANE_H

#include <gnutls/x509.h>

#include "common/span.h"

#define MOST_TLSA_RECORDS 100   /* of one name; what comes after is not looked at */
#define MOST_PEER_CHAIN 16      /* certificates that a server may show */

enum { TLSA_TA = 2, TLSA_EE = 3 };

struct tlsa {
	uint8_t usage, selector, matching;
	struct span data;
};

/* Takes one record of the packed list (u8 usage, u8 selector, u8 matching, u16 length in host order,
 * data) from the front of *in. False, and nothing taken, when it is cut short. */
bool tlsa_take(struct span *in, struct tlsa *record);
/* Is the whole list well-formed? */
bool tlsa_is_list(struct span list);
/* May this record decide about a mail server? */
bool tlsa_is_usable(const struct tlsa *record);
/* How many records of the list may. */
unsigned int tlsa_count_usable(struct span list);
/* Is it this certificate, or its key? */
bool tlsa_fits(const struct tlsa *record, gnutls_x509_crt_t crt);
/* Does a record of `usage` fit? The list's digest agility is heeded. */
bool tlsa_list_fits(struct span list, uint8_t usage, gnutls_x509_crt_t crt);

#endif
