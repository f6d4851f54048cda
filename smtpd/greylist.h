/*
 * greylist - the first attempt of a stranger to write to somebody is put off; who comes back is let in.
 *
 * A table (table.h) has a record for each triple of client network, sender and recipient, and one
 * for each network: how many of its triples came back. After enough of them the network is
 * let in at once. Keys are digests: nothing that a client said has a form in them. Times are seconds
 * since 1970; a clock that was set back counts as standing still.
 */
#ifndef VALIJA_SMTPD_GREYLIST_H
#define VALIJA_SMTPD_GREYLIST_H

#include "common/settings.h"
#include "common/table.h"

#define GREYLIST_MOST_RECORDS 1000000   /* more strangers than that are let in unseen */
#define GREYLIST_PURGE_BATCH 20000      /* records removed at a time */

struct greylist {
	struct table *table;               /* table_private; owned by the caller */
	uint64_t records;                  /* as counted at the last purge, and added since */
};

/* What is known about one attempt; `ip` as guest.h writes it. */
struct greylist_attempt {
	struct span ip, sender, recipient;
	uint64_t now;
};

/* How many seconds the client must wait; 0: let it in. An unusable table lets everybody in. */
uint32_t greylist_judge(struct greylist *g, const struct settings *s, const struct greylist_attempt *a);
/* Removes what has expired, counts what is left. True when there is more to remove. */
bool greylist_purge(struct greylist *g, const struct settings *s, uint64_t now);

#endif
