/* relaying - see relaying.h. */
#include "relaying.h"

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
#define FORGET_SECONDS 3600           /* a hop with nothing to do */

TAILQ_HEAD(job_list, relay_job);

struct hop {
	char *name;                        /* "1 next.hop" */
	TAILQ_ENTRY(hop) used;             /* least recently first */
	struct job_list waiting;
	uint32_t running, waits, limit, window;
	uint32_t dead_until, dead_seconds, last_used;
	char reason[MOST_REASON + 1];
};

/* Some recipients of one message, one way, at most JOB_RECIPIENTS. */
struct relay_job {
	TAILQ_ENTRY(relay_job) waiting;    /* in its hop, while it waits */
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
	void *hops;                        /* tsearch tree, by name */
	TAILQ_HEAD(, hop) used;
	uint32_t hop_count;
	struct idmap jobs;
	uint32_t load[MOST_PEERS_OF_A_KIND];
} state;

/* --- hops --- */

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct hop *)a)->name, ((const struct hop *)b)->name);
}

static void
hop_forget(struct hop *h)
{
	tdelete(h, &state.hops, by_name);
	TAILQ_REMOVE(&state.used, h, used);
	state.hop_count--;
	free(h->name);
	free(h);
}

/* Forgets the hop that was least needed, if it is of no use any more. */
static void
hops_trim(void)
{
	struct hop *h = TAILQ_FIRST(&state.used);

	if (h == NULL || h->running > 0 || h->waits > 0)
		return;
	if (state.hop_count > MOST_HOPS || queue_now() - h->last_used > FORGET_SECONDS)
		hop_forget(h);
}

static struct hop *
hop_of(const struct relayed *r)
{
	struct text name = TEXT_UP_TO(512);
	struct hop key, *h, **found;

	text_printf(&name, "%u ", r->transport);
	for (size_t i = 0; i < r->next_hop.len; i++) {
		unsigned char c = r->next_hop.at[i];

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
		hops_trim();
		h = must_alloc(sizeof(*h));
		h->name = key.name;
		h->limit = FIRST_HOP_JOBS;
		TAILQ_INIT(&h->waiting);
		if (tsearch(h, &state.hops, by_name) == NULL)
			abort();
		state.hop_count++;
	}
	TAILQ_INSERT_TAIL(&state.used, h, used);
	h->last_used = queue_now();
	return h;
}

static bool
is_dead(const struct hop *h)
{
	return h->dead_until > queue_now();
}

/* --- jobs --- */

static void
tell(struct relay_job *j, uint32_t n, struct verdict v, struct span relay, bool relayed, bool away)
{
	if (j->told[n])
		return;
	j->told[n] = true;
	relayed_one(j->of->me, j->of->to[j->from + n].index, v, relay, relayed, away);
}

static void
tell_all(struct relay_job *j, struct verdict v, bool away)
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
choose_relay(struct queue *q, const struct hop *h)
{
	struct channel *best = NULL, *c;
	unsigned int hash = 5381, count = 0, turn = 0;

	for (const char *n = h->name; *n != '\0'; n++)
		hash = hash * 33 + (unsigned char)*n;
	for (unsigned int i = 0; i < MOST_PEERS_OF_A_KIND; i++)
		count += daemon_peer(&q->daemon, PROGRAM_RELAY, i) != NULL;
	for (unsigned int i = 0; i < MOST_PEERS_OF_A_KIND; i++) {
		if ((c = daemon_peer(&q->daemon, PROGRAM_RELAY, i)) == NULL)
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
	uint32_t left = 0;

	if (fd < 0)
		return false;
	for (uint32_t n = 0; n < j->count; n++)
		left += !j->told[n];
	j->relay = channel_peer_index(relay);
	state.load[j->relay]++;
	j->hop->running++;
	j->running = true;
	send_relay_job(relay, j->id,
		&(struct msg_relay_job){ .message = e->id, .session = e->session,
			.sender = first->sender, .body = e->body, .utf8 = e->utf8, .size = e->size,
			.top = e->top, WISHES_FIELDS(e->wishes), .way = first->transport,
			.next_hop = first->next_hop, .recipients = left },
		&fd);
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

/* Lets as many jobs run as the hop may have. */
static void
hop_run(struct queue *q, struct hop *h)
{
	struct relay_job *j;
	struct channel *relay;
	uint32_t most = (uint32_t)q->daemon.settings->relay_concurrency;

	while ((j = TAILQ_FIRST(&h->waiting)) != NULL && (is_dead(h) || h->running < h->limit)) {
		relay = choose_relay(q, h);
		if (!is_dead(h) && (h->running >= most || (relay == NULL && relay_is_coming(q))))
			break;
		TAILQ_REMOVE(&h->waiting, j, waiting);
		h->waits--;
		if (is_dead(h)) {
			tell_all(j, (struct verdict){ LATER, 451, SPAN("4.4.1"),
				span_str(h->reason) }, false);
			job_over(j);
		} else if (relay == NULL || !job_run(q, j, relay)) {
			tell_all(j, V_NO_RELAY_THERE, true);
			job_over(j);
		}
	}
}

/* What a job's end says of its hop. */
static void
hop_learn(struct queue *q, struct hop *h, enum health health, struct span reason)
{
	uint32_t most = (uint32_t)q->daemon.settings->relay_concurrency;

	if (health == HEALTH_GOOD) {
		h->dead_seconds = h->dead_until = 0;
		if (h->limit < most)
			h->limit++;
	} else if (health == HEALTH_BUSY) {
		h->limit = h->limit > 2 ? h->limit / 2 : 1;
	} else if (!is_dead(h)) {
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
	return order != 0 ? order : a->index < b->index ? -1 : 1;
}

static bool
same_way(const struct relayed *a, const struct relayed *b)
{
	return a->transport == b->transport && span_equal_nocase(a->next_hop, b->next_hop) &&
		span_equal(a->sender, b->sender);
}

static void
add_job(struct relaying *r, uint32_t from, uint32_t count)
{
	struct hop *h = hop_of(&r->to[from]);
	struct relay_job *j = must_alloc(sizeof(*j));

	j->of = r;
	j->hop = h;
	j->id = id_new();
	j->from = from;
	j->count = count;
	j->told = must_alloc(count * sizeof(*j->told));
	idmap_put(&state.jobs, j->id, j);
	r->jobs++;
	if (h->waits >= MOST_OF_A_HOP) {
		tell_all(j, V_HOP_BUSY, true);
		job_over(j);
		return;
	}
	TAILQ_INSERT_TAIL(&h->waiting, j, waiting);
	h->waits++;
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
		struct hop *h = hop_of(&r->to[from]);

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
	hop_learn(q, h, health, reason);
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
		tell_all(j, V_RELAY_DIED, true);
		job_left(q, j, HEALTH_GOOD, SPAN_NONE);
		return;
	}
	j->running = false;
	h->running--;
	TAILQ_INSERT_HEAD(&h->waiting, j, waiting);
	h->waits++;
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
	tell(j, m->number, v, m->relay, m->relayed, false);
}

static void
on_relay_done(void *me, struct channel *from, uint64_t id, const struct msg_relay_done *m, const int *fd)
{
	struct relay_job *j = idmap_get(&state.jobs, id);

	(void)from;
	(void)fd;
	tell_all(j, V_UNTOLD, true);
	job_left(me, j, m->health >= HEALTH_GOOD && m->health <= HEALTH_DEAD ? (enum health)m->health
									     : HEALTH_GOOD, m->reason);
}

void
relaying_init(struct queue *q)
{
	idmap_init(&state.jobs);
	TAILQ_INIT(&state.used);
	q->relay_seen = queue_now();
}

/* Every hop with something to do. What it does may make hops, and forget none that is still to come. */
static void
run_all(struct queue *q)
{
	struct hop *h;

	TAILQ_FOREACH(h, &state.used, used)
		hop_run(q, h);
}

void
relaying_look(struct queue *q)
{
	if (daemon_any_peer(&q->daemon, PROGRAM_RELAY) == NULL && !relay_is_coming(q))
		run_all(q);
}

void
relaying_peer_came(struct queue *q, struct channel *relay)
{
	state.load[channel_peer_index(relay)] = 0;
	q->relay_seen = queue_now();
	run_all(q);
}

void
relaying_revive(struct queue *q)
{
	struct hop *h;

	(void)q;
	TAILQ_FOREACH(h, &state.used, used)
		h->dead_until = h->dead_seconds = 0;
}

const struct hearing queue_hears_relay = {
	.hour = hour,
	.gone = relay_gone,
	.on_relay_result = on_relay_result,
	.on_relay_done = on_relay_done,
};
