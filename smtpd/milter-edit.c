/*
 * milter-edit - see milter-edit.h.
 */
#include "smtpd/milter-edit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/beneath.h"

#define PIECE 65536
#define SLICE (8 * PIECE)        /* written in one go */
#define FIELD_COSTS 64           /* octets of memory, beside its text */

static uint64_t held;            /* by all messages */

/* More memory for this message. False: it would be too much for all together. */
static bool
hold(struct milter_edit *e, uint64_t octets)
{
	if (octets > MILTER_HELD_MOST - held)
		return false;
	held += octets;
	e->held += octets;
	return true;
}

static void
release(struct milter_edit *e, uint64_t octets)
{
	held -= octets;
	e->held -= octets;
}

static bool
is_blank(unsigned char c)
{
	return c == ' ' || c == '\t';
}

/* --- the header --- */

static bool
field_insert(struct milter_edit *e, size_t at, struct span whole, size_t name)
{
	struct milter_field *f;

	if (e->count >= MILTER_FIELDS_MOST || e->octets + whole.len > MILTER_HEADER_MOST ||
		!hold(e, whole.len + FIELD_COSTS))
		return false;
	if (e->count == e->room) {
		e->room = e->room == 0 ? 64 : e->room * 2;
		e->field = must_realloc(e->field, e->room * sizeof(*e->field));
	}
	memmove(e->field + at + 1, e->field + at, (e->count - at) * sizeof(*e->field));
	f = &e->field[at];
	f->at = must_alloc(whole.len + 1);
	memcpy(f->at, whole.at, whole.len);
	f->len = whole.len;
	f->name = name;
	e->count++;
	e->octets += whole.len;
	return true;
}

static void
field_remove(struct milter_edit *e, size_t at)
{
	e->octets -= e->field[at].len;
	release(e, e->field[at].len + FIELD_COSTS);
	free(e->field[at].at);
	e->count--;
	memmove(e->field + at, e->field + at + 1, (e->count - at) * sizeof(*e->field));
}

/* The field at the front, with its continuation lines. */
static struct span
take_field(struct span *in)
{
	size_t len = 0;
	struct span field;

	do {
		const unsigned char *lf = memchr(in->at + len, '\n', in->len - len);

		len = lf ? (size_t)(lf - in->at) + 1 : in->len;
	} while (len < in->len && is_blank(in->at[len]));
	field = span_part(*in, 0, len);
	*in = span_part(*in, len, in->len);
	return field;
}

static bool
read_fields(struct milter_edit *e, struct span header, size_t trace)
{
	const unsigned char *start = header.at;

	while (header.len > 0) {
		bool ours = (size_t)(header.at - start) < trace;
		struct span field = take_field(&header);
		size_t name = span_index(field, ':');

		if (!field_insert(e, e->count, field, name < field.len ? name : 0))
			return false;
		e->hidden += ours;
	}
	return true;
}

bool
milter_edit_init(struct milter_edit *e, int fd, uint64_t size, size_t trace, uint64_t most)
{
	size_t wants = size < MILTER_HEADER_MOST ? (size_t)size : MILTER_HEADER_MOST, end;
	unsigned char *top = must_alloc(wants + 1);
	ssize_t got = read_at(fd, top, wants, 0);
	struct span in = span_of(top, got > 0 ? (size_t)got : 0);
	bool good;

	*e = (struct milter_edit){ .fd = fd, .size = size, .most = most };
	e->new_body = TEXT_UP_TO((size_t)most + 2);
	end = span_find(in, SPAN("\r\n\r\n"));
	good = got == (ssize_t)wants && (end < in.len || wants == size);
	if (good) {
		e->body = end < in.len ? end + 4 : size;
		good = read_fields(e, span_part(in, 0, end < in.len ? end + 2 : in.len), trace);
	}
	free(top);
	return good;
}

void
milter_edit_clear(struct milter_edit *e)
{
	while (e->count > 0)
		field_remove(e, e->count - 1);
	free(e->field);
	e->field = NULL;
	text_clear(&e->new_body);
	release(e, e->held);
}

void
milter_edit_value(const struct milter_edit *e, size_t i, struct span *name, struct text *value)
{
	const struct milter_field *f = &e->field[i];
	struct span in = span_part(span_of(f->at, f->len), f->name + 1, f->len);

	*name = span_of(f->at, f->name);
	while (name->len > 0 && is_blank(name->at[name->len - 1]))
		name->len--;
	text_reset(value);
	for (size_t k = 0; k < in.len; k++)
		if (in.at[k] != '\r' && !(in.at[k] == '\n' && k + 1 == in.len))
			text_add_byte(value, in.at[k]);
}

/* A field of a filter's: each line end in the value becomes a fold, whatever follows it. */
static bool
make_field(struct text *to, struct span name, struct span value, bool leading_space)
{
	text_add(to, name);
	text_add_byte(to, ':');
	if (!leading_space)
		text_add_byte(to, ' ');
	while (value.len > 0 &&
	       (value.at[value.len - 1] == '\n' || value.at[value.len - 1] == '\r'))
		value.len--;
	for (size_t i = 0; i < value.len; i++) {
		unsigned char c = value.at[i];

		if (c == '\r' && i + 1 < value.len && value.at[i + 1] == '\n')
			continue;
		if (c != '\n' && c != '\r') {
			text_add_byte(to, c == '\0' ? '?' : c);
			continue;
		}
		text_add_str(to, "\r\n");
		if (i + 1 < value.len && !is_blank(value.at[i + 1]))
			text_add_byte(to, '\t');
	}
	text_add_str(to, "\r\n");
	return !to->failed;
}

static bool
insert_at(struct milter_edit *e, size_t at, struct span name, struct span value, bool leading_space)
{
	struct text whole = TEXT_UP_TO(MILTER_HEADER_MOST);
	bool good = make_field(&whole, name, value, leading_space) &&
		field_insert(e, at, text_span(&whole), name.len);

	e->header_changed = true;
	text_clear(&whole);
	return good;
}

bool
milter_edit_add(struct milter_edit *e, struct span name, struct span value, bool leading_space)
{
	return insert_at(e, e->count, name, value, leading_space);
}

bool
milter_edit_insert(struct milter_edit *e, uint32_t index, struct span name, struct span value,
	bool leading_space)
{
	size_t at = index < e->count ? index : e->count;

	if (!insert_at(e, at, name, value, leading_space))
		return false;
	/* On top of our own: what lies in front stays hidden from the next filter, this does not matter
	 * to it. */
	if (at < e->hidden)
		e->hidden++;
	return true;
}

bool
milter_edit_change(struct milter_edit *e, uint32_t index, struct span name, struct span value,
	bool leading_space)
{
	uint32_t seen = 0;

	for (size_t i = e->hidden; i < e->count; i++) {
		struct span own = span_trim(span_of(e->field[i].at, e->field[i].name));

		if (!span_equal_nocase(own, name) || ++seen < index)
			continue;
		field_remove(e, i);
		e->header_changed = true;
		return value.len == 0 || insert_at(e, i, name, value, leading_space);
	}
	return value.len == 0 || milter_edit_add(e, name, value, leading_space);
}

/* --- the body --- */

bool
milter_edit_body(struct milter_edit *e, struct span piece, bool begins)
{
	size_t had;

	if (begins) {
		release(e, e->new_body.len);
		text_clear(&e->new_body);
		e->new_body = TEXT_UP_TO((size_t)e->most + 2);
		e->after_cr = false;
	}
	e->body_replaced = true;
	had = e->new_body.len;
	/* Each octet may become two. */
	if (2 * piece.len > MILTER_HELD_MOST - held)
		return false;
	for (size_t i = 0; i < piece.len; i++) {
		unsigned char c = piece.at[i];

		/* A line ends with CR LF and with nothing else, or the next server sees two messages
		 * where we saw one. */
		if (e->after_cr && c != '\n')
			text_add_byte(&e->new_body, '\n');
		else if (c == '\n' && !e->after_cr)
			text_add_byte(&e->new_body, '\r');
		text_add_byte(&e->new_body, c == '\0' ? '?' : c);
		e->after_cr = c == '\r';
	}
	return hold(e, e->new_body.len - had) && !e->new_body.failed;
}

ssize_t
milter_edit_body_read(const struct milter_edit *e, void *to, size_t len, uint64_t at)
{
	struct span rest;

	if (!e->body_replaced)
		return read_at(e->fd, to, len, (off_t)(e->body + at));
	rest = span_part(text_span(&e->new_body), (size_t)at, len);
	if (rest.len > 0)
		memcpy(to, rest.at, rest.len);
	return (ssize_t)rest.len;
}

bool
milter_edit_changed(const struct milter_edit *e)
{
	return e->header_changed || e->body_replaced;
}

/* --- writing --- */

static bool
write_at(int fd, const void *from, size_t len, uint64_t at)
{
	const unsigned char *p = from;

	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return true;
}

static bool
move_piece(int fd, uint64_t from, uint64_t to, size_t len)
{
	static unsigned char piece[PIECE];

	return read_at(fd, piece, len, (off_t)from) == (ssize_t)len &&
	       write_at(fd, piece, len, to);
}

/* A slice of the body, to where it belongs now: from its end when it moves back, so that nothing is lost. */
static bool
move_slice(struct milter_edit *e, uint64_t to)
{
	uint64_t len = e->size - e->body, until = e->written + SLICE;

	if (until > len)
		until = len;
	if (to == e->body)
		e->written = len;
	while (e->written < until) {
		size_t n = until - e->written < PIECE ? (size_t)(until - e->written) : PIECE;
		uint64_t at = to > e->body ? len - e->written - n : e->written;

		if (!move_piece(e->fd, e->body + at, to + at, n))
			return false;
		e->written += n;
	}
	return true;
}

/* A body that was replaced ends with a line end. */
static void
new_body_end(struct milter_edit *e)
{
	size_t had = e->new_body.len;

	if (e->body_replaced && e->after_cr) {
		text_add_byte(&e->new_body, '\n');
		e->after_cr = false;
	}
	if (e->body_replaced && e->new_body.len > 0 && e->new_body.at[e->new_body.len - 1] != '\n')
		text_add_str(&e->new_body, "\r\n");
	(void)hold(e, e->new_body.len - had);
}

static bool
write_header(struct milter_edit *e)
{
	struct text all = TEXT_UP_TO(MILTER_HEADER_MOST + 2);
	bool good;

	for (size_t i = 0; i < e->count; i++)
		text_add(&all, span_of(e->field[i].at, e->field[i].len));
	text_add_str(&all, "\r\n");
	good = !all.failed && write_at(e->fd, all.at, all.len, 0);
	text_clear(&all);
	return good;
}

static bool
write_new_body(struct milter_edit *e, uint64_t to)
{
	struct span piece = span_part(text_span(&e->new_body), (size_t)e->written, SLICE);
	bool good = write_at(e->fd, piece.at, piece.len, to + e->written);

	e->written += piece.len;
	return good;
}

/* Does what this stage does, or a slice of it, and goes on to the next when it is done. */
static bool
write_stage(struct milter_edit *e, uint64_t header)
{
	bool good = true, done = true;

	switch (e->writing) {
	case WRITES_NOTHING:
		new_body_end(e);
		break;
	case WRITES_BODY:
		good = e->body_replaced || move_slice(e, header);
		done = e->body_replaced || e->written == e->size - e->body;
		break;
	case WRITES_HEADER:
		good = write_header(e);
		break;
	case WRITES_NEW_BODY:
		good = !e->body_replaced || write_new_body(e, header);
		done = !e->body_replaced || e->written >= e->new_body.len;
		break;
	case WRITES_END:
		break;
	}
	if (done) {
		e->writing++;
		e->written = 0;
	}
	return good;
}

int
milter_edit_write(struct milter_edit *e)
{
	uint64_t header = e->octets + 2;

	if (!write_stage(e, header))
		return -1;
	if (e->writing != WRITES_END)
		return 1;
	e->size = header + (e->body_replaced ? e->new_body.len : e->size - e->body);
	return ftruncate(e->fd, (off_t)e->size);
}
