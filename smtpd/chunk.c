/*
 * chunk - see chunk.h.
 */
#include "smtpd/chunk.h"

static bool
take_blanks(struct span *in)
{
	if (!span_take(in, ' '))
		return false;
	while (span_take(in, ' '))
		;
	return true;
}

static bool
take_size(struct span *in, uint64_t *size)
{
	struct span left = *in;

	if (span_take_number(in, UINT64_MAX, size))
		return true;
	while (left.len > 0 && left.at[0] >= '0' && left.at[0] <= '9')
		left = span_part(left, 1, left.len);
	if (left.len == in->len)
		return false;
	/* Too many digits: it is a size, and a wrong one; a wrapped one would be a hole. */
	*size = UINT64_MAX;
	*in = left;
	return true;
}

bool
chunk_parse(struct span in, uint64_t *size, bool *last)
{
	uint64_t found;
	bool ends;

	if (!take_blanks(&in) || !take_size(&in, &found))
		return false;
	ends = in.len > 0;
	if (ends && (!take_blanks(&in) || !span_take_word(&in, SPAN("LAST")) || in.len > 0))
		return false;
	*size = found;
	*last = ends;
	return true;
}
