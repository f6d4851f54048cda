/*
 * parameter - the words of MIME fields: type/subtype, tokens, parameters (RFC 2045 5.1, RFC 2231).
 * See mime.h.
 */
#include "imapd/mime.h"

#include "imapd/header.h"

#define MOST_PIECES 100          /* of one RFC 2231 parameter: name*0, name*1, ... */

static bool
is_token(unsigned char c)
{
	return c > ' ' && c != 0x7f && !span_has(SPAN("()<>@,;:\\\"/[]?="), c);
}

/* Takes a run of token characters (RFC 2045 5.1), 8-bit bytes included. */
static bool
token_take(struct span *in, struct span *token)
{
	size_t i = 0;

	while (i < in->len && is_token(in->at[i]))
		i++;
	return i > 0 && span_take_bytes(in, i, token);
}

bool
mime_token_take(struct span *in, struct span *token)
{
	struct span rest = *in;

	cfws_skip(&rest, NULL);
	if (!token_take(&rest, token))
		return false;
	*in = rest;
	return true;
}

bool
content_type_take(struct span *in, struct span *type, struct span *subtype)
{
	struct span rest = *in, first, second;

	if (!mime_token_take(&rest, &first))
		return false;
	cfws_skip(&rest, NULL);
	if (!span_take(&rest, '/') || !mime_token_take(&rest, &second))
		return false;
	*type = first;
	*subtype = second;
	*in = rest;
	return true;
}

/* Moves to the next semicolon outside quotes and comments, or to the end. */
static void
junk_skip(struct span *in)
{
	struct span inside;

	for (;;) {
		cfws_skip(in, NULL);
		if (in->len == 0 || in->at[0] == ';')
			return;
		if (!quoted_take(in, &inside))
			*in = span_part(*in, 1, in->len);
	}
}

/* Takes a value without quotes: what a token is and, as many senders write it, blanks and
 * specials too, to the next semicolon, comment or line end. */
static struct span
value_take(struct span *in)
{
	struct span value;
	size_t i = 0;

	while (i < in->len && !span_has(SPAN(";(\r\n"), in->at[i]))
		i++;
	span_take_bytes(in, i, &value);
	return span_trim(value);
}

bool
parameter_take(struct span *in, struct parameter *parameter)
{
	struct span rest = *in;

	for (;;) {
		junk_skip(&rest);
		if (!span_take(&rest, ';'))
			break;
		if (!mime_token_take(&rest, &parameter->name))
			continue;
		cfws_skip(&rest, NULL);
		if (!span_take(&rest, '='))
			continue;
		cfws_skip(&rest, NULL);
		parameter->quoted = quoted_take(&rest, &parameter->value);
		if (!parameter->quoted)
			parameter->value = value_take(&rest);
		*in = rest;
		return true;
	}
	*in = rest;
	return false;
}

/* Appends with %XX undone (RFC 2231 section 4). */
static void
percent_add(struct text *out, struct span value)
{
	for (size_t i = 0; i < value.len; i++) {
		int high = -1, low = -1;

		if (value.at[i] == '%' && value.len - i > 2) {
			high = span_hex_value(value.at[i + 1]);
			low = span_hex_value(value.at[i + 2]);
		}
		if (high < 0 || low < 0) {
			text_add_byte(out, value.at[i]);
			continue;
		}
		text_add_byte(out, (unsigned char)(high << 4 | low));
		i += 2;
	}
}

/* What stands behind the name: "" (plain), "*" (encoded), "*N" or "*N*" (a piece). */
struct suffix {
	bool piece, encoded;
	uint64_t number;
};

static bool
suffix_parse(struct span rest, struct suffix *suffix)
{
	*suffix = (struct suffix){ 0 };
	if (rest.len == 0)
		return true;
	if (!span_take(&rest, '*'))
		return false;
	if (rest.len == 0) {
		suffix->encoded = true;
		return true;
	}
	if (!span_take_number(&rest, MOST_PIECES - 1, &suffix->number))
		return false;
	suffix->piece = true;
	suffix->encoded = span_take(&rest, '*');
	return rest.len == 0;
}

struct piece {
	struct span value;       /* .at NULL: absent */
	bool quoted, encoded;
};

static void
piece_add(struct text *out, const struct piece *piece, bool first)
{
	struct span value = piece->value, dropped;

	if (piece->quoted) {
		quoted_add(out, value);
		return;
	}
	if (!piece->encoded) {
		text_add(out, value);
		return;
	}
	if (first) {                     /* charset'language'text */
		struct span after = value;

		if (span_take_until(&after, '\'', &dropped) &&
			span_take_until(&after, '\'', &dropped))
			value = after;
	}
	percent_add(out, value);
}

bool
parameter_find(struct span in, struct span name, struct text *value)
{
	struct piece plain = { 0 }, pieces[MOST_PIECES] = { 0 };
	struct parameter parameter;
	size_t count, i;

	for (count = 0; count < MOST_PARAMETERS && parameter_take(&in, &parameter); count++) {
		struct suffix suffix;
		struct piece *piece;

		if (!span_starts_nocase(parameter.name, name) ||
			!suffix_parse(
				span_part(parameter.name, name.len, parameter.name.len), &suffix))
			continue;
		piece = suffix.piece ? &pieces[suffix.number] : &plain;
		if (piece->value.at == NULL)
			*piece =
				(struct piece){ parameter.value, parameter.quoted, suffix.encoded };
	}
	if (plain.value.at != NULL) {
		piece_add(value, &plain, true);
		return true;
	}
	for (i = 0; i < MOST_PIECES && pieces[i].value.at != NULL; i++)
		piece_add(value, &pieces[i], i == 0);
	return i > 0;
}
