/*
 * radix - many things put in order by the first bytes of what they are compared by, a slice at a time.
 *
 * A radix sort, from the last byte to the first: stable, O(n), and able to stop anywhere. Bytes that are
 * the same in all cost nothing but the counting, and what comes in order is left as it is. Memory: 48
 * bytes for each thing until radix_clear.
 */
#ifndef VALIJA_IMAPD_RADIX_H
#define VALIJA_IMAPD_RADIX_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FRONT_BYTES 20
#define DONE_AT_A_TIME 512       /* things, between two looks at the clock */

struct radix_entry {
	unsigned char front[FRONT_BYTES];    /* compared byte for byte */
	uint32_t at;                         /* what the caller calls it */
};

struct radix {
	struct radix_entry *from;        /* `count` of them; in order when radix_step has said true */
	struct radix_entry *into;        /* room for as many: the caller's, then */
	size_t count;
	unsigned int width;              /* bytes of the fronts that count */
	bool disordered;                 /* some came before one that is smaller */
	/* How many there are of each byte at each place. `bytes` of them were done, from the end;
	 * for the next one, `moved` entries have moved. */
	uint32_t (*counts)[256];
	unsigned int bytes;
	size_t moved;
};

/* For at most `most` things, by the first `width` bytes of their fronts; those behind must be 0. */
void radix_begin(struct radix *r, size_t most, unsigned int width);
/* Accepts one that was never begun. */
void radix_clear(struct radix *r);
/* One more. */
void radix_add(struct radix *r, const struct radix_entry *entry);
/* Orders until it is done (true), or `over` says that the slice is. */
bool radix_step(struct radix *r, bool (*over)(const void *), const void *me);
/* `from` and `into` change places. */
void radix_swap(struct radix *r);
/* A number as the bytes of a front: the smaller comes first. Writes eight, or four. */
void radix_put_i64(unsigned char *front, int64_t n);
void radix_put_u32(unsigned char *front, uint32_t n);

/* As memcmp of the fronts, without a call: it is made for each two neighbours. */
static inline int
radix_compare(const struct radix_entry *a, const struct radix_entry *b)
{
	uint64_t x, y;
	uint32_t u, v;

	for (size_t at = 0; at < 16; at += 8) {
		memcpy(&x, a->front + at, 8);
		memcpy(&y, b->front + at, 8);
		if (x != y)
			return be64toh(x) < be64toh(y) ? -1 : 1;
	}
	memcpy(&u, a->front + 16, 4);
	memcpy(&v, b->front + 16, 4);
	return u == v ? 0 : be32toh(u) < be32toh(v) ? -1 : 1;
}
_Static_assert(FRONT_BYTES == 20, "radix_compare compares 8, 8 and 4");

/* The end of the piece of `count` things that begins at `at`. */
static inline size_t
some_more(size_t at, size_t count)
{
	return count - at < DONE_AT_A_TIME ? count : at + DONE_AT_A_TIME;
}

#endif
