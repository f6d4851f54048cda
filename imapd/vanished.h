/*
 * vanished - the UIDs that were expunged from a mailbox, and at which modification sequence: what
 * QRESYNC (RFC 7162 3.2) tells a client that was away.
 *
 * In the order of modification sequences. Of more than MOST_VANISHED ranges the oldest are
 * forgotten; `forgotten` tells up to where.
 */
#ifndef VALIJA_IMAPD_VANISHED_H
#define VALIJA_IMAPD_VANISHED_H

#include "imapd/number-set.h"

#define MOST_VANISHED 100000u

struct vanished_range {
	uint64_t modseq;
	uint32_t from, to;
};

struct vanished {
	struct vanished_range *at;      /* on the heap */
	size_t count, room;
	uint64_t forgotten;             /* what vanished up to here is not known in full */
};

/* Notes a range; modseq counts as at least that of the last one. */
void vanished_add(struct vanished *v, uint64_t modseq, uint32_t from, uint32_t to);
/* Forgets all up to and with `modseq`. */
void vanished_forget(struct vanished *v, uint64_t modseq);
/* Adds to `gone` (empty) what vanished after `since`, ascending and apart. False, and nothing is
 * added, when that is not known in full. */
bool vanished_since(const struct vanished *v, uint64_t since, struct number_ranges *gone);
void vanished_clear(struct vanished *v);

#endif
