/*
 * attempt - a queued message's turn: its envelope is read, what can be delivered here is, and what
 * came of it is recorded; see queue.h.
 *
 *   COPYING    a local worker copies the message into mailboxes, some of them at a time
 *   RELAYING   what goes to other servers is with relay (relaying.h)
 *   REPORTING  senders are told (report.h): their reports are on their way into the spool, durably,
 *              before it is recorded that a recipient has failed
 *   RECORDING  a spool worker appends what became of recipients to the envelope
 *   REMOVING   every recipient is done: a spool worker removes message and envelope
 *
 * What was delivered is never delivered again because it could not be recorded: such an attempt
 * stays, stranded, until a spool worker records it.
 */
#include "queue.h"
#include "notice.h"
#include "relayhost.h"
#include "relaying.h"
#include "report.h"
#include "srs.h"

#include "common/beneath.h"
#include "common/log.h"
#include "mailboxes.h"
#include "spool_name.h"

#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ATTEMPTS_A_TURN 100              /* envelopes read before others have their turn */
#define NO_WORKER_SECONDS 5              /* until the next try when no local worker is there */
#define CLOCK_WAS_SET 1600000000         /* seconds since 1970: no clock that was set says less */
#define STRANDED_SECONDS 10              /* until the next try to record */

enum attempt_step { COPYING, RELAYING, REPORTING, RECORDING, REMOVING };

/* What came of one recipient in this attempt. */
struct result {
	bool known;
	bool relayed;                        /* to a server that knows no DSN */
	bool recorded;                       /* already, while others were under way */
	struct verdict verdict;              /* status and reason in static memory, or in `own` */
	char *own;
	uint32_t report;                     /* in which report of this attempt; 0: none */
	bool untold;                         /* that one did not get into the spool */
};

struct attempt {
	struct conversation c;
	TAILQ_ENTRY(attempt) stranded, unresolved_next;
	bool is_stranded;
	struct queue *queue;
	struct queued *m;
	enum attempt_step step;
	struct queued_file file;
	int message;                         /* the message, to be read */
	struct resolved *place;              /* beside file.envelope.recipient: where each leads now */
	struct destination *destination;     /* beside it; borrows */
	struct result *result;
	uint32_t *mailbox, mailboxes;
	uint32_t from, to;                   /* of `mailbox`: being copied */
	uint32_t *record, records;           /* recipients to be recorded */
	uint32_t told;                       /* how many of them were answered */
	bool failed;                         /* one of them with a failure */
	TAILQ_ENTRY(attempt) relaying_next;
	char *srs;                           /* the rewritten sender, or NULL */
	uint32_t reports;                    /* that are not in the spool yet */
	bool unreported;                     /* one of them did not get there */
	bool late;                           /* a warning is due */
	bool noting;                         /* RELAYING: what is known so far is being recorded */
	bool all_relayed;                    /* and nothing more will come */
	bool unresolved;                     /* it waits for what others are asked */
	bool away;                           /* a local worker was not there: not worth a record */
	uint32_t posted;                     /* reports of this attempt, so far */
};

static struct attempt *
attempt_of(struct conversation *c)
{
	return (struct attempt *)(void *)c;
}

/* --- reading --- */

int
queued_read(struct queue *q, uint64_t id, struct queued_file *f)
{
	int fd = open_in(q->queue, spool_name(id, SUFFIX_ENVELOPE).str, O_RDONLY, 0), error = 0;
	struct stat st;
	ssize_t len;
	size_t whole;

	memset(f, 0, sizeof(*f));
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		error = errno;
	else if (st.st_size > MOST_ENVELOPE_FILE)
		error = EBADMSG;
	if (error == 0) {
		f->at = must_alloc((size_t)st.st_size + 1);
		len = read_at(fd, f->at, (size_t)st.st_size, 0);
		if (len < 0)
			error = errno;
		else if (!envelope_decode(span_of(f->at, (size_t)len), &f->envelope, &whole) ||
		    f->envelope.id != id)
			error = EBADMSG;
		f->len = len < 0 ? 0 : (size_t)len;
	}
	close(fd);
	if (error == 0)
		return 0;
	queued_file_clear(f);
	errno = error;
	return -1;
}

void
queued_file_clear(struct queued_file *f)
{
	envelope_clear(&f->envelope);
	free(f->at);
	f->at = NULL;
}

void
queued_set_aside(struct queue *q, struct queued *m, const char *reason)
{
	static const char *const suffixes[] = { SUFFIX_ENVELOPE, SUFFIX_MESSAGE };
	int corrupt = open_in(q->spool, SPOOL_CORRUPT, O_PATH | O_DIRECTORY, 0);

	log_error(0, "unreadable-in-queue", KEY_ID("message", m->id), KEY_STR("reason", reason),
		KEY_STR("moved-to", SPOOL_CORRUPT));
	for (size_t i = 0; corrupt >= 0 && i < 2; i++) {
		struct spool_name name = spool_name(m->id, suffixes[i]);

		if (renameat(q->queue, name.str, corrupt, name.str) < 0 && errno != ENOENT)
			log_error(0, "spool-failed", KEY_ID("message", m->id),
				KEY_STR("at", SPOOL_CORRUPT), KEY_ERRNO);
	}
	if (corrupt >= 0)
		close(corrupt);
	schedule_forget(&q->schedule, m);
}

/* --- what came of a recipient --- */

static void
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

/* Everybody whose mailbox `first` stands for. */
static void
result_set_mailbox(struct attempt *a, uint32_t first, struct verdict v)
{
	for (uint32_t i = first; i < a->file.envelope.count; i++)
		if (a->destination[i].home != NULL && a->destination[i].first == first)
			result_set(a, i, v);
}

static bool
is_final(uint8_t outcome)
{
	return outcome == DONE || outcome == NEVER;
}

/* --- the life of an attempt --- */

static void
attempt_free(struct queue *q, struct attempt *a)
{
	conversation_leave(&a->c);
	idmap_remove(&q->conversations, a->c.id);
	if (a->is_stranded)
		TAILQ_REMOVE(&q->stranded, a, stranded);
	for (uint32_t i = 0; i < a->file.envelope.count; i++) {
		resolved_clear(&a->place[i]);
		free(a->result[i].own);
	}
	free(a->place);
	free(a->srs);
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

static void
strand(struct queue *q, struct attempt *a)
{
	static const struct timeval wait = { .tv_sec = STRANDED_SECONDS };

	conversation_leave(&a->c);
	if (!a->is_stranded)
		TAILQ_INSERT_TAIL(&q->stranded, a, stranded);
	a->is_stranded = true;
	if (!evtimer_pending(q->retry_timer, NULL))
		evtimer_add(q->retry_timer, &wait);
}

/* Everything is recorded: until the next time, or for good. */
static void
attempt_end(struct queue *q, struct attempt *a)
{
	struct queued *m = a->m;
	const struct envelope *e = &a->file.envelope;
	bool again = false, failed = false, elsewhere = false;

	for (uint32_t i = 0; i < e->count; i++) {
		uint8_t outcome = a->result[i].known ? a->result[i].verdict.outcome :
			e->recipient[i].told.outcome;

		failed |= outcome == NEVER;
		again |= a->destination[i].home != NULL && !is_final(outcome);
		again |= a->place[i].leads == LEADS_ELSEWHERE && !is_final(outcome);
		again |= a->result[i].known && !is_final(outcome);
		elsewhere |=
			a->destination[i].home == NULL && !a->result[i].known && !is_final(outcome);
	}
	m->active = false;
	m->held = failed && !again && !elsewhere;
	if (again) {
		if (m->tries < UINT8_MAX)
			m->tries++;
		schedule_at(&q->schedule, m,
			queue_now() + (a->away && !a->unreported ? NO_WORKER_SECONDS :
				schedule_delay(m->tries)));
	}
	attempt_free(q, a);
	attempts_run(q);
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

/* Says to a spool worker what this step has to say. */
static void
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
		TAILQ_REMOVE(&q->stranded, a, stranded);
	a->is_stranded = false;
	a->told = 0;
	a->failed = false;
	conversation_join(&a->c, w);
	conversation_say(q, &a->c, a->step == REMOVING ? feed_remove : feed_records);
}

/* Whether this says anything that the envelope does not say already. A worker that fails in the
 * same way at every try does not make the envelope grow. */
static bool
is_news(const struct attempt *a, uint32_t i)
{
	const struct verdict *now = &a->result[i].verdict,
			     *before = &a->file.envelope.recipient[i].told;

	if (!a->result[i].known || a->result[i].recorded)
		return false;
	if (is_final(now->outcome))
		return true;
	return !a->away && a->file.len < MOST_ENVELOPE_FILE / 2 &&
	       (now->outcome != before->outcome || now->code != before->code ||
		       !span_equal(now->status, before->status) ||
		       !span_equal(now->reason, before->reason));
}

/* --- telling senders --- */

/* How long this message is tried, in seconds since 1970. */
static uint64_t
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

		if (is_final(old.outcome))
			continue;
		text_add_str(&reason, old.reason.len > 0 ? "" : "delivery time expired");
		text_add(&reason, span_part(old.reason, 0, MOST_REASON));
		free(r->own);
		*r = (struct result){ .known = false };
		result_set(a, i, (struct verdict){ NEVER, 554, SPAN("5.4.7"), text_span(&reason) });
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

static void attempt_store(struct queue *q, struct attempt *a);

static void
reports_over(struct queue *q, struct attempt *a)
{
	const struct envelope *e = &a->file.envelope;

	/* Nobody fails of whom the sender could not be told: tried again, to tell him. */
	for (uint32_t i = 0; a->unreported && i < e->count; i++)
		if (a->result[i].untold && a->result[i].known &&
			a->result[i].verdict.outcome == NEVER) {
			free(a->result[i].own);
			a->result[i] = (struct result){ .known = false };
			result_set(a, i, V_LATER);
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
	struct report r = { .hostname = q->daemon.settings->hostname, .envelope = e, .to = sender, .at = all,
		.now = (uint64_t)time(NULL), .until = tried_until(q, e),
		.message = open_in(q->queue, spool_name(e->id, SUFFIX_MESSAGE).str, O_RDONLY, 0) };
	struct text content = TEXT_UP_TO(2 * MOST_REPORT);
	enum report_action action, kind = REPORT_FAILED;
	bool eight_bit, utf8;

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
	free(all);
}

static void
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

static void
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

/* --- copying into mailboxes --- */

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
		struct destination *d = &a->destination[i];

		send_target(c->worker->channel, c->id,
			&(struct msg_target){.number = e->recipient[i].number,
				.address = e->recipient[i].address,
				.home = span_str(d->home),
				.folder = span_str(d->folder),
				.uid = d->uid,
				.gid = d->gid,
				.quota_bytes = d->quota.bytes,
				.quota_messages = d->quota.messages},
			NULL);
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

/* --- to other servers --- */

void
relayed_one(void *me, uint32_t i, struct verdict v, struct span relay, bool relayed, bool away)
{
	struct attempt *a = me;
	const struct envelope *e = &a->file.envelope;
	uint64_t now = (uint64_t)time(NULL);

	a->away |= away;
	result_set(a, i, v);
	a->result[i].relayed = relayed;
	if (!away)
		queue_log_recipient(e->session, e->id, e->recipient[i].address, e->recipient[i].given,
			relay.len > 0 ? relay : SPAN("none"), now > e->arrived ? (now - e->arrived) * 1000 : 0, v);
}

void
relayed_all(void *me)
{
	struct attempt *a = me;
	struct queue *q = a->queue;

	a->all_relayed = true;
	if (a->noting)
		return;
	TAILQ_REMOVE(&q->relayings, a, relaying_next);
	q->relaying--;
	q->attempts++;
	attempt_conclude(q, a);
}

/* Records what is known, while the rest is still under way: a crash now would send it again. */
static void
attempt_note(struct queue *q, struct attempt *a)
{
	const struct envelope *e = &a->file.envelope;

	if (a->noting || a->all_relayed)
		return;
	free(a->record);
	a->record = must_alloc((e->count + 1) * sizeof(*a->record));
	a->records = 0;
	for (uint32_t i = 0; i < e->count; i++)
		if (a->result[i].known && a->result[i].verdict.outcome == DONE && is_news(a, i))
			a->record[a->records++] = i;
	a->noting = a->records > 0;
	if (a->noting)
		attempt_record(q, a);
}

static void
note_over(struct attempt *a, bool done)
{
	a->noting = false;
	for (uint32_t n = 0; done && n < a->records; n++)
		a->result[a->record[n]].recorded = true;
	if (a->all_relayed)
		relayed_all(a);
}

void
attempts_note(struct queue *q)
{
	struct attempt *a;

	TAILQ_FOREACH(a, &q->relayings, relaying_next)
		attempt_note(q, a);
}

bool
attempts_are_noting(const struct queue *q)
{
	const struct attempt *a;

	TAILQ_FOREACH(a, &q->relayings, relaying_next)
		if (a->noting)
			return true;
	return false;
}

/* The sender of forwarded mail: ours, behind which the true one stands (srs.h). */
static struct span
forwarded_sender(struct queue *q, struct attempt *a, const struct envelope_recipient *r, struct span sender)
{
	const struct settings *s = q->daemon.settings;
	struct text text = TEXT_UP_TO(MOST_ADDRESS);
	size_t at = span_rindex(sender, '@');

	if (a->srs != NULL || r->given.len == 0 || r->sender.len > 0 || !q->resolver.srs_known ||
		at >= sender.len || settings_is_local_domain(s, span_part(sender, at + 1, sender.len)))
		return a->srs != NULL && r->given.len > 0 && r->sender.len == 0 ? span_str(a->srs) : sender;
	if (srs_encode(sender, resolver_srs_domain(s), span_of(q->resolver.srs_key, SRS_KEY_SIZE),
		    (uint64_t)time(NULL) / 86400, &text))
		a->srs = must_copy(text_span(&text));
	text_clear(&text);
	return a->srs != NULL ? span_str(a->srs) : sender;
}

/* What is left goes to other servers, if anything does. Meanwhile this attempt is none of those that
 * keep local workers busy, and has no file open. */
static void
attempt_relay(struct queue *q, struct attempt *a)
{
	const struct envelope *e = &a->file.envelope;
	struct relayed *to = must_alloc((e->count + 1) * sizeof(*to));
	uint32_t count = 0;

	for (uint32_t i = 0; i < e->count; i++) {
		const struct envelope_recipient *r = &e->recipient[i];

		if (a->place[i].leads != LEADS_ELSEWHERE || a->result[i].known)
			continue;
		struct span sender = r->sender.len > 0 ? r->sender : e->sender;
		sender = forwarded_sender(q, a, r, sender);

		struct span hop = span_str(a->place[i].next_hop), host = SPAN_NONE;
		size_t at = span_rindex(r->address, '@');

		/* Mail to the domain itself: a relayhost takes it. What tables say goes as they say. */
		if (a->place[i].transport == TRANSPORT_RELAY && at < r->address.len &&
			span_equal_nocase(hop, span_part(r->address, at + 1, r->address.len)))
			host = relayhost_of(q->daemon.settings, sender);
		to[count++] = (struct relayed){ .index = i, .address = r->address, .orcpt = r->orcpt,
			.sender = sender, .notify = r->notify,
			.next_hop = host.len > 0 ? host : hop,
			.transport = (uint8_t)(host.len > 0 ? TRANSPORT_SMTP : a->place[i].transport) };
	}
	if (count == 0) {
		attempt_conclude(q, a);
	} else {
		a->step = RELAYING;
		close(a->message);
		a->message = -1;
		q->attempts--;
		q->relaying++;
		TAILQ_INSERT_TAIL(&q->relayings, a, relaying_next);
		relaying_begin(q, e, to, count, a);
		attempt_note(q, a);   /* what was delivered here */
	}
	free(to);
}

static void
attempt_copy(struct queue *q, struct attempt *a)
{
	struct worker *w;

	while (a->from < a->mailboxes) {
		a->to = same_way(a);
		w = worker_least_busy(q, a->destination[a->mailbox[a->from]].system
				? PROGRAM_LOCAL_HOME
				: PROGRAM_LOCAL);
		if (w != NULL) {
			conversation_join(&a->c, w);
			conversation_say(q, &a->c, feed_copy);
			return;
		}
		copy_later(a, a->to);
	}
	attempt_relay(q, a);
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

/* Its worker has died. What a local worker had placed may be there: at worst it comes twice. */
void
attempt_lost(struct queue *q, struct conversation *c)
{
	struct attempt *a = attempt_of(c);

	if (a->step == RELAYING) {
		note_over(a, false);
		return;
	}
	if (a->step != COPYING) {
		strand(q, a);
		return;
	}
	copy_later(a, a->to);
	attempt_copy(q, a);
}

uint32_t
attempt_hour(const struct conversation *c)
{
	const struct attempt *a = (const struct attempt *)(const void *)c;

	return a->step == COPYING ? HOUR_PLACING : HOUR_NONE;
}

void
attempts_resume(struct queue *q)
{
	struct attempt *a, *next;

	for (a = TAILQ_FIRST(&q->stranded); a != NULL; a = next) {
		next = TAILQ_NEXT(a, stranded);
		attempt_record(q, a);
	}
}

/* --- beginning --- */

static void
refuse_at_once(struct attempt *a, uint32_t i, struct verdict v)
{
	const struct envelope *e = &a->file.envelope;

	result_set(a, i, v);
	queue_log_recipient(e->session, e->id, e->recipient[i].address, e->recipient[i].given,
		SPAN("none"), 0, v);
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
		if (!is_final(e->recipient[i].told.outcome) && e->recipient[i].told_at > last)
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
	schedule_at(&q->schedule, m, queue_now() + (uint32_t)(last + wait - now));
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
	a->unresolved = !attempt_resolve(q, a);
	if (a->unresolved)
		TAILQ_INSERT_TAIL(&q->unresolved, a, unresolved_next);
	else
		attempt_copy(q, a);
}

void
attempts_resolve(struct queue *q)
{
	struct attempt_list now = TAILQ_HEAD_INITIALIZER(now);
	struct attempt *a;

	/* Those that wait still come back into the queue's list. */
	TAILQ_CONCAT(&now, &q->unresolved, unresolved_next);
	while ((a = TAILQ_FIRST(&now)) != NULL) {
		TAILQ_REMOVE(&now, a, unresolved_next);
		attempt_go(q, a);
	}
}

static void
attempt_begin(struct queue *q, struct queued *m)
{
	struct attempt *a;
	int error;
	struct queued_file file;

	schedule_park(&q->schedule, m);
	if (!m->has_envelope && !recover_orphan(q, m))
		return;
	if (queued_read(q, m->id, &file) < 0) {
		if (errno == EBADMSG) {
			queued_set_aside(q, m, "the envelope is damaged");
		} else if (errno == ENOENT) {
			log_warning(0, "gone-from-queue", KEY_ID("message", m->id));
			schedule_forget(&q->schedule, m);
		} else {
			log_error(0, "spool-failed", KEY_ID("message", m->id),
				KEY_STR("at", "envelope"), KEY_ERRNO);
			schedule_at(&q->schedule, m, queue_now() + FIRST_RETRY_SECONDS);
		}
		return;
	}
	if (waits(q, m, &file.envelope)) {
		queued_file_clear(&file);
		return;
	}
	a = must_alloc(sizeof(*a));
	a->c.kind = ATTEMPT;
	a->c.id = m->id;
	a->queue = q;
	a->m = m;
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
			queued_set_aside(q, m, "the message is missing");
			return;
		}
		errno = error;
		log_error(0, "spool-failed", KEY_ID("message", m->id), KEY_STR("at", "message"), KEY_ERRNO);
		schedule_at(&q->schedule, m, queue_now() + FIRST_RETRY_SECONDS);
		return;
	}
	m->active = true;
	attempt_go(q, a);
}

void
attempts_run(struct queue *q)
{
	struct queued *m;
	struct timeval wait = { 0 };
	static bool running;
	uint32_t now = queue_now();

	/* An attempt that ends at once comes here again. */
	if (running)
		return;
	running = true;
	for (int n = 0; n < ATTEMPTS_A_TURN && q->attempts < MOST_ATTEMPTS &&
		q->relaying < MOST_RELAYING; n++) {
		if ((m = schedule_first(&q->schedule)) == NULL || m->due > now)
			break;
		attempt_begin(q, m);
	}
	running = false;
	if ((m = schedule_first(&q->schedule)) == NULL || q->attempts >= MOST_ATTEMPTS ||
	    q->relaying >= MOST_RELAYING)
		return;   /* the end of an attempt comes here */
	if (m->due > now)
		wait.tv_sec = m->due - now;
	evtimer_add(q->due_timer, &wait);
}

void
queue_accept(struct queue *q, uint64_t id)
{
	struct queued *m = schedule_find(&q->schedule, id);

	if (m == NULL)
		m = schedule_add(&q->schedule, id);
	m->has_message = m->has_envelope = m->looked_at = true;
	schedule_at(&q->schedule, m, queue_now());
	attempts_run(q);
}
