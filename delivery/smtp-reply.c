/* smtp-reply - see smtp-reply.h. */
#include "smtp-reply.h"

void
smtp_reply_init(struct smtp_reply *r)
{
	*r = (struct smtp_reply){ .text = TEXT_UP_TO(MOST_REPLY_TEXT),
		.line = TEXT_UP_TO(MOST_REPLY_LINE) };
}

void
smtp_reply_clear(struct smtp_reply *r)
{
	text_clear(&r->text);
	text_clear(&r->line);
}

void
smtp_reply_reset(struct smtp_reply *r)
{
	text_reset(&r->text);
	text_reset(&r->line);
	r->code = 0;
	r->bytes = r->lines = 0;
	r->overlong = false;
}

/* Bytes that are fit for logs and reports: other ones become '?'. */
static void
add_printable(struct text *to, struct span s)
{
	bool utf8 = span_is_utf8(s);

	for (size_t i = 0; i < s.len && to->len < to->most; i++) {
		unsigned char c = s.at[i];
		bool c1 = utf8 && c == 0xc2 && i + 1 < s.len && s.at[i + 1] < 0xa0;

		text_add_byte(to, c < 0x20 || c == 0x7f || c1 || (c >= 0x80 && !utf8) ? '?' : c);
	}
}

static bool
is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

/* One line is complete in r->line. */
static enum reply_state
end_line(struct smtp_reply *r)
{
	struct span line = text_span(&r->line);
	bool last;
	uint16_t code;

	if (line.len > 0 && line.at[line.len - 1] == '\r')
		line.len--;
	if (line.len < 3 || line.at[0] < '2' || line.at[0] > '5' || !is_digit(line.at[1]) ||
		!is_digit(line.at[2]) || (line.len > 3 && line.at[3] != ' ' && line.at[3] != '-'))
		return REPLY_BROKEN;
	code = (uint16_t)((line.at[0] - '0') * 100 + (line.at[1] - '0') * 10 + (line.at[2] - '0'));
	last = line.len == 3 || line.at[3] == ' ';
	if (r->lines++ > 0 && code != r->code)
		return REPLY_BROKEN;
	r->code = code;
	if (r->text.len + line.len < r->text.most) {
		add_printable(&r->text, span_part(line, 4, line.len));
		text_add_byte(&r->text, '\n');
	}
	text_reset(&r->line);
	r->overlong = false;
	if (last)
		return REPLY_WHOLE;
	return r->lines >= MOST_REPLY_LINES ? REPLY_BROKEN : REPLY_MORE;
}

enum reply_state
smtp_reply_feed(struct smtp_reply *r, struct span *in)
{
	while (in->len > 0) {
		size_t len = span_index(*in, '\n');
		struct span part = span_part(*in, 0, len);
		bool ends = len < in->len;

		*in = span_part(*in, len + ends, in->len);
		r->bytes += len + ends;
		if (r->bytes > MOST_REPLY_BYTES)
			return REPLY_BROKEN;
		if (r->line.len + part.len > r->line.most) {
			part.len = r->line.most - r->line.len;
			r->overlong = true;
		}
		text_add(&r->line, part);
		if (ends) {
			enum reply_state state = end_line(r);

			if (state != REPLY_MORE)
				return state;
		}
	}
	return REPLY_MORE;
}

bool
smtp_status_take(struct span *in, unsigned char class, struct span *status)
{
	struct span rest = *in;
	uint64_t number;

	if (!span_take(&rest, class) || !span_take(&rest, '.') || !span_take_number(&rest, 999, &number) ||
		!span_take(&rest, '.') || !span_take_number(&rest, 999, &number) ||
		(rest.len > 0 && rest.at[0] != ' ' && rest.at[0] != '\n'))
		return false;
	*status = span_part(*in, 0, in->len - rest.len);
	if (status->len > 9)
		return false;
	*in = rest;
	return true;
}

struct span
smtp_reply_status(const struct smtp_reply *r)
{
	struct span in = text_span(&r->text), status;

	return smtp_status_take(&in, (unsigned char)('0' + r->code / 100), &status) ? status : SPAN_NONE;
}

bool
smtp_reply_take_line(struct span *text, struct span *line)
{
	return span_take_until(text, '\n', line);
}

void
smtp_reply_sentence(const struct smtp_reply *r, struct text *to, size_t most)
{
	struct span text = text_span(&r->text), line, status, again;
	size_t room = to->len + most < to->most ? to->len + most : to->most, first = 1;

	text_printf(to, "%u", r->code);
	for (; smtp_reply_take_line(&text, &line) && to->len + 1 < room; first = 0) {
		/* A status is said once. */
		again = line;
		if (!first && smtp_status_take(&again, (unsigned char)('0' + r->code / 100), &status))
			line = span_trim(again);
		if (line.len == 0)
			continue;
		text_add_byte(to, ' ');
		if (line.len > room - to->len) {
			line.len = room - to->len;
			while (line.len > 0 && (line.at[line.len] & 0xc0) == 0x80)
				line.len--;
		}
		text_add(to, line);
	}
}
