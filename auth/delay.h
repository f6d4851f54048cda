/*
 * delay - what guessing costs: the answer to a failure waits, longer with each failure from an
 * address (IPv6: its /64, which is what one customer gets) or for a user.
 *
 * Who hangs up does not escape: until the penalty is over, the next try of the same user from the
 * same address is held back before it is looked at, right or wrong, and of several at once one goes
 * on each second. A right password from another address never waits, so nobody can lock another
 * out. Time is any clock that does not jump, in seconds.
 */
#ifndef VALIJA_DELAY_H
#define VALIJA_DELAY_H

#include "common/span.h"

#define DELAY_MOST_ADDRESSES 16384
#define DELAY_MOST_USERS     16384
#define DELAY_MOST_PAIRS     16384
#define DELAY_FORGET_SECONDS 900 /* after so long without a failure the next is a first again */

struct delays;

struct delays *delays_new(void);
void delays_free(struct delays **d);
/* Counts a failure. Returns for how many seconds its answer waits: `first`, doubled with each
 * failure before it, `most` at most; the longer of what address and user cost. */
uint32_t delays_failed(struct delays *d, struct span ip, struct span user, uint64_t now,
	uint32_t first, uint32_t most);
/* For how many seconds a try of `user` from `ip` is held back before it is looked at; 0 where no
 * penalty of theirs runs. The place in the row is taken. */
uint32_t delays_hold(struct delays *d, struct span ip, struct span user, uint64_t now);
/* The user proved himself from `ip`: his failures are forgotten, not those of the address: one
 * account of one's own must not buy guesses at others. */
void delays_right(struct delays *d, struct span ip, struct span user);

#endif
