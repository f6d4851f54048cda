/* preview - see preview.h. */
#include "imapd/preview.h"

#include "imapd/charset.h"
#include "imapd/transfer.h"
#include "common/utf8.h"

#define MOST_ENTITY 10

/* --- which part, and its text --- */

/* The first HTML, or the first plain text, that is no attachment; or NULL. */
static const struct part *
text_part(const struct mime *mime, bool html)
{
	for (uint32_t i = 0; i < mime->count; i++) {
		const struct part *part = &mime->parts[i];

		if (part->kind == PART_LEAF && part_is_text(part) &&
			!span_starts_nocase(part->disposition, SPAN("attachment")) &&
			span_equal_nocase(part->subtype, html ? SPAN("html") : SPAN("plain")))
			return part;
	}
	return NULL;
}

/* What the part says its charset is, or UTF-8; `name` holds it. */
static struct span
charset_name(const struct part *part, struct text *name)
{
	return part->content_type.at != NULL && parameter_find(part->content_type, SPAN("charset"), name) ?
		text_span(name) : SPAN("utf-8");
}

static struct charset *
charset_of(const struct part *part)
{
	struct text name = TEXT_UP_TO(100);
	struct charset *charset = charset_or_guess(charset_name(part, &name));

	text_clear(&name);
	return charset;
}

static bool
is_built_in(const struct part *part)
{
	struct text name = TEXT_UP_TO(100);
	bool is = part == NULL || charset_is_built_in(charset_name(part, &name));

	text_clear(&name);
	return is;
}

bool
preview_is_built_in(const struct mime *mime)
{
	return is_built_in(text_part(mime, false)) && is_built_in(text_part(mime, true));
}

/* The part's text as UTF-8, as much as is looked at. */
static void
decode(const struct mime *mime, const struct part *part, struct text *utf8)
{
	struct text decoded = TEXT_UP_TO(MOST_PREVIEW_BODY + 2 * MOST_HELD_BLANKS);
	struct transfer_stream stream;

	transfer_begin(&stream, transfer_of(part->encoding));
	transfer_feed(&stream, span_part(mime_body(mime, part), 0, MOST_PREVIEW_BODY), &decoded);
	transfer_end(&stream, &decoded);
	charset_convert(charset_of(part), text_span(&decoded), utf8);
	text_clear(&decoded);
}

/* --- HTML without its markup --- */

/* "<!-- ... -->", "<style ...> ... </style>", "<b>": what stands there is no text. An unclosed one
 * goes to the end. */
static void
skip_markup(struct span *in)
{
	static const struct {
		struct span open, close;
	} wholes[] = {
		{ { (const unsigned char *)"<!--", 4 }, { (const unsigned char *)"-->", 3 } },
		{ { (const unsigned char *)"<style", 6 }, { (const unsigned char *)"</style", 7 } },
		{ { (const unsigned char *)"<script", 7 }, { (const unsigned char *)"</script", 8 } },
		{ { (const unsigned char *)"<head", 5 }, { (const unsigned char *)"</head", 6 } },
		{ { (const unsigned char *)"<title", 6 }, { (const unsigned char *)"</title", 7 } },
	};

	for (size_t i = 0; i < sizeof(wholes) / sizeof(wholes[0]); i++) {
		if (!span_starts_nocase(*in, wholes[i].open))
			continue;
		while (in->len > 0 && !span_starts_nocase(*in, wholes[i].close))
			*in = span_part(*in, 1, in->len);
		break;
	}
	*in = span_part(*in, span_index(*in, '>') + 1, in->len);
}

/* "&amp;" "&#233;" "&#xe9;": the character, or "&" itself. */
static uint32_t
take_entity(struct span *in)
{
	static const struct {
		const char *name;
		uint32_t code;
	} names[] = { { "amp", '&' }, { "lt", '<' }, { "gt", '>' }, { "quot", '"' },
		{ "apos", '\'' }, { "nbsp", ' ' }, { "zwnj", ' ' }, { "shy", ' ' } };
	struct span rest = span_part(*in, 1, MOST_ENTITY), name;
	uint32_t code = 0;

	if (!span_take_until(&rest, ';', &name) || name.len == 0) {
		*in = span_part(*in, 1, in->len);
		return '&';
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		code = span_equal(name, span_str(names[i].name)) ? names[i].code : code;
	if (code == 0 && name.at[0] == '#') {
		bool hex = name.len > 1 && (name.at[1] | 0x20) == 'x';

		for (size_t i = hex ? 2 : 1; i < name.len && code < 0x110000; i++) {
			int digit = span_hex_value(name.at[i]);

			code = digit < 0 ? 0x110000 : code * (hex ? 16 : 10) + (uint32_t)digit;
		}
		code = code == 0 || code >= 0x110000 || (code >= 0xd800 && code < 0xe000) ?
			REPLACEMENT_CHARACTER : code;
	}
	*in = span_part(*in, code == 0 ? 1 : name.len + 2, in->len);
	return code == 0 ? '&' : code;
}

static void
strip_html(struct span in, struct text *out)
{
	while (in.len > 0 && !out->failed) {
		size_t plain = 0;

		while (plain < in.len && in.at[plain] != '<' && in.at[plain] != '&')
			plain++;
		text_add(out, span_part(in, 0, plain));
		in = span_part(in, plain, in.len);
		if (in.len == 0)
			break;
		if (in.at[0] == '<') {
			skip_markup(&in);
			text_add_byte(out, ' ');
		} else {
			utf8_add(out, take_entity(&in));
		}
	}
}

/* --- plain text --- */

/* Lines without those that quote somebody, up to a signature. */
static void
strip_quotes(struct span in, struct text *out)
{
	while (in.len > 0) {
		struct span line = span_part(in, 0, span_index(in, '\n') + 1), bare;

		in = span_part(in, line.len, in.len);
		bare = line;
		while (bare.len > 0 && (bare.at[bare.len - 1] == '\n' ||
			bare.at[bare.len - 1] == '\r'))
			bare.len--;
		if (span_equal(bare, SPAN("-- ")))
			break;
		if (bare.len == 0 || bare.at[0] != '>')
			text_add(out, line);
	}
}

static bool
is_blank(uint32_t code)
{
	return code <= ' ' || code == 0x7f || code == 0xa0 || (code >= 0x2000 && code <= 0x200f) ||
		code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x2060 || code == 0xfeff;
}

/* Appends the first characters, blanks joined, none at the ends. */
static size_t
add_words(struct span in, struct text *out)
{
	size_t count = 0;
	bool blank = false;
	uint32_t code;

	while (in.len > 0 && count < MOST_PREVIEW_CHARACTERS) {
		if (utf8_take(&in, &code) != UTF8_CHARACTER) {
			in = span_part(in, 1, in.len);
			code = REPLACEMENT_CHARACTER;
		}
		if (is_blank(code)) {
			blank = count > 0;
			continue;
		}
		if (blank && count + 2 > MOST_PREVIEW_CHARACTERS)
			break;
		if (blank)
			text_add_byte(out, ' ');
		utf8_add(out, code);
		count += blank ? 2 : 1;
		blank = false;
	}
	return count;
}

/* The words of a part, if it is there and has any. */
static bool
add_part(const struct mime *mime, const struct part *part, bool html, struct text *out)
{
	struct text utf8 = TEXT_UP_TO(5 * MOST_PREVIEW_BODY), bare = TEXT_UP_TO(5 * MOST_PREVIEW_BODY);
	bool any;

	if (part == NULL)
		return false;
	decode(mime, part, &utf8);
	if (html)
		strip_html(text_span(&utf8), &bare);
	else
		strip_quotes(text_span(&utf8), &bare);
	any = add_words(text_span(&bare), out) > 0 ||
		(!html && add_words(text_span(&utf8), out) > 0);
	text_clear(&utf8);
	text_clear(&bare);
	return any;
}

void
preview_write(const struct mime *mime, struct text *out)
{
	/* Many senders of HTML leave the plain text beside it empty. */
	if (!add_part(mime, text_part(mime, false), false, out))
		(void)add_part(mime, text_part(mime, true), true, out);
}
