/* hop - see hop.h. */
#include "hop.h"

#include "common/log.h"
#include "common/text.h"
#include "queue.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

struct lane {
	TAILQ_ENTRY(lane) next;
	TAILQ_HEAD(, hop_job) jobs;        /* never empty */
	uint32_t number;
	uint32_t count;                    /* of jobs */
	uint8_t priority;
};

struct turned_away {
	struct hop_job in;                 /* the line; first */
	uint64_t message;
};

/* Of this process: there is one queue. */
static struct {
	void *hops;                        /* tsearch tree, by name */
	TAILQ_HEAD(, hop) used;
	uint32_t count;
	uint64_t order;
	void (*call)(void *me, uint64_t message);
	void *me;
} state;

void
hops_init(void (*call)(void *me, uint64_t message), void *me)
{
	memset(&state, 0, sizeof(state));
	state.call = call;
	state.me = me;
	TAILQ_INIT(&state.used);
}

/* --- which there are --- */

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct hop *)a)->name, ((const struct hop *)b)->name);
}

static void
forget(struct hop *h)
{
	uint64_t message;

	tdelete(h, &state.hops, by_name);
	TAILQ_REMOVE(&state.used, h, used);
	state.count--;
	while ((message = hop_call_back(h)) != 0)
		state.call(state.me, message);
	free(h->name);
	free(h);
}

/* Forgets the hop that was least needed, if it is of no use any more. */
static void
trim(void)
{
	struct hop *h = TAILQ_FIRST(&state.used);

	if (h == NULL || h->running > 0 || h->waits > 0)
		return;
	if (state.count > MOST_HOPS || queue_now() - h->last_used > FORGET_SECONDS)
		forget(h);
}

struct hop *
hop_of(uint8_t transport, struct span next_hop)
{
	struct text name = TEXT_UP_TO(512);
	struct hop key, *h, **found;

	text_printf(&name, "%u ", transport);
	for (size_t i = 0; i < next_hop.len; i++) {
		unsigned char c = next_hop.at[i];

		text_add_byte(&name, c >= 'A' && c <= 'Z' ? (unsigned char)(c + 32) : c);
	}
	key.name = must_copy(text_span(&name));
	text_clear(&name);
	found = tfind(&key, &state.hops, by_name);
	if (found != NULL) {
		free(key.name);
		h = *found;
		TAILQ_REMOVE(&state.used, h, used);
	} else {
		trim();
		h = must_alloc(sizeof(*h));
		h->name = key.name;
		h->limit = FIRST_HOP_JOBS;
		TAILQ_INIT(&h->waiting.lanes);
		TAILQ_INIT(&h->away.lanes);
		if (tsearch(h, &state.hops, by_name) == NULL)
			abort();
		state.count++;
	}
	TAILQ_INSERT_TAIL(&state.used, h, used);
	h->last_used = queue_now();
	return h;
}

struct hop *
hop_first(void)
{
	return TAILQ_FIRST(&state.used);
}

struct hop *
hop_next(const struct hop *h)
{
	return TAILQ_NEXT(h, used);
}

/* --- what waits --- */

static uint32_t
number_of(uint32_t sender)
{
	return sender / 2 % HOP_LANES;
}

/* NULL: there is none. */
static struct lane *
find_lane(const struct hop_line *line, uint32_t sender, uint8_t priority)
{
	struct lane *l;

	TAILQ_FOREACH(l, &line->lanes, next)
		if (l->number == number_of(sender) && l->priority == priority)
			break;
	return l;
}

static struct lane *
lane_of(struct hop_line *line, const struct hop_job *j)
{
	struct lane *l = find_lane(line, j->sender, j->priority);

	if (l == NULL) {
		l = must_alloc(sizeof(*l));
		l->number = number_of(j->sender);
		l->priority = j->priority;
		TAILQ_INIT(&l->jobs);
		TAILQ_INSERT_TAIL(&line->lanes, l, next);
	}
	l->count++;
	return l;
}

static void
line_add(struct hop_line *line, struct hop_job *j)
{
	struct lane *l = lane_of(line, j);

	j->order = ++state.order;
	TAILQ_INSERT_TAIL(&l->jobs, j, next);
}

static struct hop_job *
line_take(struct hop_line *line)
{
	bool oldest = ++line->turns % HOP_OLDEST_TURN == 0;
	struct lane *l, *best = TAILQ_FIRST(&line->lanes);
	struct hop_job *j;

	if (best == NULL)
		return NULL;
	TAILQ_FOREACH(l, &line->lanes, next)
		if (oldest ? TAILQ_FIRST(&l->jobs)->order < TAILQ_FIRST(&best->jobs)->order
			   : l->priority > best->priority)
			best = l;
	j = TAILQ_FIRST(&best->jobs);
	TAILQ_REMOVE(&best->jobs, j, next);
	TAILQ_REMOVE(&line->lanes, best, next);
	if (--best->count == 0)
		free(best);
	else
		TAILQ_INSERT_TAIL(&line->lanes, best, next);
	return j;
}

void
hop_add(struct hop *h, struct hop_job *j)
{
	line_add(&h->waiting, j);
	h->waits++;
}

void
hop_add_again(struct hop *h, struct hop_job *j)
{
	struct lane *l = lane_of(&h->waiting, j);

	TAILQ_INSERT_HEAD(&l->jobs, j, next);
	h->waits++;
}

struct hop_job *
hop_take(struct hop *h)
{
	struct hop_job *j = line_take(&h->waiting);

	h->waits -= j != NULL;
	return j;
}

bool
hop_lane_has_room(const struct hop *h, uint32_t sender, uint8_t priority)
{
	const struct lane *l = find_lane(&h->waiting, sender, priority);

	return l == NULL || l->count < HOP_LANE_ROOM;
}

void
hop_turn_away(struct hop *h, uint64_t message, uint32_t sender, uint8_t priority)
{
	struct turned_away *t = must_alloc(sizeof(*t));

	t->message = message;
	t->in.sender = sender;
	t->in.priority = priority;
	line_add(&h->away, &t->in);
}

uint64_t
hop_call_back(struct hop *h)
{
	struct turned_away *t = (struct turned_away *)(void *)line_take(&h->away);
	uint64_t message = t != NULL ? t->message : 0;

	free(t);
	return message;
}

/* --- whether it lives --- */

bool
hop_is_dead(const struct hop *h)
{
	return h->dead_until > queue_now();
}

void
hop_learn(struct hop *h, uint8_t health, struct span reason, uint32_t most)
{
	if (health == HEALTH_GOOD) {
		h->dead_seconds = h->dead_until = 0;
		if (h->limit < most)
			h->limit++;
	} else if (health == HEALTH_BUSY) {
		h->limit = h->limit > 2 ? h->limit / 2 : 1;
	} else if (!hop_is_dead(h)) {
		/* One vain try may be bad luck among many; all of them are not. */
		h->limit = h->limit > 2 ? h->limit / 2 : 1;
		if (h->running > 0 && h->limit > 1)
			return;
		h->dead_seconds = h->dead_seconds == 0 ? FIRST_DEAD_SECONDS : h->dead_seconds * 2;
		if (h->dead_seconds > LONGEST_DEAD_SECONDS)
			h->dead_seconds = LONGEST_DEAD_SECONDS;
		h->dead_until = queue_now() + h->dead_seconds;
		if (!span_copy(span_part(reason, 0, MOST_REASON), h->reason, sizeof(h->reason)))
			h->reason[0] = '\0';
		log_notice(0, "next-hop-dead", KEY_STR("next-hop", h->name + 2),
			KEY_NUM("seconds", h->dead_seconds), KEY_NUM("waiting", h->waits),
			KEY_SPAN("reason", reason));
	}
}

void
hops_revive(void)
{
	struct hop *h;

	TAILQ_FOREACH(h, &state.used, used)
		h->dead_until = h->dead_seconds = 0;
}
