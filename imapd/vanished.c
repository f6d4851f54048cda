/* vanished - see vanished.h. */
#include "imapd/vanished.h"

#include "common/text.h"

#include <stdlib.h>
#include <string.h>

/* The first range with a modification sequence above `since`. */
static size_t
first_above(const struct vanished *v, uint64_t since)
{
	size_t low = 0, high = v->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (v->at[middle].modseq <= since)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void
vanished_forget(struct vanished *v, uint64_t modseq)
{
	size_t from = first_above(v, modseq);

	if (modseq > v->forgotten)
		v->forgotten = modseq;
	if (from == 0)
		return;
	v->count -= from;
	memmove(v->at, v->at + from, v->count * sizeof(*v->at));
}

void
vanished_add(struct vanished *v, uint64_t modseq, uint32_t from, uint32_t to)
{
	struct vanished_range *last = v->count > 0 ? &v->at[v->count - 1] : NULL;

	/* In order, whatever a file may say. */
	if (last != NULL && modseq < last->modseq)
		modseq = last->modseq;
	if (last != NULL && last->modseq == modseq && last->to != UINT32_MAX &&
		last->to + 1 == from) {
		last->to = to;
		return;
	}
	/* A quarter at a time: so that each range is moved but a few times. */
	if (v->count == MOST_VANISHED)
		vanished_forget(v, v->at[MOST_VANISHED / 4].modseq);
	if (v->count == v->room) {
		v->room = v->room == 0 ? 8 : 2 * v->room;
		v->at = must_realloc(v->at, v->room * sizeof(*v->at));
	}
	v->at[v->count++] = (struct vanished_range){ modseq, from, to };
}

static int
uid_order(const void *a, const void *b)
{
	const struct number_range *x = a, *y = b;

	return x->from < y->from ? -1 : x->from > y->from;
}

bool
vanished_since(const struct vanished *v, uint64_t since, struct number_ranges *gone)
{
	size_t from = first_above(v, since), count = v->count - from;
	struct number_range *ranges;

	if (since < v->forgotten)
		return false;
	if (count == 0)
		return true;
	ranges = must_alloc(count * sizeof(*ranges));
	for (size_t i = 0; i < count; i++)
		ranges[i] = (struct number_range){ v->at[from + i].from, v->at[from + i].to };
	qsort(ranges, count, sizeof(*ranges), uid_order);
	for (size_t i = 0; i < count; i++)
		number_ranges_add_range(gone, ranges[i].from, ranges[i].to);
	free(ranges);
	return true;
}

void
vanished_clear(struct vanished *v)
{
	free(v->at);
	*v = (struct vanished){ NULL, 0, 0, 0 };
}
