/*
 * envelope - the arguments of MAIL and RCPT, as text and as what they mean.
 */
#ifndef VALIJA_SMTPD_ENVELOPE_H
#define VALIJA_SMTPD_ENVELOPE_H

#include "common/address.h"
#include "common/message.h"

/* One of our own refusals: static text, so that the whole vocabulary can be read in the sources. */
struct refusal {
	unsigned int code;
	const char *status;      /* RFC 3463 */
	const char *reason;
};

struct envelope_sender {
	struct address address;
	bool null;               /* "<>" */
	bool has_size, utf8;
	uint64_t size;
	enum body body;
};

/* What follows "MAIL". `extended`: the client said EHLO, parameters are allowed. Spans lie inside
 * `in`. NULL when all is well, else the refusal. */
const struct refusal *envelope_parse_mail(
	struct span in, bool extended, struct envelope_sender *to);
/* What follows "RCPT". `utf8`: SMTPUTF8 was said with MAIL. */
const struct refusal *envelope_parse_rcpt(struct span in, bool utf8, struct address *to);
/* The address without brackets and route: local@domain, or "postmaster". */
void envelope_address_put(struct text *to, const struct address *a);

#endif
