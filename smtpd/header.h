/*
 * header - reads the header of a message while it comes in, and passes it on.
 *
 * It counts Received fields, sees whether Date and Message-ID are there, finds the end of the
 * header, and can leave out Bcc. What it cannot yet tell apart (the start of a line) it holds back,
 * HEADER_NAME_MOST octets at most. Lines are taken as data.h gives them: CR LF ends them.
 */
#ifndef VALIJA_SMTPD_HEADER_H
#define VALIJA_SMTPD_HEADER_H

#include "common/solicitation.h"
#include "common/text.h"

#define HEADER_NAME_MOST 256              /* a longer one is no field name */
#define HEADER_BYTES_MOST (512 * 1024)    /* all fields together; more is refused */

enum header_place {
	HEADER_LINE = 0,    /* at, or shortly after, the start of a line: nothing decided */
	HEADER_FIELD,       /* in a field that goes on */
	HEADER_LEFT_OUT,    /* in a field that does not (Bcc) */
	HEADER_ENDED,
};

/* All zero is the beginning; submitted may be set before the first octet. */
struct header_scan {
	enum header_place place;
	bool submitted;           /* by one of ours: some fields are left out */
	bool has_date, has_message_id;
	bool starts_folded;       /* the first line starts with a blank: no field to continue */
	bool needs_blank_line; /* it ended with a line that is no field: a blank line was put in */
	bool leaving_out;         /* the field before was left out, and so are its continuations */
	uint32_t received, fields;
	bool in_tls_required;     /* the field at hand is TLS-Required (RFC 8689) */
	uint32_t tls_required;    /* fields of that name, and what the first octets of their values are */
	size_t wish_len;
	bool wish_over;
	unsigned char wish[4];
	bool in_solicitation;     /* the field at hand is Solicitation (RFC 3865 2.5) */
	size_t solicitation_len;  /* of what fields of that name say, as far as there is room */
	unsigned char solicitation[SOLICITATION_MOST];
	uint64_t size;
	size_t held;
	unsigned char hold[HEADER_NAME_MOST];
};

/* Takes header octets from *in and adds them to `out`; stops behind the blank line, or before the
 * line that cannot be a field (then an empty line is added). place tells whether it ended. */
void header_scan_feed(struct header_scan *h, struct span *in, struct text *out);
/* The message is over: what was held back goes to `out`. */
void header_scan_finish(struct header_scan *h, struct text *out);
/* "TLS-Required: No" (RFC 8689 section 3), once, in what was scanned. */
bool header_wants_no_tls(const struct header_scan *h);

#endif
