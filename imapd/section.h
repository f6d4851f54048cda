/*
 * section - the [section]<partial> of FETCH BODY[...] (RFC 3501 6.4.5), parsed, printed and
 * resolved.
 */
#ifndef VALIJA_IMAPD_SECTION_H
#define VALIJA_IMAPD_SECTION_H

#include "imapd/mime.h"

#define MOST_SECTION_NUMBERS (MOST_PART_DEPTH + 1)
#define MOST_SECTION_FIELDS 256       /* names in HEADER.FIELDS */
#define MOST_FIELD_NAME 1000

enum section_kind {
	SECTION_WHOLE,                /* "" or a part's body */
	SECTION_HEADER,
	SECTION_FIELDS,               /* HEADER.FIELDS (names) */
	SECTION_FIELDS_NOT,           /* HEADER.FIELDS.NOT (names) */
	SECTION_TEXT,
	SECTION_MIME,
};

struct section {
	enum section_kind kind;
	uint32_t numbers[MOST_SECTION_NUMBERS];
	size_t number_count;
	struct span *fields;          /* into `names` */
	size_t field_count;
	struct text names;
	bool partial;
	uint64_t from, most;          /* <from.most>, most > 0 */
};

/* Takes "[...]" and, if it follows, "<from.most>" from the front of *in. Names may be atoms,
 * quoted strings or inline literals ("{n}" or "{n+}", CRLF, n bytes). True: release with
 * section_clear. False: *in unchanged, nothing to release, *wrong says what was expected (a
 * static text, for the BAD). */
bool section_take(struct span *in, struct section *section, const char **wrong);
/* A section that was not parsed: RFC822.HEADER, RFC822.TEXT, BODY[]. */
void section_init(struct section *section, enum section_kind kind);
void section_clear(struct section *section);
/* Appends "[HEADER.FIELDS (FROM TO)]<0>" as the FETCH response has it. */
void section_write(const struct section *section, struct text *out);
/* Whether section_find needs the parsed tree. */
bool section_needs_mime(const struct section *section);

/* Finds what the section names in `message` (CRLF, see crlf.h). `mime` may be NULL when
 * section_needs_mime says no. *bytes points into the message or into `store` (used for
 * HEADER.FIELDS; reset first, its ceiling is set here), and is already cut to the partial. False:
 * there is no such part; the answer is NIL. The bytes may hold NUL: send them with quote_literal,
 * or look for NUL before sending them as they lie. */
bool section_find(const struct section *section, struct span message, const struct mime *mime,
	struct text *store, struct span *bytes);

#endif
