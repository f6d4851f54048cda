/* number-set - see number-set.h. */
#include "imapd/number-set.h"

#include "common/text.h"

#include <stdlib.h>

/* seq-number: nz-number / "*" */
static bool
take_one(struct span *in, uint32_t *n)
{
	struct span rest = *in;
	uint64_t number;

	if (span_take(in, '*')) {
		*n = NUMBER_STAR;
		return true;
	}
	if (!span_take_number(&rest, UINT32_MAX, &number) || number == 0)
		return false;
	*in = rest;
	*n = (uint32_t)number;
	return true;
}

bool
number_set_take(struct span *in, struct arena *arena, struct number_set *set)
{
	struct span rest = *in;
	struct number_range range, *ranges;
	size_t most = 1, count = 0;

	for (size_t i = 0; i < rest.len; i++) {
		if (rest.at[i] == ',')
			most++;
		else if ((rest.at[i] < '0' || rest.at[i] > '9') && rest.at[i] != ':' &&
			rest.at[i] != '*')
			break;
	}
	if (!take_one(&rest, &range.from))
		return false;
	ranges = arena_alloc(arena, most * sizeof(*ranges));
	for (;;) {
		range.to = range.from;
		if (span_take(&rest, ':') && !take_one(&rest, &range.to))
			return false;
		ranges[count++] = range;
		if (!span_take(&rest, ','))
			break;
		if (!take_one(&rest, &range.from))
			return false;
	}
	*in = rest;
	set->at = ranges;
	set->count = count;
	return true;
}

static int
range_order(const void *a, const void *b)
{
	const struct number_range *x = a, *y = b;

	return x->from < y->from ? -1 : x->from > y->from;
}

void
number_set_resolve(struct number_set *set, uint32_t star)
{
	size_t count = 0;

	for (size_t i = 0; i < set->count; i++) {
		struct number_range r = set->at[i];

		if (star == 0 && (r.from == NUMBER_STAR || r.to == NUMBER_STAR))
			continue;
		if (r.from == NUMBER_STAR)
			r.from = star;
		if (r.to == NUMBER_STAR)
			r.to = star;
		if (r.from > r.to)
			r = (struct number_range){ r.to, r.from };
		set->at[count++] = r;
	}
	set->count = count;
	if (count == 0)
		return;
	qsort(set->at, count, sizeof(*set->at), range_order);
	count = 0;
	for (size_t i = 1; i < set->count; i++) {
		struct number_range r = set->at[i];

		if (set->at[count].to == UINT32_MAX || r.from <= set->at[count].to + 1) {
			if (r.to > set->at[count].to)
				set->at[count].to = r.to;
		} else {
			set->at[++count] = r;
		}
	}
	set->count = count + 1;
}

bool
number_set_has(const struct number_set *set, uint32_t n)
{
	size_t low = 0, high = set->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (set->at[middle].to < n)
			low = middle + 1;
		else
			high = middle;
	}
	return low < set->count && set->at[low].from <= n;
}

uint32_t
number_set_largest(const struct number_set *set)
{
	return set->count == 0 ? 0 : set->at[set->count - 1].to;
}

static void
push(struct number_ranges *ranges, uint32_t from, uint32_t to)
{
	if (ranges->count == ranges->room) {
		ranges->room = ranges->room == 0 ? 8 : 2 * ranges->room;
		ranges->at = must_realloc(ranges->at, ranges->room * sizeof(*ranges->at));
	}
	ranges->at[ranges->count++] = (struct number_range){ from, to };
}

void
number_ranges_add_range(struct number_ranges *ranges, uint32_t from, uint32_t to)
{
	struct number_range *last = ranges->count > 0 ? &ranges->at[ranges->count - 1] : NULL;

	if (last != NULL && from > 0 && last->to >= from - 1) {
		if (to > last->to)
			last->to = to;
		return;
	}
	push(ranges, from, to);
}

void
number_ranges_add(struct number_ranges *ranges, uint32_t n)
{
	struct number_range *last = ranges->count > 0 ? &ranges->at[ranges->count - 1] : NULL;

	/* Not all that is told is in ascending order: COPYUID is as it comes. */
	if (last != NULL && last->to + 1 == n && n != 0) {
		last->to = n;
		return;
	}
	push(ranges, n, n);
}

void
number_ranges_clear(struct number_ranges *ranges)
{
	free(ranges->at);
	*ranges = (struct number_ranges){ NULL, 0, 0 };
}

void
number_ranges_write(const struct number_ranges *ranges, struct text *out)
{
	for (size_t i = 0; i < ranges->count; i++) {
		if (i > 0)
			text_add_byte(out, ',');
		text_add_number(out, ranges->at[i].from);
		if (ranges->at[i].to != ranges->at[i].from) {
			text_add_byte(out, ':');
			text_add_number(out, ranges->at[i].to);
		}
	}
}
