/*
 * utf8 - characters of UTF-8 (RFC 3629), one at a time.
 */
#ifndef VALIJA_UTF8_H
#define VALIJA_UTF8_H

#include "text.h"

#define REPLACEMENT_CHARACTER 0xfffdu

enum utf8_result {
	UTF8_CHARACTER,    /* taken */
	UTF8_BROKEN,       /* the first byte starts no character: nothing taken */
	UTF8_UNFINISHED,   /* they could start one, the rest is missing (or *in is empty) */
};

/* Takes one character from the front of *in. Overlong forms, surrogates and what lies past
 * U+10FFFF are broken. */
enum utf8_result utf8_take(struct span *in, uint32_t *code);
/* Writes `code` (a valid character) to `to`, which has room for 4 bytes; returns how many it
 * took. */
size_t utf8_put(unsigned char *to, uint32_t code);
void utf8_add(struct text *out, uint32_t code);
/* How many bytes at the front of `in` are ASCII. */
size_t utf8_ascii_length(struct span in);
/* How long the run of valid UTF-8 (NUL too) at the front is; *why tells what stands behind it,
 * UTF8_CHARACTER for nothing. Fast on ASCII. */
size_t utf8_valid_length(struct span in, enum utf8_result *why);

#endif
