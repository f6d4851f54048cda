/*
 * expiry - the ends of the certificates in service: for `valija status`, and by mail to postmaster.
 *
 * tls-key, which reads certificates, says of each what it is and when it ends (certificate_told). Postmaster
 * gets a mail (notice, through queue) when one has 21, 7, 3 days or 1 day left, and when it is over: each
 * once, also across restarts (expiry-told.h; the file EXPIRY_FILE beside the certificates). He also hears
 * when a certificate comes into service that was never seen: renewed, installed, or put there by a tool; and
 * when ocsp says (revocation_told) that the authority of one has revoked it.
 */
#ifndef VALIJA_EXPIRY_H
#define VALIJA_EXPIRY_H

#include "master/supervisor.h"

#define EXPIRY_FILE "told"
#define EXPIRY_LOOK_SECONDS 3600
#define EXPIRY_RETRY_SECONDS 2          /* queue is away, or still starting */
#define MOST_EXPIRY_NAME 255

/* A certificate in service. */
struct expiry_entry {
	uint16_t number;                        /* of which member of tls_certificate */
	unsigned char fingerprint[32];
	char name[MOST_EXPIRY_NAME + 1];
	int64_t not_before, not_after;          /* of the chain, seconds since 1970 */
};

/* What the authority of a certificate says of it. Of those that were there lately, by fingerprint: what ocsp
 * says may come before tls-key says that the certificate is in service. */
struct expiry_word {
	unsigned char fingerprint[32];
	enum revocation word;
	int64_t until;                          /* seconds since 1970 */
};

void expiry_begin(struct supervisor *s);
void expiry_end(struct supervisor *s);
/* tls-key says of one of the certificates in service what it is. */
void expiry_hear(struct supervisor *s, const struct msg_certificate_told *m);
/* ocsp says what the authority of a certificate says of it. */
void expiry_hear_revocation(struct supervisor *s, const struct msg_revocation_told *m);
/* What is known of the revocation of a certificate now; REVOCATION_UNASKED when nobody is asked about it. */
struct expiry_word expiry_word(const struct supervisor *s, const struct expiry_entry *c);
/* Certificate i in service, or NULL. */
const struct expiry_entry *expiry_entry(const struct supervisor *s, size_t i);

#endif
