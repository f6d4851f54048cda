/* listing - what is in the queue, for the valija command, and which of it an order is for; see queue.h. */
#include "queue.h"

#include "common/beneath.h"
#include "common/id.h"
#include "common/log.h"
#include "common/text.h"
#include "spool_name.h"

#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_A_TURN 64
#define MOST_LISTED_RECIPIENTS 1000      /* of one message; queue_entry tells how many there are */
#define MOST_ORDERED 256                 /* orders that wait for the spool at a time */
#define LISTING_WAIT_MICROSECONDS 1000
#define SCAN_WAIT_MICROSECONDS 20000

struct listing {
	TAILQ_ENTRY(listing) next;
	struct queue *q;
	struct channel *to;
	uint64_t id;
	uint64_t *message;                   /* ids, as they were at the start; up to `listed`: those that were listed */
	size_t count, at;
	uint32_t listed;
	bool early;                          /* the spool was not read to its end then: there may be more */
	uint32_t ordered;                    /* orders that are not answered yet */
	struct msg_queue_select order;       /* its texts lie in `words` */
	char words[5][MOST_REASON + 1];
	struct event *timer;
};

static void
listing_free(struct listing *l)
{
	TAILQ_REMOVE(&l->q->listings, l, next);
	if (l->ordered > 0)
		control_forget(l->q, l);
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
	} else {
		text_add_str(reason, "not tried yet");
	}
}

static void
list_recipients(struct listing *l, const struct queued *m, const struct envelope *e)
{
	struct text reason = TEXT_UP_TO(MOST_REASON);
	uint32_t sent = 0;

	for (uint32_t i = 0; i < e->count && sent < MOST_LISTED_RECIPIENTS; i++) {
		const struct envelope_recipient *r = &e->recipient[i];

		if (!select_fits_recipient(&l->order, r))
			continue;
		reason_of(e, r, &reason);
		send_queue_entry_recipient(l->to, l->id,
			&(struct msg_queue_entry_recipient){.message = m->id,
				.address = r->address,
				.reason = text_span(&reason)},
			NULL);
		sent++;
	}
	text_clear(&reason);
}

static void
detail(struct listing *l, const char *name, struct span value)
{
	if (value.len > 0)
		send_queue_detail(l->to, l->id,
			&(struct msg_queue_detail){ .name = span_str(name), .value = value }, NULL);
}

static void
detail_number(struct listing *l, const char *name, uint64_t n)
{
	struct text t = TEXT_UP_TO(24);

	text_add_number(&t, n);
	if (n != 0)
		detail(l, name, text_span(&t));
	text_clear(&t);
}

static void
show_recipient(struct listing *l, const struct envelope_recipient *r)
{
	struct text t = TEXT_UP_TO(1024);

	text_add(&t, r->address);
	if (r->given.len > 0)
		text_printf(&t, " for %.*s", SPAN_ARG(r->given));
	if (r->sender.len > 0)
		text_printf(&t, " from %.*s", SPAN_ARG(r->sender));
	if (r->told.outcome == DONE)
		text_add_str(&t, " (delivered)");
	t.failed = false;
	detail(l, "recipient", text_span(&t));
	text_clear(&t);
}

/* Everything that the envelope knows, and the message itself. */
static void
show_message(struct listing *l, const struct queued *m, const struct envelope *e)
{
	int fd = open_in(l->q->queue, spool_name(m->id, SUFFIX_MESSAGE).str, O_RDONLY, 0);

	detail(l, "login", e->login);
	detail(l, "envid", e->wishes.envid);
	detail(l, "auth", e->wishes.auth_param);
	detail(l, "ret", e->wishes.ret == RET_FULL ? SPAN("FULL")
			: e->wishes.ret == RET_HEADERS ? SPAN("HDRS") : SPAN_NONE);
	detail_number(l, "hold-until", e->wishes.hold_until);
	detail_number(l, "deliver-by", e->wishes.deliver_by);
	detail(l, "requiretls", e->wishes.require_tls ? SPAN("yes") : SPAN_NONE);
	detail(l, "tls-required", e->wishes.tls_optional ? SPAN("no") : SPAN_NONE);
	if (e->wishes.priority != PRIORITY_NORMAL)
		detail_number(l, "priority", e->wishes.priority);
	detail(l, "held", e->held ? e->hold_reason.len > 0 ? e->hold_reason : SPAN("yes") : SPAN_NONE);
	for (uint32_t i = 0; i < e->count && i < MOST_LISTED_RECIPIENTS; i++)
		show_recipient(l, &e->recipient[i]);
	detail(l, "top", span_part(e->top, 0, 1024));
	if (fd >= 0)
		send_queue_message(l->to, l->id, &(struct msg_queue_message){ .message = m->id }, &fd);
}

static void
list_message(struct listing *l, struct queued *m)
{
	uint64_t id = m->id;
	struct queued_file f;
	const char *state;

	if (!m->has_envelope || queued_read(l->q, m->id, &f) < 0)
		return;
	state = state_of(m, &f.envelope);
	if (select_fits(&l->order, (uint64_t)time(NULL), state, &f.envelope)) {
		send_queue_entry(l->to, l->id,
			&(struct msg_queue_entry){.message = m->id,
				.state = span_str(state),
				.arrived = f.envelope.arrived,
				.size = f.envelope.size,
				.sender = f.envelope.sender,
				.recipients = f.envelope.count},
			NULL);
		l->message[l->listed++] = id;
		if (l->order.action == QUEUE_LIST || l->order.action == QUEUE_SHOW)
			list_recipients(l, m, &f.envelope);
		if (l->order.action == QUEUE_SHOW)
			show_message(l, m, &f.envelope);
		if (l->order.action > QUEUE_SHOW) {
			l->ordered++;
			if (!control_begin(l->q, l, m, &f.envelope, &l->order))
				listing_told(l, m->id, LATER, SPAN("it is being delivered right now"));
		}
	}
	queued_file_clear(&f);
}

static int
compare_ids(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* All that are known, but for those that were listed already. */
static void
look_for_all(struct listing *l)
{
	size_t place = 0, room = l->q->schedule.messages.count + l->listed + 1;
	uint64_t *old = l->message;
	const struct queued *m;

	l->message = must_alloc(room * sizeof(*l->message));
	if (l->listed > 0) {
		qsort(old, l->listed, sizeof(*old), compare_ids);
		memcpy(l->message, old, l->listed * sizeof(*old));
	}
	l->at = l->count = l->listed;
	while ((m = idmap_next(&l->q->schedule.messages, &place)) != NULL)
		if (l->listed == 0 || bsearch(&m->id, old, l->listed, sizeof(*old), compare_ids) == NULL)
			l->message[l->count++] = m->id;
	free(old);
}

static void
look_for_messages(struct listing *l)
{
	l->early = l->q->scan != NULL;
	if (l->order.message == 0) {
		look_for_all(l);
	} else if (l->listed == 0) {
		free(l->message);
		l->message = must_alloc(sizeof(*l->message));
		l->message[0] = l->order.message;
		l->at = 0;
		l->count = 1;
	}
}

static void
end_if_over(struct listing *l)
{
	static const struct timeval at_once, wait = { .tv_usec = SCAN_WAIT_MICROSECONDS };

	if (l->at < l->count || l->ordered > 0)
		return;
	if (l->early) {
		if (l->q->scan == NULL)
			look_for_messages(l);
		evtimer_add(l->timer, l->early ? &wait : &at_once);
		return;
	}
	send_queue_end(l->to, l->id, &(struct msg_queue_end){ .messages = l->listed }, NULL);
	if (l->order.action > QUEUE_SHOW)
		attempts_run(l->q);
	listing_free(l);
}

void
listing_told(struct listing *l, uint64_t message, uint8_t outcome, struct span reason)
{
	static const struct timeval at_once;

	l->ordered--;
	send_queue_done(l->to, l->id, &(struct msg_queue_done){ .message = message,
		.outcome = outcome, .reason = reason }, NULL);
	/* Not from inside: whoever calls still uses it. */
	if (!evtimer_pending(l->timer, NULL))
		evtimer_add(l->timer, &at_once);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval wait = { .tv_usec = LISTING_WAIT_MICROSECONDS };
	struct listing *l = arg;

	(void)fd;
	(void)what;
	for (int n = 0; n < ENTRIES_A_TURN && l->at < l->count && l->ordered < MOST_ORDERED &&
		channel_waiting(l->to) < MOST_FED_PACKETS;
		n++) {
		struct queued *m = schedule_find(&l->q->schedule, l->message[l->at++]);

		if (m != NULL)
			list_message(l, m);
	}
	if (l->at < l->count)
		evtimer_add(l->timer, &wait);
	else
		end_if_over(l);
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
keep(struct listing *l, size_t i, struct span *word)
{
	span_copy(*word, l->words[i], sizeof(l->words[i]));
	*word = span_str(l->words[i]);
}

static void
begin(struct queue *q, struct channel *from, uint64_t id, const struct msg_queue_select *order)
{
	static const struct timeval at_once;
	struct listing *l = must_alloc(sizeof(*l));

	l->q = q;
	l->to = from;
	l->id = id;
	l->order = *order;
	keep(l, 0, &l->order.sender);
	keep(l, 1, &l->order.recipient);
	keep(l, 2, &l->order.destination);
	keep(l, 3, &l->order.reason);
	keep(l, 4, &l->order.note);
	/* A word of ours: borrowed no longer than its message. */
	l->order.state = span_equal(order->state, SPAN("active")) ? SPAN("active")
		: span_equal(order->state, SPAN("held"))	  ? SPAN("held")
		: order->state.len > 0				  ? SPAN("deferred")
								  : SPAN_NONE;
	look_for_messages(l);
	l->timer = evtimer_new(q->daemon.base, on_timer, l);
	TAILQ_INSERT_TAIL(&q->listings, l, next);
	evtimer_add(l->timer, &at_once);
}

static void
on_queue_list(void *me, struct channel *from, uint64_t id, const struct msg_queue_list *m,
	const int *fd)
{
	(void)m;
	(void)fd;
	begin(me, from, id, &(struct msg_queue_select){ .action = QUEUE_LIST });
}

static void
on_queue_select(void *me, struct channel *from, uint64_t id, const struct msg_queue_select *m,
	const int *fd)
{
	(void)fd;
	if (m->action >= QUEUE_LIST && m->action <= QUEUE_REQUEUE)
		begin(me, from, id, m);
	else
		send_queue_end(from, id, &(struct msg_queue_end){ .messages = 0 }, NULL);
}

const struct hearing queue_hears_command = {
	.hour = hour,
	.gone = command_gone,
	.on_queue_list = on_queue_list,
	.on_queue_select = on_queue_select,
};
