/* hash-pool - see hash-pool.h. */
#include "hash-pool.h"

#include <event2/event.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "common/daemon.h"
#include "common/log.h"
#include "common/text.h"

struct hash_job {
	struct hash_pool *pool;
	uint64_t id;
	struct text hash, password;
	void (*done)(void *me, enum hash_result result); /* NULL: nobody is interested any more */
	void *me;
	unsigned int tries;
	bool at_work; /* with a worker, not in the queue */
	struct event *limit;
	TAILQ_ENTRY(hash_job) next;
};

struct hash_worker {
	struct channel *channel; /* NULL: away */
	struct hash_job *job;	 /* NULL: idle */
};

struct hash_pool {
	struct event_base *base;
	uint64_t last_id;
	size_t waiting_count;
	TAILQ_HEAD(, hash_job) waiting;
	struct hash_worker workers[MOST_PEERS_OF_A_KIND];
};

struct hash_pool *
hash_pool_new(struct event_base *base)
{
	struct hash_pool *p = must_alloc(sizeof(*p));

	p->base = base;
	TAILQ_INIT(&p->waiting);
	return p;
}

static void
job_free(struct hash_job *job)
{
	if (job->limit != NULL)
		event_free(job->limit);
	text_wipe(&job->hash);
	text_wipe(&job->password);
	free(job);
}

/* Tells the asker, if there is one; the job may then be freed. */
static void
job_tell(struct hash_job *job, enum hash_result result)
{
	void (*done)(void *me, enum hash_result r) = job->done;

	job->done = NULL;
	if (done != NULL)
		done(job->me, result);
}

static void
queue_remove(struct hash_pool *p, struct hash_job *job)
{
	TAILQ_REMOVE(&p->waiting, job, next);
	p->waiting_count--;
}

/* Gives what waits to who is idle. */
static void
hand_out(struct hash_pool *p)
{
	for (size_t i = 0; i < MOST_PEERS_OF_A_KIND; i++) {
		struct hash_worker *w = &p->workers[i];
		struct hash_job *job = TAILQ_FIRST(&p->waiting);

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
		send_hash_ask(w->channel, job->id,
			&(struct msg_hash_ask){.hash = text_span(&job->hash),
				.password = text_span(&job->password)},
			NULL);
	}
}

/* Waited too long: the asker hears so now. A worker that has it is busy until it answers. */
static void
on_limit(evutil_socket_t fd, short what, void *arg)
{
	struct hash_job *job = arg;
	struct hash_pool *p = job->pool;
	bool at_work = job->at_work;

	(void)fd;
	(void)what;
	log_warning(0, "hash-late", KEY_NUM("seconds", HASH_WAIT_SECONDS),
		KEY_NUM("waiting", p->waiting_count));
	if (!at_work)
		queue_remove(p, job);
	job_tell(job, HASH_LATER);
	if (!at_work)
		job_free(job);
}

struct hash_job *
hash_pool_ask(struct hash_pool *p, struct span hash, struct span password,
	void (*done)(void *me, enum hash_result result), void *me)
{
	static const struct timeval limit = {HASH_WAIT_SECONDS, 0};
	struct hash_job *job;

	if (p->waiting_count >= HASH_MOST_WAITING)
		return NULL;
	job = must_alloc(sizeof(*job));
	job->pool = p;
	job->id = ++p->last_id;
	job->hash = TEXT_UP_TO(MOST_HASH);
	job->password = TEXT_UP_TO(MOST_PASSWORD);
	job->done = done;
	job->me = me;
	text_add(&job->hash, hash);
	text_add(&job->password, password);
	job->limit = evtimer_new(p->base, on_limit, job);
	if (job->hash.failed || job->password.failed || job->limit == NULL) {
		job_free(job);
		return NULL;
	}
	evtimer_add(job->limit, &limit);
	TAILQ_INSERT_TAIL(&p->waiting, job, next);
	p->waiting_count++;
	hand_out(p);
	return job;
}

void
hash_pool_forget(struct hash_pool *p, struct hash_job **job)
{
	struct hash_job *j = *job;

	*job = NULL;
	if (j == NULL)
		return;
	j->done = NULL;
	if (j->at_work)
		return; /* freed when its worker answers or dies */
	queue_remove(p, j);
	job_free(j);
}

void
hash_pool_came(struct hash_pool *p, struct channel *worker)
{
	p->workers[channel_peer_index(worker)].channel = worker;
	hand_out(p);
}

void
hash_pool_gone(struct hash_pool *p, struct channel *worker)
{
	struct hash_worker *w = &p->workers[channel_peer_index(worker)];
	struct hash_job *job = w->job;

	if (w->channel != worker)
		return;
	w->channel = NULL;
	w->job = NULL;
	if (job == NULL)
		return;
	job->at_work = false;
	if (job->done != NULL && job->tries < HASH_MOST_TRIES) {
		/* It has waited already: first in the queue. */
		TAILQ_INSERT_HEAD(&p->waiting, job, next);
		p->waiting_count++;
		hand_out(p);
	} else {
		/* Perhaps this very question kills workers: no third one. */
		job_tell(job, HASH_LATER);
		job_free(job);
	}
}

uint32_t
hash_pool_hour(const struct hash_pool *p, const struct channel *worker, uint64_t id)
{
	const struct hash_worker *w = &p->workers[channel_peer_index(worker)];

	return w->channel == worker && w->job != NULL && w->job->id == id ? HOUR_WAITING
									  : HOUR_NONE;
}

void
hash_pool_told(struct hash_pool *p, struct channel *worker, bool right)
{
	struct hash_worker *w = &p->workers[channel_peer_index(worker)];
	struct hash_job *job = w->job;

	w->job = NULL;
	job_tell(job, right ? HASH_RIGHT : HASH_WRONG);
	job_free(job);
	hand_out(p);
}

void
hash_pool_free(struct hash_pool **pool)
{
	struct hash_pool *p = *pool;
	struct hash_job *job;

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
