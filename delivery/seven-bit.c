/* seven-bit - see seven-bit.h. What it looks for is told line by line: a part ends where a delimiter of one around it
 * stands, wherever that is (RFC 2046 5.1.2). */
#include "seven-bit-inside.h"

#include "common/beneath.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW 16384                     /* octets of the file that are in memory at a time */
#define DELIMITER_MOST 1024              /* octets of a line that may be one; a longer one is none */
#define NOT_LISTED SIZE_MAX

/* One that may have to be encoded again. */
struct part {
	uint64_t start, body, end;
	enum encoding encoding;
	bool needed;                     /* its body has something else than US-ASCII in lines */
};

/* One that the place at hand is in. */
struct level {
	size_t part;                     /* or NOT_LISTED: too many, and it leaves as it is */
	enum part_kind kind;
	bool in_header, digest;          /* digest: a part of one */
	bool over;                       /* of a multipart: its last delimiter was there */
	bool holds_digests;
	char boundary[MOST_SEVEN_BIT_BOUNDARY + 1];
};

enum stage { LOOKING, MEASURING, KNOWN };

struct seven_bit {
	int fd;
	uint64_t size;
	enum stage stage;
	bool unread, left;
	struct part *part;
	size_t parts, room;
	/* looking: the line at hand */
	struct level level[MOST_SEVEN_BIT_DEPTH + 1];
	size_t depth;                    /* of them */
	uint64_t at, line_start, last_line_end; /* the line before without its CRLF or LF ends there */
	size_t line_len;                 /* without CR and LF */
	bool cr, bad, bad_end;           /* the octet before was a CR; this line's octets, and its end, are no US-ASCII line */
	unsigned char head[DELIMITER_MOST];
	size_t head_len;                 /* over DELIMITER_MOST: it is longer */
	struct text header;
	/* measuring and reading */
	uint64_t encoded, from;          /* its length; what has been read of the file */
	size_t next;                     /* part */
	const struct part *encoding;     /* its body is being encoded */
	unsigned int column;
	struct text out;
	size_t out_at;
};

static unsigned char window[WINDOW];

struct seven_bit *
seven_bit_new(int fd, uint64_t size)
{
	struct seven_bit *s = must_alloc(sizeof(*s));

	s->fd = fd;
	s->size = size;
	s->header = TEXT_UP_TO(MOST_SEVEN_BIT_HEADER);
	s->out = TEXT_UP_TO(MOST_SEVEN_BIT_HEADER + 4 * WINDOW);
	return s;
}

void
seven_bit_free(struct seven_bit **s)
{
	if (*s == NULL)
		return;
	text_clear(&(*s)->header);
	text_clear(&(*s)->out);
	free((*s)->part);
	free(*s);
	*s = NULL;
}

/* --- looking: parts --- */

static struct part *
listed(struct seven_bit *s, const struct level *l)
{
	return l->part == NOT_LISTED ? NULL : &s->part[l->part];
}

static void
open_part(struct seven_bit *s, uint64_t start, bool digest)
{
	struct level *l = &s->level[s->depth++];

	*l = (struct level){ .part = NOT_LISTED, .kind = LEAF, .digest = digest };
	text_reset(&s->header);
	if (s->parts == MOST_SEVEN_BIT_PARTS)
		return;
	if (s->parts == s->room) {
		s->room = s->room == 0 ? 16 : 2 * s->room;
		s->part = must_realloc(s->part, s->room * sizeof(*s->part));
	}
	s->part[s->parts] = (struct part){ .start = start };
	l->part = s->parts++;
	l->in_header = true;
}

/* The innermost one ends. One that needs nothing is forgotten: whatever was in it needed nothing, and is forgotten. */
static void
close_part(struct seven_bit *s, uint64_t end)
{
	struct level *l = &s->level[--s->depth];
	struct part *p = listed(s, l);

	if (p == NULL)
		return;
	if (l->in_header)
		p->body = end;
	p->end = end < p->body ? p->body : end;
	s->left |= p->needed && p->encoding == AS_IT_IS;
	if (!p->needed)
		s->parts = l->part;
}

/* What was seen is in the body of the outermost `depth`, if not in their headers. */
static void
need(struct seven_bit *s, size_t depth)
{
	for (size_t i = 0; i < depth; i++) {
		struct part *p = listed(s, &s->level[i]);

		if (p == NULL)
			s->left = true;
		else if (!s->level[i].in_header)
			p->needed = true;
	}
}

/* The blank line behind a header was there. */
static void
header_over(struct seven_bit *s, uint64_t body)
{
	struct level *l = &s->level[s->depth - 1];
	struct part *p = listed(s, l);
	struct entity e;

	l->in_header = false;
	p->body = body;
	if (s->header.failed || s->depth > MOST_SEVEN_BIT_DEPTH)
		return;
	entity_read(text_span(&s->header), &e);
	l->kind = entity_kind(&e, l->digest, &p->encoding);
	l->holds_digests = span_equal_nocase(e.subtype, SPAN("digest"));
	memcpy(l->boundary, e.boundary, sizeof(l->boundary));
	if (l->kind == MESSAGE)
		open_part(s, body, false);
}

/* --- looking: lines --- */

/* Is the line a delimiter? Of which of the levels; s->depth: of none. */
static size_t
delimits(const struct seven_bit *s, bool *last)
{
	struct span line = span_of(s->head, s->head_len);
	size_t i = 0;

	if (s->head_len > DELIMITER_MOST || s->head_len < 2 || s->head[0] != '-')
		return s->depth;
	while (i < s->depth && (s->level[i].kind != MULTIPART || s->level[i].in_header || s->level[i].over ||
		!line_is_delimiter(line, s->level[i].boundary, last)))
		i++;
	return i;
}

/* The line at hand has ended before s->at. */
static void
line_over(struct seven_bit *s, bool bad_end)
{
	bool last = false;
	size_t of = delimits(s, &last);
	struct level *l;

	s->bad |= s->line_len > MOST_LINE;
	if (of < s->depth) {
		while (s->depth > of + 1)
			close_part(s, s->last_line_end);
		s->bad |= s->bad_end;
		s->level[of].over = last;
		if (s->bad)
			need(s, s->depth);
		if (!last)
			open_part(s, s->at, s->level[of].holds_digests);
	} else {
		l = &s->level[s->depth - 1];
		if (s->bad || s->bad_end)
			need(s, s->depth);
		if (l->in_header && s->line_len == 0 && s->at > s->line_start && !s->bad) {
			/* The blank line is no part of what is behind it. */
			if (bad_end)
				need(s, s->depth - 1);
			bad_end = false;
			header_over(s, s->at);
		}
	}
	/* The end of a line belongs to the delimiter behind it, if one is there. */
	s->bad_end = bad_end;
	s->last_line_end = s->line_start + s->line_len;
	s->line_start = s->at;
	s->line_len = s->head_len = 0;
	s->cr = s->bad = false;
}

static void
keep_head(struct seven_bit *s, struct span in)
{
	struct span first = span_part(in, 0, DELIMITER_MOST - (s->head_len < DELIMITER_MOST ? s->head_len : DELIMITER_MOST));

	if (first.len > 0)
		memcpy(s->head + s->head_len, first.at, first.len);
	s->head_len += first.len < in.len ? DELIMITER_MOST + 1 : first.len;
}

/* Some of a line, without its LF. */
static void
line_goes_on(struct seven_bit *s, struct span in)
{
	if (in.len == 0)
		return;
	/* A CR that nothing, or something else, follows is an octet like others, and a bad one. */
	if (s->cr) {
		s->bad = true;
		s->line_len++;
		s->cr = false;
	}
	if (s->level[s->depth - 1].in_header)
		text_add(&s->header, in);
	if (s->head_len < DELIMITER_MOST + 1)
		keep_head(s, in);
	s->cr = in.at[in.len - 1] == '\r';
	s->line_len += in.len - s->cr;
	for (size_t i = 0; i < in.len - s->cr && !s->bad; i++)
		s->bad = in.at[i] >= 0x80 || in.at[i] == 0 || in.at[i] == '\r';
}

static void
look_at(struct seven_bit *s, struct span in)
{
	while (in.len > 0) {
		struct span line = span_part(in, 0, span_index(in, '\n'));

		line_goes_on(s, line);
		s->at += line.len;
		in = span_part(in, line.len, in.len);
		if (in.len == 0)
			break;
		in = span_part(in, 1, in.len);
		s->at++;
		if (s->level[s->depth - 1].in_header)
			text_add_byte(&s->header, '\n');
		line_over(s, !s->cr);
	}
}

static void
looked(struct seven_bit *s)
{
	if (s->cr) {
		s->bad = true;
		s->line_len++;
	}
	if (s->line_len > 0)
		line_over(s, false);
	if (s->bad_end)
		need(s, s->depth);
	while (s->depth > 0)
		close_part(s, s->size);
	text_clear(&s->header);
	s->stage = seven_bit_needed(s) ? MEASURING : KNOWN;
	s->encoded = s->stage == KNOWN ? s->size : 0;
	seven_bit_rewind(s);
}

static void
look_on(struct seven_bit *s)
{
	uint64_t end = s->size - s->at < SEVEN_BIT_SLICE ? s->size : s->at + SEVEN_BIT_SLICE;

	if (s->depth == 0)
		open_part(s, 0, false);
	while (s->at < end) {
		size_t len = end - s->at < WINDOW ? (size_t)(end - s->at) : WINDOW;

		if (read_at(s->fd, window, len, (off_t)s->at) != (ssize_t)len) {
			s->unread = true;
			s->stage = KNOWN;
			return;
		}
		look_at(s, span_of(window, len));
	}
	if (s->at == s->size)
		looked(s);
}

/* --- what it is, encoded --- */

void
seven_bit_rewind(struct seven_bit *s)
{
	s->from = 0;
	s->next = 0;
	s->encoding = NULL;
	s->column = 0;
	text_clear(&s->out);
	s->out_at = 0;
}

/* Of the file from s->from on, `len` bytes: false, it cannot be read. */
static bool
read_file(struct seven_bit *s, unsigned char *to, size_t len)
{
	s->unread = s->unread || read_at(s->fd, to, len, (off_t)s->from) != (ssize_t)len;
	return !s->unread;
}

static void
put_as_it_is(struct seven_bit *s, uint64_t end)
{
	size_t len = end - s->from < WINDOW ? (size_t)(end - s->from) : WINDOW;

	if (!read_file(s, window, len))
		return;
	text_add(&s->out, span_of(window, len));
	s->from += len;
}

static void
put_header(struct seven_bit *s, const struct part *p)
{
	size_t len = (size_t)(p->body - p->start); /* at most MOST_SEVEN_BIT_HEADER: see header_over */
	unsigned char *header = must_alloc(len + 1);

	if (read_file(s, header, len)) {
		entity_put_header(span_of(header, len), p->encoding, p == s->part, &s->out);
		s->from = p->body;
	}
	free(header);
}

static void
put_encoded(struct seven_bit *s)
{
	const struct part *p = s->encoding;
	bool last = p->end - s->from <= WINDOW;
	size_t len = last ? (size_t)(p->end - s->from) : WINDOW;
	struct span in = span_of(window, len);

	if (!read_file(s, window, len))
		return;
	s->from += p->encoding == BASE64 ? base64_put(in, last, &s->out)
		: quoted_printable_put(in, last, &s->column, &s->out);
	if (s->from == p->end)
		s->encoding = NULL;
}

/* Puts the next bytes into s->out, which is empty. False: there are none. */
static bool
put_more(struct seven_bit *s)
{
	const struct part *p;

	text_reset(&s->out);
	s->out_at = 0;
	while (s->out.len == 0 && !s->unread) {
		while (s->next < s->parts && s->part[s->next].encoding == AS_IT_IS)
			s->next++;
		p = s->next < s->parts ? &s->part[s->next] : NULL;
		if (s->encoding != NULL) {
			put_encoded(s);
		} else if (p == NULL && s->from == s->size) {
			return false;
		} else if (p == NULL || s->from < p->start) {
			put_as_it_is(s, p == NULL ? s->size : p->start);
		} else {
			put_header(s, p);
			s->column = 0;
			s->encoding = p->encoding != SEVEN_BIT && p->body < p->end ? p : NULL;
			s->next++;
		}
	}
	return !s->unread;
}

size_t
seven_bit_read(struct seven_bit *s, unsigned char *to, size_t room)
{
	struct span piece;

	if (s->out_at == s->out.len && !put_more(s))
		return 0;
	piece = span_part(text_span(&s->out), s->out_at, room);
	memcpy(to, piece.at, piece.len);
	s->out_at += piece.len;
	return piece.len;
}

static void
measure_on(struct seven_bit *s)
{
	uint64_t begun = s->from;
	bool more = true;

	while (more && s->from - begun < SEVEN_BIT_SLICE) {
		more = put_more(s);
		s->encoded += more ? s->out.len : 0;
	}
	if (more)
		return;
	s->stage = KNOWN;
	seven_bit_rewind(s);
}

bool
seven_bit_look(struct seven_bit *s)
{
	if (s->stage == LOOKING)
		look_on(s);
	else if (s->stage == MEASURING)
		measure_on(s);
	return s->stage == KNOWN;
}

bool
seven_bit_needed(const struct seven_bit *s)
{
	/* Those that need nothing were forgotten: see close_part. */
	return s->unread || s->parts > 0;
}

bool
seven_bit_possible(const struct seven_bit *s)
{
	return !s->unread;
}

bool
seven_bit_left(const struct seven_bit *s)
{
	return s->left;
}

uint64_t
seven_bit_size(const struct seven_bit *s)
{
	return s->encoded;
}
