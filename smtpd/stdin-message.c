/*
 * stdin-message - see stdin-message.h.
 *
 * Octets become lines in three steps: input (LF, CR LF and lone CR told apart, the dot), header (kept
 * until it is whole, since only then its recipients are known and what it lacks), body.
 */
#include "smtpd/stdin-message.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "smtpd/mailbox-list.h"

#define PIECE 65536
#define FOUND_MOST (4 * 1024 * 1024)

/* Where the reading is. */
struct reading {
	struct stdin_message *m;
	struct text header;          /* lines with CR LF, not yet judged as a whole */
	struct text line;            /* of the header, without its end */
	struct text out;             /* of the body */
	bool in_body, after_cr, at_start, dot, ended, first;
	bool after_lone_cr;          /* the line began behind one: its dot is no end */
};

static bool
put(struct stdin_message *m, struct span piece)
{
	m->size += piece.len;
	return piece.len == 0 || m->put(m->me, piece);
}

/* --- the header --- */

static bool
is_blank(unsigned char c)
{
	return c == ' ' || c == '\t';
}

/* The name of the field that begins with this line; empty: it begins none. */
static struct span
field_name(struct span line)
{
	size_t colon = span_index(line, ':');
	struct span name = span_part(line, 0, colon);

	while (name.len > 0 && is_blank(name.at[name.len - 1]))
		name.len--;
	if (colon == line.len)
		return SPAN_NONE;
	for (size_t i = 0; i < name.len; i++)
		if (name.at[i] < 33 || name.at[i] > 126)
			return SPAN_NONE;
	return name;
}

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

static void
collect(struct stdin_message *m, struct span body)
{
	struct mailbox_found found;

	while (mailbox_list_next(&body, &found)) {
		if (found.spec.len == 0)
			continue;
		m->found_bad = m->found_bad || !found.is_one;
		mailbox_found_put(&m->found, &found);
		text_add_byte(&m->found, '\0');
	}
}

static bool
is_named(struct span name, const char *const *names)
{
	for (; *names; names++)
		if (span_equal_nocase(name, span_str(*names)))
			return true;
	return false;
}

/* The header is whole: its recipients, a From field where there is none, and out without Bcc. */
static bool
header_end(struct reading *r)
{
	static const char *const to[] = { "to", "cc", "bcc", NULL };
	static const char *const resent_to[] = { "resent-to", "resent-cc", "resent-bcc", NULL };
	static const char *const left_out[] = { "bcc", "resent-bcc", NULL };
	static const char *const from[] = { "from", NULL };
	struct stdin_message *m = r->m;
	struct span in = text_span(&r->header), field, name;
	bool resent = false, has_from = false, good = true;

	r->in_body = true;
	while (in.len > 0) {
		name = field_name(take_field(&in));
		resent = resent || span_starts_nocase(name, SPAN("resent-"));
		has_from = has_from || is_named(name, from);
	}
	if (!has_from && m->from.len > 0)
		good = put(m, m->from) && put(m, SPAN("\r\n"));
	for (in = text_span(&r->header); good && in.len > 0;) {
		field = take_field(&in);
		name = field_name(field);
		if (m->recipients && is_named(name, resent ? resent_to : to))
			collect(m, span_part(field, span_index(field, ':') + 1, field.len));
		if (!is_named(name, left_out))
			good = put(m, field);
	}
	text_clear(&r->header);
	return good && put(m, SPAN("\r\n"));
}

/* --- lines --- */

static bool
header_line(struct reading *r)
{
	struct span line = text_span(&r->line);
	bool first = r->first;

	r->first = false;
	if (line.len == 0) {
		text_reset(&r->line);
		return header_end(r);
	}
	/* What stands on top of a message in an mbox file. */
	if (first && field_name(line).len == 0 &&
	    (span_equal(span_part(line, 0, 5), SPAN("From ")) ||
		    span_equal(span_part(line, 0, 6), SPAN(">From ")))) {
		text_reset(&r->line);
		return true;
	}
	if ((is_blank(line.at[0]) && r->header.len > 0) || field_name(line).len > 0) {
		text_add(&r->header, line);
		text_add_str(&r->header, "\r\n");
		text_reset(&r->line);
		return true;
	}
	/* No field: the text begins without the empty line that should stand before it. */
	if (!header_end(r))
		return false;
	text_add(&r->out, line);
	text_add_str(&r->out, "\r\n");
	text_reset(&r->line);
	return true;
}

static bool
line_end(struct reading *r)
{
	r->at_start = true;
	if (r->in_body) {
		text_add_str(&r->out, "\r\n");
		return true;
	}
	return header_line(r);
}

static void
text_octet(struct reading *r, unsigned char c)
{
	r->at_start = r->after_lone_cr = false;
	r->m->eight_bit = r->m->eight_bit || c > 0x7f;
	/* RFC 5322 knows no NUL. */
	text_add_byte(r->in_body ? &r->out : &r->line, c == '\0' ? '?' : c);
}

/* A carriage return by itself: a progress bar in a text, and nothing in a header. */
static bool
lone_cr(struct reading *r)
{
	if (r->in_body) {
		r->after_lone_cr = true;
		return line_end(r);
	}
	text_octet(r, ' ');
	return true;
}

static bool
octet(struct reading *r, unsigned char c)
{
	if (r->dot) {
		/* A line that began with a dot: only that? */
		if (c == '\r' && !r->after_cr) {
			r->after_cr = true;
			return true;
		}
		r->dot = false;
		if (c == '\n') {
			r->after_cr = false;
			r->ended = true;
			return true;
		}
		text_octet(r, '.');
	}
	if (r->after_cr) {
		r->after_cr = false;
		if (c == '\n') {
			r->after_lone_cr = false;
			return line_end(r);
		}
		if (!lone_cr(r))
			return false;
	}
	if (c == '\r') {
		r->after_cr = true;
		return true;
	}
	if (c == '\n') {
		r->after_lone_cr = false;
		return line_end(r);
	}
	if (c == '.' && r->at_start && !r->after_lone_cr && !r->m->dot_is_text) {
		r->dot = true;
		return true;
	}
	text_octet(r, c);
	return true;
}

static bool
flush(struct reading *r)
{
	bool good = put(r->m, text_span(&r->out));

	text_reset(&r->out);
	if (r->header.failed || r->line.failed || r->header.len > STDIN_HEADER_MOST) {
		r->m->header_too_large = true;
		return false;
	}
	return good;
}

static bool
take(struct reading *r, struct span in)
{
	for (size_t i = 0; i < in.len && !r->ended; i++)
		if (!octet(r, in.at[i]))
			return false;
	return flush(r);
}

/* The end of the input: of a line that is not ended, of a message that is all header. */
static bool
finish(struct reading *r)
{
	bool good = true;

	if (r->dot && !r->ended)
		r->ended = true; /* "." and the end of the file */
	else if (r->after_cr)
		good = line_end(r);
	r->after_cr = false;
	if (good && !r->at_start)
		good = line_end(r);
	if (good && !r->in_body)
		good = header_end(r);
	return good && flush(r);
}

bool
stdin_message_read(struct stdin_message *m, int fd)
{
	static unsigned char piece[PIECE];
	struct reading r = {
		.m = m,
		.header = TEXT_UP_TO(2 * STDIN_HEADER_MOST + 2 * PIECE),
		.line = TEXT_UP_TO(STDIN_HEADER_MOST + PIECE),
		.out = TEXT_UP_TO(4 * PIECE + STDIN_HEADER_MOST),
		.at_start = true,
		.first = true,
	};
	bool good = true;
	int error;

	m->found = TEXT_UP_TO(FOUND_MOST);
	while (good && !r.ended) {
		ssize_t got = read(fd, piece, sizeof(piece));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			good = false;
		if (got <= 0)
			break;
		good = take(&r, span_of(piece, (size_t)got));
	}
	good = good && finish(&r);
	error = errno;
	text_clear(&r.header);
	text_clear(&r.line);
	text_clear(&r.out);
	errno = error;
	return good;
}
