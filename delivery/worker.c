/* worker - the queue's blocking workers; see queue.h. */
#include "queue.h"

#include "mailboxes.h"
#include "notice.h"

#include "common/log.h"
#include "names.h"

#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* How long a worker that has not read gets before we look again. */
#define FEED_WAIT_MICROSECONDS 2000

static struct worker *
workers_of(struct queue *q, enum program program)
{
	return program == PROGRAM_LOCAL	    ? q->local
		: program == PROGRAM_LOCAL_HOME ? q->homes
						: q->spoolers;
}

static struct worker *
worker_of(struct queue *q, const struct channel *c)
{
	return &workers_of(q, channel_peer(c))[channel_peer_index(c)];
}

struct worker *
worker_least_busy(struct queue *q, enum program program)
{
	struct worker *w = workers_of(q, program), *best = NULL;

	for (size_t i = 0; i < MOST_PEERS_OF_A_KIND; i++)
		if (w[i].channel != NULL && (best == NULL || w[i].load < best->load))
			best = &w[i];
	return best;
}

bool
worker_is_coming(const struct queue *q, enum program program)
{
	uint32_t seen = program == PROGRAM_LOCAL_HOME ? q->homes_seen : q->local_seen;

	return queue_now() - seen < WORKER_COMES_SECONDS;
}

static void
worker_seen(struct queue *q, enum program program)
{
	if (program == PROGRAM_LOCAL)
		q->local_seen = queue_now();
	else if (program == PROGRAM_LOCAL_HOME)
		q->homes_seen = queue_now();
}

struct worker *
worker_for(struct queue *q, enum program program, uint64_t id)
{
	struct worker *w = workers_of(q, program);
	uint64_t alive = 0, turn;

	for (size_t i = 0; i < MOST_PEERS_OF_A_KIND; i++)
		alive += w[i].channel != NULL;
	if (alive == 0)
		return NULL;
	turn = id % alive;
	for (;; w++)
		if (w->channel != NULL && turn-- == 0)
			return w;
}

void
conversation_join(struct conversation *c, struct worker *w)
{
	c->worker = w;
	TAILQ_INSERT_TAIL(&w->at, c, at);
	w->load++;
}

void
conversation_leave(struct conversation *c)
{
	struct worker *w = c->worker;

	if (w == NULL)
		return;
	if (c->feed != NULL)
		TAILQ_REMOVE(&w->to_feed, c, to_feed);
	c->feed = NULL;
	TAILQ_REMOVE(&w->at, c, at);
	w->load--;
	c->worker = NULL;
}

static void
worker_feed(struct queue *q, struct worker *w)
{
	static const struct timeval wait = { .tv_usec = FEED_WAIT_MICROSECONDS };
	struct conversation *c;

	while ((c = TAILQ_FIRST(&w->to_feed)) != NULL &&
		channel_waiting(w->channel) < MOST_FED_PACKETS) {
		if (!c->feed(q, c))
			continue;
		TAILQ_REMOVE(&w->to_feed, c, to_feed);
		c->feed = NULL;
		if (c->kind == GIVE_BACK) {
			conversation_leave(c);
			free(c);
		}
	}
	if (c != NULL && !evtimer_pending(q->feed_timer, NULL))
		evtimer_add(q->feed_timer, &wait);
}

static void
on_feed_timer(evutil_socket_t fd, short what, void *arg)
{
	struct queue *q = arg;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < MOST_PEERS_OF_A_KIND; i++) {
		if (q->local[i].channel != NULL)
			worker_feed(q, &q->local[i]);
		if (q->homes[i].channel != NULL)
			worker_feed(q, &q->homes[i]);
		if (q->spoolers[i].channel != NULL)
			worker_feed(q, &q->spoolers[i]);
	}
}

void
conversation_say(struct queue *q, struct conversation *c,
	bool (*feed)(struct queue *, struct conversation *))
{
	struct worker *w = c->worker;

	c->feed = feed;
	c->cursor = 0;
	TAILQ_INSERT_TAIL(&w->to_feed, c, to_feed);
	worker_feed(q, w);
}

static bool
feed_return(struct queue *q, struct conversation *c)
{
	(void)q;
	send_lend_return(c->worker->channel, c->id, &(struct msg_lend_return){ }, NULL);
	return true;
}

void
worker_give_back(struct queue *q, struct worker *w, uint64_t id)
{
	struct conversation *c = must_alloc(sizeof(*c));

	c->kind = GIVE_BACK;
	c->id = id;
	conversation_join(c, w);
	conversation_say(q, c, feed_return);
}

void
conversation_target(struct conversation *c, uint32_t number, struct span address, const struct destination *to)
{
	send_target(c->worker->channel, c->id,
		&(struct msg_target){ .number = number, .address = address, .home = span_str(to->home),
			.folder = span_str(to->folder), .uid = to->uid, .gid = to->gid,
			.quota_bytes = to->quota.bytes, .quota_messages = to->quota.messages },
		NULL);
}

void
workers_init(struct queue *q)
{
	for (size_t i = 0; i < MOST_PEERS_OF_A_KIND; i++) {
		TAILQ_INIT(&q->local[i].at);
		TAILQ_INIT(&q->local[i].to_feed);
		TAILQ_INIT(&q->homes[i].at);
		TAILQ_INIT(&q->homes[i].to_feed);
		TAILQ_INIT(&q->spoolers[i].at);
		TAILQ_INIT(&q->spoolers[i].to_feed);
	}
	q->local_seen = q->homes_seen = queue_now();
	q->feed_timer = evtimer_new(q->daemon.base, on_feed_timer, q);
}

void
worker_came(struct queue *q, struct channel *channel)
{
	worker_of(q, channel)->channel = channel;
	worker_seen(q, channel_peer(channel));
	if (channel_peer(channel) == PROGRAM_SPOOL)
		attempts_resume(q);
	else
		attempts_place(q);
}

static void
worker_gone(void *me, struct channel *from)
{
	struct queue *q = me;
	struct worker *w = worker_of(q, from);
	struct conversation *c;

	if (w->channel != from)
		return;
	w->channel = NULL;
	worker_seen(q, channel_peer(from));
	if (channel_peer(from) == PROGRAM_LOCAL_HOME)
		names_lost(q, PROGRAM_LOCAL_HOME);
	while ((c = TAILQ_FIRST(&w->at)) != NULL) {
		conversation_leave(c);
		if (c->kind == TRANSACTION)
			transaction_lost(q, c);
		else if (c->kind == ATTEMPT)
			attempt_lost(q, c);
		else if (c->kind == CONTROL)
			control_finished(q, c, LATER);
		else if (c->kind == NOTICE)
			notice_lost(q, c);
		else
			free(c);
	}
}

/* --- what workers say --- */

static struct conversation *
conversation_with(struct queue *q, const struct channel *from, uint64_t id)
{
	struct conversation *c = idmap_get(&q->conversations, id);

	return c != NULL && c->worker == worker_of(q, from) ? c : NULL;
}

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	struct conversation *c = conversation_with(me, from, id);

	if (m == MSG_forward_told)
		return HOUR_WAITING;   /* as do these */
	if (m == MSG_spool_finished || m == MSG_spool_removed || m == MSG_spool_held)
		return HOUR_SERVING;   /* the handler knows the late ones */
	if (c == NULL)
		return HOUR_NONE;
	return c->kind == TRANSACTION ? transaction_hour(c)
		: c->kind == ATTEMPT  ? attempt_hour(c)
		: c->kind == NOTICE   ? notice_hour(c)
		: c->kind == CONTROL  ? HOUR_PLACING
				      : HOUR_NONE;
}

/* What a captured worker lends instead could make whoever writes into it wait for ever. */
static bool
is_file_to_write(int fd)
{
	struct stat s;
	int flags = fcntl(fd, F_GETFL);

	return fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && flags >= 0 && (flags & O_ACCMODE) != O_RDONLY &&
	       (flags & O_PATH) == 0;
}

static void
on_lent(void *me, struct channel *from, uint64_t id, const struct msg_lent *m, const int *fd)
{
	struct conversation *c = conversation_with(me, from, id);

	(void)m;
	if (!is_file_to_write(fd[0])) {
		log_error(0, "lent-no-file", KEY_STR("by", program_name(channel_peer(from))),
			KEY_NUM("index", channel_peer_index(from)), KEY_ID("message", id));
		close(fd[0]);
		fd = NULL;
	}
	if (c->kind == NOTICE && fd == NULL)
		notice_refused(me, c);
	else if (fd == NULL)
		transaction_refused(me, c, V_LATER);
	else if (c->kind == NOTICE)
		notice_lent(me, c, fd[0]);
	else
		transaction_lent(me, c, fd[0]);
}

static void
on_lend_refused(void *me, struct channel *from, uint64_t id, const struct msg_lend_refused *m,
	const int *fd)
{
	struct conversation *c = conversation_with(me, from, id);

	(void)fd;
	if (c->kind == NOTICE)
		notice_refused(me, c);
	else
		transaction_refused(me, c, VERDICT_OF(m));
}

static void
on_placed(void *me, struct channel *from, uint64_t id, const struct msg_placed *m, const int *fd)
{
	struct conversation *c = conversation_with(me, from, id);

	(void)m;
	(void)fd;
	if (c->kind == TRANSACTION)
		transaction_placed(me, c);
	else
		attempt_placed(me, c);
}

static void
on_place_refused(void *me, struct channel *from, uint64_t id, const struct msg_place_refused *m,
	const int *fd)
{
	struct conversation *c = conversation_with(me, from, id);

	(void)fd;
	if (c->kind == TRANSACTION)
		transaction_place_refused(me, c, m->number, VERDICT_OF(m));
	else
		attempt_refused(me, c, m->number, VERDICT_OF(m));
}

static void
on_spooled(void *me, struct channel *from, uint64_t id, const struct msg_spooled *m, const int *fd)
{
	struct conversation *c = conversation_with(me, from, id);

	(void)m;
	(void)fd;
	if (c->kind == NOTICE)
		notice_spooled(me, c);
	else if (c->kind == CONTROL)
		control_finished(me, c, DONE);
	else
		transaction_spooled(me, c);
}

static void
on_spool_refused(void *me, struct channel *from, uint64_t id, const struct msg_spool_refused *m,
	const int *fd)
{
	struct conversation *c = conversation_with(me, from, id);

	(void)fd;
	if (c->kind == NOTICE)
		notice_refused(me, c);
	else if (c->kind == CONTROL)
		control_finished(me, c, LATER);
	else
		transaction_refused(me, c, VERDICT_OF(m));
}

static void
on_spool_finished(void *me, struct channel *from, uint64_t id, const struct msg_spool_finished *m,
	const int *fd)
{
	struct conversation *c = conversation_with(me, from, id);

	(void)fd;
	if (c != NULL && c->kind == ATTEMPT)
		attempt_finished(me, c, m->outcome);
}

static void
on_spool_removed(void *me, struct channel *from, uint64_t id, const struct msg_spool_removed *m,
	const int *fd)
{
	struct conversation *c = conversation_with(me, from, id);

	(void)fd;
	if (c != NULL && c->kind == ATTEMPT)
		attempt_removed(me, c, m->outcome);
	else if (c != NULL && c->kind == CONTROL)
		control_finished(me, c, m->outcome);
}

static void
on_spool_held(void *me, struct channel *from, uint64_t id, const struct msg_spool_held *m,
	const int *fd)
{
	struct conversation *c = conversation_with(me, from, id);

	(void)fd;
	if (c != NULL && c->kind == CONTROL)
		control_finished(me, c, m->outcome);
}

static void
on_notice(void *me, struct channel *from, uint64_t id, const struct msg_notice *m, const int *fd)
{
	(void)from;
	(void)id;
	(void)fd;
	notice_hear(me, m, false); /* who delivers mail has nothing to say to the world */
}

const struct hearing queue_hears_local = {
	.on_notice = on_notice,
	.hour = hour,
	.gone = worker_gone,
	.on_lent = on_lent,
	.on_lend_refused = on_lend_refused,
	.on_placed = on_placed,
	.on_place_refused = on_place_refused,
	.on_forward_told = names_on_forward_told,
};

const struct hearing queue_hears_spool = {
	.hour = hour,
	.gone = worker_gone,
	.on_lent = on_lent,
	.on_lend_refused = on_lend_refused,
	.on_spooled = on_spooled,
	.on_spool_refused = on_spool_refused,
	.on_spool_finished = on_spool_finished,
	.on_spool_removed = on_spool_removed,
	.on_spool_held = on_spool_held,
};
