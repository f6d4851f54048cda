/* fetch-ask - see fetch-ask.h. The questions of one process. */
#include "fetch-ask.h"

#include "id.h"
#include "text.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define SPARE_MILLISECONDS 3000     /* fetch keeps the time itself; this is for its being away */

struct fetch_question {
	LIST_ENTRY(fetch_question) all;
	struct daemon *daemon;
	uint64_t id;
	char *url, *content_type;
	struct text authorization, body; /* wiped */
	struct msg_fetch_ask ask;   /* its spans are the copies above */
	fetch_heard *heard;
	void *arg;
	struct event *timer;
};

static struct {
	LIST_HEAD(, fetch_question) all;
	unsigned int count;
} asked;

static struct fetch_question *
question_find(uint64_t id)
{
	struct fetch_question *q;

	LIST_FOREACH(q, &asked.all, all)
		if (q->id == id)
			return q;
	return NULL;
}

static void
question_free(struct fetch_question *q)
{
	LIST_REMOVE(q, all);
	asked.count--;
	event_free(q->timer);
	free(q->url);
	free(q->content_type);
	text_wipe(&q->authorization);
	text_wipe(&q->body);
	free(q);
}

static void
answer(struct fetch_question *q, const struct fetch_answer *a)
{
	fetch_heard *heard = q->heard;
	void *arg = q->arg;

	question_free(q);
	heard(arg, a);
}

static void
on_timeout(evutil_socket_t fd, short what, void *arg)
{
	const struct fetch_answer nothing = { .fault = SPAN("no answer from fetch") };

	(void)fd;
	(void)what;
	answer(arg, &nothing);
}

static void
say(struct fetch_question *q)
{
	struct channel *fetch = daemon_peer(q->daemon, PROGRAM_FETCH, 0);

	if (fetch == NULL)
		fetch = daemon_peer(q->daemon, PROGRAM_AUTH_FETCH, 0);
	if (fetch != NULL)
		send_fetch_ask(fetch, q->id, &q->ask, NULL);
}

struct fetch_question *
fetch_ask(struct daemon *d, const struct fetch_wanted *wanted, fetch_heard *heard, void *arg)
{
	struct fetch_question *q = must_alloc(sizeof(*q));
	uint32_t milliseconds = wanted->milliseconds < MOST_FETCH_MILLISECONDS
		? wanted->milliseconds : MOST_FETCH_MILLISECONDS;
	struct timeval wait = { .tv_sec = (milliseconds + SPARE_MILLISECONDS) / 1000,
		.tv_usec = (milliseconds + SPARE_MILLISECONDS) % 1000 * 1000 };
	bool good = asked.count < MOST_FETCHES_ASKED && wanted->url.len <= MOST_URL &&
		span_is_printable(wanted->url) && wanted->content_type.len <= MOST_CONTENT_TYPE &&
		wanted->authorization.len <= MOST_AUTHORIZATION && span_is_printable(wanted->authorization) &&
		wanted->body.len <= MOST_FETCH_BODY_SENT;

	*q = (struct fetch_question){ .daemon = d, .id = id_new(), .heard = heard, .arg = arg };
	q->authorization = TEXT_UP_TO(MOST_AUTHORIZATION);
	q->body = TEXT_UP_TO(MOST_FETCH_BODY_SENT);
	if (good) {
		q->url = must_copy(wanted->url);
		q->content_type = must_copy(wanted->content_type);
		text_add(&q->authorization, wanted->authorization);
		text_add(&q->body, wanted->body);
	}
	q->ask = (struct msg_fetch_ask){ .url = span_str(q->url), .method = (uint8_t)wanted->method,
		.content_type = span_str(q->content_type),
		.authorization = text_span(&q->authorization),
		.body = text_span(&q->body),
		.most_bytes = wanted->most_bytes < MOST_FETCH_BODY ? wanted->most_bytes : MOST_FETCH_BODY,
		.milliseconds = milliseconds,
		.plain_allowed = wanted->plain_allowed };
	LIST_INSERT_HEAD(&asked.all, q, all);
	asked.count++;
	q->timer = evtimer_new(d->base, on_timeout, q);
	if (q->timer == NULL)
		abort();
	if (good)
		say(q);
	else
		wait = (struct timeval){ 0, 0 };
	evtimer_add(q->timer, &wait);
	return q;
}

void
fetch_cancel(struct fetch_question **q)
{
	if (*q != NULL)
		question_free(*q);
	*q = NULL;
}

void
fetch_peer_came(struct daemon *d, struct channel *peer)
{
	struct fetch_question *q;

	(void)d;
	if (channel_peer(peer) != PROGRAM_FETCH && channel_peer(peer) != PROGRAM_AUTH_FETCH)
		return;
	LIST_FOREACH(q, &asked.all, all)
		if (q->url != NULL)
			say(q);
}

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	(void)me;
	(void)from;
	(void)m;
	return question_find(id) != NULL ? HOUR_WAITING : HOUR_NONE;
}

static void
on_fetch_told(void *me, struct channel *from, uint64_t id, const struct msg_fetch_told *m, const int *fd)
{
	const struct fetch_answer a = { .status = m->status, .content_type = m->content_type,
		.body = m->body, .fault = m->fault, .result = m->result };
	struct fetch_question *q = question_find(id);

	(void)me;
	(void)from;
	(void)fd;
	if (m->body.len > q->ask.most_bytes) {
		const struct fetch_answer nothing = { .fault = SPAN("fetch told more than was asked for") };

		answer(q, &nothing);
		return;
	}
	answer(q, &a);
}

const struct hearing fetch_hearing = { .hour = hour, .on_fetch_told = on_fetch_told };
