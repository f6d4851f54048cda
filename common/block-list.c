/*
 * block-list - see block-list.h.
 */
#include "block-list.h"

#include "address.h"

/* "2", or "2-11". */
static bool
take_range(struct span *in, unsigned char *least, unsigned char *most)
{
	uint64_t low, high;

	if (!span_take_number(in, 255, &low))
		return false;
	high = low;
	if (span_take(in, '-') && !span_take_number(in, 255, &high))
		return false;
	*least = (unsigned char)low;
	*most = (unsigned char)high;
	return low <= high;
}

bool
block_list_parse(struct span in, struct block_list *to)
{
	struct block_list found = {
		.zone = span_part(in, 0, span_index(in, '=')), .least = { 127 }, .most = { 127, 255, 255, 255 }
	};
	struct span filter = span_part(in, found.zone.len + 1, in.len), zone = found.zone, domain;
	bool literal;

	if (!address_take_domain(&zone, false, &domain, &literal) || literal || zone.len > 0)
		return false;
	if (found.zone.len < in.len) {
		for (int i = 0; i < 4; i++)
			if ((i > 0 && !span_take(&filter, '.')) ||
				!take_range(&filter, &found.least[i], &found.most[i]))
				return false;
		if (filter.len > 0)
			return false;
	}
	*to = found;
	return true;
}

bool
block_list_counts(const struct block_list *list, const unsigned char answer[4])
{
	if (answer[0] != 127 || (answer[1] == 255 && answer[2] == 255))
		return false;
	for (int i = 0; i < 4; i++)
		if (answer[i] < list->least[i] || answer[i] > list->most[i])
			return false;
	return true;
}
