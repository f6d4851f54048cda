/*
 * solicitation - see solicitation.h.
 */
#include "common/solicitation.h"

static bool
is_letter(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool
is_word_octet(unsigned char c)
{
	return is_letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' || c == ':';
}

/* As many octets of a word as there are, perhaps none. */
static struct span
take_word(struct span *in)
{
	size_t n = 0;
	struct span word;

	while (n < in->len && is_word_octet(in->at[n]))
		n++;
	word = span_part(*in, 0, n);
	*in = span_part(*in, n, in->len);
	return word;
}

static bool
take_class(struct span *in, struct span *word)
{
	if (in->len == 0 || !is_letter(in->at[0]))
		return false;
	*word = take_word(in);
	return true;
}

bool
solicitation_is_class(struct span word)
{
	struct span taken;

	return take_class(&word, &taken) && word.len == 0;
}

bool
solicitation_fits(struct span keywords)
{
	struct span word;

	if (keywords.len > SOLICITATION_MOST)
		return false;
	do
		if (!take_class(&keywords, &word))
			return false;
	while (span_take(&keywords, ','));
	return keywords.len == 0;
}

static void
skip_blanks(struct span *in)
{
	while (in->len > 0 && (in->at[0] == ' ' || in->at[0] == '\t' || in->at[0] == '\r' || in->at[0] == '\n'))
		*in = span_part(*in, 1, in->len);
}

bool
solicitation_from_field(struct span value, struct text *to)
{
	struct span word;
	bool more = true;

	while (more) {
		skip_blanks(&value);
		if (!take_class(&value, &word))
			return false;
		text_add(to, word);
		skip_blanks(&value);
		more = span_take(&value, ',');
		if (more)
			text_add_byte(to, ',');
	}
	return value.len == 0 && !to->failed && to->len <= SOLICITATION_MOST;
}

struct span
solicitation_find(struct span said, const struct list *classes)
{
	while (said.len > 0) {
		struct span word = take_word(&said);

		for (size_t i = 0; i < classes->count; i++)
			if (span_equal_nocase(classes->at[i], word))
				return classes->at[i];
		said = span_part(said, 1, said.len);
	}
	return SPAN_NONE;
}
