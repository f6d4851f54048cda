/*
 * mailbox-list - see mailbox-list.h.
 */
#include "smtpd/mailbox-list.h"

#include <string.h>

/* Where the quoted string, comment or domain literal that begins at in.at[at] has ended; in.len when
 * it is not closed. */
static size_t
skip_quoted(struct span in, size_t at, unsigned char close)
{
	for (at++; at < in.len; at++) {
		if (in.at[at] == '\\')
			at++;
		else if (in.at[at] == close)
			return at + 1;
	}
	return in.len;
}

static size_t
skip_comment(struct span in, size_t at)
{
	unsigned int depth = 0;

	for (; at < in.len; at++) {
		if (in.at[at] == '\\')
			at++;
		else if (in.at[at] == '(' && ++depth > COMMENT_DEPTH_MOST)
			return in.len;
		else if (in.at[at] == ')' && --depth == 0)
			return at + 1;
	}
	return in.len;
}

static bool
is_blank(unsigned char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* A place in the text, with what was seen of the address in hand. */
struct scan {
	struct span in;
	size_t at, start, end;    /* start == end: nothing yet */
	bool has, has_domain, is_one, angle, closed, after_joint;
};

static void
begin(struct scan *s)
{
	s->start = s->end = s->at;
	s->has = s->has_domain = false;
	s->is_one = true;
	s->after_joint = false;
}

/* A piece of the address: from s->at to `end`. "." and "@" join what blanks separate. */
static void
piece(struct scan *s, size_t end)
{
	unsigned char c = s->in.at[s->at];
	bool joint = c == '.' || c == '@';

	if (s->closed) {
		s->at = end;
		return;
	}
	if (!s->has)
		s->start = s->at;
	else if (s->end < s->at && !joint && !s->after_joint)
		s->is_one = false;
	if (c == '@')
		s->has_domain = true;
	s->after_joint = joint;
	s->has = true;
	s->at = s->end = end;
}

/* One step. True when an address has ended. */
static bool
step(struct scan *s)
{
	unsigned char c = s->in.at[s->at];

	switch (c) {
	case '(':
		s->at = skip_comment(s->in, s->at);
		return false;
	case '"':
		piece(s, skip_quoted(s->in, s->at, '"'));
		return false;
	case '[':
		piece(s, skip_quoted(s->in, s->at, ']'));
		return false;
	case '<':
		s->at++;
		if (!s->closed) {
			begin(s); /* what was before is a name */
			s->angle = true;
		}
		return false;
	case '>':
		s->at++;
		s->closed = s->closed || s->angle;
		return false;
	case ':': /* the end of a group's name, or of a route */
		s->at++;
		if (!s->closed)
			begin(s);
		return false;
	case ',':
		s->at++;
		if (!s->angle || s->closed)
			return true;
		begin(s); /* between the hosts of a route */
		return false;
	case ';':
		s->at++;
		return true;
	default:
		if (is_blank(c))
			s->at++;
		else
			piece(s, s->at + 1);
		return false;
	}
}

bool
mailbox_list_next(struct span *in, struct mailbox_found *found)
{
	struct scan s = { .in = *in };

	begin(&s);
	while (s.at < s.in.len) {
		if (!step(&s))
			continue;
		if (s.has || s.angle)
			break;
		begin(&s);
		s.angle = s.closed = false;
	}
	*in = span_part(*in, s.at, in->len);
	if (!s.has && !s.angle)
		return false;
	found->spec = span_part(s.in, s.start, s.end - s.start);
	found->has_domain = s.has_domain;
	found->is_one = s.is_one;
	return true;
}

void
mailbox_found_put(struct text *to, const struct mailbox_found *found)
{
	struct span in = found->spec;
	size_t at = 0, end;

	while (at < in.len) {
		unsigned char c = in.at[at];

		if (c == '(') {
			at = skip_comment(in, at);
			continue;
		}
		if (is_blank(c)) {
			at++;
			continue;
		}
		end = c == '"'	 ? skip_quoted(in, at, '"')
		      : c == '[' ? skip_quoted(in, at, ']')
				 : at + 1;
		text_add(to, span_part(in, at, end - at));
		at = end;
	}
}

/* --- whole headers --- */

static bool
holds_addresses(struct span name)
{
	static const char *const names[] = { "from", "sender", "reply-to", "to", "cc", "bcc" };

	if (span_starts_nocase(name, SPAN("resent-")))
		name = span_part(name, 7, name.len);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (span_equal_nocase(name, span_str(names[i])))
			return true;
	return false;
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
	} while (len < in->len && (in->at[len] == ' ' || in->at[len] == '\t'));
	field = span_part(*in, 0, len);
	*in = span_part(*in, len, in->len);
	return field;
}

static void
qualify_body(struct span body, struct span domain, struct text *out)
{
	struct mailbox_found found;
	struct span in = body;
	const unsigned char *copied = body.at, *end;

	while (mailbox_list_next(&in, &found)) {
		if (found.has_domain || !found.is_one || found.spec.len == 0)
			continue;
		end = found.spec.at + found.spec.len;
		text_add(out, span_of(copied, (size_t)(end - copied)));
		text_add_byte(out, '@');
		text_add(out, domain);
		copied = end;
	}
	text_add(out, span_of(copied, (size_t)(body.at + body.len - copied)));
}

void
mailbox_list_qualify(struct span header, struct span domain, struct text *out)
{
	while (header.len > 0) {
		struct span field = take_field(&header);
		size_t colon = span_index(field, ':');

		if (colon < field.len && holds_addresses(span_trim(span_part(field, 0, colon)))) {
			text_add(out, span_part(field, 0, colon + 1));
			qualify_body(span_part(field, colon + 1, field.len), domain, out);
		} else {
			text_add(out, field);
		}
	}
}
