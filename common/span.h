/*
 * span - bytes somewhere else: a pointer and a length, never a NUL at the end.
 *
 * A span owns nothing. It is valid as long as the memory that it points into;
 * whoever hands one out says until when. Parsers take from the front: a
 * span_take_* function that succeeds moves the start of *in behind what it
 * took; one that fails leaves everything as it was.
 */
#ifndef VALIJA_SPAN_H
#define VALIJA_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span {
	const unsigned char *at;
	size_t len;
};

/* A span over a string literal, without its NUL. */
#define SPAN(literal) ((struct span){ (const unsigned char *)("" literal), sizeof(literal) - 1 })
#define SPAN_NONE ((struct span){ NULL, 0 })
/* For printf: "%.*s". Only for bytes that were checked to be printable. */
#define SPAN_ARG(s) (int)(s).len, (const char *)(s).at

struct span span_of(const void *at, size_t len);
/* Over a C string; NULL gives an empty span. */
struct span span_str(const char *string);

bool span_equal(struct span a, struct span b);
/* Same bytes but for the case of ASCII letters. */
bool span_equal_nocase(struct span a, struct span b);
/* Byte order, shorter first where one is the start of the other: <0, 0, >0. */
int span_compare(struct span a, struct span b);
bool span_starts_nocase(struct span s, struct span prefix);
bool span_has(struct span s, unsigned char c);
/* Where `needle` first stands in `s`, or s.len. */
size_t span_find(struct span s, struct span needle);
/* Where `c` first (last) stands in `s`, or s.len. */
size_t span_index(struct span s, unsigned char c);
size_t span_rindex(struct span s, unsigned char c);
/* The part of `s` from `from`, `len` bytes at most; bounds are clamped. */
struct span span_part(struct span s, size_t from, size_t len);
struct span span_trim(struct span s); /* without blanks and tabs at both ends */
/* Only 0x20..0x7e. */
bool span_is_printable(struct span s);
/* Well-formed UTF-8 (RFC 3629), no NUL. */
bool span_is_utf8(struct span s);

/* The value of a hexadecimal digit in either case, or -1. */
int span_hex_value(unsigned char c);

/* Takes one byte if it is `c`. */
bool span_take(struct span *in, unsigned char c);
/* Takes `word` if it stands at the front, in any ASCII case. */
bool span_take_word(struct span *in, struct span word);
/* Takes decimal digits as a number of at most `most`; fails on no digit and on overflow. */
bool span_take_number(struct span *in, uint64_t most, uint64_t *number);
/* Takes everything before the first `c`, and `c`; fails if there is none. */
bool span_take_until(struct span *in, unsigned char c, struct span *part);
/* Takes `len` bytes; fails if there are fewer. */
bool span_take_bytes(struct span *in, size_t len, struct span *part);

/* Copies into `to` of `room` bytes and ends with NUL. False, and nothing done, when it does not
 * fit with its NUL or holds a NUL. */
bool span_copy(struct span s, char *to, size_t room);

#endif
