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

uint64_t
tried_until(const struct queue *q, const struct envelope *e)
{
	uint64_t until = e->arrived + q->daemon.settings->queue_days * 86400;

	/* It came before the clock was set: nobody knows how old it is. */
	if (e->arrived < CLOCK_WAS_SET)
		return UINT64_MAX;

	/* RFC 2852: return it, when it is not there by then. */
	if (e->wishes.by_mode == 'R' && e->wishes.deliver_by > 0 && e->wishes.deliver_by < until)
		until = e->wishes.deliver_by;
	return until;
}

/* What is too old has failed; what is late is worth a warning. */
static void
judge_age(struct queue *q, struct attempt *a)
{
	const struct envelope *e = &a->file.envelope;
	uint64_t now = (uint64_t)time(NULL), warn = e->arrived + q->daemon.settings->delay_warning_hours * 3600;
	bool over = now >= tried_until(q, e);

	if (e->wishes.by_mode == 'N' && e->wishes.deliver_by > 0)
		warn = e->wishes.deliver_by;
	a->late = !over && !a->away && !a->m->warned && now >= warn && e->arrived >= CLOCK_WAS_SET &&
		(q->daemon.settings->delay_warning_hours > 0 || e->wishes.by_mode == 'N');
	for (uint32_t i = 0; over && i < e->count; i++) {
		struct result *r = &a->result[i];
		struct text reason = TEXT_UP_TO(MOST_REASON);
		struct verdict old = r->known ? r->verdict : e->recipient[i].told;

		/* It gets its chance when there is a worker, however old it is. */
		if (is_final(old.outcome) || r->untried)
			continue;
		text_add_str(&reason, old.reason.len > 0 ? "" : "delivery time expired");
		text_add(&reason, span_part(old.reason, 0, MOST_REASON));
		result_change(a, i, (struct verdict){ NEVER, 554, SPAN("5.4.7"), text_span(&reason) });
		queue_log_recipient(e->session, e->id, e->recipient[i].address, e->recipient[i].given,
			SPAN("none"), (now - e->arrived) * 1000, r->verdict);
		text_clear(&reason);
	}
}

/* What recipient i's sender is to be told now; false: nothing. */
static bool
action_of(const struct attempt *a, uint32_t i, enum report_action *action)
{
	const struct envelope_recipient *r = &a->file.envelope.recipient[i];
	const struct result *result = &a->result[i];
	struct span sender = r->sender.len > 0 ? r->sender : a->file.envelope.sender;

	if (sender.len == 0 || is_final(r->told.outcome))
		return false;
	if (result->known && result->verdict.outcome == NEVER)
		*action = REPORT_FAILED;
	else if (result->known && result->verdict.outcome == DONE)
		*action = result->relayed ? REPORT_RELAYED : REPORT_DELIVERED;
	else if (a->late)
		*action = REPORT_DELAYED;
	else
		return false;
	/* A server that knows DSN tells of what it does itself. */
	if (*action == REPORT_DELIVERED && a->place[i].leads == LEADS_ELSEWHERE)
		return false;
	return report_is_wanted(r->notify, *action);
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
			a->away = true;
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
	notice_post(q, sender, &content, eight_bit, utf8, on_reported, p);
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
