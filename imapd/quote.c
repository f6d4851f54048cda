/*
 * quote - strings in IMAP responses. See quote.h.
 */
#include "imapd/quote.h"

#include "imapd/header.h"

#include <string.h>

void
quote_mend_nul(unsigned char *at, size_t len)
{
	unsigned char *nul;

	while (len > 0 && (nul = memchr(at, 0, len)) != NULL) {
		*nul++ = 0x80;
		len -= (size_t)(nul - at);
		at = nul;
	}
}

void
quote_literal(struct text *out, struct span bytes)
{
	size_t start;

	text_add_byte(out, '{');
	text_add_number(out, bytes.len);
	text_add(out, SPAN("}\r\n"));
	start = out->len;
	text_add(out, bytes);
	if (!out->failed && bytes.len > 0)
		quote_mend_nul(out->at + start, bytes.len);
}

/* quoted (RFC 3501 section 9): 7-bit, no CR, LF or NUL; we leave other controls to literals, too.
 */
static bool
can_be_quoted(struct span string)
{
	if (string.len > MOST_QUOTED)
		return false;
	for (size_t i = 0; i < string.len; i++)
		if ((string.at[i] < ' ' && string.at[i] != '\t') || string.at[i] > '~')
			return false;
	return true;
}

static void
quote(struct text *out, struct span string)
{
	size_t i, start = 0;

	text_add_byte(out, '"');
	for (i = 0; i < string.len; i++) {
		if (string.at[i] != '"' && string.at[i] != '\\')
			continue;
		text_add(out, span_part(string, start, i - start));
		text_add_byte(out, '\\');
		start = i;
	}
	text_add(out, span_part(string, start, string.len));
	text_add_byte(out, '"');
}

void
quote_string(struct text *out, struct span string)
{
	if (can_be_quoted(string))
		quote(out, string);
	else
		quote_literal(out, string);
}

void
quote_nstring(struct text *out, struct span string)
{
	if (string.at == NULL)
		text_add(out, SPAN("NIL"));
	else
		quote_string(out, string);
}

/* ASTRING-CHAR: no list wildcards, parentheses, braces, quotes, backslashes, blanks or controls. */
static bool
can_be_atom(struct span string)
{
	if (string.len == 0 || string.len > MOST_QUOTED || span_equal_nocase(string, SPAN("NIL")))
		return false;
	for (size_t i = 0; i < string.len; i++)
		if (string.at[i] <= ' ' || string.at[i] > '~' ||
			span_has(SPAN("(){%*\"\\"), string.at[i]))
			return false;
	return true;
}

void
quote_astring(struct text *out, struct span string)
{
	if (can_be_atom(string))
		text_add(out, string);
	else
		quote_string(out, string);
}

void
quote_utf8_string(struct text *out, struct span string)
{
	bool plain = string.len <= MOST_QUOTED && span_is_utf8(string);

	for (size_t i = 0; plain && i < string.len; i++)
		plain = string.at[i] >= ' ' && string.at[i] != 0x7f;
	if (plain)
		quote(out, string);
	else
		quote_string(out, string);
}

void
quote_utf8(struct text *out, struct span string)
{
	if (can_be_atom(string))
		text_add(out, string);
	else
		quote_utf8_string(out, string);
}

void
quote_field(struct text *out, struct span value)
{
	struct text unfolded = TEXT_UP_TO(MOST_FIELD_VALUE);

	value = span_part(value, 0, MOST_FIELD_VALUE);
	if (value.at != NULL && (span_has(value, '\n') || span_has(value, '\r') ||
		(value.len > 0 && value.at[value.len - 1] <= ' '))) {
		field_unfold(value, &unfolded);
		value = unfolded.at == NULL ? SPAN("") : text_span(&unfolded);
	}
	quote_nstring(out, value);
	text_clear(&unfolded);
}
