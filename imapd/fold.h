/*
 * fold - simple case folding of UTF-8: one character to one character, never to a longer one.
 */
#ifndef VALIJA_IMAPD_FOLD_H
#define VALIJA_IMAPD_FOLD_H

#include "common/text.h"

/* The folded form of one character. */
uint32_t fold_character(uint32_t code);
/* Folds as much of the front of *in as fits into `to` (`room` bytes, at least 4), taking it from
 * *in; returns how many bytes it wrote. What is no UTF-8 is copied. */
size_t fold_some(struct span *in, unsigned char *to, size_t room);
/* Appends `in` folded. */
void fold_add(struct text *out, struct span in);

#endif
