/*
 * mime - the tree of a message's parts (RFC 2045, 2046), as offsets into the message.
 *
 * One pass, linear in the size of the message whatever it contains; no recursion; all memory is
 * the array of parts. Nothing is copied: every span lies inside the message, which must outlive
 * the tree. Past a limit a part becomes a leaf of type application/octet-stream, so that what is
 * told of it stays valid and the client can still fetch all its bytes.
 */
#ifndef VALIJA_IMAPD_MIME_H
#define VALIJA_IMAPD_MIME_H

#include "common/text.h"

#define MOST_PARTS 10000
#define MOST_PART_DEPTH 100
#define MOST_BOUNDARY 256            /* bytes that are compared (RFC 2046 allows 70) */
#define MOST_PARAMETERS 500          /* parameters of one field that are looked at */
#define MOST_PARAMETER_PIECES 100              /* of one RFC 2231 parameter: name*0, name*1, ... */

#define NO_PART UINT32_MAX

enum part_kind {
	PART_LEAF,
	PART_MULTIPART,   /* children are its parts, one at least */
	PART_MESSAGE,     /* message/rfc822, message/global: one child, the message inside */
};

struct part {
	enum part_kind kind;
	uint32_t parent, first_child, next;    /* NO_PART where there is none */
	uint32_t last_child;
	uint32_t depth;                        /* 0 for the message itself */
	size_t header_at, header_len;          /* with the blank line */
	size_t body_at, body_len;
	size_t lines;                          /* LFs in the body */
	struct span type, subtype;             /* as sent, or the default (then static) */
	/* Raw values of the fields, folds inside; .at is NULL where the field is missing. The
	 * first of a kind counts. content_type is NULL too where type and subtype are not the
	 * sender's: "text" "plain" when the field is broken (RFC 2045 5.2) or a multipart in which
	 * no part was found, "application" "octet-stream" past a limit. */
	struct span content_type;
	struct span encoding, id, description, md5, disposition, language, location;
};

struct mime {
	struct span message;
	struct part *parts;       /* parts[0] is the message; in the order of the message */
	uint32_t count;
	uint32_t room;
	bool limited;             /* a limit was met */
};

/* Parses `message` (CRLF lines, see crlf.h; LF is understood but counts as it stands). Never
 * fails: anything at all is a message. Release with mime_clear. */
void mime_parse(struct span message, struct mime *mime);
void mime_clear(struct mime *mime);

struct span mime_header(const struct mime *mime, const struct part *part);
struct span mime_body(const struct mime *mime, const struct part *part);
/* The part that a FETCH part number names (RFC 3501 6.4.5): "1" of a message without parts is its
 * body; numbers below a message/rfc822 count inside the message in it. NULL if there is none. */
const struct part *mime_part(const struct mime *mime, const uint32_t *numbers, size_t count);
/* text/anything, the default included. */
bool part_is_text(const struct part *part);

/* One "name=value" of a field, as sent. */
struct parameter {
	struct span name;
	struct span value;      /* inside the quotes when quoted */
	bool quoted;       /* value may hold backslashes and folds: append it with quoted_add */
};

/* Takes `type/subtype` from the front of a Content-Type value. False, *in unchanged, if broken. */
bool content_type_take(struct span *in, struct span *type, struct span *subtype);
/* Takes the first word of a Content-Disposition, Content-Transfer-Encoding or Content-Language
 * value. */
bool mime_token_take(struct span *in, struct span *token);
/* Takes the next parameter, with its semicolon, from the rest of such a value; skips what is no
 * parameter. False at the end. */
bool parameter_take(struct span *in, struct parameter *parameter);
/* Calls tell() for each parameter, MOST_PARAMETERS at most, as a client hears of it: quoted pairs and folds undone. One
 * that was sent in pieces (name*0, name*1; RFC 2231 sections 3 and 6) is one, "name", or "name*" with all of it
 * percent-encoded where a piece is; a charset is left to the client. Pieces behind one that is missing stay as sent. */
void parameters_tell(struct span in, void (*tell)(void *me, struct span name, struct span value),
	void *me);
/* Appends the value of parameter `name` of the field value `in` (from its first word on), RFC
 * 2231 continuations joined and percent-encoding removed (the charset prefix dropped). False,
 * nothing added, if there is none. */
bool parameter_find(struct span in, struct span name, struct text *value);

#endif
