/* attempt_record - a spool worker records what became of recipients, or removes the message; see
 * attempt_inside.h. */
#include "attempt_inside.h"

#include "common/log.h"

#include <event2/event.h>
#include <stdlib.h>

#define STRANDED_SECONDS 10              /* until the next try to record */

static void
strand(struct queue *q, struct attempt *a)
{
	static const struct timeval wait = { .tv_sec = STRANDED_SECONDS };

	conversation_leave(&a->c);
	if (!a->is_stranded)
		TAILQ_INSERT_TAIL(&q->stranded, a, waiting_next);
	a->is_stranded = true;
	if (!evtimer_pending(q->retry_timer, NULL))
		evtimer_add(q->retry_timer, &wait);
}

static bool
feed_remove(struct queue *q, struct conversation *c)
{
	(void)q;
	send_spool_remove(c->worker->channel, c->id, &(struct msg_spool_remove){ }, NULL);
	return true;
}

static bool
feed_records(struct queue *q, struct conversation *c)
{
	struct attempt *a = attempt_of(c);
	uint32_t i = a->record[c->cursor++];

	(void)q;
	send_spool_finish(c->worker->channel, c->id,
		&(struct msg_spool_finish){.number = a->file.envelope.recipient[i].number,
			VERDICT_FIELDS(a->result[i].verdict)},
		NULL);
	return c->cursor == a->records;
}

void
attempt_record(struct queue *q, struct attempt *a)
{
	struct worker *w = worker_for(q, PROGRAM_SPOOL, a->c.id);

	if (w == NULL && a->step == RELAYING) {
		a->noting = false;
		return;
	}
	if (w == NULL) {
		strand(q, a);
		return;
	}
	if (a->is_stranded)
		TAILQ_REMOVE(&q->stranded, a, waiting_next);
	a->is_stranded = false;
	a->told = 0;
	a->failed = false;
	conversation_join(&a->c, w);
	conversation_say(q, &a->c, a->step == REMOVING ? feed_remove : feed_records);
}

/* A worker that fails in the same way at every try does not make the envelope grow. Where others were not tried, it
 * says when this one was (is_at_rest). */
bool
is_news(const struct attempt *a, uint32_t i)
{
	const struct verdict *now = &a->result[i].verdict,
			     *before = &a->file.envelope.recipient[i].told;

	if (!a->result[i].known || a->result[i].recorded)
		return false;
	if (is_final(now->outcome))
		return true;
	return !a->result[i].untried && a->file.len < MOST_ENVELOPE_FILE / 2 &&
	       (a->late || a->away || now->outcome != before->outcome || now->code != before->code ||
		       !span_equal(now->status, before->status) ||
		       !span_equal(now->reason, before->reason));
}

void
attempt_store(struct queue *q, struct attempt *a)
{
	const struct envelope *e = &a->file.envelope;
	uint32_t done = 0;

	free(a->record);
	a->record = must_alloc((e->count + 1) * sizeof(*a->record));
	a->records = 0;
	for (uint32_t i = 0; i < e->count; i++) {
		if (is_news(a, i))
			a->record[a->records++] = i;
		done += is_final(a->result[i].known ? a->result[i].verdict.outcome
						     : e->recipient[i].told.outcome);
	}
	/* That the envelope is gone says as much as a record for each. */
	a->step = done == e->count ? REMOVING : RECORDING;
	if (a->step == RECORDING && a->records == 0)
		attempt_end(q, a);
	else
		attempt_record(q, a);
}

void
attempt_finished(struct queue *q, struct conversation *c, uint8_t outcome)
{
	struct attempt *a = attempt_of(c);

	if (a->step != RECORDING && !a->noting)
		return;
	a->failed |= outcome != DONE;
	if (++a->told < a->records)
		return;
	if (a->noting) {
		conversation_leave(c);
		note_over(a, !a->failed);
		return;
	}
	if (a->failed) {
		strand(q, a);
		return;
	}
	conversation_leave(c);
	attempt_end(q, a);
}

void
attempt_removed(struct queue *q, struct conversation *c, uint8_t outcome)
{
	struct attempt *a = attempt_of(c);
	struct queued *m = a->m;

	if (a->step != REMOVING)
		return;
	if (outcome != DONE) {
		strand(q, a);
		return;
	}
	log_info(a->file.envelope.session, "removed", KEY_ID("message", m->id));
	attempt_free(q, a);
	schedule_forget(&q->schedule, m);
	attempts_run(q);
}

void
attempts_resume(struct queue *q)
{
	struct attempt *a, *next;

	for (a = TAILQ_FIRST(&q->stranded); a != NULL; a = next) {
		next = TAILQ_NEXT(a, waiting_next);
		attempt_record(q, a);
	}
}
