/*
 * match - does a message contain a string? See match.h.
 *
 * Text goes through transfer decoding and charset conversion in pieces, is folded into the needle's
 * window and looked through there; what could be the start of a match is carried to the next piece.
 */
#include "imapd/match.h"

#include "imapd/charset.h"
#include "imapd/encoded-word.h"
#include "imapd/fold.h"
#include "imapd/header.h"
#include "imapd/transfer.h"
#include "common/utf8.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW_PIECE ((size_t)32 * 1024)
#define BODY_PIECE ((size_t)16 * 1024)
#define MOST_DECODED (BODY_PIECE + MOST_HELD_BLANKS + 64)
/* One byte becomes at most three bytes of UTF-8 (windows-1252, U+FFFD), two become a character. */
#define MOST_CONVERTED (4 * MOST_DECODED)

/* Where text is folded and looked through, piece by piece: one for all needles, since a command may have thousands and
 * each text is looked through for one at a time. It is there while any needle is. */
static struct {
	unsigned char *at;
	size_t size, needles;
} window;

static void
window_hold(size_t size)
{
	window.needles++;
	if (window.size >= size)
		return;
	window.at = must_realloc(window.at, size);
	window.size = size;
}

static void
window_release(void)
{
	if (--window.needles > 0)
		return;
	free(window.at);
	window.at = NULL;
	window.size = 0;
}

bool
needle_init(struct needle *needle, struct span string, struct span charset_name, bool *bad_charset)
{
	struct charset *charset = charset_find(charset_name.len > 0 ? charset_name : SPAN("utf-8"));
	struct text utf8 = TEXT_UP_TO((size_t)4 * MOST_NEEDLE);
	bool fits;

	*bad_charset = charset == NULL;
	if (charset == NULL || string.len > MOST_NEEDLE)
		return false;
	charset_convert(charset, string, &utf8);
	*needle = (struct needle){ .folded = TEXT_UP_TO((size_t)4 * MOST_NEEDLE) };
	fold_add(&needle->folded, text_span(&utf8));
	fits = !utf8.failed && !needle->folded.failed;
	text_clear(&utf8);
	if (!fits) {
		text_clear(&needle->folded);
		return false;
	}
	needle->holds_window = true;
	window_hold(needle->folded.len + WINDOW_PIECE);
	return true;
}

void
needle_clear(struct needle *needle)
{
	text_clear(&needle->folded);
	if (needle->holds_window)
		window_release();
	*needle = (struct needle){ 0 };
}

/* Looks through one text that comes in pieces of whole characters. */
struct search {
	const struct needle *needle;
	size_t len;                /* bytes in the window */
	bool found;
};

static void
search_begin(struct search *search, const struct needle *needle)
{
	*search = (struct search){ .needle = needle, .found = needle->folded.len == 0 };
}

static void
search_feed(struct search *search, struct span in)
{
	const struct needle *needle = search->needle;

	while (in.len > 0 && !search->found) {
		size_t keep;

		search->len += fold_some(&in, window.at + search->len,
			needle->folded.len + WINDOW_PIECE - search->len);
		if (search->len < needle->folded.len)
			continue;
		search->found = memmem(window.at, search->len, needle->folded.at,
			needle->folded.len) != NULL;
		keep = needle->folded.len - 1;
		memmove(window.at, window.at + search->len - keep, keep);
		search->len = keep;
	}
}

bool
match_text(const struct needle *needle, struct span text)
{
	struct search search;

	search_begin(&search, needle);
	search_feed(&search, text);
	return search.found;
}

static bool
is_utf8(struct span text)
{
	enum utf8_result why;

	return utf8_valid_length(text, &why) == text.len;
}

static bool
needs_decoding(struct span value)
{
	return span_has(value, '\n') || span_find(value, SPAN("=?")) < value.len || !is_utf8(value);
}

/* Whether `before` and the decoded value, one behind the other, hold the needle. */
static bool
match_value(const struct needle *needle, struct span before, struct span value)
{
	struct text decoded = TEXT_UP_TO(3 * MOST_FIELD_VALUE + 64);
	struct search search;

	value = span_part(value, 0, MOST_FIELD_VALUE);
	search_begin(&search, needle);
	search_feed(&search, before);
	if (before.len > 0)
		search_feed(&search, SPAN(": "));
	if (!search.found && needs_decoding(value)) {
		encoded_word_decode(value, &decoded);
		value = text_span(&decoded);
	}
	search_feed(&search, value);
	text_clear(&decoded);
	return search.found;
}

bool
match_field(const struct needle *needle, struct span header, struct span name)
{
	struct field field;

	while (field_take(&header, &field))
		if (field.name.len == name.len && name.len > 0 &&
			span_equal_nocase(field.name, name) &&
			match_value(needle, SPAN_NONE, field.value))
			return true;
	return false;
}

bool
match_header(const struct needle *needle, struct span header)
{
	struct field field;

	if (needle->folded.len == 0)
		return true;
	while (field_take(&header, &field))
		if (match_value(needle, field.name, field.value))
			return true;
	return false;
}

static struct charset *
part_charset(const struct part *part)
{
	struct span in = span_part(part->content_type, 0, MOST_FIELD_VALUE), type, subtype;
	struct text name = TEXT_UP_TO(MOST_FIELD_VALUE);
	struct charset *charset;

	if (in.at != NULL && content_type_take(&in, &type, &subtype))
		parameter_find(in, SPAN("charset"), &name);
	charset = charset_or_guess(span_trim(text_span(&name)));
	text_clear(&name);
	return charset;
}

/* A body that has to be decoded, in pieces. */
static bool
match_decoded(const struct needle *needle, struct span body, enum transfer kind,
	struct charset *charset)
{
	struct text decoded = TEXT_UP_TO(MOST_DECODED), utf8 = TEXT_UP_TO(MOST_CONVERTED);
	struct transfer_stream transfer;
	struct charset_stream stream;
	struct search search;
	size_t at;

	search_begin(&search, needle);
	transfer_begin(&transfer, kind);
	charset_begin(&stream, charset);
	for (at = 0; at < body.len && !search.found; at += BODY_PIECE) {
		text_reset(&decoded);
		text_reset(&utf8);
		transfer_feed(&transfer, span_part(body, at, BODY_PIECE), &decoded);
		charset_feed(&stream, text_span(&decoded), &utf8);
		search_feed(&search, text_span(&utf8));
	}
	text_reset(&decoded);
	text_reset(&utf8);
	transfer_end(&transfer, &decoded);
	charset_feed(&stream, text_span(&decoded), &utf8);
	charset_end(&stream, &utf8);
	search_feed(&search, text_span(&utf8));
	text_clear(&decoded);
	text_clear(&utf8);
	return search.found;
}

/* The decoded body of a part. */
static bool
match_part(const struct needle *needle, const struct mime *mime, const struct part *part)
{
	enum transfer transfer = transfer_of(span_part(part->encoding, 0, MOST_FIELD_VALUE));
	struct charset *charset = part_charset(part);
	struct span body = mime_body(mime, part);

	if ((transfer == TRANSFER_IDENTITY || transfer == TRANSFER_UNKNOWN) &&
		charset_is_utf8(charset) && is_utf8(body))
		return match_text(needle, body);
	return match_decoded(needle, body, transfer, charset);
}

/* Text, and what is made of lines of text all the same: reports of delivery, pieces of messages. */
static bool
is_searched(const struct part *part)
{
	return part_is_text(part) ||
		(part->kind == PART_LEAF && span_equal_nocase(part->type, SPAN("message")));
}

static bool
match_parts(const struct needle *needle, const struct mime *mime, bool own_header)
{
	if (needle->folded.len == 0)
		return true;
	for (uint32_t i = 0; i < mime->count; i++) {
		const struct part *part = &mime->parts[i];

		if ((i > 0 || own_header) && match_header(needle, mime_header(mime, part)))
			return true;
		if (is_searched(part) && match_part(needle, mime, part))
			return true;
	}
	return false;
}

bool
match_body(const struct needle *needle, const struct mime *mime)
{
	return match_parts(needle, mime, false);
}

bool
match_message(const struct needle *needle, const struct mime *mime)
{
	return match_parts(needle, mime, true);
}
