/*
 * header - the fields of a message or part header. See header.h.
 */
#include "imapd/header.h"

#include <string.h>

#define MOST_LOOKED_AHEAD ((size_t)4096)     /* bytes behind a broken first line */

static bool
is_blank(unsigned char c)
{
	return c == ' ' || c == '\t';
}

/* Length of the line at the front, with its LF. */
static size_t
line_length(struct span in)
{
	size_t lf = span_index(in, '\n');

	return lf < in.len ? lf + 1 : lf;
}

bool
line_is_empty(struct span in)
{
	return in.len > 0 &&
	       (in.at[0] == '\n' || (in.len > 1 && in.at[0] == '\r' && in.at[1] == '\n'));
}

/* Splits a line into name and what is behind the colon. False when it is no field. RFC 5322 3.6.8,
 * and 4.5 for blanks before the colon; 8-bit bytes are let through, as old mail has them. */
static bool
split_field(struct span line, struct span *name, size_t *behind)
{
	size_t i, colon;

	for (i = 0; i < line.len; i++)
		if (line.at[i] <= ' ' || line.at[i] == ':' || line.at[i] == 0x7f)
			break;
	if (i == 0)
		return false;
	for (colon = i; colon < line.len && is_blank(line.at[colon]); colon++)
		;
	if (colon == line.len || line.at[colon] != ':')
		return false;
	*name = span_part(line, 0, i);
	*behind = colon + 1;
	return true;
}

bool
field_starts(struct span line)
{
	struct span name;
	size_t behind;

	return split_field(line, &name, &behind);
}

bool
field_take(struct span *header, struct field *field)
{
	struct span value;
	size_t len, behind = 0;

	if (header->len == 0 || line_is_empty(*header))
		return false;
	len = line_length(*header);
	field->name = SPAN_NONE;
	if (!split_field(span_part(*header, 0, len), &field->name, &behind))
		behind = 0;
	while (len < header->len && is_blank(header->at[len]))
		len += line_length(span_part(*header, len, header->len));
	field->whole = span_part(*header, 0, len);
	value = span_part(field->whole, behind, len);
	if (value.len > 0 && value.at[value.len - 1] == '\n')
		value.len--;
	if (value.len > 0 && value.at[value.len - 1] == '\r')
		value.len--;
	while (behind > 0 && value.len > 0 && is_blank(value.at[0])) {
		value.at++;
		value.len--;
	}
	field->value = value;
	*header = span_part(*header, len, header->len);
	return true;
}

/* As field_take, without looking at what it is. */
static void
field_skip(struct span *header)
{
	size_t len = line_length(*header);

	while (len < header->len && is_blank(header->at[len]))
		len += line_length(span_part(*header, len, header->len));
	*header = span_part(*header, len, header->len);
}

bool
header_starts(struct span part)
{
	return line_is_empty(part) || field_starts(part) ||
		span_starts_nocase(part, SPAN("From ")) ||
		span_starts_nocase(part, SPAN(">From "));
}

/* The bit of a line that begins with one of the fields of every message; 0. */
static unsigned int
usual_field(struct span line)
{
	static const struct span names[] = { SPAN("Received:"), SPAN("Return-Path:"), SPAN("From:"), SPAN("To:"),
		SPAN("Date:"), SPAN("Subject:"), SPAN("Message-ID:"), SPAN("MIME-Version:") };

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (span_starts_nocase(line, names[i]))
			return 1u << i;
	}
	return 0;
}

bool
message_starts(struct span message)
{
	struct span rest = span_part(message, 0, MOST_LOOKED_AHEAD);
	unsigned int seen = 0;

	if (header_starts(message))
		return true;
	while (rest.len > 0 && !line_is_empty(rest) && !span_starts_nocase(rest, SPAN("--"))) {
		seen |= usual_field(rest);
		if ((seen & (seen - 1)) != 0)
			return true;
		rest = span_part(rest, line_length(rest), rest.len);
	}
	return false;
}

size_t
header_length(struct span message)
{
	struct span rest = message;
	bool last = !message_starts(message);

	while (rest.len > 0 && !last) {
		last = line_is_empty(rest);
		rest = span_part(rest, line_length(rest), rest.len);
	}
	return message.len - rest.len;
}

bool
header_find(struct span header, struct span name, struct span *value)
{
	struct field field;

	while (name.len > 0 && header.len > 0 && !line_is_empty(header)) {
		if (!span_starts_nocase(header, name)) {
			field_skip(&header);
			continue;
		}
		field_take(&header, &field);
		if (field.name.len == name.len) {
			*value = field.value;
			return true;
		}
	}
	return false;
}

void
field_unfold(struct span value, struct text *out)
{
	size_t i, start = 0;

	while (value.len > 0 && (is_blank(value.at[value.len - 1]) ||
		value.at[value.len - 1] == '\r' || value.at[value.len - 1] == '\n'))
		value.len--;
	for (i = 0; i < value.len; i++) {
		if (value.at[i] != '\r' && value.at[i] != '\n')
			continue;
		text_add(out, span_part(value, start, i - start));
		start = i + 1;
	}
	text_add(out, span_part(value, start, value.len));
}

/* Takes a comment, nested or not, whose parenthesis stands at the front (RFC 5322 3.2.2). */
static void
comment_take(struct span *in, struct span *inside)
{
	size_t depth = 0, i;

	for (i = 0; i < in->len; i++) {
		if (in->at[i] == '\\')
			i++;
		else if (in->at[i] == '(')
			depth++;
		else if (in->at[i] == ')' && --depth == 0)
			break;
	}
	if (i > in->len)
		i = in->len;          /* a backslash was the last byte */
	if (inside != NULL)
		*inside = span_part(*in, 1, i - 1);
	*in = span_part(*in, i + 1, in->len);
}

void
cfws_skip(struct span *in, struct span *comment)
{
	while (in->len > 0) {
		unsigned char c = in->at[0];

		if (c == '(') {
			comment_take(in, comment);
			continue;
		}
		if (!is_blank(c) && c != '\r' && c != '\n')
			return;
		in->at++;
		in->len--;
	}
}

bool
quoted_take(struct span *in, struct span *inside)
{
	size_t i;

	if (in->len == 0 || in->at[0] != '"')
		return false;
	for (i = 1; i < in->len && in->at[i] != '"'; i++)
		if (in->at[i] == '\\')
			i++;
	if (i > in->len)
		i = in->len;
	*inside = span_part(*in, 1, i - 1);
	*in = span_part(*in, i + 1, in->len);
	return true;
}

void
quoted_add(struct text *out, struct span inside)
{
	size_t i, start = 0;

	for (i = 0; i < inside.len; i++) {
		unsigned char c = inside.at[i];

		if (c != '\\' && c != '\r' && c != '\n')
			continue;
		text_add(out, span_part(inside, start, i - start));
		start = i + 1;
		if (c == '\\' && i + 1 < inside.len && inside.at[i + 1] != '\r' &&
			inside.at[i + 1] != '\n')
			i++;          /* the byte behind stands for itself */
	}
	text_add(out, span_part(inside, start, inside.len));
}
