/*
 * parameter - the words of MIME fields: type/subtype, tokens, parameters (RFC 2045 5.1, RFC 2231).
 * See mime.h.
 */
#include "imapd/mime.h"

#include "imapd/header.h"

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
	if (!span_take_number(&rest, MOST_PARAMETER_PIECES - 1, &suffix->number))
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
	struct piece plain = { 0 }, pieces[MOST_PARAMETER_PIECES] = { 0 };
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
	for (i = 0; i < MOST_PARAMETER_PIECES && pieces[i].value.at != NULL; i++)
		piece_add(value, &pieces[i], i == 0);
	return i > 0;
}

/* --- as a client hears of them --- */

#define MOST_JOINED 100          /* parameters of a field among which pieces are looked for */

/* One of a field's parameters. */
struct told {
	struct parameter as_sent;
	struct span name;        /* without its suffix */
	struct suffix suffix;
	bool later;              /* a piece of another, told with it */
	struct told *next;       /* piece */
};

/* The suffix of a name that has one of a piece. */
static void
name_split(struct told *t)
{
	struct span name = t->as_sent.name;
	size_t star = span_index(name, '*');

	if (star == 0 || !suffix_parse(span_part(name, star, name.len), &t->suffix))
		t->suffix = (struct suffix){ 0 };
	t->name = t->suffix.piece ? span_part(name, 0, star) : name;
}

/* The piece behind `before`, or NULL. In the order in which they are sent, as a rule. */
static struct told *
piece_behind(struct told *all, size_t count, const struct told *before)
{
	size_t at = (size_t)(before - all);

	for (size_t i = 1; i < count; i++) {
		struct told *t = &all[(at + i) % count];

		if (t->suffix.piece && t->suffix.number == before->suffix.number + 1 && !t->later &&
			span_equal_nocase(t->name, before->name))
			return t;
	}
	return NULL;
}

/* What is no attribute-char (RFC 2231 section 7) becomes %XX. */
static void
encoded_add(struct text *out, struct span plain)
{
	for (size_t i = 0; i < plain.len; i++) {
		unsigned char c = plain.at[i];

		if (is_token(c) && c < 0x7f && !span_has(SPAN("*'%"), c))
			text_add_byte(out, c);
		else
			text_printf(out, "%%%02X", c);
	}
}

static void
told_add(const struct told *t, bool encode, struct text *out)
{
	struct text value = TEXT_UP_TO(MOST_FIELD_VALUE);

	if (t->as_sent.quoted)
		quoted_add(&value, t->as_sent.value);
	else
		text_add(&value, t->as_sent.value);
	if (encode)
		encoded_add(out, text_span(&value));
	else
		text_add(out, text_span(&value));
	text_clear(&value);
}

/* The name and the value under which all pieces from `first` on are told. */
static void
pieces_add(const struct told *first, struct text *name, struct text *value)
{
	bool encoded = false;

	for (const struct told *t = first; t != NULL; t = t->next)
		encoded |= t->suffix.encoded;
	text_add(name, first->name);
	if (encoded)
		text_add_byte(name, '*');
	if (encoded && !first->suffix.encoded)
		text_add(value, SPAN("''"));         /* no charset, no language */
	for (const struct told *t = first; t != NULL; t = t->next)
		told_add(t, encoded && !t->suffix.encoded, value);
}

void
parameters_tell(struct span in, void (*tell)(void *me, struct span name, struct span value),
	void *me)
{
	struct text name = TEXT_UP_TO(MOST_FIELD_VALUE), value = TEXT_UP_TO(3 * MOST_FIELD_VALUE);
	struct told all[MOST_PARAMETERS];
	size_t count = 0, among;

	for (; count < MOST_PARAMETERS && parameter_take(&in, &all[count].as_sent); count++) {
		name_split(&all[count]);
		all[count].later = false;
		all[count].next = NULL;
	}
	among = count < MOST_JOINED ? count : MOST_JOINED;
	for (size_t i = 0; i < among; i++) {
		struct told *t = &all[i];

		while (t->suffix.piece && (i != (size_t)(t - all) || t->suffix.number == 0) &&
			(t->next = piece_behind(all, among, t)) != NULL) {
			t = t->next;
			t->later = true;
		}
	}
	for (size_t i = 0; i < count; i++) {
		const struct told *t = &all[i];

		if (t->later)
			continue;
		text_reset(&name);
		text_reset(&value);
		if (t->suffix.piece && t->suffix.number == 0) {
			pieces_add(t, &name, &value);
			tell(me, text_span(&name), text_span(&value));
		} else {
			told_add(t, false, &value);
			tell(me, t->as_sent.name, text_span(&value));
		}
	}
	text_clear(&name);
	text_clear(&value);
}
