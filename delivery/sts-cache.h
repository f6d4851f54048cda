/*
 * sts-cache - policies of other domains, remembered in a table (RFC 8461 3.2, 5.1): they count until they
 * expire, also when nothing can be learned of the domain meanwhile.
 */
#ifndef VALIJA_STS_CACHE_H
#define VALIJA_STS_CACHE_H

#include "common/table.h"
#include "sts-policy.h"

#define MOST_STS_POLICIES 10000      /* remembered; more are used once */

struct sts_remembered {
	uint64_t fetched;            /* seconds since 1970 */
	uint64_t expires;
	char id[MOST_STS_ID + 1];
	enum sts_mode mode;
	struct text mx;              /* as in struct sts_policy */
};

/* What is remembered of `domain`, in lower case, and has not expired at `now`. False: nothing. Clear in any case. */
bool sts_cache_find(struct table *t, struct span domain, uint64_t now, struct sts_remembered *to);
void sts_remembered_clear(struct sts_remembered *r);
/* Durable when it returns. False: it is not, and why is logged; or there are too many. */
bool sts_cache_put(struct table *t, size_t *count, struct span domain, struct span id,
	const struct sts_policy *p, uint64_t now);
/* Every row, until `row` returns false. What cannot be read is left out. */
void sts_cache_each(struct table *t, bool (*row)(void *me, struct span domain, const struct sts_remembered *r),
	void *me);

/* One whose policy has expired, or was fetched `age` seconds ago or longer. */
struct sts_old {
	char domain[MOST_HOST + 1];
	bool expired;
};

/* Finds up to `most` old ones behind *behind in the order of the table; returns how many. *behind becomes the last of them,
 * so that the next sweep goes on there and domains whose policy cannot be had keep nobody else waiting; or "", a round is
 * over. *rows: of the whole table. */
size_t sts_cache_sweep(struct table *t, uint64_t now, uint64_t age, char behind[MOST_HOST + 1], struct sts_old *old, size_t most,
	size_t *rows);

#endif
