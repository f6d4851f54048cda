/*
 * header - the fields of a message or part header (RFC 5322 2.2), found without copying.
 *
 * Tolerant of what arrives: LF for CRLF, blanks before the colon, 8-bit bytes and NUL anywhere,
 * lines that are no field (they come with an empty name, so that nothing gets lost).
 */
#ifndef VALIJA_IMAPD_HEADER_H
#define VALIJA_IMAPD_HEADER_H

#include "common/text.h"

/* What of one field's value is looked at for ENVELOPE, BODYSTRUCTURE and searching; longer values
 * are cut there (never in BODY[]). */
#define MOST_FIELD_VALUE ((size_t)256 * 1024)

struct field {
	struct span whole;  /* with its folded lines and its line end */
	struct span name;   /* without the colon; empty for a line that is no field */
	struct span value;  /* behind the colon, folds inside, without leading blanks and line end */
};

/* Takes the next field from the front of *header. False at the end and at the blank line (which is
 * left in *header). The spans lie inside the old *header. Linear. */
bool field_take(struct span *header, struct field *field);
/* Whether the first line of a part belongs to a header. One that cannot be a field means that there is none: then
 * everything is body. An mbox separator ("From ", ">From ") may stand first. */
bool header_starts(struct span part);
/* The same for a whole message: that a first line is broken does not hide what stands behind it, where two of the fields
 * that every message has come before a blank line. */
bool message_starts(struct span message);
/* How long the header at the front of `message` is, with its blank line; 0 where there is none (message_starts). Without
 * a blank line all of `message` is header. */
size_t header_length(struct span message);
/* Whether the line at the front is blank: CRLF or LF at once. */
bool line_is_empty(struct span in);
/* Whether a field can start with the line at the front of `line`: a name and a colon. */
bool field_starts(struct span line);
/* The first field called `name` (in any case), its value in *value. False, nothing done, if there
 * is none. */
bool header_find(struct span header, struct span name, struct span *value);
/* Appends `value` with each fold's line end removed (RFC 5322 2.2.3), its blanks kept; stray CR
 * and LF go too, nothing else changes. Trailing blanks are dropped. */
void field_unfold(struct span value, struct text *out);
/* Takes blanks, folds and comments (RFC 5322 3.2.2; nested as deep as they come, an unclosed one
 * ends with the text) from the front. When `comment` is not NULL the inside of the last comment
 * goes there (else it is left as it was). Never fails. */
void cfws_skip(struct span *in, struct span *comment);
/* Takes a quoted string (RFC 5322 3.2.4) with its quotes; *inside lies between them, still with
 * backslashes. An unclosed one ends with the text. False if none stands there. */
bool quoted_take(struct span *in, struct span *inside);
/* Appends the inside of a quoted string or comment: backslashes and line ends of folds removed. */
void quoted_add(struct text *out, struct span inside);

#endif
