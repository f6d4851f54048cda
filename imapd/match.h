/*
 * match - does a message contain a string (RFC 3501 6.4.4: case-insensitive substring)?
 *
 * Needle and text are compared as UTF-8 after simple case folding (ASCII, Latin, Greek, Cyrillic,
 * Armenian, full-width, Roman and circled); composed and decomposed letters stay different. Headers
 * are decoded (encoded-word.h), bodies are undone from their transfer encoding and charset. Memory
 * is bounded whatever the message; text is read in pieces.
 */
#ifndef VALIJA_IMAPD_MATCH_H
#define VALIJA_IMAPD_MATCH_H

#include "imapd/mime.h"

#define MOST_NEEDLE 65536

struct needle {
	struct text folded;
	bool holds_window;           /* a part in the one window of all needles */
};

/* Makes a needle of `string`, which is in charset `charset` (NULL name: UTF-8/US-ASCII). An empty
 * string is in everything. False, nothing to release: the charset is not known (*bad_charset =
 * true), or too long. Release with needle_clear. */
bool needle_init(struct needle *needle, struct span string, struct span charset, bool *bad_charset);
void needle_clear(struct needle *needle);

/* Whether UTF-8 `text` holds the needle. */
bool match_text(const struct needle *needle, struct span text);
/* Whether some field `name` of `header` (a message's header) holds the needle in its decoded
 * value; with an empty needle: whether the field is there at all (RFC 3501, HEADER). For SUBJECT,
 * FROM, TO, CC, BCC, HEADER. */
bool match_field(const struct needle *needle, struct span header, struct span name);
/* Whether any line of `header` holds it (name, colon and decoded value). */
bool match_header(const struct needle *needle, struct span header);
/* SEARCH BODY: text and message parts, decoded, and the headers of parts and of messages within. */
bool match_body(const struct needle *needle, const struct mime *mime);
/* SEARCH TEXT: the message's own header too. */
bool match_message(const struct needle *needle, const struct mime *mime);

#endif
