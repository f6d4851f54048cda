/*
 * status - OCSP (RFC 6960): asking an authority about a certificate, and judging what it says.
 *
 * For program ocsp, which asks, and for the TLS workers, which staple an answer (RFC 6066 section 8) and
 * believe nobody but the authority. Nobody here opens anything; failures are sentences.
 */
#ifndef VALIJA_STATUS_H
#define VALIJA_STATUS_H

#include "chain.h"

#define MOST_STATUS_RESPONSE 60000      /* bytes: what program fetch brings, and a message carries */
#define MOST_STATUS_URL 1024
#define STATUS_SLACK_SECONDS 300        /* the clock of the authority may be ahead of ours by so much */
#define STATUS_WITHOUT_END_SECONDS (7 * 86400) /* how long an answer without nextUpdate is good */

enum status_word { STATUS_UNUSABLE = 0, STATUS_GOOD, STATUS_REVOKED };

/* What a response says of a certificate. */
struct status_facts {
	enum status_word word;
	int64_t from, until;            /* thisUpdate; until when it may be shown. Seconds since 1970 */
	int64_t revoked;                /* when, if so */
};

/* The first http:// or https:// URL at which the authority answers for the chain's first certificate
 * (authority information access, RFC 5280 4.2.2.1). False: it names none, or none that can be used. */
bool status_url(const struct chain *chain, struct text *url);
/* Must the certificate be shown with a response (TLS feature, RFC 7633)? */
bool status_is_owed(const struct chain *chain);
/* A request (DER) for it, as in RFC 5019 2.1: one certificate, SHA-1 as an identifier only, no nonce.
 * Needs the issuer in the chain. 0, or -1 with a sentence. */
int status_request(const struct chain *chain, struct text *der, struct text *why);
/* Judges a response (DER; hostile): of this certificate, in force at `now`, signed by its issuer, or by
 * whom the issuer let sign (RFC 6960 4.2.2.2). 0 with *facts: GOOD or REVOKED. -1 with a sentence: worth
 * nothing. */
int status_judge(struct span der, const struct chain *chain, int64_t now, struct status_facts *facts,
	struct text *why);

#endif
