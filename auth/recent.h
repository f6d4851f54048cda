/*
 * recent - digests that were seen lately, each with a time and a count; bounded: the one that was
 * untouched for longest makes room.
 */
#ifndef VALIJA_RECENT_H
#define VALIJA_RECENT_H

#include "digest.h"

struct recent;

/* What the owner keeps of one digest. Borrowed: until the next call that may make or forget one. */
struct recent_mark {
	uint64_t when;
	uint32_t count;
};

struct recent *recent_new(size_t most);
void recent_free(struct recent **r);
/* NULL when it is not there. */
struct recent_mark *recent_find(struct recent *r, const struct digest *d);
/* Finds or makes it (zeroed), the youngest from now on. */
struct recent_mark *recent_touch(struct recent *r, const struct digest *d);
void recent_forget(struct recent *r, const struct digest *d);
/* Forgets all. */
void recent_clear(struct recent *r);
size_t recent_count(const struct recent *r);

#endif
