/*
 * section - the [section]<partial> of FETCH. See section.h.
 */
#include "imapd/section.h"

#include "imapd/header.h"
#include "imapd/quote.h"

#include <stdlib.h>

/* The longer words first: HEADER starts all three. */
static const struct {
	struct span word;
	enum section_kind kind;
} words[] = {
	{ SPAN("HEADER.FIELDS.NOT"), SECTION_FIELDS_NOT },
	{ SPAN("HEADER.FIELDS"),     SECTION_FIELDS },
	{ SPAN("HEADER"),            SECTION_HEADER },
	{ SPAN("TEXT"),              SECTION_TEXT },
	{ SPAN("MIME"),              SECTION_MIME },
};

void
section_init(struct section *section, enum section_kind kind)
{
	*section = (struct section){ .kind = kind,
		.names = TEXT_UP_TO((size_t)MOST_SECTION_FIELDS * MOST_FIELD_NAME) };
}

void
section_clear(struct section *section)
{
	free(section->fields);
	text_clear(&section->names);
	section_init(section, SECTION_WHOLE);
}

static bool
is_astring_char(unsigned char c)
{
	return c > ' ' && c < 0x7f && !span_has(SPAN("(){%*\"\\"), c);
}

/* Takes a quoted string of IMAP, with its backslashes resolved. */
static bool
quoted_name_take(struct span *in, struct text *name)
{
	struct span rest = *in;

	if (!span_take(&rest, '"'))
		return false;
	while (rest.len > 0 && rest.at[0] != '"') {
		if (rest.at[0] == '\\') {
			rest = span_part(rest, 1, rest.len);
			if (rest.len == 0 || (rest.at[0] != '"' && rest.at[0] != '\\'))
				return false;
		}
		if (rest.at[0] == '\r' || rest.at[0] == '\n' || rest.at[0] == 0)
			return false;
		text_add_byte(name, rest.at[0]);
		rest = span_part(rest, 1, rest.len);
	}
	*in = rest;
	return span_take(in, '"');
}

/* Takes an inline literal. */
static bool
literal_name_take(struct span *in, struct text *name)
{
	struct span rest = *in, bytes;
	uint64_t len;

	if (!span_take(&rest, '{') || !span_take_number(&rest, MOST_FIELD_NAME, &len))
		return false;
	span_take(&rest, '+');
	if (!span_take_word(&rest, SPAN("}\r\n")) || !span_take_bytes(&rest, len, &bytes) ||
		span_has(bytes, 0))
		return false;
	text_add(name, bytes);
	*in = rest;
	return true;
}

/* Takes one header-fld-name (an astring) and appends it to section->names. */
static bool
name_take(struct span *in, struct section *section)
{
	size_t before = section->names.len, i = 0;
	struct span atom;
	bool taken;

	if (in->len > 0 && in->at[0] == '"') {
		taken = quoted_name_take(in, &section->names);
	} else if (in->len > 0 && in->at[0] == '{') {
		taken = literal_name_take(in, &section->names);
	} else {
		while (i < in->len && is_astring_char(in->at[i]))
			i++;
		taken = i > 0 && span_take_bytes(in, i, &atom);
		if (taken)
			text_add(&section->names, atom);
	}
	if (!taken || section->names.failed || section->names.len - before > MOST_FIELD_NAME)
		return false;
	section->fields[section->field_count++].len = section->names.len - before;
	return true;
}

/* Takes " (name name ...)". */
static bool
names_take(struct span *in, struct section *section)
{
	size_t at = 0;

	if (!span_take(in, ' ') || !span_take(in, '('))
		return false;
	section->fields = must_alloc(MOST_SECTION_FIELDS * sizeof(section->fields[0]));
	do {
		if (section->field_count == MOST_SECTION_FIELDS || !name_take(in, section))
			return false;
	} while (span_take(in, ' '));
	for (size_t i = 0; i < section->field_count; i++) {
		section->fields[i] =
			span_part(text_span(&section->names), at, section->fields[i].len);
		at += section->fields[i].len;
	}
	return span_take(in, ')');
}

/* Takes "1.2.3" and the dot behind it, if a word follows. */
static bool
numbers_take(struct span *in, struct section *section, bool *word_follows)
{
	uint64_t number;

	*word_follows = true;
	while (in->len > 0 && in->at[0] >= '0' && in->at[0] <= '9') {
		if (section->number_count == MOST_SECTION_NUMBERS ||
			!span_take_number(in, UINT32_MAX, &number) || number == 0)
			return false;
		section->numbers[section->number_count++] = (uint32_t)number;
		if (!span_take(in, '.')) {
			*word_follows = false;
			return true;
		}
	}
	return true;
}

/* Takes what stands between the brackets. */
static bool
spec_take(struct span *in, struct section *section, const char **wrong)
{
	bool word;

	*wrong = "part numbers from 1 to 4294967295, and not that many";
	if (!numbers_take(in, section, &word))
		return false;
	if (!word || (section->number_count == 0 && in->len > 0 && in->at[0] == ']'))
		return true;
	*wrong = "HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or MIME in the section";
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!span_take_word(in, words[i].word))
			continue;
		section->kind = words[i].kind;
		if (section->kind == SECTION_MIME && section->number_count == 0) {
			*wrong = "MIME needs a part number";
			return false;
		}
		if (section->kind != SECTION_FIELDS && section->kind != SECTION_FIELDS_NOT)
			return true;
		*wrong = "a list of header field names";
		return names_take(in, section);
	}
	return false;
}

bool
section_take(struct span *in, struct section *section, const char **wrong)
{
	struct span rest = *in;
	uint64_t from = 0, most = 0;

	section_init(section, SECTION_WHOLE);
	*wrong = "[";
	if (!span_take(&rest, '[') || !spec_take(&rest, section, wrong))
		goto fail;
	*wrong = "] after the section";
	if (!span_take(&rest, ']'))
		goto fail;
	*wrong = "<from.count> with a count above 0";
	if (span_take(&rest, '<')) {
		if (!span_take_number(&rest, INT64_MAX, &from) || !span_take(&rest, '.') ||
			!span_take_number(&rest, INT64_MAX, &most) || most == 0 ||
			!span_take(&rest, '>'))
			goto fail;
		section->partial = true;
		section->from = from;
		section->most = most;
	}
	*in = rest;
	return true;
fail:
	section_clear(section);
	return false;
}

void
section_write(const struct section *section, struct text *out)
{
	size_t i;

	text_add_byte(out, '[');
	for (i = 0; i < section->number_count; i++) {
		if (i > 0)
			text_add_byte(out, '.');
		text_add_number(out, section->numbers[i]);
	}
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (words[i].kind != section->kind)
			continue;
		if (section->number_count > 0)
			text_add_byte(out, '.');
		text_add(out, words[i].word);
	}
	for (i = 0; i < section->field_count; i++) {
		text_add(out, i == 0 ? SPAN(" (") : SPAN(" "));
		quote_astring(out, section->fields[i]);
	}
	if (section->field_count > 0)
		text_add_byte(out, ')');
	text_add_byte(out, ']');
	if (section->partial) {
		text_add_byte(out, '<');
		text_add_number(out, section->from);
		text_add_byte(out, '>');
	}
}

bool
section_needs_mime(const struct section *section)
{
	return section->number_count > 0;
}

static bool
is_listed(const struct section *section, struct span name)
{
	for (size_t i = 0; i < section->field_count; i++)
		if (section->fields[i].len == name.len &&
			span_equal_nocase(section->fields[i], name))
			return name.len > 0;
	return false;
}

/* HEADER.FIELDS and .NOT: the chosen fields as they stand, and the blank line (RFC 3501 6.4.5). */
static void
fields_choose(const struct section *section, struct span header, struct text *store)
{
	struct field field;

	text_clear(store);
	store->most = header.len + 4;
	while (field_take(&header, &field)) {
		if (is_listed(section, field.name) == (section->kind == SECTION_FIELDS)) {
			text_add(store, field.whole);
			if (field.whole.at[field.whole.len - 1] != '\n')
				text_add(store, SPAN("\r\n"));
		}
	}
	text_add(store, SPAN("\r\n"));
}

/* The header and body that HEADER, TEXT and the others speak of. */
static bool
scope_find(const struct section *section, struct span message, const struct mime *mime,
	struct span *header, struct span *body)
{
	const struct part *part;
	size_t len;

	if (section->number_count == 0) {
		len = header_length(message);
		*header = span_part(message, 0, len);
		*body = span_part(message, len, message.len);
		return true;
	}
	part = mime_part(mime, section->numbers, section->number_count);
	if (part != NULL && section->kind != SECTION_WHOLE && section->kind != SECTION_MIME)
		part = part->kind == PART_MESSAGE ? &mime->parts[part->first_child] : NULL;
	if (part == NULL)
		return false;
	*header = mime_header(mime, part);
	*body = mime_body(mime, part);
	return true;
}

bool
section_find(const struct section *section, struct span message, const struct mime *mime,
	struct text *store, struct span *bytes)
{
	struct span header, body;

	if (section->kind == SECTION_WHOLE && section->number_count == 0)
		header = body = message;
	else if (!scope_find(section, message, mime, &header, &body))
		return false;
	switch (section->kind) {
	case SECTION_WHOLE:
	case SECTION_TEXT:
		*bytes = body;
		break;
	case SECTION_HEADER:
	case SECTION_MIME:
		*bytes = header;
		break;
	case SECTION_FIELDS:
	case SECTION_FIELDS_NOT:
		fields_choose(section, header, store);
		*bytes = text_span(store);
		break;
	}
	if (section->partial)
		*bytes = span_part(*bytes, section->from, section->most);
	return true;
}
