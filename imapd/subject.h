/*
 * subject - the base subject of a message (RFC 5256 section 2.1): without "Re:", "[list]", "(fwd)".
 */
#ifndef VALIJA_IMAPD_SUBJECT_H
#define VALIJA_IMAPD_SUBJECT_H

#include "common/text.h"

#define MOST_SUBJECT 4096    /* bytes of a decoded subject that count; linear in them */

/* Appends the base of `value` (a Subject field's raw value), decoded and folded (fold.h), so that
 * equal bases are equal bytes. Returns whether something marked it as a reply or a forward. Fails
 * only by out->failed. */
bool subject_base(struct span value, struct text *out);

#endif
