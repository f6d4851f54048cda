/* seven-bit-header - see seven-bit-inside.h. */
#include "seven-bit-inside.h"

#include <string.h>

/* Takes one line with its end. */
static bool
take_line(struct span *in, struct span *line)
{
	size_t end;

	if (in->len == 0)
		return false;
	end = span_index(*in, '\n');
	*line = span_part(*in, 0, end + 1);
	*in = span_part(*in, line->len, in->len);
	return true;
}

bool
line_is_blank(struct span line)
{
	return span_equal(line, SPAN("\r\n")) || span_equal(line, SPAN("\n"));
}

/* Takes a field with its folds. */
static bool
take_field(struct span *in, struct span *field)
{
	struct span line, rest = *in;
	const unsigned char *at = in->at;

	if (!take_line(&rest, &line))
		return false;
	*in = rest;
	while (rest.len > 0 && (rest.at[0] == ' ' || rest.at[0] == '\t')) {
		(void)take_line(&rest, &line);
		*in = rest;
	}
	*field = span_of(at, (size_t)(in->at - at));
	return true;
}

static bool
is_field(struct span field, struct span name, struct span *value)
{
	if (!span_take_word(&field, name))
		return false;
	field = span_trim(field);
	if (!span_take(&field, ':'))
		return false;
	*value = field;
	return true;
}

static bool
is_space(unsigned char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void
skip_space(struct span *in)
{
	while (in->len > 0 && is_space(in->at[0]))
		*in = span_part(*in, 1, in->len);
}

/* A token (RFC 2045 5.1). */
static struct span
take_token(struct span *in)
{
	size_t len = 0;
	struct span token;

	skip_space(in);
	while (len < in->len && in->at[len] > 0x20 && in->at[len] < 0x7f &&
		strchr("()<>@,;:\\\"/[]?=", in->at[len]) == NULL)
		len++;
	token = span_part(*in, 0, len);
	*in = span_part(*in, len, in->len);
	return token;
}

/* The value of boundary=, where it is written in one of the usual ways. */
static void
find_boundary(struct span rest, struct entity *e)
{
	struct span name, value;
	size_t at;

	while ((at = span_index(rest, ';')) < rest.len) {
		rest = span_part(rest, at + 1, rest.len);
		name = take_token(&rest);
		skip_space(&rest);
		if (!span_take(&rest, '='))
			continue;
		skip_space(&rest);
		if (span_take(&rest, '"')) {
			value = span_part(rest, 0, span_index(rest, '"'));
			rest = span_part(rest, value.len + 1, rest.len);
			if (span_has(value, '\\'))
				continue;
		} else {
			value = take_token(&rest);
		}
		if (span_equal_nocase(name, SPAN("boundary")) && e->boundary[0] == '\0')
			(void)span_copy(value, e->boundary, sizeof(e->boundary));
	}
}

void
entity_read(struct span in, struct entity *e)
{
	struct span field, value;

	memset(e, 0, sizeof(*e));
	while (in.len > 0) {
		struct span line, rest = in;

		(void)take_line(&rest, &line);
		if (line_is_blank(line))
			break;
		(void)take_field(&in, &field);
		if (is_field(field, SPAN("MIME-Version"), &value))
			e->has_version = true;
		if (is_field(field, SPAN("Content-Transfer-Encoding"), &value) && e->encoding.len == 0)
			e->encoding = take_token(&value);
		if (is_field(field, SPAN("Content-Type"), &value) && !e->has_type) {
			e->has_type = true;
			e->type = take_token(&value);
			if (span_take(&value, '/'))
				e->subtype = take_token(&value);
			find_boundary(value, e);
		}
	}
}

static bool
is_identity(struct span encoding)
{
	return encoding.len == 0 || span_equal_nocase(encoding, SPAN("7bit")) ||
		span_equal_nocase(encoding, SPAN("8bit")) || span_equal_nocase(encoding, SPAN("binary"));
}

/* RFC 6532 3.7, RFC 6533 6: a message/global and its like may have any encoding; it is mostly text. */
static bool
is_global(const struct entity *e)
{
	return span_equal_nocase(e->type, SPAN("message")) && span_starts_nocase(e->subtype, SPAN("global"));
}

enum part_kind
entity_kind(const struct entity *e, bool digest, enum encoding *encoding)
{
	bool typeless = !e->has_type;

	*encoding = AS_IT_IS;
	if (!is_identity(e->encoding))
		return LEAF;
	if (span_equal_nocase(e->type, SPAN("multipart"))) {
		if (span_equal_nocase(e->subtype, SPAN("signed")) || span_equal_nocase(e->subtype, SPAN("encrypted")) ||
			e->boundary[0] == '\0')
			return LEAF;
		*encoding = SEVEN_BIT;
		return MULTIPART;
	}
	/* RFC 2046 5.1.5, 5.2.1: a message inside has no other encoding than these; its parts may. */
	if ((typeless && digest) || (span_equal_nocase(e->type, SPAN("message")) && span_equal_nocase(e->subtype, SPAN("rfc822")))) {
		*encoding = SEVEN_BIT;
		return MESSAGE;
	}
	if (span_equal_nocase(e->type, SPAN("message")) && !is_global(e))
		return LEAF;
	*encoding = typeless || is_global(e) || span_equal_nocase(e->type, SPAN("text")) ? QUOTED_PRINTABLE : BASE64;
	return LEAF;
}

void
entity_put_header(struct span header, enum encoding encoding, bool outermost, struct text *out)
{
	static const char *const names[] = { [SEVEN_BIT] = "7bit", [QUOTED_PRINTABLE] = "quoted-printable",
		[BASE64] = "base64" };
	struct span rest = header, field, value;
	struct entity e;

	entity_read(header, &e);
	while (rest.len > 0) {
		struct span ahead = rest, first;

		(void)take_line(&ahead, &first);
		if (line_is_blank(first))
			break;
		(void)take_field(&rest, &field);
		if (!is_field(field, SPAN("Content-Transfer-Encoding"), &value))
			text_add(out, field);
	}
	if (encoding != SEVEN_BIT) {
		if (outermost && !e.has_version)
			text_add_str(out, "MIME-Version: 1.0\r\n");
		if (!e.has_type)
			text_add_str(out, "Content-Type: text/plain; charset=unknown-8bit\r\n"); /* RFC 1428 */
	}
	if (encoding != SEVEN_BIT || e.encoding.len > 0)
		text_printf(out, "Content-Transfer-Encoding: %s\r\n", names[encoding]);
	text_add(out, rest);         /* the blank line, if there is one */
}

bool
line_is_delimiter(struct span line, const char *boundary, bool *last)
{
	*last = false;
	if (!span_take(&line, '-') || !span_take(&line, '-') || line.len < strlen(boundary) ||
		memcmp(line.at, boundary, strlen(boundary)) != 0)
		return false;
	line = span_part(line, strlen(boundary), line.len);
	if (line.len >= 2 && line.at[0] == '-' && line.at[1] == '-') {
		*last = true;
		return true;
	}
	skip_space(&line);
	return line.len == 0;
}
