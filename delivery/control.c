/* control - what an administrator orders for one message: hold, release, delete, bounce, retry,
 * requeue. */
#include "queue.h"
#include "relaying.h"
#include "requeue.h"

#include "common/id.h"
#include "common/log.h"

#include <stdlib.h>
#include <string.h>

struct control {
	struct conversation c;
	struct listing *for_whom;           /* NULL: it has gone */
	struct queued *m;
	uint8_t action;
	char *note;
	struct requeue *again;              /* requeue */
};

static struct control *
control_of(struct conversation *c)
{
	return (struct control *)(void *)c;
}

static bool
feed(struct queue *q, struct conversation *c)
{
	struct control *k = control_of(c);

	(void)q;
	if (k->action == QUEUE_REQUEUE)
		return requeue_feed(c, k->again);
	if (k->action == QUEUE_DELETE)
		send_spool_remove(c->worker->channel, c->id, &(struct msg_spool_remove){ }, NULL);
	else
		send_spool_hold(c->worker->channel, c->id,
			&(struct msg_spool_hold){.held = k->action == QUEUE_HOLD,
				.reason = span_str(k->note)},
			NULL);
	return true;
}

/* Takes `again`, if there is a worker to ask. */
static bool
ask_spool(struct queue *q, struct listing *l, struct queued *m, const struct msg_queue_select *order,
	struct requeue *again)
{
	struct worker *w = worker_for(q, PROGRAM_SPOOL, m->id);
	struct control *k;

	if (w == NULL)
		return false;
	k = must_alloc(sizeof(*k));
	k->c.kind = CONTROL;
	k->c.id = m->id;
	k->for_whom = l;
	k->m = m;
	k->action = order->action;
	k->note = must_copy(order->note);
	k->again = again;
	idmap_put(&q->conversations, m->id, k);
	/* No attempt begins while this is open. */
	schedule_park(&q->schedule, m);
	m->active = true;
	conversation_join(&k->c, w);
	conversation_say(q, &k->c, feed);
	return true;
}

static bool
requeue(struct queue *q, struct listing *l, struct queued *m, const struct msg_queue_select *order)
{
	const char *why;
	struct requeue *again = requeue_make(q, m->id, &why);

	if (again == NULL) {
		listing_told(l, m->id, NEVER, span_str(why));
		return true;
	}
	if (ask_spool(q, l, m, order, again))
		return true;
	requeue_free(&again);
	return false;
}

bool
control_begin(struct queue *q, struct listing *l, struct queued *m, const struct envelope *e,
	const struct msg_queue_select *order)
{
	struct conversation *open = idmap_get(&q->conversations, m->id);

	if (open != NULL && open->kind == ATTEMPT && order->action == QUEUE_RETRY) {
		relaying_revive(q);
		attempt_ordered(open);
		listing_told(l, m->id, DONE, SPAN_NONE);
		return true;
	}
	if (m->active || open != NULL)
		return false;
	if (order->action == QUEUE_RETRY || order->action == QUEUE_BOUNCE) {
		if (order->action == QUEUE_BOUNCE)
			m->bounce = true;
		else
			relaying_revive(q);   /* an administrator knows better */
		if (e->held && order->action == QUEUE_RETRY) {
			listing_told(l, m->id, NEVER, SPAN("it is held: release it first"));
			return true;
		}
		m->looked_at = true;
		m->turned_away = m->losses = 0;   /* everybody has his turn */
		schedule_at(&q->schedule, m, queue_now());
		listing_told(l, m->id, DONE, SPAN_NONE);
		return true;
	}
	if (order->action == QUEUE_REQUEUE)
		return requeue(q, l, m, order);
	if (order->action != QUEUE_DELETE && e->held == (order->action == QUEUE_HOLD)) {
		listing_told(l, m->id, DONE, SPAN_NONE);
		return true;
	}
	return ask_spool(q, l, m, order, NULL);
}

void
control_finished(struct queue *q, struct conversation *c, uint8_t outcome)
{
	static const char *const words[] = {
		[QUEUE_HOLD] = "held", [QUEUE_RELEASE] = "released", [QUEUE_DELETE] = "deleted",
		[QUEUE_REQUEUE] = "requeued" };
	struct control *k = control_of(c);
	struct queued *m = k->m;

	conversation_leave(c);
	idmap_remove(&q->conversations, c->id);
	m->active = false;
	if (outcome == DONE)
		log_notice(0, words[k->action], KEY_ID("message", c->id),
			KEY_STR("by", "valija queue"), KEY_STR("reason", k->note));
	if (k->for_whom != NULL)
		listing_told(k->for_whom, c->id, outcome,
			outcome == DONE ? SPAN_NONE : SPAN("the spool could not do it: see the log"));
	if (outcome == DONE && k->action == QUEUE_DELETE) {
		schedule_forget(&q->schedule, m);
	} else {
		if (k->action == QUEUE_REQUEUE && outcome == DONE) {
			m->tries = m->losses = m->turned_away = 0;
			m->bounce = m->warned = false;
		}
		if (k->action == QUEUE_RELEASE && outcome == DONE)
			m->losses = m->turned_away = 0;   /* everybody has his turn */
		m->held = k->action == QUEUE_HOLD && outcome == DONE;
		if (!m->held)
			schedule_at(&q->schedule, m, queue_now());
	}
	requeue_free(&k->again);
	free(k->note);
	free(k);
	attempts_run(q);
}

void
control_forget(struct queue *q, const struct listing *l)
{
	struct conversation *c;
	size_t place = 0;

	while ((c = idmap_next(&q->conversations, &place)) != NULL)
		if (c->kind == CONTROL && control_of(c)->for_whom == l)
			control_of(c)->for_whom = NULL;
}
