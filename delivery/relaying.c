/* relaying - see relaying.h. */
#include "relaying.h"
#include "hop.h"

#include "common/beneath.h"
#include "common/id.h"
#include "common/log.h"
#include "spool_name.h"

#include <event2/event.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define V_HOP_BUSY VERDICT_IS(LATER, 451, "4.4.5", "too much mail for this server waits already")
#define V_NO_RELAY_THERE VERDICT_IS(LATER, 451, "4.3.0", "the relay is not there")
#define V_RELAY_DIED VERDICT_IS(LATER, 451, "4.3.0", "the relay ended in the middle")
#define V_UNTOLD VERDICT_IS(LATER, 451, "4.3.0", "the relay did not say what became of it")
/* Some recipients of one message, one way, at most JOB_RECIPIENTS. */
struct relay_job {
	struct hop_job waiting;            /* in its hop, while it waits; first */
	struct relaying *of;
	struct hop *hop;
	uint64_t id;
	uint32_t from, count;              /* of of->to */
	bool *told, running;
	uint8_t losses;                    /* relays that died while they had it */
	unsigned int relay;                /* which process has it */
};

struct relaying {
	struct queue *queue;
	const struct envelope *envelope;
	void *me;
	struct relayed *to;                /* ordered by way */
	uint32_t count, jobs;              /* jobs: that are not over */
	bool begun;
};

/* Of this process: there is one queue. */
static struct {
	struct idmap jobs;                 /* all of them */
	struct channel *relay[MOST_PEERS_OF_A_KIND];   /* NULL while it is away */
	uint32_t load[MOST_PEERS_OF_A_KIND];
} state;

/* --- jobs --- */

static void
tell(struct relay_job *j, uint32_t n, struct verdict v, struct span relay, bool relayed, enum away away)
{
	if (j->told[n])
		return;
	j->told[n] = true;
	relayed_one(j->of->me, j->of->to[j->from + n].index, v, relay, relayed, away);
}

static void
tell_all(struct relay_job *j, struct verdict v, enum away away)
{
	for (uint32_t n = 0; n < j->count; n++)
		tell(j, n, v, SPAN("none"), false, away);
}

/* Every recipient is told; the job is neither waiting nor running any more. */
static void
job_over(struct relay_job *j)
{
	struct relaying *r = j->of;
	void *me = r->me;

	idmap_remove(&state.jobs, j->id);
	free(j->told);
	free(j);
	if (--r->jobs > 0 || !r->begun)
		return;
	free(r->to);
	free(r);
	relayed_all(me);
}

/* None is there, but one was a moment ago: its successor may be expected. */
static bool
relay_is_coming(const struct queue *q)
{
	return queue_now() - q->relay_seen < WORKER_COMES_SECONDS;
}

/* The relay for this hop: the same each time, so that connections are used again, unless it has much
 * more to do than another. */
static struct channel *
choose_relay(const struct hop *h)
{
	struct channel *best = NULL, *c;
	unsigned int hash = 5381, count = 0, turn = 0;

	for (const char *n = h->name; *n != '\0'; n++)
		hash = hash * 33 + (unsigned char)*n;
	for (unsigned int i = 0; i < MOST_PEERS_OF_A_KIND; i++)
		count += state.relay[i] != NULL;
	for (unsigned int i = 0; i < MOST_PEERS_OF_A_KIND; i++) {
		if ((c = state.relay[i]) == NULL)
			continue;
		if (turn++ == hash % count && state.load[i] < 200)
			return c;
		if (best == NULL || state.load[i] < state.load[channel_peer_index(best)])
			best = c;
	}
	return best;
}

/* Gives what is left of the job to a relay. False: the message cannot be opened. */
static bool
job_run(struct queue *q, struct relay_job *j, struct channel *relay)
{
	const struct envelope *e = j->of->envelope;
	const struct relayed *first = &j->of->to[j->from];
	int fd = open_in(q->queue, spool_name(e->id, SUFFIX_MESSAGE).str, O_RDONLY, 0);
	struct text top = TEXT_UP_TO(MOST_TRACE);
	uint32_t left = 0;

	if (fd < 0)
		return false;
	/* Whoever sends it back to the same alias is found out by this (attempt_relay). */
	if (first->given.len > 0 && e->top.len + first->given.len + 32 <= MOST_TRACE)
		text_printf(&top, "Delivered-To: %.*s\r\n", SPAN_ARG(first->given));
	text_add(&top, e->top);
	for (uint32_t n = 0; n < j->count; n++)
		left += !j->told[n];
	j->relay = channel_peer_index(relay);
	state.load[j->relay]++;
	j->hop->running++;
	j->running = true;
	send_relay_job(relay, j->id,
		&(struct msg_relay_job){ .message = e->id, .session = e->session,
			.sender = first->sender, .body = e->body, .utf8 = e->utf8, .size = e->size,
			.top = text_span(&top), WISHES_FIELDS(e->wishes), .way = first->transport,
			.next_hop = first->next_hop, .recipients = left },
		&fd);
	text_clear(&top);
	for (uint32_t n = 0; n < j->count; n++) {
		const struct relayed *r = &j->of->to[j->from + n];

		if (j->told[n])
			continue;
		send_relay_recipient(relay, j->id,
			&(struct msg_relay_recipient){ .number = n, .address = r->address,
				.notify = r->notify, .orcpt = r->orcpt },
			NULL);
	}
	return true;
}

static struct relay_job *
job_of(struct hop_job *j)
{
	return (struct relay_job *)(void *)j;
}

/* Half of the room that is left, so that there is room for others, whoever takes all he gets. */
static uint32_t
most_of_a_hop(const struct queue *q)
{
	uint32_t left = q->waiting_jobs < MOST_WAITING_JOBS ? MOST_WAITING_JOBS - q->waiting_jobs : 0;

	return left / 2 < LEAST_OF_A_HOP && left > 0 ? LEAST_OF_A_HOP : left / 2;
}

/* Nobody's thousands keep the first few of another, or of a higher priority, from waiting where it is their turn soon;
 * nor do ten slow hops with all the room keep mail from the others. */
static bool
has_room(const struct queue *q, const struct hop *h, const struct hop_job *j)
{
	return h->waits < most_of_a_hop(q) ||
		(q->waiting_jobs < MOST_FIRST_JOBS && hop_lane_has_room(h, j->sender, j->priority));
}

static void
turn_away(struct relay_job *j)
{
	struct queued *m = schedule_find(&j->of->queue->schedule, j->of->envelope->id);

	if (m != NULL)
		m->busy = true;
	/* Thousands that wait for one hop would look in vain, for half of its time. */
	if (m != NULL && m->turned_away < TURNED_AWAY_WHERE_IT_GOES_ON && (j->hop->waits > 0 || j->hop->running > 0))
		m->turned_away = TURNED_AWAY_WHERE_IT_GOES_ON;
	if (m != NULL && !m->listed) {
		m->listed = true;
		hop_turn_away(j->hop, m->id, j->waiting.sender, j->waiting.priority);
	}
	tell_all(j, V_HOP_BUSY, BUSY);
	job_over(j);
}

/* It is to come at once, if it waits for that. */
static bool
call_one(struct queue *q, struct queued *m)
{
	static const struct timeval at_once = { 0, 0 };

	if (m == NULL || !m->listed)
		return false;
	m->listed = false;
	m->called = m->active && m->busy;
	if (m->place == 0 || m->turned_away == 0)
		return m->called;
	m->turned_away = 1;
	schedule_at(&q->schedule, m, queue_now());
	evtimer_add(q->due_timer, &at_once);
	return true;
}

static void
on_forgotten(void *me, uint64_t message)
{
	struct queue *q = me;

	(void)call_one(q, schedule_find(&q->schedule, message));
}

/* As many as have gone may come, two for each where little waits. Who is gone, or waits for something else by now,
 * does not count. */
static void
call_back(struct queue *q, struct hop *h, uint32_t gone)
{
	uint32_t count = h->waits < most_of_a_hop(q) / 2 ? 2 * gone : gone;
	uint64_t id;

	while (count > 0 && (id = hop_call_back(h)) != 0)
		count -= call_one(q, schedule_find(&q->schedule, id));
}

/* Lets as many jobs run as the hop may have. */
static void
hop_run(struct queue *q, struct hop *h)
{
	struct relay_job *j;
	struct channel *relay;
	uint32_t most = (uint32_t)q->daemon.settings->relay_concurrency, gone = 0;

	for (; h->waits > 0; gone++) {
		relay = choose_relay(h);
		if (!hop_is_dead(h) && (h->running >= h->limit || h->running >= most ||
			(relay == NULL && relay_is_coming(q))))
			break;
		j = job_of(hop_take(h));
		q->waiting_jobs--;
		if (hop_is_dead(h)) {
			tell_all(j, (struct verdict){ LATER, 451, SPAN("4.4.1"),
				span_str(h->reason) }, NOT_AWAY);
			job_over(j);
		} else if (relay == NULL || !job_run(q, j, relay)) {
			tell_all(j, V_NO_RELAY_THERE, AWAY);
			job_over(j);
		}
	}
	call_back(q, h, gone);
}

/* --- beginning --- */

static int
by_way(const void *one, const void *other)
{
	const struct relayed *a = one, *b = other;
	int order = (int)a->transport - (int)b->transport;

	if (order == 0)
		order = span_compare(a->next_hop, b->next_hop);
	if (order == 0)
		order = span_compare(a->sender, b->sender);
	if (order == 0)
		order = span_compare(a->given, b->given);
	return order != 0 ? order : a->index < b->index ? -1 : 1;
}

static bool
same_way(const struct relayed *a, const struct relayed *b)
{
	bool same_hop = a->next_hop.len > 0 && a->next_hop.at[0] == '/' ? span_equal(a->next_hop, b->next_hop)
									: span_equal_nocase(a->next_hop, b->next_hop);

	return a->transport == b->transport && same_hop &&
		span_equal(a->sender, b->sender) && span_equal(a->given, b->given);
}

static void
add_job(struct relaying *r, uint32_t from, uint32_t count)
{
	struct hop *h = hop_of(r->to[from].transport, r->to[from].next_hop);
	struct relay_job *j = must_alloc(sizeof(*j));

	j->of = r;
	j->hop = h;
	j->id = id_new();
	j->from = from;
	j->count = count;
	j->told = must_alloc(count * sizeof(*j->told));
	idmap_put(&state.jobs, j->id, j);
	r->jobs++;
	j->waiting.sender = queue_sender(r->envelope->login, r->envelope->sender);
	j->waiting.priority = r->envelope->wishes.priority;
	if (!has_room(r->queue, h, &j->waiting)) {
		turn_away(j);
		return;
	}
	hop_add(h, &j->waiting);
	r->queue->waiting_jobs++;
}

/* Jobs begin in the next turn of the loop, so that nobody is called back from inside. */
static void
on_begin(evutil_socket_t fd, short what, void *arg)
{
	struct relaying *r = arg;
	struct queue *q = r->queue;
	struct hop *hop[16];
	size_t hops = 0;

	(void)fd;
	(void)what;
	for (uint32_t from = 0, to; from < r->count; from = to) {
		for (to = from + 1; to < r->count && to - from < JOB_RECIPIENTS &&
			same_way(&r->to[from], &r->to[to]); to++)
			;
		add_job(r, from, to - from);
		struct hop *h = hop_of(r->to[from].transport, r->to[from].next_hop);

		if (hops == 0 || hop[hops - 1] != h)
			hop[hops++] = h;
		if (hops == 16 || to == r->count) {
			/* The last job of a message may be over before this returns. */
			r->begun = to == r->count;
			r->jobs++;
			for (size_t i = 0; i < hops; i++)
				hop_run(q, hop[i]);
			hops = 0;
			if (--r->jobs == 0 && r->begun) {
				void *me = r->me;

				free(r->to);
				free(r);
				relayed_all(me);
				return;
			}
		}
	}
}

struct relaying *
relaying_begin(struct queue *q, const struct envelope *e, const struct relayed *to, uint32_t count,
	void *me)
{
	static const struct timeval at_once = { 0, 0 };
	struct relaying *r = must_alloc(sizeof(*r));

	r->queue = q;
	r->envelope = e;
	r->me = me;
	r->count = count;
	r->to = must_alloc((count + 1) * sizeof(*r->to));
	memcpy(r->to, to, count * sizeof(*to));
	qsort(r->to, count, sizeof(*r->to), by_way);
	if (event_base_once(q->daemon.base, -1, EV_TIMEOUT, on_begin, r, &at_once) < 0)
		abort();
	return r;
}

/* --- relay --- */

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	struct relay_job *j = idmap_get(&state.jobs, id);

	(void)me;
	(void)m;
	return j != NULL && j->running && j->relay == channel_peer_index(from) ? HOUR_PLACING : HOUR_NONE;
}

/* A job has left its relay. */
static void
job_left(struct queue *q, struct relay_job *j, enum health health, struct span reason)
{
	struct hop *h = j->hop;

	if (state.load[j->relay] > 0)
		state.load[j->relay]--;
	h->running--;
	if (health == HEALTH_DEAD || health == HEALTH_BUSY || health == HEALTH_GOOD)
		hop_learn(h, (uint8_t)health, reason, (uint32_t)q->daemon.settings->relay_concurrency);
	job_over(j);
	hop_run(q, h);
}

/* Its relay has died, which is nobody's failure: another gets what is left of it, unless it is this job
 * that relays die of. What was sent but not told of may be sent twice. */
static void
job_lost(struct queue *q, struct relay_job *j)
{
	struct hop *h = j->hop;

	if (++j->losses >= MOST_JOB_LOSSES) {
		tell_all(j, V_RELAY_DIED, AWAY);
		job_left(q, j, HEALTH_GOOD, SPAN_NONE);
		return;
	}
	j->running = false;
	h->running--;
	hop_add_again(h, &j->waiting);
	q->waiting_jobs++;
	hop_run(q, h);
}

static void
relay_gone(void *me, struct channel *from)
{
	struct queue *q = me;
	struct relay_job *j, **lost;
	size_t place = 0, count = 0;

	lost = must_alloc((state.jobs.count + 1) * sizeof(*lost));
	while ((j = idmap_next(&state.jobs, &place)) != NULL)
		if (j->running && j->relay == channel_peer_index(from))
			lost[count++] = j;
	if (state.relay[channel_peer_index(from)] == from)
		state.relay[channel_peer_index(from)] = NULL;
	state.load[channel_peer_index(from)] = 0;
	q->relay_seen = queue_now();
	for (size_t i = 0; i < count; i++)
		job_lost(q, lost[i]);
	free(lost);
}

static void
on_relay_result(
	void *me, struct channel *from, uint64_t id, const struct msg_relay_result *m, const int *fd)
{
	struct relay_job *j = idmap_get(&state.jobs, id);
	struct verdict v = VERDICT_OF(m);

	(void)me;
	(void)from;
	(void)fd;
	if (m->number >= j->count)
		return;
	if (v.outcome != DONE || v.code / 100 != 2 || v.status.len == 0 || v.status.at[0] != '2')
		v = queue_refusal(v);
	tell(j, m->number, v, m->relay, m->relayed, NOT_AWAY);
}

static void
on_relay_done(void *me, struct channel *from, uint64_t id, const struct msg_relay_done *m, const int *fd)
{
	struct relay_job *j = idmap_get(&state.jobs, id);

	(void)from;
	(void)fd;
	tell_all(j, V_UNTOLD, AWAY);
	job_left(me, j, m->health >= HEALTH_GOOD && m->health <= HEALTH_DEAD ? (enum health)m->health
									     : HEALTH_GOOD, m->reason);
}

void
relaying_init(struct queue *q)
{
	memset(&state, 0, sizeof(state));
	idmap_init(&state.jobs);
	hops_init(on_forgotten, q);
	q->relay_seen = queue_now();
}

/* Every hop with something to do. What it does may make hops, and forget none that is still to come. */
static void
run_all(struct queue *q)
{
	struct hop *h;

	for (h = hop_first(); h != NULL; h = hop_next(h))
		hop_run(q, h);
}

void
relaying_look(struct queue *q)
{
	for (unsigned int i = 0; i < MOST_PEERS_OF_A_KIND; i++)
		if (state.relay[i] != NULL)
			return;
	if (!relay_is_coming(q))
		run_all(q);
}

void
relaying_peer_came(struct queue *q, struct channel *relay)
{
	state.relay[channel_peer_index(relay)] = relay;
	state.load[channel_peer_index(relay)] = 0;
	q->relay_seen = queue_now();
	run_all(q);
}

void
relaying_revive(struct queue *q)
{
	(void)q;
	hops_revive();
}

const struct hearing queue_hears_relay = {
	.hour = hour,
	.gone = relay_gone,
	.on_relay_result = on_relay_result,
	.on_relay_done = on_relay_done,
};
