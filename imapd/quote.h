/*
 * quote - strings in IMAP responses (RFC 3501 section 9: nstring, string, astring, literal).
 *
 * Whatever bytes are given, what comes out is valid. NUL, which not even a literal may hold
 * (CHAR8), becomes 0x80.
 */
#ifndef VALIJA_IMAPD_QUOTE_H
#define VALIJA_IMAPD_QUOTE_H

#include "common/text.h"

#define MOST_QUOTED 1000     /* longer strings are literals */

/* Quoted when all bytes are 7-bit and none is a control character (but TAB), else literal. */
void quote_string(struct text *out, struct span string);
/* NIL when string.at is NULL, else as quote_string. An empty string with .at not NULL is "". */
void quote_nstring(struct text *out, struct span string);
/* An atom when it can be one (and is not NIL), else as quote_string. For mailbox and header
 * names. */
void quote_astring(struct text *out, struct span string);
/* Quoted when `string` is UTF-8 without control characters (RFC 6855, RFC 9051), else as
 * quote_string. Only for clients that have enabled it. The second is for names: an atom when it can be one. */
void quote_utf8_string(struct text *out, struct span string);
void quote_utf8(struct text *out, struct span string);
/* "{n}" CRLF bytes. */
void quote_literal(struct text *out, struct span bytes);
/* A header field's raw value: NIL when .at is NULL, else unfolded, cut at MOST_FIELD_VALUE, and as
 * quote_string. */
void quote_field(struct text *out, struct span value);
/* Replaces NUL by 0x80 in place. */
void quote_mend_nul(unsigned char *at, size_t len);

#endif
