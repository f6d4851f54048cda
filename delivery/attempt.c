/* attempt - a queued message's turn begins and ends; see attempt_inside.h. */
#include "attempt_inside.h"
#include "pipe_name.h"
#include "relaying.h"

#include "common/beneath.h"
#include "common/log.h"
#include "spool_name.h"

#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ATTEMPTS_A_TURN 100              /* envelopes read before others have their turn */

/* --- what came of a recipient --- */
void
result_set(struct attempt *a, uint32_t i, struct verdict v)
{
	struct result *r = &a->result[i];

	if (r->known)
		return;
	r->known = true;
	r->verdict = v;
	/* A worker's words are gone after its message: status and reason are kept, one after the
	 * other. */
	r->own = must_alloc(v.status.len + v.reason.len + 1);
	memcpy(r->own, v.status.at, v.status.len);
	memcpy(r->own + v.status.len, v.reason.at, v.reason.len);
	r->verdict.status = span_of(r->own, v.status.len);
	r->verdict.reason = span_of(r->own + v.status.len, v.reason.len);
}

void
result_change(struct attempt *a, uint32_t i, struct verdict v)
{
	char *old = a->result[i].own;

	a->result[i] = (struct result){ .known = false };
	result_set(a, i, v);
	free(old);
}

void
result_set_mailbox(struct attempt *a, uint32_t first, struct verdict v)
{
	for (uint32_t i = first; i < a->file.envelope.count; i++)
		if (a->destination[i].home != NULL && a->destination[i].first == first)
			result_set(a, i, v);
}

/* --- the end of an attempt --- */

void
attempt_free(struct queue *q, struct attempt *a)
{
	conversation_leave(&a->c);
	idmap_remove(&q->conversations, a->c.id);
	if (a->is_stranded)
		TAILQ_REMOVE(&q->stranded, a, waiting_next);
	for (uint32_t i = 0; i < a->file.envelope.count; i++) {
		resolved_clear(&a->place[i]);
		free(a->result[i].own);
	}
	free(a->place);
	free(a->srs);
	free(a->header);
	free(a->destination);
	free(a->result);
	free(a->mailbox);
	free(a->record);
	if (a->message >= 0)
		close(a->message);
	queued_file_clear(&a->file);
	free(a);
	q->attempts--;
}

/* Where it goes there was no room to wait. It is called back when there is; if not, it looks by itself, ever more
 * rarely: a next hop may be slow, and thousands look in vain. */
static uint32_t
busy_delay(struct queued *m)
{
	uint32_t delay = (uint32_t)BUSY_SECONDS << m->turned_away;

	if (delay < LONGEST_BUSY_SECONDS)
		m->turned_away++;
	return m->called ? 0 : delay + schedule_jitter(delay);
}

/* How long until the next try. */
static uint32_t
delay_of(struct attempt *a)
{
	uint32_t delay = AFTER_LOSS_SECONDS;

	if (a->away && !a->unreported && a->busy)
		return busy_delay(a->m);
	a->m->turned_away = 0;
	a->m->listed = false;
	if (!a->away || a->unreported) {
		a->m->losses = 0;
		if (a->m->tries < UINT8_MAX)
			a->m->tries++;
		return schedule_delay(a->m->tries);
	}
	for (unsigned int i = 0; i < a->m->losses && delay < LONGEST_AFTER_LOSS_SECONDS; i++)
		delay *= 2;
	if (a->m->losses < MOST_QUEUED_LOSSES)
		a->m->losses++;
	return delay;
}

void
attempt_end(struct queue *q, struct attempt *a)
{
	struct queued *m = a->m;
	const struct envelope *e = &a->file.envelope;
	bool again = a->rests, failed = false, elsewhere = false;

	for (uint32_t i = 0; i < e->count; i++) {
		uint8_t outcome = a->result[i].known ? a->result[i].verdict.outcome :
			e->recipient[i].told.outcome;

		failed |= outcome == NEVER;
		again |= a->destination[i].home != NULL && !is_final(outcome);
		again |= (a->place[i].leads == LEADS_ELSEWHERE || a->place[i].leads == LEADS_PIPE) && !is_final(outcome);
		again |= a->result[i].known && !is_final(outcome);
		elsewhere |=
			a->destination[i].home == NULL && !a->result[i].known && !is_final(outcome);
	}
	m->active = false;
	m->held = failed && !again && !elsewhere;
	if (again) {
		uint32_t delay = delay_within(m, e, delay_of(a));

		/* What failed while the network changed may have failed because it had not changed yet; so with whatever was
		 * mended before the order. */
		if (a->ordered)
			m->turned_away = m->losses = 0;
		schedule_at(&q->schedule, m,
			queue_now() + (a->ordered || a->network_changes != q->network_changes ? 1 : delay));
	}
	attempt_free(q, a);
	attempts_run(q);
}

void
attempt_ordered(struct conversation *c)
{
	attempt_of(c)->ordered = true;
}

/* --- its beginning --- */

static void
refuse_at_once(struct attempt *a, uint32_t i, struct verdict v)
{
	const struct envelope *e = &a->file.envelope;

	result_set(a, i, v);
	queue_log_recipient(e->session, e->id, e->recipient[i].address, e->recipient[i].given,
		SPAN("none"), 0, v);
}

/* He has had his turn since the last attempt for all, and the next is due later: not with those that had none (RFC 5321
 * 4.5.4.1). As schedule_delay() has it, each wait is as long as all before it. */
static bool
is_at_rest(const struct attempt *a, const struct envelope_recipient *r)
{
	uint64_t now = (uint64_t)time(NULL), arrived = a->file.envelope.arrived, wait;

	/* By a clock that has jumped nobody rests. */
	if (!a->untried_only || r->told.outcome != LATER || r->told_at > now || r->told_at < arrived ||
		r->told_at < a->m->tried_at)
		return false;
	wait = r->told_at - arrived;
	wait = wait < FIRST_RETRY_SECONDS ? FIRST_RETRY_SECONDS : wait;
	return now < r->told_at + (wait < LONGEST_RETRY_SECONDS ? wait : LONGEST_RETRY_SECONDS);
}

/* Where each recipient that is not done leads now; users may have come and gone since. False: somebody
 * was asked, and it is not known yet. */
static bool
attempt_resolve(struct queue *q, struct attempt *a)
{
	const struct envelope *e = &a->file.envelope;
	struct resolution to;
	bool waits = false;

	resolution_init(&to);
	for (uint32_t i = 0; i < e->count && !waits; i++) {
		if (is_final(e->recipient[i].told.outcome) || a->place[i].leads != LEADS_NOWHERE ||
		    a->result[i].known)
			continue;
		if (a->m->bounce) {
			refuse_at_once(a, i, V_RETURNED);
			continue;
		}
		if (is_at_rest(a, &e->recipient[i])) {
			a->rests = true;
			continue;
		}
		if (pipe_name_is(e->recipient[i].home)) {
			/* Whether the alias still says so, master looks. */
			a->place[i].leads = LEADS_PIPE;
			a->place[i].home = must_copy(e->recipient[i].home);
			continue;
		}
		resolve_again(&q->resolver, q->daemon.settings, e->recipient[i].address, &to);
		waits = to.waits;
		if (waits)
			break;
		if (to.count == 0) {
			refuse_at_once(a, i, to.verdict);
		} else {
			a->place[i] = to.at[0];
			to.count = 0;
		}
		if (a->place[i].leads == LEADS_DISCARD)
			result_set(a, i, V_DELIVERED);
		if (a->place[i].leads == LEADS_HERE)
			a->destination[i] = (struct destination){.home = a->place[i].home,
				.folder = a->place[i].folder,
				.uid = a->place[i].uid,
				.gid = a->place[i].gid,
				.quota = a->place[i].quota,
				.system = a->place[i].system,
				.first = i};
	}
	resolution_clear(&to);
	if (!waits)
		a->mailbox = mailboxes_of(a->destination, e->count, &a->mailboxes);
	return !waits;
}

/* After a start with a big queue: when this message would be due had there been none. Each wait is as
 * long as all before it, as schedule_delay() has it. */
static bool
is_due_later(struct queue *q, struct queued *m, const struct envelope *e, uint64_t now)
{
	uint64_t last = 0, wait;

	if (m->looked_at || q->schedule.messages.count <= MOST_TRIED_AT_START)
		return false;
	m->looked_at = true;
	for (uint32_t i = 0; i < e->count; i++)
		if (e->recipient[i].told.outcome == 0)
			return false;   /* somebody has not had his turn at all */
		else if (!is_final(e->recipient[i].told.outcome) && e->recipient[i].told_at > last)
			last = e->recipient[i].told_at;
	if (last == 0 || last > now || last < e->arrived)
		return false;   /* not tried yet, or the clock has jumped */
	wait = last - e->arrived;
	wait = wait < FIRST_RETRY_SECONDS ? FIRST_RETRY_SECONDS
		: wait > LONGEST_RETRY_SECONDS ? LONGEST_RETRY_SECONDS
					       : wait;
	if (last + wait <= now)
		return false;
	while (m->tries < UINT8_MAX && (uint64_t)FIRST_RETRY_SECONDS << m->tries < wait)
		m->tries++;
	schedule_at(&q->schedule, m, queue_now() + delay_within(m, e, (uint32_t)(last + wait - now)));
	return true;
}

/* Held, or not to be sent yet (RFC 4865): parked, or looked at again; the clock may have jumped. */
static bool
waits(struct queue *q, struct queued *m, const struct envelope *e)
{
	uint64_t now = (uint64_t)time(NULL), left;

	if (m->bounce)
		return false;
	m->held = e->held;
	if (e->held)
		return true;
	if (e->wishes.hold_until <= now)
		return is_due_later(q, m, e, now);
	left = e->wishes.hold_until - now;
	schedule_at(&q->schedule, m,
		queue_now() + (uint32_t)(left < LONGEST_RETRY_SECONDS ? left
								      : LONGEST_RETRY_SECONDS));
	return true;
}

static void
attempt_go(struct queue *q, struct attempt *a)
{
	if (attempt_resolve(q, a))
		attempt_copy(q, a);
	else
		TAILQ_INSERT_TAIL(&q->unresolved, a, waiting_next);
}

void
attempts_resolve(struct queue *q)
{
	struct attempt_list now = TAILQ_HEAD_INITIALIZER(now);
	struct attempt *a;

	/* Those that wait still come back into the queue's list. */
	TAILQ_CONCAT(&now, &q->unresolved, waiting_next);
	while ((a = TAILQ_FIRST(&now)) != NULL) {
		TAILQ_REMOVE(&now, a, waiting_next);
		attempt_go(q, a);
	}
}

static void
gone(struct queue *q, struct queued *m)
{
	log_warning(0, "gone-from-queue", KEY_ID("message", m->id));
	schedule_forget(&q->schedule, m);
}

/* Its envelope was there a moment ago. A spool worker of the queue before us may be removing both. */
static void
missing(struct queue *q, struct queued *m)
{
	struct stat st;

	if (fstatat(q->queue, spool_name(m->id, SUFFIX_ENVELOPE).str, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		gone(q, m);
	else
		queued_set_aside(q, m, "the message is missing");
}

static void
attempt_begin(struct queue *q, struct queued *m)
{
	struct attempt *a;
	int error;
	struct queued_file file;

	if (!m->has_envelope && !recover_orphan(q, m))
		return;
	if (queued_read(q, m->id, &file) < 0) {
		if (errno == EBADMSG) {
			queued_set_aside(q, m, "the envelope is damaged");
		} else if (errno == ENOENT) {
			gone(q, m);
		} else {
			log_error(0, "spool-failed", KEY_ID("message", m->id),
				KEY_STR("at", "envelope"), KEY_ERRNO);
			schedule_at(&q->schedule, m, queue_now() + FIRST_RETRY_SECONDS);
		}
		return;
	}
	m->sender = queue_sender(file.envelope.login, file.envelope.sender);
	m->priority = file.envelope.wishes.priority;
	if (waits(q, m, &file.envelope)) {
		queued_file_clear(&file);
		return;
	}
	a = must_alloc(sizeof(*a));
	a->c.kind = ATTEMPT;
	a->c.id = m->id;
	a->queue = q;
	a->m = m;
	a->network_changes = q->network_changes;
	a->untried_only = m->turned_away > 0 || m->losses > 0;
	if (!a->untried_only)
		m->tried_at = (uint32_t)time(NULL);
	m->busy = m->called = false;
	a->file = file;
	a->place = must_alloc(file.envelope.count * sizeof(*a->place));
	a->destination = must_alloc(file.envelope.count * sizeof(*a->destination));
	a->result = must_alloc(file.envelope.count * sizeof(*a->result));
	a->message = open_in(q->queue, spool_name(m->id, SUFFIX_MESSAGE).str, O_RDONLY, 0);
	error = errno;
	idmap_put(&q->conversations, m->id, a);
	q->attempts++;
	if (a->message < 0) {
		attempt_free(q, a);
		if (error == ENOENT) {
			missing(q, m);
			return;
		}
		errno = error;
		log_error(0, "spool-failed", KEY_ID("message", m->id), KEY_STR("at", "message"), KEY_ERRNO);
		schedule_at(&q->schedule, m, queue_now() + FIRST_RETRY_SECONDS);
		return;
	}
	m->active = m->has_message = m->has_envelope = true;
	m->warned |= was_warned(q, &a->file.envelope);
	if (attempt_expires(q, a))
		attempt_conclude(q, a);
	else
		attempt_go(q, a);
}

void
attempts_run(struct queue *q)
{
	struct queued *m;
	struct timeval wait = { 0 };
	static bool running;
	uint32_t now = queue_now(), seconds;

	/* An attempt that ends at once comes here again. */
	if (running)
		return;
	running = true;
	for (int n = 0; n < ATTEMPTS_A_TURN && q->attempts < MOST_ATTEMPTS &&
		q->relaying < MOST_RELAYING; n++) {
		if ((m = schedule_take(&q->schedule, now)) == NULL)
			break;
		attempt_begin(q, m);
	}
	running = false;
	seconds = schedule_wait(&q->schedule, now);
	if (seconds == UINT32_MAX || q->attempts >= MOST_ATTEMPTS || q->relaying >= MOST_RELAYING)
		return;   /* the end of an attempt comes here */
	wait.tv_sec = seconds;
	evtimer_add(q->due_timer, &wait);
}

void
queue_accept(struct queue *q, uint64_t id, uint32_t sender, uint8_t priority)
{
	struct queued *m = schedule_find(&q->schedule, id);

	if (m == NULL)
		m = schedule_add(&q->schedule, id);
	schedule_park(&q->schedule, m);
	m->has_message = m->has_envelope = m->looked_at = true;
	m->sender = sender;
	m->priority = priority;
	schedule_at(&q->schedule, m, queue_now());
	attempts_run(q);
}
