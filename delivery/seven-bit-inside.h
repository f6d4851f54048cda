/* seven-bit-inside - what the files of seven-bit.h share: headers of parts, and encodings. */
#ifndef VALIJA_SEVEN_BIT_INSIDE_H
#define VALIJA_SEVEN_BIT_INSIDE_H

#include "common/text.h"
#include "seven-bit.h"

#define MOST_LINE 998                    /* RFC 5321 4.5.3.1.6 */

/* What becomes of a part that needs it: nothing; its header alone says another encoding; its body too. */
enum encoding { AS_IT_IS, SEVEN_BIT, QUOTED_PRINTABLE, BASE64 };

/* --- headers (seven-bit-header.c) --- */

struct entity {
	struct span type, subtype, encoding; /* in the header that was read */
	char boundary[MOST_SEVEN_BIT_BOUNDARY + 1];
	bool has_version, has_type;
};

/* Reads a header, to its blank line or its end. */
void entity_read(struct span header, struct entity *e);
/* What it holds, and what is to become of it. digest: the part of one. */
enum part_kind { LEAF, MULTIPART, MESSAGE };
enum part_kind entity_kind(const struct entity *e, bool digest, enum encoding *encoding);
/* The header with another Content-Transfer-Encoding; of the message itself also with what MIME wants to be said. */
void entity_put_header(struct span header, enum encoding encoding, bool outermost, struct text *out);
/* CRLF or LF alone. */
bool line_is_blank(struct span line);
/* Is this line a delimiter of `boundary` (RFC 2046 5.1.1)? */
bool line_is_delimiter(struct span line, const char *boundary, bool *last);

/* --- bodies (seven-bit-body.c) --- */

/* Encodes from the front of `in` as much as can be told without what follows (last: nothing does), at most what leaves
 * few octets more than three times of it; returns how much that was, never 0 of 128 and more. column: of the line that
 * is being written, 0 at first. */
size_t quoted_printable_put(struct span in, bool last, unsigned int *column, struct text *out);
size_t base64_put(struct span in, bool last, struct text *out);

#endif
