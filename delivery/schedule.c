/* schedule - see schedule.h. A binary heap beside the map of ids. */
#include "schedule.h"

#include "common/secret.h"
#include "common/text.h"

#include <stdlib.h>
#include <string.h>

void
schedule_init(struct schedule *s)
{
	memset(s, 0, sizeof(*s));
	idmap_init(&s->messages);
}

struct queued *
schedule_find(const struct schedule *s, uint64_t id)
{
	return idmap_get(&s->messages, id);
}

struct queued *
schedule_add(struct schedule *s, uint64_t id)
{
	struct queued *m = must_alloc(sizeof(*m));

	m->id = id;
	idmap_put(&s->messages, id, m);
	return m;
}

void
schedule_forget(struct schedule *s, struct queued *m)
{
	schedule_park(s, m);
	idmap_remove(&s->messages, m->id);
	free(m);
}

static void
put_at(struct schedule *s, uint32_t place, struct queued *m)
{
	s->heap[place] = m;
	m->place = place;
}

static void
rise(struct schedule *s, uint32_t place)
{
	struct queued *m = s->heap[place];

	for (; place > 1 && m->due < s->heap[place / 2]->due; place /= 2)
		put_at(s, place, s->heap[place / 2]);
	put_at(s, place, m);
}

static void
sink(struct schedule *s, uint32_t place)
{
	struct queued *m = s->heap[place];
	uint32_t below;

	for (; (below = place * 2) <= s->count; place = below) {
		if (below < s->count && s->heap[below + 1]->due < s->heap[below]->due)
			below++;
		if (m->due <= s->heap[below]->due)
			break;
		put_at(s, place, s->heap[below]);
	}
	put_at(s, place, m);
}

void
schedule_at(struct schedule *s, struct queued *m, uint32_t when)
{
	schedule_park(s, m);
	if (s->count + 2 > s->room) {
		s->room = s->room == 0 ? 64 : s->room * 2;
		s->heap = must_realloc(s->heap, s->room * sizeof(*s->heap));
	}
	m->due = when;
	put_at(s, ++s->count, m);
	rise(s, s->count);
}

void
schedule_park(struct schedule *s, struct queued *m)
{
	uint32_t place = m->place;

	if (place == 0)
		return;
	m->place = 0;
	if (place == s->count) {
		s->count--;
		return;
	}
	put_at(s, place, s->heap[s->count--]);
	rise(s, place);
	sink(s, place);
}

struct queued *
schedule_first(const struct schedule *s)
{
	return s->count == 0 ? NULL : s->heap[1];
}

uint32_t
schedule_delay(unsigned int tries)
{
	uint32_t delay = FIRST_RETRY_SECONDS, random;

	while (tries-- > 1 && delay < LONGEST_RETRY_SECONDS)
		delay *= 2;
	if (delay > LONGEST_RETRY_SECONDS)
		delay = LONGEST_RETRY_SECONDS;
	secret_random(&random, sizeof(random));
	return delay + random % (delay / 4);
}
