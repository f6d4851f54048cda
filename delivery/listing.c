/* listing - what is in the queue, for the valija command; see queue.h. */
#include "queue.h"

#include "common/text.h"

#include <event2/event.h>
#include <stdlib.h>

#define ENTRIES_A_TURN 64
#define MOST_LISTED_RECIPIENTS 1000      /* of one message; queue_entry tells how many there are */
#define LISTING_WAIT_MICROSECONDS 1000

struct listing {
	TAILQ_ENTRY(listing) next;
	struct queue *q;
	struct channel *to;
	uint64_t id;
	uint64_t *message;                   /* ids, as they were at the start */
	size_t count, at;
	uint32_t listed;
	struct event *timer;
};

static void
listing_free(struct listing *l)
{
	TAILQ_REMOVE(&l->q->listings, l, next);
	event_free(l->timer);
	free(l->message);
	free(l);
}

static const char *
state_of(const struct queued *m, const struct envelope *e)
{
	bool failed = false, waits = false;

	for (uint32_t i = 0; i < e->count; i++) {
		failed |= e->recipient[i].told.outcome == NEVER;
		waits |= e->recipient[i].told.outcome != NEVER &&
			 e->recipient[i].told.outcome != DONE;
	}
	return m->active ? "active" : e->held || (failed && !waits) ? "held" : "deferred";
}

/* "451 4.2.0 Mailbox cannot be used", or why nothing was tried yet. */
static void
reason_of(const struct envelope *e, const struct envelope_recipient *r, struct text *reason)
{
	text_reset(reason);
	if (e->held && e->hold_reason.len > 0) {
		text_add_str(reason, "held: ");
		text_add(reason, span_part(e->hold_reason, 0, MOST_REASON - reason->len));
	} else if (r->told.outcome != 0) {
		text_printf(reason, "%u ", (unsigned int)r->told.code);
		text_add(reason, r->told.status);
		text_add_byte(reason, ' ');
		text_add(reason, r->told.reason);
	} else if (r->home.len == 0) {
		text_add_str(reason, "relay not configured");
	} else {
		text_add_str(reason, "not tried yet");
	}
}

static void
list_message(struct listing *l, const struct queued *m)
{
	struct text reason = TEXT_UP_TO(MOST_REASON);
	struct queued_file f;
	uint32_t sent = 0;

	if (!m->has_envelope || queued_read(l->q, m->id, &f) < 0)
		return;
	send_queue_entry(l->to, l->id,
		&(struct msg_queue_entry){.message = m->id,
			.state = span_str(state_of(m, &f.envelope)),
			.arrived = f.envelope.arrived,
			.size = f.envelope.size,
			.sender = f.envelope.sender,
			.recipients = f.envelope.count},
		NULL);
	for (uint32_t i = 0; i < f.envelope.count && sent < MOST_LISTED_RECIPIENTS; i++) {
		const struct envelope_recipient *r = &f.envelope.recipient[i];

		if (r->told.outcome == DONE)
			continue;
		reason_of(&f.envelope, r, &reason);
		send_queue_entry_recipient(l->to, l->id,
			&(struct msg_queue_entry_recipient){.message = m->id,
				.address = r->address,
				.reason = text_span(&reason)},
			NULL);
		sent++;
	}
	l->listed++;
	text_clear(&reason);
	queued_file_clear(&f);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval wait = { .tv_usec = LISTING_WAIT_MICROSECONDS };
	struct listing *l = arg;

	(void)fd;
	(void)what;
	for (int n = 0;
		n < ENTRIES_A_TURN && l->at < l->count && channel_waiting(l->to) < MOST_FED_PACKETS;
		n++) {
		struct queued *m = schedule_find(&l->q->schedule, l->message[l->at++]);

		if (m != NULL)
			list_message(l, m);
	}
	if (l->at < l->count) {
		evtimer_add(l->timer, &wait);
		return;
	}
	send_queue_end(l->to, l->id, &(struct msg_queue_end){ .messages = l->listed }, NULL);
	listing_free(l);
}

static struct listing *
listing_of(struct queue *q, const struct channel *to, uint64_t id)
{
	struct listing *l;

	TAILQ_FOREACH(l, &q->listings, next)
		if (l->to == to && l->id == id)
			return l;
	return NULL;
}

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	(void)m;
	return listing_of(me, from, id) != NULL ? HOUR_WAITING : HOUR_NONE;
}

static void
command_gone(void *me, struct channel *from)
{
	struct queue *q = me;
	struct listing *l, *next;

	for (l = TAILQ_FIRST(&q->listings); l != NULL; l = next) {
		next = TAILQ_NEXT(l, next);
		if (l->to == from)
			listing_free(l);
	}
}

static void
on_queue_list(void *me, struct channel *from, uint64_t id, const struct msg_queue_list *m,
	const int *fd)
{
	static const struct timeval at_once;
	struct queue *q = me;
	struct listing *l = must_alloc(sizeof(*l));
	struct queued *queued;
	size_t place = 0;

	(void)m;
	(void)fd;
	l->q = q;
	l->to = from;
	l->id = id;
	l->message = must_alloc((q->schedule.messages.count + 1) * sizeof(*l->message));
	while ((queued = idmap_next(&q->schedule.messages, &place)) != NULL)
		l->message[l->count++] = queued->id;
	l->timer = evtimer_new(q->daemon.base, on_timer, l);
	TAILQ_INSERT_TAIL(&q->listings, l, next);
	evtimer_add(l->timer, &at_once);
}

const struct hearing queue_hears_command = {
	.hour = hour,
	.gone = command_gone,
	.on_queue_list = on_queue_list,
};
