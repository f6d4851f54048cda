/* imap-parse - see imap-parse.h. */
#include "imapd/imap-parse.h"

#include <string.h>

#define MOST_ID_PAIRS 30        /* RFC 2971 3.3 */
#define MOST_ID_KEY 30
#define MOST_ID_VALUE 1024

/* atom-specials: ( ) { SP CTL % * " \ ] (RFC 3501 section 9) */
bool
imap_is_atom_char(unsigned char c)
{
	return c > 0x20 && c < 0x7f && strchr("(){%*\"\\]", c) == NULL;
}

static bool
is_astring_char(unsigned char c)
{
	return imap_is_atom_char(c) || c == ']';
}

static bool
is_pattern_char(unsigned char c)
{
	return is_astring_char(c) || c == '%' || c == '*';
}

static bool
is_tag_char(unsigned char c)
{
	return is_astring_char(c) && c != '+';
}

static bool
take_while(struct span *in, bool (*fits)(unsigned char), struct span *s)
{
	size_t len = 0;

	while (len < in->len && fits(in->at[len]))
		len++;
	return len > 0 && span_take_bytes(in, len, s);
}

bool
imap_take_space(struct span *in)
{
	return span_take(in, ' ');
}

bool
imap_take_tag(struct span *in, struct span *tag)
{
	return take_while(in, is_tag_char, tag);
}

bool
imap_take_atom(struct span *in, struct span *atom)
{
	return take_while(in, imap_is_atom_char, atom);
}

/* Where the closing quote stands, or 0. `wide`: UTF-8 may stand before it. Sets *escapes when a backslash must go. */
static size_t
quoted_end(struct span in, bool wide, bool *escapes)
{
	for (size_t i = 1; i < in.len; i++) {
		unsigned char c = in.at[i];

		if (c == '"')
			return !wide || span_is_utf8(span_part(in, 1, i - 1)) ? i : 0;
		if (c == '\0' || (c >= 0x80 && !wide) || c == '\r' || c == '\n')
			return 0;     /* TEXT-CHAR is 7-bit, and NUL is refused, never cut at */
		if (c != '\\')
			continue;
		i++;
		if (i == in.len || (in.at[i] != '"' && in.at[i] != '\\'))
			return 0;
		*escapes = true;
	}
	return 0;
}

bool
imap_take_quoted(struct span *in, struct arena *arena, struct span *s)
{
	bool escapes = false;
	struct span inside;
	unsigned char *to;
	size_t end, len = 0;

	if (in->len < 2 || in->at[0] != '"')
		return false;
	end = quoted_end(*in, arena->wide, &escapes);
	if (end == 0)
		return false;
	inside = span_part(*in, 1, end - 1);
	*in = span_part(*in, end + 1, SIZE_MAX);
	*s = inside;
	if (!escapes)
		return true;
	to = arena_alloc(arena, inside.len + 1);
	for (size_t i = 0; i < inside.len; i++) {
		if (inside.at[i] == '\\')
			i++;
		to[len++] = inside.at[i];
	}
	*s = span_of(to, len);
	return true;
}

static bool
take_counted(struct span *in, struct span *s)
{
	struct span rest = *in, bytes;
	uint64_t size;

	if (!span_take(&rest, '{') || !span_take_number(&rest, UINT32_MAX, &size))
		return false;
	(void)span_take(&rest, '+');
	if (!span_take_word(&rest, SPAN("}\r\n")) || !span_take_bytes(&rest, (size_t)size, &bytes))
		return false;
	*in = rest;
	*s = bytes;
	return true;
}

bool
imap_take_literal(struct span *in, struct span *s)
{
	struct span rest = *in, bytes;

	if (!take_counted(&rest, &bytes) || span_has(bytes, '\0'))     /* CHAR8 is 1 to 255 */
		return false;
	*in = rest;
	*s = bytes;
	return true;
}

bool
imap_take_literal8(struct span *in, struct span *s)
{
	struct span rest = *in;

	if (!span_take(&rest, '~') || !take_counted(&rest, s))
		return false;
	*in = rest;
	return true;
}

bool
imap_take_string(struct span *in, struct arena *arena, struct span *s)
{
	return imap_take_quoted(in, arena, s) || imap_take_literal(in, s);
}

bool
imap_take_astring(struct span *in, struct arena *arena, struct span *s)
{
	return take_while(in, is_astring_char, s) || imap_take_string(in, arena, s);
}

bool
imap_take_pattern(struct span *in, struct arena *arena, struct span *s)
{
	return take_while(in, is_pattern_char, s) || imap_take_string(in, arena, s);
}

bool
imap_take_nstring(struct span *in, struct arena *arena, struct span *s)
{
	struct span rest = *in, atom;

	if (imap_take_string(in, arena, s))
		return true;
	if (!imap_take_atom(&rest, &atom) || !span_equal_nocase(atom, SPAN("NIL")))
		return false;
	*in = rest;
	*s = SPAN_NONE;
	return true;
}

bool
imap_take_number(struct span *in, uint32_t *n)
{
	uint64_t number;

	if (!span_take_number(in, UINT32_MAX, &number))
		return false;
	*n = (uint32_t)number;
	return true;
}

bool
imap_take_modseq(struct span *in, uint64_t *n)
{
	return span_take_number(in, INT64_MAX, n);
}

bool
imap_take_announcement(struct span *in, uint64_t *size)
{
	struct span rest = *in;
	uint64_t number = 0;

	if (!span_take(&rest, '{'))
		return false;
	if (!span_take_number(&rest, INT64_MAX, &number)) {
		number = UINT64_MAX;
		while (rest.len > 0 && rest.at[0] >= '0' && rest.at[0] <= '9')
			rest = span_part(rest, 1, SIZE_MAX);
	}
	(void)span_take(&rest, '+');
	if (!span_take(&rest, '}') || rest.len != 0)
		return false;
	*in = rest;
	*size = number;
	return true;
}

/* RFC 2971: NIL, or a list of pairs of strings. What the client says of itself is not used. */
bool
imap_take_id(struct span *in, struct arena *arena)
{
	struct span rest = *in, key, value;
	unsigned int pairs = 0;

	if (imap_take_nstring(&rest, arena, &key)) {
		if (key.at != NULL)
			return false;
		*in = rest;
		return true;
	}
	if (!span_take(&rest, '('))
		return false;
	while (!span_take(&rest, ')')) {
		if (pairs > 0 && !imap_take_space(&rest))
			return false;
		if (++pairs > MOST_ID_PAIRS || !imap_take_string(&rest, arena, &key) ||
			key.len > MOST_ID_KEY ||
			!imap_take_space(&rest) || !imap_take_nstring(&rest, arena, &value) ||
			value.len > MOST_ID_VALUE)
			return false;
	}
	*in = rest;
	return true;
}
