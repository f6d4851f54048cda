/*
 * imap-parse - the words of IMAP commands (RFC 3501 section 9), taken from the front of a span.
 *
 * Each function that succeeds moves *in behind what it took; one that fails leaves everything as
 * it was. What they hand out points into the command, or into `arena` where a quoted string had
 * backslashes. NUL is refused everywhere, 8-bit bytes everywhere but in literals, and, as UTF-8, in quoted
 * strings that a `wide` arena takes.
 */
#ifndef VALIJA_IMAPD_IMAP_PARSE_H
#define VALIJA_IMAPD_IMAP_PARSE_H

#include "common/span.h"
#include "imapd/arena.h"

#define MOST_IMAP_NESTING 100   /* parentheses within parentheses */

bool imap_is_atom_char(unsigned char c);
/* Exactly one space: the grammar never allows more. */
bool imap_take_space(struct span *in);
bool imap_take_tag(struct span *in, struct span *tag);
bool imap_take_atom(struct span *in, struct span *atom);
bool imap_take_quoted(struct span *in, struct arena *arena, struct span *s);
/* "{n}" CRLF bytes, with n bytes there; "{n+}" too (RFC 7888). */
bool imap_take_literal(struct span *in, struct span *s);
/* "~{n}" CRLF bytes, NUL among them too (RFC 3516 literal8). */
bool imap_take_literal8(struct span *in, struct span *s);
bool imap_take_string(struct span *in, struct arena *arena, struct span *s);
bool imap_take_astring(struct span *in, struct arena *arena, struct span *s);
/* list-mailbox: an astring that may hold % and * unquoted. */
bool imap_take_pattern(struct span *in, struct arena *arena, struct span *s);
/* nstring; NIL gives s->at NULL. */
bool imap_take_nstring(struct span *in, struct arena *arena, struct span *s);
bool imap_take_number(struct span *in, uint32_t *n);
/* A modification sequence, or 0: 63 bits (RFC 7162 section 7). */
bool imap_take_modseq(struct span *in, uint64_t *n);
/* ID's argument (RFC 2971): NIL, or a list of pairs. What it says is not kept. */
bool imap_take_id(struct span *in, struct arena *arena);
/* "{n}" or "{n+}" at the very end of *in, which is then empty: an announcement whose bytes are
 * yet to come. */
bool imap_take_announcement(struct span *in, uint64_t *size);

#endif
