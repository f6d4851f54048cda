/* worker-pool - see worker-pool.h. */
#include "worker-pool.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/daemon.h"
#include "common/log.h"
#include "common/text.h"

#define MOST_PARTS 3

/* A question is a few texts, and how they are sent. */
struct question {
	struct text part[MOST_PARTS];
	bool (*send)(struct channel *worker, uint64_t id, const struct text *part);
	enum message answer;
};

struct job {
	struct pool *pool;
	uint64_t id;
	struct question question;
	answer_fn *done; /* NULL: nobody is interested any more */
	void *me;
	unsigned int tries;
	bool at_work; /* with a worker, not in the queue */
	struct event *limit;
	TAILQ_ENTRY(job) next;
};

struct worker {
	struct channel *channel; /* NULL: away */
	struct job *job;	 /* NULL: idle */
};

struct pool {
	struct event_base *base;
	const char *name;
	struct timeval limit;
	void (*hangs)(void *me, struct channel *worker);
	void *me;
	uint64_t last_id;
	size_t waiting_count;
	TAILQ_HEAD(, job) waiting;
	struct worker workers[MOST_PEERS_OF_A_KIND];
};

struct pool *
pool_new(struct event_base *base, const char *name, unsigned int seconds,
	void (*hangs)(void *me, struct channel *worker), void *me)
{
	struct pool *p = must_alloc(sizeof(*p));

	p->base = base;
	p->name = name;
	p->limit.tv_sec = (time_t)seconds;
	p->hangs = hangs;
	p->me = me;
	TAILQ_INIT(&p->waiting);
	return p;
}

void
pool_limit(struct pool *p, unsigned int seconds)
{
	p->limit.tv_sec = (time_t)seconds;
}

static void
job_free(struct job *job)
{
	if (job->limit != NULL)
		event_free(job->limit);
	for (size_t i = 0; i < MOST_PARTS; i++)
		text_wipe(&job->question.part[i]);
	free(job);
}

/* Tells the asker, if there is one; the job may then be freed. */
static void
job_tell(struct job *job, const void *told)
{
	answer_fn *done = job->done;

	job->done = NULL;
	if (done != NULL)
		done(job->me, told);
}

static void
queue_remove(struct pool *p, struct job *job)
{
	TAILQ_REMOVE(&p->waiting, job, next);
	p->waiting_count--;
}

/* Gives what waits to who is idle. */
static void
hand_out(struct pool *p)
{
	for (size_t i = 0; i < MOST_PEERS_OF_A_KIND; i++) {
		struct worker *w = &p->workers[i];
		struct job *job = TAILQ_FIRST(&p->waiting);

		if (job == NULL)
			return;
		if (w->channel == NULL || w->job != NULL)
			continue;
		/* A send that fails is a worker that dies: its gone() comes, and hands the job on.
		 */
		queue_remove(p, job);
		job->at_work = true;
		job->tries++;
		w->job = job;
		(void)job->question.send(w->channel, job->id, job->question.part);
	}
}

static struct channel *
worker_of(const struct pool *p, const struct job *job)
{
	for (size_t i = 0; i < MOST_PEERS_OF_A_KIND; i++)
		if (p->workers[i].job == job)
			return p->workers[i].channel;
	return NULL;
}

/* Waited too long: the asker hears so now. A worker that has it is busy until it answers or ends.
 */
static void
on_limit(evutil_socket_t fd, short what, void *arg)
{
	struct job *job = arg;
	struct pool *p = job->pool;
	struct channel *worker = worker_of(p, job);
	bool at_work = job->at_work;

	(void)fd;
	(void)what;
	log_warning(0, "worker-late", KEY_STR("program", p->name),
		KEY_NUM("seconds", p->limit.tv_sec), KEY_NUM("waiting", p->waiting_count),
		KEY_NUM("at-work", at_work));
	if (!at_work)
		queue_remove(p, job);
	job_tell(job, NULL);
	if (!at_work)
		job_free(job);
	else if (worker != NULL && p->hangs != NULL)
		p->hangs(p->me, worker);
}

static struct job *
ask(struct pool *p, struct question question, answer_fn *done, void *me)
{
	struct job *job = must_alloc(sizeof(*job));
	bool failed = p->waiting_count >= POOL_MOST_WAITING;

	job->pool = p;
	job->id = ++p->last_id;
	job->question = question;
	job->done = done;
	job->me = me;
	for (size_t i = 0; i < MOST_PARTS; i++)
		failed |= question.part[i].failed;
	if (!failed)
		job->limit = evtimer_new(p->base, on_limit, job);
	if (job->limit == NULL || evtimer_add(job->limit, &p->limit) < 0) {
		job_free(job);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&p->waiting, job, next);
	p->waiting_count++;
	hand_out(p);
	return job;
}

/* --- the questions --- */

static struct text
copy(struct span s, size_t most)
{
	struct text t = TEXT_UP_TO(most);

	text_add(&t, s);
	return t;
}

static bool
send_hash(struct channel *worker, uint64_t id, const struct text *part)
{
	return send_hash_ask(worker, id,
		&(struct msg_hash_ask){
			.hash = text_span(&part[0]), .password = text_span(&part[1])},
		NULL);
}

struct job *
pool_ask_hash(
	struct pool *p, struct span hash, struct span password, answer_fn *done, void *me)
{
	return ask(p,
		(struct question){{copy(hash, MOST_HASH), copy(password, MOST_PASSWORD)},
			send_hash, MSG_hash_told},
		done, me);
}

static bool
send_pam(struct channel *worker, uint64_t id, const struct text *part)
{
	return send_pam_ask(worker, id,
		&(struct msg_pam_ask){.login = text_span(&part[0]),
			.password = text_span(&part[1]),
			.ip = text_span(&part[2])},
		NULL);
}

struct job *
pool_ask_pam(struct pool *p, struct span login, struct span password, struct span ip,
	answer_fn *done, void *me)
{
	return ask(p,
		(struct question){{copy(login, MOST_ADDRESS), copy(password, MOST_PASSWORD),
					  copy(ip, MOST_IP)},
			send_pam, MSG_pam_told},
		done, me);
}

static bool
send_name(struct channel *worker, uint64_t id, const struct text *part)
{
	return send_name_ask(
		worker, id, &(struct msg_name_ask){.login = text_span(&part[0])}, NULL);
}

struct job *
pool_ask_name(struct pool *p, struct span login, answer_fn *done, void *me)
{
	return ask(p, (struct question){{copy(login, MOST_LOGIN)}, send_name, MSG_name_told}, done,
		me);
}

static bool
send_make(struct channel *worker, uint64_t id, const struct text *part)
{
	uint32_t numbers[2];

	memcpy(numbers, part[2].at, sizeof(numbers));
	return send_hash_make(worker, id,
		&(struct msg_hash_make){.scheme = text_span(&part[0]),
			.cost = numbers[0],
			.iterations = numbers[1],
			.password = text_span(&part[1])},
		NULL);
}

struct job *
pool_ask_make(struct pool *p, const struct password_strength *strength, uint32_t iterations,
	struct span password, answer_fn *done, void *me)
{
	const uint32_t numbers[] = {strength->cost, iterations};

	return ask(p,
		(struct question){{copy(strength->scheme, 16), copy(password, MOST_PASSWORD),
					  copy(span_of(numbers, sizeof(numbers)),
						  sizeof(numbers))},
			send_make, MSG_hash_made},
		done, me);
}

static bool
send_token(struct channel *worker, uint64_t id, const struct text *part)
{
	return send_token_ask(
		worker, id, &(struct msg_token_ask){.token = text_span(&part[0])}, NULL);
}

struct job *
pool_ask_token(struct pool *p, struct span token, answer_fn *done, void *me)
{
	return ask(p, (struct question){{copy(token, MOST_SASL)}, send_token, MSG_token_told}, done,
		me);
}

void
pool_forget(struct job **job)
{
	struct job *j = *job;

	*job = NULL;
	if (j == NULL)
		return;
	j->done = NULL;
	if (j->at_work)
		return; /* freed when its worker answers or dies */
	queue_remove(j->pool, j);
	job_free(j);
}

/* --- the workers --- */

void
pool_came(struct pool *p, struct channel *worker)
{
	p->workers[channel_peer_index(worker)].channel = worker;
	hand_out(p);
}

void
pool_gone(struct pool *p, struct channel *worker)
{
	struct worker *w = &p->workers[channel_peer_index(worker)];
	struct job *job = w->job;

	if (w->channel != worker)
		return;
	w->channel = NULL;
	w->job = NULL;
	if (job == NULL)
		return;
	job->at_work = false;
	if (job->done != NULL && job->tries < POOL_MOST_TRIES) {
		/* It has waited already: first in the queue. */
		TAILQ_INSERT_HEAD(&p->waiting, job, next);
		p->waiting_count++;
		hand_out(p);
	} else {
		/* Perhaps this very question kills workers: no third one. */
		job_tell(job, NULL);
		job_free(job);
	}
}

uint32_t
pool_hour(const struct pool *p, const struct channel *worker, enum message m, uint64_t id)
{
	const struct worker *w = &p->workers[channel_peer_index(worker)];

	/* An answer of another kind than the question is no answer. */
	return w->channel == worker && w->job != NULL && w->job->id == id &&
			       w->job->question.answer == m
		       ? HOUR_WAITING
		       : HOUR_NONE;
}

void
pool_told(struct pool *p, struct channel *worker, const void *told)
{
	struct worker *w = &p->workers[channel_peer_index(worker)];
	struct job *job = w->job;

	w->job = NULL;
	job_tell(job, told);
	job_free(job);
	hand_out(p);
}

void
pool_free(struct pool **pool)
{
	struct pool *p = *pool;
	struct job *job;

	if (p == NULL)
		return;
	while ((job = TAILQ_FIRST(&p->waiting)) != NULL) {
		queue_remove(p, job);
		job_free(job);
	}
	for (size_t i = 0; i < MOST_PEERS_OF_A_KIND; i++)
		if (p->workers[i].job != NULL)
			job_free(p->workers[i].job);
	free(p);
	*pool = NULL;
}
