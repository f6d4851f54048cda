/* recent - see recent.h. */
#include "recent.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/secret.h"
#include "common/text.h"

struct entry {
	struct digest digest;
	struct recent_mark mark;
	LIST_ENTRY(entry) chain;
	TAILQ_ENTRY(entry) age;
};

struct recent {
	size_t most, count, buckets; /* buckets: a power of two */
	LIST_HEAD(chain, entry) * bucket;
	TAILQ_HEAD(, entry) by_age; /* the oldest first */
};

struct recent *
recent_new(size_t most)
{
	struct recent *r = must_alloc(sizeof(*r));

	r->most = most;
	for (r->buckets = 16; r->buckets < most; r->buckets *= 2)
		;
	r->bucket = must_alloc(r->buckets * sizeof(*r->bucket));
	TAILQ_INIT(&r->by_age);
	return r;
}

/* The digest is keyed: its first bytes are as good as any hash of it. */
static struct chain *
bucket_of(struct recent *r, const struct digest *d)
{
	uint64_t n;

	memcpy(&n, d->at, sizeof(n));
	return &r->bucket[n & (r->buckets - 1)];
}

static struct entry *
find(struct recent *r, const struct digest *d)
{
	struct entry *e;

	LIST_FOREACH(e, bucket_of(r, d), chain)
	if (secret_equal(span_of(e->digest.at, DIGEST_SIZE), span_of(d->at, DIGEST_SIZE)))
		return e;
	return NULL;
}

static void
drop(struct recent *r, struct entry *e)
{
	LIST_REMOVE(e, chain);
	TAILQ_REMOVE(&r->by_age, e, age);
	r->count--;
	secret_wipe(e, sizeof(*e));
	free(e);
}

struct recent_mark *
recent_find(struct recent *r, const struct digest *d)
{
	struct entry *e = find(r, d);

	return e == NULL ? NULL : &e->mark;
}

struct recent_mark *
recent_touch(struct recent *r, const struct digest *d)
{
	struct entry *e = find(r, d);

	if (e != NULL) {
		TAILQ_REMOVE(&r->by_age, e, age);
	} else {
		if (r->count >= r->most)
			drop(r, TAILQ_FIRST(&r->by_age));
		e = must_alloc(sizeof(*e));
		e->digest = *d;
		LIST_INSERT_HEAD(bucket_of(r, d), e, chain);
		r->count++;
	}
	TAILQ_INSERT_TAIL(&r->by_age, e, age);
	return &e->mark;
}

void
recent_forget(struct recent *r, const struct digest *d)
{
	struct entry *e = find(r, d);

	if (e != NULL)
		drop(r, e);
}

void
recent_clear(struct recent *r)
{
	while (!TAILQ_EMPTY(&r->by_age))
		drop(r, TAILQ_FIRST(&r->by_age));
}

size_t
recent_count(const struct recent *r)
{
	return r->count;
}

void
recent_free(struct recent **r)
{
	if (*r == NULL)
		return;
	recent_clear(*r);
	free((*r)->bucket);
	free(*r);
	*r = NULL;
}
