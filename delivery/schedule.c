/* schedule - see schedule.h. A binary heap beside the map of ids, and lanes for what is due. */
#include "schedule.h"

#include "common/message.h"

#include "common/secret.h"
#include "common/text.h"

#include <stdlib.h>
#include <string.h>

#define MOVED_AT_ONCE 1000   /* from the heap to the lanes: there may be a million of them */

void
schedule_init(struct schedule *s)
{
	memset(s, 0, sizeof(*s));
	idmap_init(&s->messages);
	for (size_t p = 0; p < SCHEDULE_PRIORITIES; p++)
		for (size_t l = 0; l < SCHEDULE_LANES; l++)
			TAILQ_INIT(&s->lane[p][l]);
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
	m->priority = PRIORITY_NORMAL;
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

static struct queued_list *
lane_of(struct schedule *s, const struct queued *m)
{
	return &s->lane[m->priority % SCHEDULE_PRIORITIES][m->sender / 2 % SCHEDULE_LANES];
}

void
schedule_park(struct schedule *s, struct queued *m)
{
	uint32_t place = m->place;

	if (place == 0)
		return;
	m->place = 0;
	if (place == PLACE_READY) {
		TAILQ_REMOVE(lane_of(s, m), m, next);
		s->ready_of[m->priority % SCHEDULE_PRIORITIES]--;
		s->ready--;
		return;
	}
	if (place == s->count) {
		s->count--;
		return;
	}
	put_at(s, place, s->heap[s->count--]);
	rise(s, place);
	sink(s, place);
}

/* What is due leaves the heap for its lane. */
static void
move_due(struct schedule *s, uint32_t now)
{
	struct queued *m;

	for (int n = 0; n < MOVED_AT_ONCE && s->count > 0 && s->heap[1]->due <= now; n++) {
		m = s->heap[1];
		schedule_park(s, m);
		m->place = PLACE_READY;
		TAILQ_INSERT_TAIL(lane_of(s, m), m, next);
		s->ready_of[m->priority % SCHEDULE_PRIORITIES]++;
		s->ready++;
	}
}

struct queued *
schedule_take(struct schedule *s, uint32_t now)
{
	struct queued *m;
	size_t p, lane;

	move_due(s, now);
	if (s->ready == 0)
		return NULL;
	if (++s->turns % SCHEDULE_LOWEST_TURN == 0)
		for (p = 0; s->ready_of[p] == 0; p++)
			;
	else
		for (p = SCHEDULE_PRIORITIES - 1; s->ready_of[p] == 0; p--)
			;
	for (lane = s->next_lane[p]; TAILQ_EMPTY(&s->lane[p][lane]);)
		lane = (lane + 1) % SCHEDULE_LANES;
	s->next_lane[p] = (uint8_t)((lane + 1) % SCHEDULE_LANES);
	m = TAILQ_FIRST(&s->lane[p][lane]);
	schedule_park(s, m);
	return m;
}

uint32_t
schedule_wait(const struct schedule *s, uint32_t now)
{
	if (s->ready > 0)
		return 0;
	if (s->count == 0)
		return UINT32_MAX;
	return s->heap[1]->due > now ? s->heap[1]->due - now : 0;
}

uint32_t
schedule_delay(unsigned int tries)
{
	uint32_t delay = FIRST_RETRY_SECONDS;

	while (tries-- > 1 && delay < LONGEST_RETRY_SECONDS)
		delay *= 2;
	if (delay > LONGEST_RETRY_SECONDS)
		delay = LONGEST_RETRY_SECONDS;
	return delay + schedule_jitter(delay / 4);
}

uint32_t
schedule_jitter(uint32_t most)
{
	uint32_t random;

	secret_random(&random, sizeof(random));
	return random % (most + 1);
}
