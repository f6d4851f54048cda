/*
 * dkim - what a DKIM signature is about (RFC 6376): canonical body and header, and the header field.
 *
 * Pure: no session, no key. Both canonicalizations are "relaxed" (3.4.2, 3.4.4). Work is linear in
 * the bytes.
 */
#ifndef VALIJA_SMTPD_DKIM_H
#define VALIJA_SMTPD_DKIM_H

#include <nettle/sha2.h>

#include "common/dkim-entry.h"
#include "common/text.h"

#define DKIM_HASH_SIZE SHA256_DIGEST_SIZE
#define MOST_DKIM_FIELD 4096         /* bytes of one DKIM-Signature field */
#define MOST_DKIM_SIGNED 100         /* field names in h= */

/* The hash of a body that comes in pieces. */
struct dkim_body {
	struct sha256_ctx hash;
	uint64_t empty_lines;        /* ends of lines that count only when something follows */
	bool blank;                  /* white space that counts only when something follows in the line */
	bool line;                   /* something stands in this line */
	bool cr;                     /* a CR that may begin a line end */
	bool any;                    /* something stands in the body */
};

void dkim_body_init(struct dkim_body *b);
void dkim_body_feed(struct dkim_body *b, struct span piece);
void dkim_body_finish(struct dkim_body *b, unsigned char digest[DKIM_HASH_SIZE]);

/* Appends the domain of the first address of the From field in `header` (fields with CRLF), in lower
 * case. False, nothing added: there is none, or no From, or more than one (RFC 5322 3.6). */
bool dkim_from_domain(struct span header, struct text *domain);

/* Makes the field up to and with "b=": appended to `field`, without a line end. `when` is t=. Its hash,
 * together with those fields of `header` that it names, goes to `digest`. False: too long. */
bool dkim_field_begin(const struct dkim_entry *entry, struct span header,
	const unsigned char body[DKIM_HASH_SIZE], int64_t when, struct text *field,
	unsigned char digest[DKIM_HASH_SIZE]);
/* Appends the signature, folded, and the line end. */
void dkim_field_end(struct text *field, struct span signature);

#endif
