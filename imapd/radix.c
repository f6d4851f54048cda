/* radix - see radix.h. */
#include "imapd/radix.h"

#include "common/text.h"

#include <stdlib.h>

void
radix_begin(struct radix *r, size_t most, unsigned int width)
{
	*r = (struct radix){ .width = width };
	r->from = must_alloc((most + 1) * sizeof(*r->from));
	r->into = must_alloc((most + 1) * sizeof(*r->into));
	r->counts = must_alloc(FRONT_BYTES * sizeof(*r->counts));
}

void
radix_clear(struct radix *r)
{
	free(r->from);
	free(r->into);
	free(r->counts);
	*r = (struct radix){ .count = 0 };
}

void
radix_add(struct radix *r, const struct radix_entry *entry)
{
	if (r->count > 0 && radix_compare(entry, &r->from[r->count - 1]) < 0)
		r->disordered = true;
	r->from[r->count++] = *entry;
	for (size_t k = 0; k < r->width; k++)
		r->counts[k][entry->front[k]]++;
}

void
radix_swap(struct radix *r)
{
	struct radix_entry *done = r->into;

	r->into = r->from;
	r->from = done;
}

/* From how many there are of each byte, where the first of them goes. */
static void
counts_to_places(uint32_t counts[256])
{
	uint32_t at = 0;

	for (size_t i = 0; i < 256; i++) {
		uint32_t many = counts[i];

		counts[i] = at;
		at += many;
	}
}

bool
radix_step(struct radix *r, bool (*over)(const void *), const void *me)
{
	if (!r->disordered)
		return true;
	for (; r->bytes < r->width; r->bytes++, r->moved = 0) {
		unsigned int k = r->width - 1 - r->bytes;
		uint32_t *places = r->counts[k];

		if (r->moved == 0) {
			if (places[r->from[0].front[k]] == r->count)
				continue;        /* all the same */
			counts_to_places(places);
		}
		while (r->moved < r->count) {
			for (size_t end = some_more(r->moved, r->count); r->moved < end; r->moved++) {
				const struct radix_entry *e = &r->from[r->moved];

				r->into[places[e->front[k]]++] = *e;
			}
			if (r->moved < r->count && over(me))
				return false;
		}
		radix_swap(r);
	}
	return true;
}

void
radix_put_i64(unsigned char *front, int64_t n)
{
	uint64_t wire = htobe64((uint64_t)n ^ (uint64_t)1 << 63);

	memcpy(front, &wire, sizeof(wire));
}

void
radix_put_u32(unsigned char *front, uint32_t n)
{
	uint32_t wire = htobe32(n);

	memcpy(front, &wire, sizeof(wire));
}
