/*
 * parameters - the ESMTP parameters behind MAIL and RCPT (RFC 5321 4.1.2).
 */
#ifndef VALIJA_SMTPD_PARAMETERS_H
#define VALIJA_SMTPD_PARAMETERS_H

#include "common/span.h"

struct esmtp_parameter {
	struct span name, value;
	bool has_value;
};

/* Takes blanks and one parameter, `name` or `name=value`, from the front of *in. False, and nothing
 * taken, when there is none in proper form. */
bool esmtp_parameter_take(struct span *in, struct esmtp_parameter *p);
/* May this stand behind EHLO and HELO? A host name by the rules, or an address literal; or what many machines of
 * Windows and of home networks say, with underscores. Nothing that would mean anything in a header. */
bool esmtp_helo_fits(struct span name);
/* Decodes xtext (RFC 3461 section 4) into `to` of `room` bytes, with NUL. Only what stands for
 * printable ASCII alone: a line break or a NUL in disguise would come alive in a header. False when
 * it is malformed or does not fit; then `to` means nothing. */
bool esmtp_xtext_decode(struct span value, char *to, size_t room);
/* Decodes the value of ORCPT (RFC 3461 4.2; RFC 6533 section 3 when `utf8`): "type;address". */
bool esmtp_orcpt_decode(struct span value, bool utf8, char *to, size_t room);

#endif
