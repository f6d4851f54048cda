/*
 * number-set - sequence-set of RFC 3501: "2,4:7,9,12:*".
 */
#ifndef VALIJA_IMAPD_NUMBER_SET_H
#define VALIJA_IMAPD_NUMBER_SET_H

#include "imapd/arena.h"

#define NUMBER_STAR 0    /* "*" until number_set_resolve; 0 is no valid number */

struct number_range {
	uint32_t from, to;
};

struct number_set {
	struct number_range *at;     /* in the arena */
	size_t count;
};

/* Takes a set from the front of *in; the ranges lie in `arena`, as written. */
bool number_set_take(struct span *in, struct arena *arena, struct number_set *set);
/* Puts `star` for "*", turns ranges the right way round, sorts and joins them. With star 0 (an
 * empty mailbox) "*" is dropped; a range with it is emptied. Afterwards ranges are ascending and
 * apart. */
void number_set_resolve(struct number_set *set, uint32_t star);
/* After resolve. */
bool number_set_has(const struct number_set *set, uint32_t n);
/* After resolve: the largest number, 0 for none. */
uint32_t number_set_largest(const struct number_set *set);

/* Ascending ranges that grow: for COPYUID, and the index's own lists of UIDs. */
struct number_ranges {
	struct number_range *at;     /* on the heap */
	size_t count, room;
};
/* Joined with the last range when `n` follows it. */
void number_ranges_add(struct number_ranges *ranges, uint32_t n);
/* Likewise all from `from` to `to`, where `from` is above the last range's first number. */
void number_ranges_add_range(struct number_ranges *ranges, uint32_t from, uint32_t to);
void number_ranges_clear(struct number_ranges *ranges);

struct text;
void number_ranges_write(const struct number_ranges *ranges, struct text *out);

#endif
