/*
 * header - see header.h.
 */
#include "smtpd/header.h"

#include <string.h>

static bool
is_blank(unsigned char c)
{
	return c == ' ' || c == '\t';
}

/* RFC 5322 3.6.8: printable and no colon. */
static bool
is_name_octet(unsigned char c)
{
	return c > 32 && c < 127 && c != ':';
}

/* Whom nobody else is to see (RFC 5322 3.6.3, 3.6.6), and what only the last server writes (RFC 5321 4.4). */
static bool
is_left_out(struct span name)
{
	return span_equal_nocase(name, SPAN("bcc")) || span_equal_nocase(name, SPAN("resent-bcc")) ||
		span_equal_nocase(name, SPAN("return-path"));
}

/* Line ends count as blanks, and one blank is as good as many. */
static void
note_solicitation(struct header_scan *h, struct span text)
{
	for (size_t i = 0; i < text.len && h->solicitation_len < sizeof(h->solicitation); i++) {
		bool blank = is_blank(text.at[i]) || text.at[i] == '\r' || text.at[i] == '\n';
		bool again = h->solicitation_len > 0 && h->solicitation[h->solicitation_len - 1] == ' ';

		if (!blank || !again)
			h->solicitation[h->solicitation_len++] = blank ? ' ' : text.at[i];
	}
}

static void
note_field(struct header_scan *h, struct span name)
{
	h->fields++;
	h->leaving_out = false;
	h->in_tls_required = span_equal_nocase(name, SPAN("tls-required"));
	h->tls_required += h->in_tls_required;
	h->in_solicitation = span_equal_nocase(name, SPAN("solicitation"));
	if (h->in_solicitation)
		note_solicitation(h, SPAN(","));
	if (span_equal_nocase(name, SPAN("received")))
		h->received++;
	else if (span_equal_nocase(name, SPAN("date")))
		h->has_date = true;
	else if (span_equal_nocase(name, SPAN("message-id")))
		h->has_message_id = true;
	else if (h->submitted && is_left_out(name))
		h->leaving_out = true;
}

static void
release(struct header_scan *h, struct text *out)
{
	text_add(out, span_of(h->hold, h->held));
	h->held = 0;
}

static void
end_without_blank_line(struct header_scan *h, struct text *out)
{
	h->needs_blank_line = true;
	h->place = HEADER_ENDED;
	text_add(out, SPAN("\r\n"));
	release(h, out);
}

/* What the held start of a line is: decided with its latest octet, or not yet. */
static void
judge_line(struct header_scan *h, struct text *out)
{
	size_t name = 0, colon;
	unsigned char last = h->hold[h->held - 1];

	if (is_blank(h->hold[0])) {
		if (h->fields == 0)
			h->starts_folded = true;
		h->place = h->leaving_out ? HEADER_LEFT_OUT : HEADER_FIELD;
	} else if (h->hold[0] == '\r') {
		if (h->held == 1)
			return;
		if (h->held != 2 || last != '\n') {
			end_without_blank_line(h, out);
			return;
		}
		h->place = HEADER_ENDED;
	} else {
		while (name < h->held && is_name_octet(h->hold[name]))
			name++;
		/* RFC 5322 4.5.8: the obsolete form has blanks before its colon. */
		for (colon = name; colon < h->held && is_blank(h->hold[colon]); colon++)
			;
		if (colon == h->held && h->held < sizeof(h->hold))
			return;
		if (colon == h->held || h->hold[colon] != ':' || name == 0) {
			end_without_blank_line(h, out);
			return;
		}
		note_field(h, span_of(h->hold, name));
		h->place = h->leaving_out ? HEADER_LEFT_OUT : HEADER_FIELD;
	}
	if (h->place == HEADER_LEFT_OUT)
		h->held = 0;
	else
		release(h, out);
}

/* Keeps the first octets of a value, but for the blanks around it. */
static void
note_wish(struct header_scan *h, struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		bool blank = is_blank(text.at[i]) || text.at[i] == '\r' || text.at[i] == '\n';

		if (blank)
			h->wish_over = h->wish_len > 0;
		else if (h->wish_over)
			h->wish_len = sizeof(h->wish);       /* more than one word */
		else if (h->wish_len < sizeof(h->wish))
			h->wish[h->wish_len++] = text.at[i];
	}
}

bool
header_wants_no_tls(const struct header_scan *h)
{
	return h->tls_required == 1 && span_equal_nocase(span_of(h->wish, h->wish_len), SPAN("no"));
}

/* Up to the end of this line. */
static void
take_rest_of_line(struct header_scan *h, struct span *in, struct text *out)
{
	const unsigned char *lf = memchr(in->at, '\n', in->len);
	size_t len = lf ? (size_t)(lf - in->at) + 1 : in->len;

	if (h->place == HEADER_FIELD)
		text_add(out, span_part(*in, 0, len));
	if (h->in_tls_required)
		note_wish(h, span_part(*in, 0, len));
	if (h->in_solicitation)
		note_solicitation(h, span_part(*in, 0, len));
	in->at += len;
	in->len -= len;
	h->size += len;
	if (lf)
		h->place = HEADER_LINE;
}

void
header_scan_feed(struct header_scan *h, struct span *in, struct text *out)
{
	while (in->len > 0 && h->place != HEADER_ENDED) {
		if (h->place != HEADER_LINE) {
			take_rest_of_line(h, in, out);
			continue;
		}
		h->hold[h->held++] = in->at[0];
		in->at++;
		in->len--;
		h->size++;
		judge_line(h, out);
	}
}

void
header_scan_finish(struct header_scan *h, struct text *out)
{
	if (h->place == HEADER_LINE && h->held > 0)
		end_without_blank_line(h, out);
	h->place = HEADER_ENDED;
}
