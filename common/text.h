/*
 * text - bytes that grow, with a ceiling that is named at birth.
 *
 * Failure sticks: after an addition that would pass the ceiling, `failed` is
 * set, the text keeps what it had, and later additions do nothing; so a dozen
 * additions can be checked once. Memory that cannot be had ends the process
 * (the ceiling bounds what a stranger can ask for).
 */
#ifndef VALIJA_TEXT_H
#define VALIJA_TEXT_H

#include "span.h"

struct text {
	unsigned char *at;
	size_t len;
	size_t room;   /* bytes allocated */
	size_t most;   /* ceiling in bytes */
	bool failed;
};

#define TEXT_UP_TO(ceiling) ((struct text){ NULL, 0, 0, (ceiling), false })

void text_add(struct text *t, struct span s);
void text_add_str(struct text *t, const char *string);
void text_add_byte(struct text *t, unsigned char c);
void text_add_number(struct text *t, uint64_t n);
/* Hexadecimal, lower case. */
void text_add_hex(struct text *t, struct span s);
/* Base64 (RFC 4648 section 4) with padding. */
void text_add_base64(struct text *t, struct span s);
/* Decodes strict base64: padding required, no line breaks. False (nothing added) if malformed or
 * over the ceiling. */
bool text_add_base64_decoded(struct text *t, struct span s);
void text_printf(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What is in it; valid until the next addition, clear or drop. */
struct span text_span(const struct text *t);
/* A NUL-terminated view; valid as text_span. The NUL is not counted. */
const char *text_str(struct text *t);
/* Removes `len` bytes from the front. */
void text_drop(struct text *t, size_t len);
/* Empty again, memory kept, failure forgotten. */
void text_reset(struct text *t);
/* Memory given back; can be used again. */
void text_clear(struct text *t);
/* As text_clear, wiping first: for secrets. */
void text_wipe(struct text *t);

/* malloc that ends the process instead of returning NULL. Sizes from outside are checked first. */
void *must_alloc(size_t size) __attribute__((malloc, returns_nonnull));  /* zeroed */
void *must_realloc(void *old, size_t size) __attribute__((returns_nonnull));
char *must_copy(struct span s) __attribute__((returns_nonnull)); /* with NUL at its end */

#endif
