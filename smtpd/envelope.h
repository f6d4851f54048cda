/*
 * envelope - the arguments of MAIL and RCPT, as text and as what they mean.
 */
#ifndef VALIJA_SMTPD_ENVELOPE_H
#define VALIJA_SMTPD_ENVELOPE_H

#include "common/address.h"
#include "common/message.h"
#include "common/solicitation.h"

/* One of our own refusals: static text, so that the whole vocabulary can be read in the sources. */
struct refusal {
	unsigned int code;
	const char *status;      /* RFC 3463 */
	const char *reason;
};

#define MOST_BY 999999999  /* RFC 2852 section 4: nine digits */
#define MOST_PRIORITY 9    /* RFC 6710 section 4 */

/* What was offered to this client: a parameter of another extension is not recognised. */
enum offers {
	OFFERS_PARAMETERS = 1 << 0,   /* EHLO or LHLO was said */
	OFFERS_REQUIRETLS = 1 << 1,   /* inside TLS (RFC 8689) */
	OFFERS_RELEASE    = 1 << 2,   /* to submitters (RFC 4865) */
	OFFERS_PRIORITY   = 1 << 3,   /* to submitters (RFC 6710) */
	OFFERS_SOLICIT    = 1 << 4,   /* where classes are refused (RFC 3865) */
};

struct envelope_sender {
	struct address address;
	bool null;               /* "<>" */
	bool has_size, utf8;
	uint64_t size;
	enum body body;
	enum ret ret;
	char envid[MOST_ENVID + 1];       /* decoded; "": none */
	char auth[MOST_ADDRESS + 1];      /* AUTH=, decoded; "<>" or "": nobody */
	bool require_tls;
	char by_mode;                     /* 'N', 'R'; 0: no BY */
	bool by_trace;
	int64_t by_seconds;               /* from now; not above 0 only with 'N' */
	uint64_t hold_until;              /* seconds since 1970; 0: now */
	uint32_t hold_for;                /* the seconds that HOLDFOR said, or 0 */
	int priority;                     /* -9 to 9 */
	char solicit[SOLICITATION_MOST + 1];   /* keywords; "": none */
};

struct envelope_recipient {
	struct address address;
	uint8_t notify;                   /* of enum notify */
	char orcpt[MOST_ORCPT + 1];       /* "type;address", decoded; "": none */
};

/* What follows "MAIL". `offers`: bits of enum offers; `now` and `release_most` (seconds) bound
 * HOLDFOR and HOLDUNTIL. Spans lie inside `in`. NULL when all is well, else the refusal. */
const struct refusal *envelope_parse_mail(struct span in, unsigned int offers, uint64_t now,
	uint64_t release_most, struct envelope_sender *to);
/* What follows "RCPT". `utf8`: SMTPUTF8 was said with MAIL. */
const struct refusal *envelope_parse_rcpt(struct span in, unsigned int offers, bool utf8,
	struct envelope_recipient *to);
/* Where the address should be in what follows "MAIL" or "RCPT", however wrong it is: for the log alone. */
struct span envelope_said(struct span in);
/* The address without brackets and route: local@domain, or "postmaster". */
void envelope_address_put(struct text *to, const struct address *a);

#endif
