/* subject - see subject.h. The steps' numbers are those of RFC 5256 section 2.1. */
#include "imapd/subject.h"

#include "imapd/encoded-word.h"
#include "imapd/fold.h"

#include <string.h>

#define ONES ((uint64_t)0x0101010101010101u)

/* Step 1: decoded and unfolded; tabs are spaces, and many spaces are one. */
static void
make_plain(struct span value, struct text *plain)
{
	struct text decoded = TEXT_UP_TO(4 * MOST_SUBJECT);
	struct span in;

	encoded_word_decode(span_part(value, 0, 3 * MOST_SUBJECT), &decoded);
	in = span_part(text_span(&decoded), 0, MOST_SUBJECT);
	while (in.len > 0) {
		size_t word = 0;

		while (word < in.len && in.at[word] != ' ' && in.at[word] != '\t')
			word++;
		text_add(plain, span_part(in, 0, word));
		if (word < in.len && plain->len > 0 && plain->at[plain->len - 1] != ' ')
			text_add_byte(plain, ' ');
		in = span_part(in, word + 1, in.len);
	}
	text_clear(&decoded);
}

static bool
plain_follows(unsigned char before, unsigned char c)
{
	return c >= ' ' && c <= '~' && !(before == ' ' && c == ' ') &&
		!(before == '=' && c == '?');
}

/* The high bit of each byte of `in`, which is ASCII, that is not `c`. */
static uint64_t
others(uint64_t in, unsigned char c)
{
	return (in ^ c * ONES) + 0x7f * ONES;
}

/* Eight at once of plain_follows. */
static bool
eight_follow(const unsigned char *at)
{
	uint64_t before, here, good;

	memcpy(&before, at - 1, 8);
	memcpy(&here, at, 8);
	good = (others(before, ' ') | others(here, ' ')) & (others(before, '=') | others(here, '?')) &
		others(here, 0x7f) & (here + (0x80 - ' ') * ONES);
	return (((before | here) | ~good) & 0x80 * ONES) == 0;
}

/* Would make_plain change nothing? So it is with most. */
static bool
is_plain(struct span value)
{
	size_t i = 1;

	if (value.len == 0)
		return true;
	if (value.len > MOST_SUBJECT || !plain_follows(' ', value.at[0]))
		return false;
	for (; value.len - i >= 8 && eight_follow(value.at + i); i += 8)
		;
	while (i < value.len && plain_follows(value.at[i - 1], value.at[i]))
		i++;
	return i == value.len;
}

static void
skip_spaces(struct span *in)
{
	while (span_take(in, ' '))
		;
}

/* subj-blob: "[" without brackets inside "]", and spaces. */
static bool
take_blob(struct span *in)
{
	struct span rest = *in;

	if (!span_take(&rest, '['))
		return false;
	while (rest.len > 0 && rest.at[0] != '[' && rest.at[0] != ']')
		rest = span_part(rest, 1, rest.len);
	if (!span_take(&rest, ']'))
		return false;
	skip_spaces(&rest);
	*in = rest;
	return true;
}

/* subj-refwd: "re", "fw" or "fwd", spaces, perhaps a blob, ":". */
static bool
take_refwd(struct span *in)
{
	struct span rest = *in;

	if (!span_take_word(&rest, SPAN("re")) && !span_take_word(&rest, SPAN("fwd")) &&
		!span_take_word(&rest, SPAN("fw")))
		return false;
	skip_spaces(&rest);
	(void)take_blob(&rest);
	if (!span_take(&rest, ':'))
		return false;
	*in = rest;
	return true;
}

/* Step 2: "(fwd)" and spaces at the end. */
static bool
strip_trailers(struct span *in)
{
	static const struct span fwd = { (const unsigned char *)"(fwd)", 5 };
	bool any = false;

	for (;;) {
		while (in->len > 0 && in->at[in->len - 1] == ' ')
			in->len--;
		if (in->len < fwd.len ||
			!span_equal_nocase(span_part(*in, in->len - fwd.len, fwd.len), fwd))
			return any;
		in->len -= fwd.len;
		any = true;
	}
}

/* Steps 3 to 5. A row of blobs that no "re:" follows goes too (step 4), but for the last one when
 * nothing else would be left: looked at once, so that many blobs cost no more than their bytes. */
static bool
strip_leaders(struct span *in)
{
	bool any = false;

	for (;;) {
		struct span rest, last;

		skip_spaces(in);
		rest = last = *in;
		while (take_blob(&rest)) {
			if (rest.len > 0)
				last = rest;
		}
		if (!take_refwd(&rest)) {
			*in = rest.len > 0 ? rest : last;
			return any;
		}
		*in = rest;
		any = true;
	}
}

/* Step 6: "[fwd:" ... "]" around all of it. */
static bool
strip_wrapping(struct span *in)
{
	struct span rest = *in;

	if (!span_take_word(&rest, SPAN("[fwd:")) || rest.len == 0 || rest.at[rest.len - 1] != ']')
		return false;
	rest.len--;
	*in = rest;
	return true;
}

bool
subject_base(struct span value, struct text *out)
{
	struct text plain = TEXT_UP_TO(MOST_SUBJECT);
	struct span rest;
	bool reply = false;

	if (is_plain(value)) {
		rest = value;
	} else {
		make_plain(value, &plain);
		rest = text_span(&plain);
	}
	do {
		reply |= strip_trailers(&rest);
		reply |= strip_leaders(&rest);
	} while (strip_wrapping(&rest) && (reply = true));
	fold_add(out, rest);
	text_clear(&plain);
	return reply;
}
