/* gist-record - see gist-record.h. */
#include "imapd/gist-record.h"

#include "common/filled.h"
#include "common/wire.h"
#include "imapd/crlf.h"
#include "imapd/header.h"
#include "imapd/preview.h"

#include <stdlib.h>

/* --- making --- */

/* PREVIEW needs converters that are files, which gist cannot open. */
static bool
can_preview(struct span message)
{
	struct mime mime;
	bool can;

	mime_parse(message, &mime);
	can = preview_is_built_in(&mime);
	mime_clear(&mime);
	return can;
}

static void
write_gist(const struct cache *c, struct span message, struct span header, struct text *out)
{
	unsigned int items = c->wanted;

	if ((items & CACHE_HAS(CACHE_PREVIEW)) && !can_preview(message))
		items &= ~CACHE_HAS(CACHE_PREVIEW);
	wire_add_u64(out, c->made, 8);
	cache_payload_write(c, 0, items, message, header, out);
}

bool
gist_make(struct span wishes, struct span message, struct text *out)
{
	struct cache *c = must_alloc(sizeof(*c));
	struct crlf_facts facts;
	struct span header;
	bool made = false;

	if (cache_header_read(c, NULL, wishes) && (c->wanted != 0 || c->name_count > 0) &&
		message.len <= MOST_GIST_MESSAGE) {
		crlf_count(message, &facts);
		header = span_part(message, 0, header_length(message));
		if (facts.bare == 0 && header.len <= MOST_GIST_HEADER) {
			write_gist(c, message, header, out);
			made = !out->failed;
		}
	}
	cache_forget_wishes(c);
	free(c);
	return made;
}

/* --- judging --- */

/* RFC 3501 section 9: quoted. */
static bool
skip_quoted(struct span *in)
{
	if (!span_take(in, '"'))
		return false;
	while (in->len > 0 && in->at[0] != '"') {
		bool escaped = in->at[0] == '\\';

		if (in->at[0] == '\0' || in->at[0] == '\r' || in->at[0] == '\n' || in->at[0] >= 0x80 ||
			(escaped && (in->len < 2 || (in->at[1] != '"' && in->at[1] != '\\'))))
			return false;
		*in = span_part(*in, escaped ? 2 : 1, in->len);
	}
	return span_take(in, '"');
}

static bool
skip_literal(struct span *in)
{
	struct span bytes;
	uint64_t len;

	return span_take(in, '{') && span_take_number(in, MOST_FILLED_GIST, &len) && span_take_word(in, SPAN("}\r\n")) &&
		span_take_bytes(in, (size_t)len, &bytes) && !span_has(bytes, '\0');
}

/* One parenthesised value and nothing behind it: whatever it says, it does not end the response that it is put into. */
static bool
is_one_value(struct span in)
{
	size_t depth = 0;
	unsigned char c;

	while (in.len > 0) {
		c = in.at[0];
		if (c == '"' ? depth == 0 || !skip_quoted(&in) : c == '{' && (depth == 0 || !skip_literal(&in)))
			return false;
		if (c == '"' || c == '{')
			continue;
		if (c < 0x20 || c >= 0x7f || c == '}' || c == '\\')
			return false;
		in = span_part(in, 1, in.len);
		if (c == '(')
			depth++;
		else if (depth == 0)
			return false;
		else if (c == ')' && --depth == 0)
			return in.len == 0;
	}
	return false;
}

bool
gist_take(struct span gist, const struct cache *c, struct span *payload)
{
	struct cached got;
	uint64_t made;

	if (!wire_take_u64(&gist, &made, 8) || made != c->made || !cache_payload_read(gist, 0, &got) ||
		(got.names & ~cache_all_names(c)) != 0)
		return false;
	for (unsigned int i = 0; i < CACHE_ITEMS; i++) {
		if (!(got.has & CACHE_HAS(i)))
			continue;
		if (i == CACHE_PREVIEW ? !span_is_utf8(got.item[i]) || got.item[i].len > 4 * MOST_PREVIEW_CHARACTERS
				       : !is_one_value(got.item[i]))
			return false;
	}
	*payload = gist;
	return true;
}
