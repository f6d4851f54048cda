/*
 * mime - the tree of a message's parts. See mime.h.
 *
 * One walk over the lines. The multiparts that are open lie on a stack of MOST_PART_DEPTH; each
 * line that starts with two hyphens is compared with their boundaries, so the work is at most
 * bytes x depth, and in practice bytes.
 */
#include "imapd/mime.h"

#include "imapd/header.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 16

struct open {
	uint32_t part;
	size_t len;
	unsigned char boundary[MOST_BOUNDARY];
};

struct walk {
	struct mime *mime;
	struct span message;
	size_t at;              /* always at the start of a line */
	size_t lines;           /* LFs before `at` */
	uint32_t current;       /* the innermost part that is not closed */
	size_t opened;
	struct open open[MOST_PART_DEPTH];
};

/* A line that ends one part and may start the next. */
struct delimiter {
	size_t open;            /* which multipart it belongs to */
	bool last;              /* ends in two hyphens */
};

static struct part *
part_new(struct walk *walk, uint32_t parent)
{
	struct mime *mime = walk->mime;
	struct part *part;
	uint32_t index = mime->count;

	if (mime->count == mime->room) {
		mime->room = mime->room == 0 ? FIRST_ROOM : mime->room * 2;
		mime->parts = must_realloc(mime->parts, mime->room * sizeof(mime->parts[0]));
	}
	mime->count++;
	part = &mime->parts[index];
	*part = (struct part){ .parent = parent, .first_child = NO_PART, .last_child = NO_PART,
		.next = NO_PART, .header_at = walk->at };
	if (parent != NO_PART) {
		struct part *above = &mime->parts[parent];

		part->depth = above->depth + 1;
		if (above->first_child == NO_PART)
			above->first_child = index;
		else
			mime->parts[above->last_child].next = index;
		above->last_child = index;
	}
	walk->current = index;
	return part;
}

static void
part_becomes(struct part *part, struct span type, struct span subtype)
{
	part->kind = PART_LEAF;
	part->type = type;
	part->subtype = subtype;
	part->content_type = SPAN_NONE;
}

/* The line at walk->at, if it delimits parts (RFC 2046 5.1.1). Only its start has to match; of
 * several boundaries that match the longest counts, and of equal ones the innermost. */
static bool
delimiter_here(const struct walk *walk, struct delimiter *delimiter)
{
	struct span line = span_part(walk->message, walk->at, 2 + MOST_BOUNDARY + 2);
	size_t best = 0;

	if (line.len < 2 || line.at[0] != '-' || line.at[1] != '-')
		return false;
	line = span_part(line, 2, line.len);
	for (size_t i = walk->opened; i-- > 0;) {
		const struct open *open = &walk->open[i];

		if (open->len <= best || open->len > line.len ||
			memcmp(line.at, open->boundary, open->len) != 0)
			continue;
		best = open->len;
		delimiter->open = i;
	}
	if (best == 0)
		return false;
	delimiter->last = line.len >= best + 2 && line.at[best] == '-' && line.at[best + 1] == '-';
	return true;
}

/* Moves behind the line at walk->at. */
static void
line_skip(struct walk *walk)
{
	const unsigned char *from = walk->message.at + walk->at;
	const unsigned char *lf = memchr(from, '\n', walk->message.len - walk->at);

	if (lf == NULL) {
		walk->at = walk->message.len;
		return;
	}
	walk->at += (size_t)(lf - from) + 1;
	walk->lines++;
}

/* Moves to the next delimiter, or to the end of the message: then false. */
static bool
delimiter_find(struct walk *walk, struct delimiter *delimiter)
{
	const unsigned char *start = walk->message.at;

	while (walk->at < walk->message.len) {
		if (walk->opened > 0 && start[walk->at] == '-' && delimiter_here(walk, delimiter))
			return true;
		line_skip(walk);
	}
	return false;
}

/* Keeps the value of a Content- field, the first of its kind. */
static void
field_keep(struct part *part, const struct field *field)
{
	static const struct {
		struct span name;
		size_t offset;
	} rows[] = {
		{ SPAN("type"),              offsetof(struct part, content_type) },
		{ SPAN("transfer-encoding"), offsetof(struct part, encoding) },
		{ SPAN("disposition"),       offsetof(struct part, disposition) },
		{ SPAN("id"),                offsetof(struct part, id) },
		{ SPAN("description"),       offsetof(struct part, description) },
		{ SPAN("md5"),               offsetof(struct part, md5) },
		{ SPAN("language"),          offsetof(struct part, language) },
		{ SPAN("location"),          offsetof(struct part, location) },
	};
	struct span name = span_part(field->name, sizeof("content-") - 1, field->name.len);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct span *value = (struct span *)(void *)((char *)part + rows[i].offset);

		if (span_equal_nocase(name, rows[i].name) && value->at == NULL)
			*value = field->value;
	}
}

/* Reads the header of the part that starts at walk->at, up to its blank line or the delimiter
 * that cuts it. */
static void
header_read(struct walk *walk, struct part *part)
{
	struct delimiter delimiter;
	struct span rest = span_part(walk->message, walk->at, walk->message.len);
	bool whole = part->parent == NO_PART || walk->mime->parts[part->parent].kind == PART_MESSAGE;
	bool last = whole ? !message_starts(rest) : !header_starts(rest);

	while (walk->at < walk->message.len && !last) {
		struct field field;

		rest = span_part(walk->message, walk->at, walk->message.len);
		last = line_is_empty(rest);
		if (rest.at[0] == '-' && delimiter_here(walk, &delimiter))
			break;
		if (span_starts_nocase(rest, SPAN("content-")) && field_take(&rest, &field))
			field_keep(part, &field);
		line_skip(walk);
	}
	part->header_len = walk->at - part->header_at;
	part->body_at = walk->at;
	part->lines = walk->lines;         /* until part_close */
}

/* Puts the boundary of a multipart on the stack; false when it has none. Blanks at its end do not
 * belong to it (RFC 2046 5.1.1). */
static bool
boundary_open(struct walk *walk, const struct part *part)
{
	struct open *open = &walk->open[walk->opened];
	struct text boundary = TEXT_UP_TO(MOST_FIELD_VALUE);
	struct span in = part->content_type, type, subtype, b = SPAN_NONE;

	if (in.len > MOST_FIELD_VALUE)
		in.len = MOST_FIELD_VALUE;
	if (content_type_take(&in, &type, &subtype) &&
		parameter_find(in, SPAN("boundary"), &boundary))
		b = span_part(text_span(&boundary), 0, MOST_BOUNDARY);
	while (b.len > 0 && (b.at[b.len - 1] == ' ' || b.at[b.len - 1] == '\t'))
		b.len--;
	if (b.len > 0) {
		memcpy(open->boundary, b.at, b.len);
		open->len = b.len;
		open->part = walk->current;
		walk->opened++;
	}
	text_clear(&boundary);
	return b.len > 0;
}

/* Gives the part its type and kind (RFC 2045 5.2; RFC 2046 5.1.5 for digests). */
static void
part_classify(struct walk *walk, struct part *part)
{
	struct span value = part->content_type;
	const struct part *parents =
		part->parent == NO_PART ? NULL : &walk->mime->parts[part->parent];
	bool message;

	if (value.at == NULL && parents != NULL && parents->kind == PART_MULTIPART &&
		span_equal_nocase(parents->subtype, SPAN("digest"))) {
		part->type = SPAN("message");
		part->subtype = SPAN("rfc822");
	} else if (value.at == NULL || !content_type_take(&value, &part->type, &part->subtype)) {
		part_becomes(part, SPAN("text"), SPAN("plain"));
	}
	message = span_equal_nocase(part->type, SPAN("message")) &&
		(span_equal_nocase(part->subtype, SPAN("rfc822")) ||
		span_equal_nocase(part->subtype, SPAN("global")));
	if (!message && !span_equal_nocase(part->type, SPAN("multipart")))
		return;
	if (part->depth >= MOST_PART_DEPTH || walk->mime->count >= MOST_PARTS) {
		part_becomes(part, SPAN("application"), SPAN("octet-stream"));
		walk->mime->limited = true;
	} else if (message) {
		part->kind = PART_MESSAGE;
	} else if (boundary_open(walk, part)) {
		part->kind = PART_MULTIPART;
	} else {
		part_becomes(part, SPAN("text"), SPAN("plain"));
	}
}

/* Ends the parts from the current one up to, and without, `stop`. The line end before a delimiter
 * belongs to the delimiter (RFC 2046 5.1.1). */
static void
parts_close(struct walk *walk, uint32_t stop, bool delimited)
{
	const unsigned char *start = walk->message.at;
	size_t end = walk->at, lines = walk->lines;

	if (delimited && end > 0 && start[end - 1] == '\n') {
		end -= end > 1 && start[end - 2] == '\r' ? 2 : 1;
		lines--;
	}
	while (walk->current != stop) {
		struct part *part = &walk->mime->parts[walk->current];

		part->body_len = end > part->body_at ? end - part->body_at : 0;
		part->lines = lines > part->lines && part->body_len > 0 ? lines - part->lines : 0;
		if (part->kind == PART_MULTIPART && part->first_child == NO_PART)
			part_becomes(part, SPAN("text"), SPAN("plain"));
		walk->current = part->parent;
	}
}

/* Reads headers from walk->at on, down to the first part whose body has to be looked through. */
static void
part_begin(struct walk *walk, uint32_t parent)
{
	struct part *part;

	do {
		part = part_new(walk, parent);
		header_read(walk, part);
		part_classify(walk, part);
		parent = walk->current;
	} while (part->kind == PART_MESSAGE);
}

void
mime_parse(struct span message, struct mime *mime)
{
	struct walk walk;
	struct delimiter delimiter;

	*mime = (struct mime){ .message = message };
	walk.mime = mime;
	walk.message = message;
	walk.at = walk.lines = walk.opened = 0;
	part_begin(&walk, NO_PART);
	while (delimiter_find(&walk, &delimiter)) {
		uint32_t multipart = walk.open[delimiter.open].part;

		parts_close(&walk, multipart, true);
		line_skip(&walk);
		walk.opened = delimiter.open + 1;
		if (delimiter.last) {
			walk.opened--;                  /* what follows is its epilogue */
			continue;
		}
		part_begin(&walk, multipart);
		if (mime->count >= MOST_PARTS) {
			walk.opened = 0;                /* the last part takes all the rest */
			mime->limited = true;
		}
	}
	parts_close(&walk, NO_PART, false);
}

void
mime_clear(struct mime *mime)
{
	free(mime->parts);
	*mime = (struct mime){ 0 };
}

struct span
mime_header(const struct mime *mime, const struct part *part)
{
	return span_part(mime->message, part->header_at, part->header_len);
}

struct span
mime_body(const struct mime *mime, const struct part *part)
{
	return span_part(mime->message, part->body_at, part->body_len);
}

bool
part_is_text(const struct part *part)
{
	return part->kind == PART_LEAF && span_equal_nocase(part->type, SPAN("text"));
}

/* The child with number `number`, or NULL. */
static const struct part *
part_child(const struct mime *mime, const struct part *part, uint32_t number)
{
	uint32_t index = part->first_child;

	if (number == 0)
		return NULL;
	while (index != NO_PART && --number > 0)
		index = mime->parts[index].next;
	return index == NO_PART ? NULL : &mime->parts[index];
}

const struct part *
mime_part(const struct mime *mime, const uint32_t *numbers, size_t count)
{
	const struct part *scope = &mime->parts[0], *part = NULL;
	bool whole = true;      /* scope is a message: it has a part 1 though it is no multipart */

	for (size_t i = 0; i < count; i++) {
		if (scope == NULL)
			return NULL;
		if (scope->kind == PART_MULTIPART)
			part = part_child(mime, scope, numbers[i]);
		else
			part = whole && numbers[i] == 1 ? scope : NULL;
		if (part == NULL)
			return NULL;
		whole = part->kind == PART_MESSAGE;
		if (part->kind == PART_LEAF)
			scope = NULL;
		else
			scope = whole ? part_child(mime, part, 1) : part;
	}
	return part;
}
