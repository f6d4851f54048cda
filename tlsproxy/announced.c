#include "announced.h"

#include <stdlib.h>

#include "common/text.h"

#define BUCKETS 4096             /* a power of two */
#define NOWHERE UINT16_MAX

struct entry {
	uint64_t session;        /* 0: never used */
	uint32_t until;
	uint16_t worker;
	uint16_t next;           /* in the same bucket */
	bool used;
};

struct announced {
	struct entry ring[MOST_ANNOUNCED];
	uint16_t bucket[BUCKETS];
	uint16_t oldest;
};

/* Session ids are random bits: any of them serve. */
static uint16_t *
bucket_of(struct announced *a, uint64_t session)
{
	return &a->bucket[session & (BUCKETS - 1)];
}

struct announced *
announced_new(void)
{
	struct announced *a = must_alloc(sizeof(*a));

	for (int i = 0; i < BUCKETS; i++)
		a->bucket[i] = NOWHERE;
	return a;
}

void
announced_free(struct announced **a)
{
	free(*a);
	*a = NULL;
}

static const struct entry *
entry_find(const struct announced *a, uint64_t session)
{
	uint16_t i = a->bucket[session & (BUCKETS - 1)];

	while (i != NOWHERE && a->ring[i].session != session)
		i = a->ring[i].next;
	return i != NOWHERE ? &a->ring[i] : NULL;
}

/* Takes the oldest entry out of its bucket, for reuse. */
static uint16_t
entry_recycle(struct announced *a)
{
	uint16_t i = a->oldest;
	struct entry *e = &a->ring[i];

	a->oldest = (uint16_t)((i + 1) % MOST_ANNOUNCED);
	if (e->session != 0) {
		uint16_t *link = bucket_of(a, e->session);

		while (*link != i)
			link = &a->ring[*link].next;
		*link = e->next;
	}
	return i;
}

void
announced_add(struct announced *a, uint64_t session, unsigned int worker, uint32_t now)
{
	struct entry *e;

	/* 0 marks an entry that is in no bucket: put into one, it would never leave it, and reuse
	 * would close the bucket's list to a circle. */
	if (session == 0)
		return;
	e = (struct entry *)(uintptr_t)entry_find(a, session);
	if (e == NULL) {
		uint16_t i = entry_recycle(a);
		uint16_t *bucket = bucket_of(a, session);

		e = &a->ring[i];
		*e = (struct entry){ .session = session, .next = *bucket };
		*bucket = i;
	}
	e->worker = (uint16_t)worker;
	e->until = now + ANNOUNCED_SECONDS;
}

enum announced_verdict
announced_look(const struct announced *a, uint64_t session, unsigned int worker, uint32_t now)
{
	const struct entry *e = session != 0 ? entry_find(a, session) : NULL;

	if (e == NULL || (int32_t)(e->until - now) <= 0)
		return ANNOUNCED_UNKNOWN;
	if (e->worker != worker)
		return ANNOUNCED_OTHER;
	return e->used ? ANNOUNCED_USED : ANNOUNCED_OPEN;
}

void
announced_use(struct announced *a, uint64_t session)
{
	struct entry *e = (struct entry *)(uintptr_t)entry_find(a, session);

	if (e != NULL)
		e->used = true;
}
