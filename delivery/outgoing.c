/* outgoing - see outgoing.h. */
#include "outgoing.h"

#include "common/beneath.h"
#include "seven-bit.h"

#include <string.h>

#define PIECE 16384

void
outgoing_begin(struct outgoing *o, int fd, uint64_t size, struct span top, enum outgoing_form form)
{
	*o = (struct outgoing){ .fd = fd, .size = size, .top = top, .form = form, .line_start = true };
}

void
outgoing_begin_encoded(struct outgoing *o, struct seven_bit *encoded, struct span top, enum outgoing_form form)
{
	outgoing_begin(o, -1, seven_bit_size(encoded), top, form);
	o->encoded = encoded;
	seven_bit_rewind(encoded);
}

/* The next `len` bytes of the message, or fewer, but never none. False: they cannot be read. */
static bool
read_message(struct outgoing *o, unsigned char *to, size_t *len)
{
	if (o->encoded == NULL)
		return read_at(o->fd, to, *len, (off_t)o->at) == (ssize_t)*len;
	*len = seven_bit_read(o->encoded, to, *len);
	return *len > 0;
}

/* The next raw bytes: up to `room`. */
static struct span
next_raw(struct outgoing *o, unsigned char *buffer, size_t room)
{
	struct span piece;

	if (o->top.len > 0) {
		piece = span_part(o->top, 0, room);
		o->top = span_part(o->top, piece.len, o->top.len);
		return piece;
	}
	if (room > o->size - o->at)
		room = (size_t)(o->size - o->at);
	if (room > 0 && !read_message(o, buffer, &room)) {
		o->failed = true;
		return SPAN_NONE;
	}
	o->at += room;
	return span_of(buffer, room);
}

static bool
raw_is_over(const struct outgoing *o)
{
	return o->top.len == 0 && o->at == o->size;
}

/* What is copied without a look at it: up to the next CR or LF, or a dot that begins a line. */
static size_t
plain_run(struct span in)
{
	size_t len = span_index(in, '\n');
	size_t cr = span_index(span_part(in, 0, len), '\r');

	return cr;
}

static size_t
translate(struct outgoing *o, struct span in, unsigned char *to)
{
	unsigned char *end = to;

	while (in.len > 0) {
		unsigned char c = in.at[0];

		if (o->after_cr) {
			/* CRLF, or a CR that was alone. */
			*end++ = '\r';
			*end++ = '\n';
			o->after_cr = false;
			o->line_start = true;
			if (c == '\n')
				in = span_part(in, 1, in.len);
			continue;
		}
		if (c == '\r' || c == '\n') {
			in = span_part(in, 1, in.len);
			if (c == '\r') {
				o->after_cr = true;
				continue;
			}
			*end++ = '\r';
			*end++ = '\n';
			o->line_start = true;
			continue;
		}
		if (o->line_start && c == '.' && o->form == OUTGOING_DATA)
			*end++ = '.';
		o->line_start = false;
		size_t run = plain_run(in);

		memcpy(end, in.at, run);
		end += run;
		in = span_part(in, run, in.len);
	}
	return (size_t)(end - to);
}

size_t
outgoing_next(struct outgoing *o, unsigned char *to, size_t room)
{
	unsigned char buffer[PIECE];
	size_t len = 0;

	while (!o->failed && !o->whole && len == 0) {
		/* Each byte becomes two at most, and a CR that waits two more. */
		size_t most = o->form == OUTGOING_RAW ? room : (room - 4) / 2;
		struct span raw = next_raw(o, buffer, most < PIECE ? most : PIECE);

		if (o->failed)
			break;
		if (raw.len > 0 && o->form == OUTGOING_RAW) {
			memcpy(to, raw.at, raw.len);
			return raw.len;
		}
		len = translate(o, raw, to);
		if (!raw_is_over(o))
			continue;
		o->whole = true;
		if (o->form != OUTGOING_RAW && (o->after_cr || !o->line_start)) {
			to[len++] = '\r';
			to[len++] = '\n';
			o->after_cr = false;
			o->line_start = true;
		}
	}
	return o->failed ? 0 : len;
}
