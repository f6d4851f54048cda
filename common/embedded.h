/*
 * embedded - characters of Unicode in an address that is written in ASCII: "\x{FC}" (EmbeddedUnicodeChar of
 * RFC 6533 section 3, which ORCPT and Original-Recipient have behind "utf-8;").
 */
#ifndef VALIJA_EMBEDDED_H
#define VALIJA_EMBEDDED_H

#include "span.h"

/* Does one begin here, well formed or not? */
bool embedded_begins(struct span s);
/* Takes one from the front of *in: two to six hexadecimal digits, the first of them not 0, that stand for a character; for no
 * control, since no address may have one (RFC 5321 4.1.2, RFC 6531 3.3). False, and nothing taken, where there is none. */
bool embedded_take(struct span *in, uint32_t *code);

#endif
