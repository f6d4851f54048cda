/* spooler - see spooler.h. This file: what a spool worker hears, and the order of a round. */
#include "spooler.h"

#include "common/beneath.h"
#include "common/journal.h"
#include "common/log.h"
#include "lent.h"
#include "spooler_inside.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

bool
spooler_init(struct spooler *s, int spool)
{
	static const char *const names[] = { SPOOL_QUEUE, SPOOL_CORRUPT };
	struct journal journal;

	memset(s, 0, sizeof(*s));
	s->spool = spool;
	s->most_lent = lent_most();
	idmap_init(&s->jobs);
	TAILQ_INIT(&s->spooling);
	TAILQ_INIT(&s->telling);
	TAILQ_INIT(&s->removing);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (mkdirat(spool, names[i], 0700) < 0 && errno != EEXIST) {
			log_error(0, "spool-unusable", KEY_STR("directory", names[i]), KEY_ERRNO);
			return false;
		}
	}
	s->queue = open_in(spool, SPOOL_QUEUE, O_RDONLY | O_DIRECTORY, 0);
	if (s->queue >= 0 && journal_orders(s->queue, &journal)) {
		s->ordered = true;
		if (journal.fast_commits >= 0)
			close(journal.fast_commits);
	}
	if (s->queue < 0)
		log_error(0, "spool-unusable", KEY_STR("directory", SPOOL_QUEUE), KEY_ERRNO);
	return s->queue >= 0;
}

static struct spool_job *
job_new(struct channel *from, uint64_t id)
{
	struct spool_job *job = must_alloc(sizeof(*job));

	job->id = id;
	job->from = from;
	job->fd = job->envelope_fd = -1;
	job->strings = TEXT_UP_TO(MOST_ENVELOPE);
	return job;
}

static void
job_free(struct spooler *s, struct spool_job *job)
{
	if (job->named) {
		unlinkat(s->queue, spool_name(job->id, SUFFIX_MESSAGE SUFFIX_UNNAMED).str, 0);
		unlinkat(s->queue, spool_name(job->id, SUFFIX_ENVELOPE SUFFIX_UNNAMED).str, 0);
	}
	if (job->fd >= 0)
		close(job->fd);
	if (job->envelope_fd >= 0)
		close(job->envelope_fd);
	for (uint32_t i = 0; i < job->envelope.count; i++) {
		free((void *)(uintptr_t)job->envelope.recipient[i].address.at);
		free((void *)(uintptr_t)job->envelope.recipient[i].home.at);
		free((void *)(uintptr_t)job->envelope.recipient[i].orcpt.at);
		free((void *)(uintptr_t)job->envelope.recipient[i].given.at);
		free((void *)(uintptr_t)job->envelope.recipient[i].sender.at);
	}
	envelope_clear(&job->envelope);
	text_clear(&job->strings);
	free(job);
}

/* Forgets a job that was lent or waits to be spooled. */
static void
job_drop(struct spooler *s, struct spool_job *job)
{
	idmap_remove(&s->jobs, job->id);
	if (job->hour == HOUR_PLACING)
		TAILQ_REMOVE(&s->spooling, job, next);
	job_free(s, job);
}

static void
list_drop(struct spooler *s, struct spool_list *list, const struct channel *from)
{
	struct spool_job *job, *next;

	for (job = TAILQ_FIRST(list); job != NULL; job = next) {
		next = TAILQ_NEXT(job, next);
		if (from != NULL && job->from != from)
			continue;
		TAILQ_REMOVE(list, job, next);
		job_free(s, job);
	}
}

void
spooler_clear(struct spooler *s)
{
	size_t place;
	struct spool_job *job;

	while (place = 0, (job = idmap_next(&s->jobs, &place)) != NULL)
		job_drop(s, job);
	list_drop(s, &s->telling, NULL);
	list_drop(s, &s->removing, NULL);
	idmap_clear(&s->jobs);
	if (s->queue >= 0)
		close(s->queue);
	s->queue = -1;
}

/* --- what it hears --- */

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	struct spooler *s = me;
	struct spool_job *job = idmap_get(&s->jobs, id);

	if (job != NULL && job->from != from) {
		/* There is one queue: the other one is dead, only we have not been told yet. */
		job_drop(s, job);
		job = NULL;
	}
	if (id == 0)
		return 0;
	if (m == MSG_spool_finish || m == MSG_spool_remove || m == MSG_spool_hold)
		return job == NULL ? HOUR_NONE : 0;
	return job == NULL ? HOUR_NONE : job->hour;
}

static void
queue_gone(void *me, struct channel *from)
{
	struct spooler *s = me;
	struct spool_job *job;
	size_t place = 0;

	while ((job = idmap_next(&s->jobs, &place)) != NULL) {
		if (job->from != from)
			continue;
		job_drop(s, job);
		place = 0;   /* removal has moved others */
	}
	list_drop(s, &s->telling, from);
	list_drop(s, &s->removing, from);
}

/* A file in queue/ without a name; where there is no such thing, with one that start removes. */
static int
unnamed(struct spooler *s, struct spool_job *job, const char *suffix)
{
	int fd = open_in(s->queue, ".", O_TMPFILE | O_RDWR, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd;
	job->named = true;
	return open_in(s->queue, spool_name(job->id, suffix).str, O_RDWR | O_CREAT | O_EXCL, 0600);
}

static void
say_lend_refused(struct channel *to, uint64_t id, struct verdict v)
{
	send_lend_refused(to, id, &(struct msg_lend_refused){ VERDICT_FIELDS(v) }, NULL);
}

static void
on_lend(void *me, struct channel *from, uint64_t id, const struct msg_lend *m, const int *fd)
{
	struct spooler *s = me;
	struct spool_job *job;
	int file;

	(void)m;
	(void)fd;
	if (s->jobs.count >= s->most_lent) {
		say_lend_refused(from, id, V_BUSY);
		return;
	}
	job = job_new(from, id);
	file = unnamed(s, job, SUFFIX_MESSAGE SUFFIX_UNNAMED);
	if (file < 0 || (job->fd = lent_reopen(file)) < 0) {
		log_error(0, "spool-unusable", KEY_ID("message", id), KEY_ERRNO);
		say_lend_refused(
			from, id, errno == ENOSPC || errno == EDQUOT ? V_STORAGE : V_LATER);
		if (file >= 0)
			close(file);
		job_free(s, job);
		return;
	}
	job->hour = HOUR_LENT;
	job->state = FILE_LENT;
	idmap_put(&s->jobs, id, job);
	send_lent(from, id, &(struct msg_lent){ }, &file);
}

static void
on_spool_renew(void *me, struct channel *from, uint64_t id, const struct msg_spool_renew *m, const int *fd)
{
	struct spooler *s = me;
	struct spool_job *job = job_new(from, id);

	(void)m;
	(void)fd;
	job->renews = true;
	job->hour = HOUR_LENT;
	job->state = FILE_LENT;
	idmap_put(&s->jobs, id, job);
}

static void
on_lend_return(void *me, struct channel *from, uint64_t id, const struct msg_lend_return *m,
	const int *fd)
{
	struct spooler *s = me;

	(void)from;
	(void)m;
	(void)fd;
	job_drop(s, idmap_get(&s->jobs, id));
}

/* A copy on the heap, for as long as the job. */
static struct span
kept(struct span s)
{
	return s.len == 0 ? SPAN_NONE : span_of(must_copy(s), s.len);
}

static void
on_spool_recipient(void *me, struct channel *from, uint64_t id, const struct msg_spool_recipient *m,
	const int *fd)
{
	struct spooler *s = me;
	struct spool_job *job = idmap_get(&s->jobs, id);
	struct envelope *e = &job->envelope;

	(void)from;
	(void)fd;
	job->bytes += sizeof(struct envelope_recipient) + m->address.len + m->home.len +
		m->orcpt.len + m->given.len + m->sender.len;
	if (job->bytes > MOST_ENVELOPE) {
		job->why = V_MOST_RECIPIENTS;
		return;
	}
	if (e->count == job->room) {
		job->room = job->room == 0 ? 4 : job->room * 2;
		e->recipient = must_realloc(e->recipient, job->room * sizeof(*e->recipient));
	}
	e->recipient[e->count++] = (struct envelope_recipient){
		.number = m->number,
		.address = kept(m->address),
		.home = kept(m->home),
		.uid = m->uid,
		.gid = m->gid,
		.notify = m->notify,
		.orcpt = kept(m->orcpt),
		.given = kept(m->given),
		.sender = kept(m->sender),
	};
}

/* The envelope is encoded at once: the message's strings are gone after this. */
static void
on_spool(void *me, struct channel *from, uint64_t id, const struct msg_spool *m, const int *fd)
{
	struct spooler *s = me;
	struct spool_job *job = idmap_get(&s->jobs, id);
	struct envelope *e = &job->envelope;

	(void)from;
	(void)fd;
	e->id = id;
	e->session = m->session;
	e->service = m->service;
	e->sender = m->sender;
	e->login = m->login;
	e->body = m->body;
	e->utf8 = m->utf8;
	e->size = m->size;
	e->digest = m->digest;
	e->wishes = WISHES_OF(m);
	e->held = m->hold;
	e->hold_reason = m->hold_reason;
	e->top = m->top;
	e->arrived = m->arrived != 0 ? m->arrived : (uint64_t)time(NULL);
	if (e->count == 0)
		job->why = V_NO_RECIPIENTS;
	envelope_encode(e, &job->strings);
	if (job->strings.failed && job->why.outcome == 0)
		job->why = V_MOST_RECIPIENTS;
	job->hour = HOUR_PLACING;
	TAILQ_INSERT_TAIL(&s->spooling, job, next);
}

static void
on_spool_finish(void *me, struct channel *from, uint64_t id, const struct msg_spool_finish *m,
	const int *fd)
{
	struct spooler *s = me;
	struct spool_job *job = job_new(from, id);
	struct verdict v = VERDICT_OF(m);

	(void)fd;
	job->number = m->number;
	envelope_encode_told(m->number, &v, (uint64_t)time(NULL), &job->strings);
	TAILQ_INSERT_TAIL(&s->telling, job, next);
}

static void
on_spool_hold(void *me, struct channel *from, uint64_t id, const struct msg_spool_hold *m,
	const int *fd)
{
	struct spooler *s = me;
	struct spool_job *job = job_new(from, id);

	(void)fd;
	job->holding = true;
	envelope_encode_held(m->held, m->reason, (uint64_t)time(NULL), &job->strings);
	TAILQ_INSERT_TAIL(&s->telling, job, next);
}

static void
on_spool_remove(void *me, struct channel *from, uint64_t id, const struct msg_spool_remove *m,
	const int *fd)
{
	struct spooler *s = me;
	struct spool_job *job = job_new(from, id);

	(void)m;
	(void)fd;
	TAILQ_INSERT_TAIL(&s->removing, job, next);
}

const struct hearing spooler_hears_queue = {
	.hour = hour,
	.gone = queue_gone,
	.on_lend = on_lend,
	.on_lend_return = on_lend_return,
	.on_spool_renew = on_spool_renew,
	.on_spool_recipient = on_spool_recipient,
	.on_spool = on_spool,
	.on_spool_finish = on_spool_finish,
	.on_spool_remove = on_spool_remove,
	.on_spool_hold = on_spool_hold,
};

/* --- a round --- */

static void
answer_spooling(struct spooler *s, int sync_error)
{
	struct spool_job *job;

	while ((job = TAILQ_FIRST(&s->spooling)) != NULL) {
		TAILQ_REMOVE(&s->spooling, job, next);
		idmap_remove(&s->jobs, job->id);
		if (job->why.outcome == 0 && sync_error != 0) {
			if (!job->renews)
				spool_unname(s, job->id);
			job->why = V_LATER;
		}
		if (job->why.outcome == 0) {
			job->state = FILE_PROMISED;
			s->spooled++;
			send_spooled(job->from, job->id, &(struct msg_spooled){ }, NULL);
		} else {
			send_spool_refused(job->from, job->id,
				&(struct msg_spool_refused){ VERDICT_FIELDS(job->why) }, NULL);
		}
		job_free(s, job);
	}
}

static void
answer_others(struct spooler *s, int sync_error)
{
	struct spool_job *job;

	while ((job = TAILQ_FIRST(&s->telling)) != NULL) {
		TAILQ_REMOVE(&s->telling, job, next);
		if (job->holding)
			send_spool_held(job->from, job->id,
				&(struct msg_spool_held){ .outcome = job->outcome }, NULL);
		else
			send_spool_finished(job->from, job->id,
			&(struct msg_spool_finished){
				.number = job->number, .outcome = job->outcome }, NULL);
		job_free(s, job);
	}
	while ((job = TAILQ_FIRST(&s->removing)) != NULL) {
		TAILQ_REMOVE(&s->removing, job, next);
		send_spool_removed(job->from, job->id,
			&(struct msg_spool_removed){
				.outcome = sync_error != 0 ? LATER : job->outcome }, NULL);
		job_free(s, job);
	}
}

void
spooler_work(struct spooler *s)
{
	int error = 0;
	bool names = !TAILQ_EMPTY(&s->spooling) || !TAILQ_EMPTY(&s->removing);

	spool_write(s);
	spool_tell(s);
	spool_unlink(s);
	if (names && fsync(s->queue) < 0) {
		error = errno;
		log_error(0, "sync-failed", KEY_STR("directory", SPOOL_QUEUE), KEY_ERRNO);
	}
	answer_spooling(s, error);
	answer_others(s, error);
}
