/*
 * vrfy - VRFY and EXPN (RFC 5321 3.5, 4.1.1.6, 4.1.1.7). Strangers do not learn who is here except
 * by sending mail: VRFY always says that it cannot say, EXPN is not offered.
 */
#include "smtpd/commands.h"
#include "smtpd/reply.h"

static const struct refusal nobody = { 501, "5.5.4", "VRFY needs a name" };
static const struct refusal not_utf8 = { 501, "5.5.2", "this is not UTF-8" };
static const struct refusal needs_utf8 = { 553, "5.6.7", "a non-ASCII name needs SMTPUTF8" };
static const struct refusal no_lists = { 502, "5.5.1", "lists are not expanded here" };

static bool
is_ascii(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] > 0x7f)
			return false;
	return true;
}

/* RFC 6531 3.7.4.2: the keyword stands at the end. */
static bool
asks_utf8(struct span name)
{
	struct span word = SPAN(" SMTPUTF8");

	return name.len > word.len &&
		span_equal_nocase(span_part(name, name.len - word.len, word.len), word);
}

void
do_vrfy(struct session *s, struct span arguments)
{
	struct span name = span_trim(arguments);

	if (name.len == 0)
		refuse_for(s, &nobody, SPAN_NONE);
	else if (!span_is_utf8(name))
		refuse_for(s, &not_utf8, SPAN_NONE);
	else if (!is_ascii(name) && !asks_utf8(name))
		refuse_for(s, &needs_utf8, SPAN_NONE);
	else
		answer(s, 252, "2.5.0", "cannot say; send mail and see");
}

void
do_expn(struct session *s, struct span arguments)
{
	(void)arguments;
	refuse_for(s, &no_lists, SPAN_NONE);
}
