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
/* Is it xtext (RFC 3461 section 4) that stands for printable ASCII alone? A line break or a NUL
 * in disguise would come alive where somebody decodes it. */
bool esmtp_is_xtext(struct span value);

#endif
