/*
 * mutf7 - modified UTF-7 of mailbox names (RFC 3501 5.1.3), strictly.
 */
#ifndef VALIJA_IMAPD_MUTF7_H
#define VALIJA_IMAPD_MUTF7_H

#include "common/text.h"

/* Appends the UTF-8 of the modified UTF-7 `name`. False, nothing added: 8-bit or control
 * characters, broken or unfinished base64, bits left over, printable ASCII that was encoded, two
 * shifts where one would do, lone surrogates, U+0000 or another control character, or
 * out->failed. */
bool mutf7_to_utf8(struct span name, struct text *out);
/* Appends the modified UTF-7 of the UTF-8 `name`. False, nothing added: not valid UTF-8, a
 * control character, or out->failed. What it makes, mutf7_to_utf8 takes back to the same bytes.
 */
bool mutf7_from_utf8(struct span name, struct text *out);

#endif
