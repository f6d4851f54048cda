/*
 * encoded-word - header values as their reader sees them: RFC 2047 encoded words (with the
 * language tag of RFC 2231 section 5) as UTF-8.
 */
#ifndef VALIJA_IMAPD_ENCODED_WORD_H
#define VALIJA_IMAPD_ENCODED_WORD_H

#include "common/text.h"

/* Appends the decoded and unfolded `value` (a field's raw value) to `out`. Blanks between
 * adjacent encoded words go (RFC 2047 6.2); a character split over two words of one charset is
 * joined. Words that are broken stay as they are; bytes that are not UTF-8 outside words are read
 * as Windows-1252. The result is valid UTF-8. Fails only by out->failed. */
void encoded_word_decode(struct span value, struct text *out);

#endif
