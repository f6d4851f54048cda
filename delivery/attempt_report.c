/* attempt_report - what the senders of a queued message are told, before it is recorded that a recipient
 * has failed; see attempt_inside.h. */
#include "attempt_inside.h"

#include "notice.h"
#include "report.h"

#include "common/beneath.h"
#include "common/log.h"
#include "common/ourselves.h"
#include "spool_name.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CLOCK_WAS_SET 1600000000         /* seconds since 1970: no clock that was set says less */

/* RFC 2852: it is to be returned when it is not there by then. By a clock that was set, nobody knows when that is. */
static bool
is_expired(struct queue *q, const struct envelope *e, uint64_t now)
{
	return e->wishes.by_mode == 'R' && e->wishes.deliver_by > 0 && now >= e->wishes.deliver_by &&
	       !queue_clock_is_doubtful(q);
}

uint64_t
tried_until(const struct queue *q, const struct envelope *e)
{
	uint64_t until = e->arrived + q->daemon.settings->queue_days * 86400;

	/* It came before the clock was set: nobody knows how old it is. */
	if (e->arrived < CLOCK_WAS_SET)
		until = UINT64_MAX;
	if (e->wishes.by_mode == 'R' && e->wishes.deliver_by > 0 && e->wishes.deliver_by < until)
		until = e->wishes.deliver_by;
	return until;
}

/* When the sender is told that it is late; UINT64_MAX: never. */
static uint64_t
warned_at(const struct queue *q, const struct envelope *e)
{
	uint64_t hours = q->daemon.settings->delay_warning_hours;

	if (e->wishes.by_mode == 'N' && e->wishes.deliver_by > 0)
		return e->wishes.deliver_by;
	return hours == 0 || e->arrived < CLOCK_WAS_SET ? UINT64_MAX : e->arrived + hours * 3600;
}

bool
was_warned(const struct queue *q, const struct envelope *e)
{
	uint64_t at = warned_at(q, e);

	/* With the warning, everything is recorded: is_news(). */
	for (uint32_t i = 0; i < e->count; i++)
		if (!is_final(e->recipient[i].told.outcome) && e->recipient[i].told.outcome != 0 &&
			e->recipient[i].told_at >= at)
			return true;
	return false;
}

uint32_t
delay_within(const struct queued *m, const struct envelope *e, uint32_t delay)
{
	uint64_t now = (uint64_t)time(NULL), by = e->wishes.deliver_by;
	bool matters = e->wishes.by_mode == 'R' || (e->wishes.by_mode == 'N' && !m->warned);

	return matters && by > now && by - now < delay ? (uint32_t)(by - now) : delay;
}

/* Recipient i has failed: its time is over. What was said of it last is the reason. */
static void
expire(struct attempt *a, uint32_t i, uint64_t now)
{
	const struct envelope *e = &a->file.envelope;
	struct text reason = TEXT_UP_TO(MOST_REASON);
	struct verdict old = a->result[i].known ? a->result[i].verdict : e->recipient[i].told;

	text_add_str(&reason, old.reason.len > 0 ? "" : "delivery time expired");
	text_add(&reason, span_part(old.reason, 0, MOST_REASON));
	result_change(a, i, (struct verdict){ NEVER, 554, SPAN("5.4.7"), text_span(&reason) });
	queue_log_recipient(e->session, e->id, e->recipient[i].address, e->recipient[i].given, SPAN("none"),
		now > e->arrived ? (now - e->arrived) * 1000 : 0, a->result[i].verdict);
	text_clear(&reason);
}

bool
attempt_expires(struct queue *q, struct attempt *a)
{
	const struct envelope *e = &a->file.envelope;
	uint64_t now = (uint64_t)time(NULL);

	if (!is_expired(q, e, now))
		return false;
	for (uint32_t i = 0; i < e->count; i++)
		if (!is_final(e->recipient[i].told.outcome))
			expire(a, i, now);
	return true;
}

/* What is too old has failed; what is late is worth a warning. */
static void
judge_age(struct queue *q, struct attempt *a)
{
	const struct envelope *e = &a->file.envelope;
	uint64_t now = (uint64_t)time(NULL);
	bool expired = is_expired(q, e, now),
	     over = expired || (now >= tried_until(q, e) && !queue_clock_is_doubtful(q));

	a->late = !over && !a->away && !a->m->warned && now >= warned_at(q, e) && !queue_clock_is_doubtful(q);
	for (uint32_t i = 0; over && i < e->count; i++) {
		const struct result *r = &a->result[i];

		if (is_final(r->known ? r->verdict.outcome : e->recipient[i].told.outcome))
			continue;
		/* However old it is, it gets its chance when there is a worker. */
		if (expired || !r->untried)
			expire(a, i, now);
	}
}

/* What recipient i's sender is to be told now; false: nothing. */
static bool
action_of(const struct attempt *a, uint32_t i, enum report_action *action)
{
	const struct envelope_recipient *r = &a->file.envelope.recipient[i];
	const struct result *result = &a->result[i];
	struct span sender = r->sender.len > 0 ? r->sender : a->file.envelope.sender;
	const struct wishes *w = &a->file.envelope.wishes;
	/* RFC 2852 4.1.4, 4.1.4.2: of each hand over, whoever asked to trace it is told; and who wants to hear when it is
	 * late, of the one to a server that will not tell. */
	bool traced = (w->by_trace || (w->by_mode == 'N' && result->relayed)) && a->place[i].leads == LEADS_ELSEWHERE &&
		(r->notify & NOTIFY_NEVER) == 0;

	if (sender.len == 0 || is_final(r->told.outcome))
		return false;
	if (result->known && result->verdict.outcome == NEVER)
		*action = REPORT_FAILED;
	else if (result->known && result->verdict.outcome == DONE)
		*action = result->relayed || traced ? REPORT_RELAYED : REPORT_DELIVERED;
	else if (a->late)
		*action = REPORT_DELAYED;
	else
		return false;
	/* A server that knows DSN tells of what it does itself. */
	if (*action == REPORT_DELIVERED && a->place[i].leads == LEADS_ELSEWHERE)
		return false;
	return (*action == REPORT_RELAYED && traced) || report_is_wanted(r->notify, *action);
}

static void
reports_over(struct queue *q, struct attempt *a)
{
	const struct envelope *e = &a->file.envelope;

	/* Nobody fails of whom the sender could not be told: tried again, to tell him. */
	for (uint32_t i = 0; a->unreported && i < e->count; i++)
		if (a->result[i].untold && a->result[i].known &&
			a->result[i].verdict.outcome == NEVER) {
			result_change(a, i, V_LATER);
			a->result[i].untried = a->away = true;
		}
	if (a->late && !a->unreported)
		a->m->warned = true;
	attempt_store(q, a);
}

/* One report that is on its way into the spool. */
struct posted {
	struct attempt *a;
	uint32_t number;
};

static void
on_reported(struct queue *q, void *me, bool good)
{
	struct posted *p = me;
	struct attempt *a = p->a;

	for (uint32_t i = 0; !good && i < a->file.envelope.count; i++)
		a->result[i].untold |= a->result[i].report == p->number;
	free(p);
	a->unreported |= !good;
	if (--a->reports == 0)
		reports_over(q, a);
}

/* One report for the recipients of `sender`, from `first` on. */
static void
report_post(struct queue *q, struct attempt *a, struct span sender, uint32_t first, bool *told)
{
	const struct envelope *e = &a->file.envelope;
	struct reported *all = must_alloc(MOST_REPORTED * sizeof(*all));
	struct posted *p = must_alloc(sizeof(*p));
	struct text name = TEXT_UP_TO(MOST_HOST);
	struct report r = { .envelope = e, .to = sender, .at = all,
		.now = (uint64_t)time(NULL), .until = tried_until(q, e),
		.message = open_in(q->queue, spool_name(e->id, SUFFIX_MESSAGE).str, O_RDONLY, 0) };
	struct text content = TEXT_UP_TO(2 * MOST_REPORT);
	enum report_action action, kind = REPORT_FAILED;
	bool eight_bit, utf8;

	ourselves_name(q->daemon.settings->hostname, 0, &name);
	r.hostname = text_span(&name);
	*p = (struct posted){ a, ++a->posted };
	for (uint32_t i = first; i < e->count && r.count < MOST_REPORTED; i++) {
		struct span own = e->recipient[i].sender.len > 0 ? e->recipient[i].sender : e->sender;

		if (told[i] || !span_equal(own, sender) || !action_of(a, i, &action) ||
			(r.count > 0 && (action == REPORT_FAILED) != (kind == REPORT_FAILED)))
			continue;
		kind = action;
		told[i] = true;
		a->result[i].report = p->number;
		all[r.count++] = (struct reported){ .recipient = &e->recipient[i], .action = action,
			.verdict = a->result[i].known ? a->result[i].verdict : e->recipient[i].told };
	}
	if (!report_write(&r, &content, &eight_bit, &utf8))
		content.failed = true;
	a->reports++;
	notice_post(q, sender, &content, eight_bit, utf8, &e->wishes, on_reported, p);
	if (r.message >= 0)
		close(r.message);
	text_clear(&name);
	free(all);
}

void
attempt_conclude(struct queue *q, struct attempt *a)
{
	const struct envelope *e = &a->file.envelope;
	bool *told = must_alloc((e->count + 1) * sizeof(*told));
	enum report_action action;

	judge_age(q, a);
	a->step = REPORTING;
	a->reports = 1;
	a->unreported = false;
	for (uint32_t i = 0; i < e->count; i++)
		if (!told[i] && action_of(a, i, &action))
			report_post(q, a, e->recipient[i].sender.len > 0 ? e->recipient[i].sender
								      : e->sender, i, told);
	free(told);
	if (--a->reports == 0)
		reports_over(q, a);
}
