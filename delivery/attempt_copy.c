/* attempt_copy - what an attempt delivers into mailboxes here; see attempt_inside.h. */
#include "attempt_inside.h"

#include <event2/event.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

/* What the final delivery puts on top (RFC 5321 4.4): the return path of these mailboxes; when it is
 * one, to whom; and the lines that came with the message. */
static void
prefix_of(const struct attempt *a, struct text *prefix)
{
	const struct envelope *e = &a->file.envelope;
	const struct envelope_recipient *r = &e->recipient[a->mailbox[a->from]];

	text_add_str(prefix, "Return-Path: <");
	text_add(prefix, r->sender.len > 0 ? r->sender : e->sender);
	text_add_str(prefix, ">\r\n");
	if (a->to == a->from + 1) {
		text_add_str(prefix, "Delivered-To: ");
		text_add(prefix, r->address);
		text_add_str(prefix, "\r\n");
	}
	text_add(prefix, e->top);
}

static bool
feed_copy(struct queue *q, struct conversation *c)
{
	struct attempt *a = attempt_of(c);
	const struct envelope *e = &a->file.envelope;
	struct text prefix = TEXT_UP_TO(MOST_PREFIX);
	int fd;

	(void)q;
	if (a->from + c->cursor < a->to) {
		uint32_t i = a->mailbox[a->from + c->cursor++];

		conversation_target(c, e->recipient[i].number, e->recipient[i].address, &a->destination[i]);
		return false;
	}
	prefix_of(a, &prefix);
	fd = fcntl(a->message, F_DUPFD_CLOEXEC, 0);
	send_place_copy(c->worker->channel, c->id, &(struct msg_place_copy){ .size = e->size,
		.prefix = text_span(&prefix) }, &fd);
	text_clear(&prefix);
	return true;
}

static void
log_results(struct attempt *a, uint32_t from, uint32_t to)
{
	const struct envelope *e = &a->file.envelope;
	uint64_t now = (uint64_t)time(NULL),
		 delay = now > e->arrived ? (now - e->arrived) * 1000 : 0;

	for (uint32_t n = from; n < to; n++) {
		uint32_t first = a->mailbox[n];

		for (uint32_t i = first; i < e->count; i++)
			if (a->destination[i].home != NULL && a->destination[i].first == first)
				queue_log_recipient(e->session, e->id, e->recipient[i].address,
					e->recipient[i].given, SPAN("local"), delay,
					a->result[i].verdict);
	}
}

/* Mailboxes from a->from up to `to` have to wait for a worker. */
static void
copy_later(struct attempt *a, uint32_t to)
{
	a->away = true;
	for (uint32_t n = a->from; n < to; n++)
		result_set_mailbox(a, a->mailbox[n], V_LATER);
	for (uint32_t i = 0; i < a->file.envelope.count; i++)
		for (uint32_t n = a->from; n < to; n++)
			a->result[i].untried |= a->destination[i].home != NULL &&
				a->destination[i].first == a->mailbox[n];
	log_results(a, a->from, to);
	a->from = to;
}

/* Where those that are copied together end: as many as one worker takes, all with one return path. */
static uint32_t
same_way(const struct attempt *a)
{
	const struct envelope_recipient *r = a->file.envelope.recipient;
	uint32_t to = a->from + 1;

	while (to < a->mailboxes && to - a->from < MOST_PLACES &&
		a->destination[a->mailbox[to]].system ==
			a->destination[a->mailbox[a->from]].system &&
		span_equal(r[a->mailbox[to]].sender, r[a->mailbox[a->from]].sender))
		to++;
	return to;
}

static enum program
program_for(const struct attempt *a)
{
	return a->destination[a->mailbox[a->from]].system ? PROGRAM_LOCAL_HOME : PROGRAM_LOCAL;
}

void
attempt_copy(struct queue *q, struct attempt *a)
{
	static const struct timeval a_second = { .tv_sec = 1 };
	struct worker *w;

	while (a->from < a->mailboxes) {
		a->to = same_way(a);
		w = worker_least_busy(q, program_for(a));
		if (w != NULL) {
			conversation_join(&a->c, w);
			conversation_say(q, &a->c, feed_copy);
			return;
		}
		/* Relay may take minutes over what goes elsewhere: not before what is for here. */
		if (worker_is_coming(q, program_for(a))) {
			TAILQ_INSERT_TAIL(&q->unplaced, a, waiting_next);
			if (!evtimer_pending(q->unplaced_timer, NULL))
				evtimer_add(q->unplaced_timer, &a_second);
			return;
		}
		copy_later(a, a->to);
	}
	attempt_relay(q, a);
}

void
attempts_place(struct queue *q)
{
	struct attempt_list now = TAILQ_HEAD_INITIALIZER(now);
	struct attempt *a;

	/* Those that wait still come back into the queue's list. */
	TAILQ_CONCAT(&now, &q->unplaced, waiting_next);
	while ((a = TAILQ_FIRST(&now)) != NULL) {
		TAILQ_REMOVE(&now, a, waiting_next);
		attempt_copy(q, a);
	}
}

/* The worker is through with this part; whom it did not refuse has the message, durably. */
void
attempt_placed(struct queue *q, struct conversation *c)
{
	struct attempt *a = attempt_of(c);

	conversation_leave(c);
	for (uint32_t n = a->from; n < a->to; n++)
		result_set_mailbox(a, a->mailbox[n], V_DELIVERED);
	log_results(a, a->from, a->to);
	a->from = a->to;
	attempt_copy(q, a);
}

void
attempt_refused(struct queue *q, struct conversation *c, uint32_t number, struct verdict v)
{
	struct attempt *a = attempt_of(c);

	(void)q;
	for (uint32_t n = a->from; n < a->to; n++)
		if (a->file.envelope.recipient[a->mailbox[n]].number == number)
			result_set_mailbox(a, a->mailbox[n], queue_refusal(v));
}

/* Its worker has died: another takes over. What it had placed may be there: at worst it comes twice. */
void
attempt_lost(struct queue *q, struct conversation *c)
{
	struct attempt *a = attempt_of(c);

	if (a->step == RELAYING) {
		note_over(a, false);
		return;
	}
	if (a->step != COPYING) {
		attempt_record(q, a);
		return;
	}
	if (++a->losses >= MOST_LOSSES)
		copy_later(a, a->to);
	attempt_copy(q, a);
}

uint32_t
attempt_hour(const struct conversation *c)
{
	const struct attempt *a = (const struct attempt *)(const void *)c;

	return a->step == COPYING ? HOUR_PLACING : HOUR_NONE;
}
