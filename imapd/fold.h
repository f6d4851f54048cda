/*
 * fold - UTF-8 without its case and its ways of writing: i;unicode-casemap (RFC 5051).
 *
 * Each character becomes its titlecase, then its decomposition: "e" with an acute accent in one
 * character or in two is the same, and so is a full-width letter and its plain form. What is equal
 * after folding is equal for SEARCH, SORT and THREAD (I18NLEVEL=1, RFC 5255 section 4.4); bytes of
 * folded texts are compared for order.
 */
#ifndef VALIJA_IMAPD_FOLD_H
#define VALIJA_IMAPD_FOLD_H

#include "common/text.h"

#define MOST_FOLDED 64     /* bytes that one character can become (U+FDFA: 33) */

/* Folds as much of the front of *in as fits into `to` (`room` bytes, at least MOST_FOLDED), taking
 * it from *in; returns how many bytes it wrote. What is no UTF-8 is copied. */
size_t fold_some(struct span *in, unsigned char *to, size_t room);
/* Appends `in` folded. Fails only by out->failed. */
void fold_add(struct text *out, struct span in);

#endif
