/*
 * guard - what guessing costs. Failures are counted for each address (IPv6: its /64, which is what one
 * customer gets), for each user, and for each pair of the two.
 *
 * The answer to a failure waits, longer with each failure of the address or of the user. Who hangs up
 * does not escape: until the penalty is over, the next try of the same pair is held back before it is
 * looked at, right or wrong, and of several at once one goes on each second. A pair that fails too
 * often is blocked for a while. An address that fails too often with many names is slowed: each of its
 * tries is held back, but for the pairs that were right lately; it is never shut out, for honest people
 * may sit behind it. One that many share (common/shared.h) is slowed after ten times as many failures, and
 * the default gateway, behind which the world may be, never. A right password from another address never
 * waits, so nobody can lock another out.
 *
 * The counts outlast a restart in a table. Time is seconds since 1970; where the clock goes back,
 * what was is taken as now. Memory and table are bounded: what was untouched for longest makes room.
 */
#ifndef VALIJA_GUARD_H
#define VALIJA_GUARD_H

#include "common/settings.h"
#include "common/table.h"

#define GUARD_TABLE	     "guard.db"
#define GUARD_MOST	     16384 /* of each kind */
#define GUARD_SHARED_PATIENCE 10 /* times auth_slow_failures, for an address that many share */
#define GUARD_FORGET_SECONDS 900   /* after so long without a failure the next is a first again */
#define GUARD_GOOD_SECONDS   (30 * 86400) /* so long a pair that was right counts as known */

enum guard_kind { GUARD_ADDRESS, GUARD_USER, GUARD_PAIR, GUARD_GOOD, GUARD_KINDS };

struct guard;

/* Reads what `store` (borrowed; may be NULL: nothing is kept) has of before `now`. */
struct guard *guard_new(struct table *store, uint64_t now);
void guard_free(struct guard **g);

/* Counts a failure; `user` may be empty. Returns for how many seconds its answer waits. An address of
 * auth_allow is not counted. */
uint32_t guard_failed(struct guard *g, const struct settings *s, struct span ip, struct span user,
	uint64_t now);

enum guard_answer { GUARD_GO, GUARD_HOLD, GUARD_BLOCK };

/* May this try be looked at? HOLD: in *seconds; its place in the row is taken. BLOCK: not before
 * *seconds are over. */
enum guard_answer guard_ask(struct guard *g, const struct settings *s, struct span ip,
	struct span user, uint64_t now, uint32_t *seconds);
/* The user proved himself from `ip`: his failures and those of the pair are forgotten, not those of
 * the address: one account of one's own must not buy guesses at others. */
void guard_right(struct guard *g, struct span ip, struct span user, uint64_t now);

/* Everything that counts at `now`, the latest first, until `row` returns false. `until` is when a
 * block of a pair ends, or 0. */
struct guard_entry {
	enum guard_kind kind;
	struct span ip, user;
	uint32_t failures;
	uint64_t when, until;
};
void guard_each(struct guard *g, const struct settings *s, uint64_t now,
	bool (*row)(void *me, const struct guard_entry *e), void *me);
/* Forgets all failures of an address or a user (or of all: "all"); how many entries. */
uint32_t guard_forgive(struct guard *g, struct span what);
/* Makes the table durable, when it changed; may take as long as a disk does. */
void guard_sync(struct guard *g);

#endif
