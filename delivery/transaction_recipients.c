/* transaction_recipients - to whom a message goes, and where each of them leads; see transaction_inside.h. */
#include "transaction_inside.h"

#include "common/log.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void
recipient_clear(struct recipient *r)
{
	free(r->address);
	free(r->orcpt);
}

static void
pending_drop(struct queue *q, const struct transaction *t)
{
	struct pending *p, *next;

	for (p = TAILQ_FIRST(&q->pending); p != NULL && t->pending > 0; p = next) {
		next = TAILQ_NEXT(p, next);
		if (p->t != t)
			continue;
		TAILQ_REMOVE(&q->pending, p, next);
		recipient_clear(&p->r);
		free(p);
	}
}

void
transaction_forget_recipients(struct queue *q, struct transaction *t)
{
	q->pending_recipients -= t->count + t->pending + t->leads;
	pending_drop(q, t);
	for (uint32_t i = 0; i < t->count; i++)
		recipient_clear(&t->recipient[i]);
	for (uint32_t i = 0; i < t->leads; i++)
		resolved_clear(&t->lead[i].to);
	free(t->recipient);
	free(t->lead);
	tdestroy(t->elsewhere, free);
}

static int
compare(const void *a, const void *b)
{
	return strcasecmp(a, b);
}

static bool
is_named_before(struct transaction *t, const struct resolved *to)
{
	char *address;
	void **node;
	bool before;

	if (to->leads != LEADS_ELSEWHERE)
		return false;
	address = must_copy(span_str(to->address));
	if ((node = tsearch(address, &t->elsewhere, compare)) == NULL)
		abort();
	before = *node != (void *)address;
	if (before)
		free(address);
	return before;
}

/* Takes the recipient's strings and the places it leads to. */
static void
recipient_add(struct queue *q, struct transaction *t, struct recipient r, struct resolution *to)
{
	if (t->count == t->room) {
		t->room = t->room == 0 ? 4 : t->room * 2;
		t->recipient = must_realloc(t->recipient, t->room * sizeof(*t->recipient));
	}
	if (t->leads + to->count > t->leads_room) {
		t->leads_room = (t->leads + to->count) * 2;
		t->lead = must_realloc(t->lead, t->leads_room * sizeof(*t->lead));
	}
	for (uint32_t i = 0; i < to->count; i++) {
		if (to->at[i].leads == LEADS_DISCARD)
			log_info(t->session, "discarded", KEY_ID("message", t->c.id),
				KEY_STR("to", r.address), KEY_STR("status", "sent"));
		if (to->at[i].leads == LEADS_DISCARD) {
			resolved_clear(&to->at[i]);
			continue;
		}
		t->lead[t->leads] = (struct lead){ t->count, is_named_before(t, &to->at[i]), to->at[i] };
		t->agains += t->lead[t->leads++].again;
		q->pending_recipients++;
	}
	to->count = 0;
	t->recipient[t->count++] = r;
	q->pending_recipients++;
}

/* --- mailboxes that gave trouble lately --- */

static struct troubled *
trouble_of(struct queue *q, const char *home)
{
	for (size_t i = 0; i < MOST_TROUBLED; i++)
		if (q->troubled[i].home != NULL && strcmp(q->troubled[i].home, home) == 0)
			return &q->troubled[i];
	return NULL;
}

bool
trouble_is_there(struct queue *q, const char *home)
{
	const struct troubled *t = trouble_of(q, home);

	return t != NULL && t->until > queue_now();
}

/* Its last message was refused because it is full, a moment ago. */
static bool
is_full(struct queue *q, const struct resolution *to)
{
	const struct troubled *t = to->count == 1 && to->at[0].leads == LEADS_HERE
		? trouble_of(q, to->at[0].home)
		: NULL;

	return t != NULL && t->full_until > queue_now();
}

void
trouble_note(struct queue *q, const char *home, struct verdict v)
{
	struct troubled *slot = trouble_of(q, home);

	if (slot == NULL) {
		slot = &q->troubled[q->next_troubled];
		q->next_troubled = (q->next_troubled + 1) % MOST_TROUBLED;
		free(slot->home);
		slot->home = must_copy(span_str(home));
		slot->full_until = 0;
	}
	slot->until = queue_now() + TROUBLED_SECONDS;
	if (span_equal(v.status, V_MAILBOX_FULL.status))
		slot->full_until = queue_now() + FULL_SECONDS;
}

/* --- what smtpd says --- */

/* Answers for one recipient; its strings are taken. False: not yet known, and they are not. */
static bool
recipient_resolve(struct queue *q, struct transaction *t, struct recipient r)
{
	struct verdict v = V_MOST_RECIPIENTS;
	struct resolution to;

	resolution_init(&to);
	if (t->count < q->daemon.settings->recipients &&
		q->pending_recipients < MOST_PENDING_RECIPIENTS) {
		resolve(&q->resolver, q->daemon.settings, span_str(r.address), t->utf8,
			t->login[0] != '\0' || t->service == SERVICE_LOCAL, &to);
		if (to.waits) {
			resolution_clear(&to);
			return false;
		}
		v = is_full(q, &to) ? V_MAILBOX_FULL : to.verdict;
	}
	if (t->smtpd != NULL)
		send_mail_recipient_told(t->smtpd, t->c.id,
			&(struct msg_mail_recipient_told){
				.number = r.number, VERDICT_FIELDS(v) },
			NULL);
	if (v.outcome == DONE)
		recipient_add(q, t, r, &to);
	else
		recipient_clear(&r);
	resolution_clear(&to);
	return true;
}

void
transaction_on_mail_recipient(void *me, struct channel *from, uint64_t id, const struct msg_mail_recipient *m,
	const int *fd)
{
	struct queue *q = me;
	struct transaction *t = idmap_get(&q->conversations, id);
	struct recipient r = {.number = m->number,
		.address = must_copy(m->address),
		.orcpt = must_copy(m->orcpt),
		.notify = m->notify};
	struct pending *p;

	(void)fd;
	/* Later than DATA only a filter can add somebody, and only to what goes through the spool. */
	if (t->state == LENT && !t->by_queue) {
		struct verdict v = V_IN_DOUBT;

		send_mail_recipient_told(
			from, id, &(struct msg_mail_recipient_told){ .number = m->number, VERDICT_FIELDS(v) }, NULL);
		recipient_clear(&r);
		return;
	}
	if (recipient_resolve(q, t, r))
		return;
	p = must_alloc(sizeof(*p));
	p->t = t;
	p->r = r;
	t->pending++;
	q->pending_recipients++;
	TAILQ_INSERT_TAIL(&q->pending, p, next);
}

/* --- who is dropped again --- */

/* The place of a recipient among those that were accepted, or t->count. */
static uint32_t
recipient_index(const struct transaction *t, uint32_t number)
{
	uint32_t i = 0;

	while (i < t->count && t->recipient[i].number != number)
		i++;
	return i;
}

/* Nobody leads to this address any more: or somebody does who had only named it again, and now leads there. */
static void
elsewhere_drop(struct transaction *t, const struct lead *of)
{
	void **node = tfind(of->to.address, &t->elsewhere, compare);
	void *address = node == NULL ? NULL : *node;

	for (uint32_t i = 0; t->agains > 0 && i < t->leads; i++) {
		struct lead *l = &t->lead[i];

		if (!l->again || l->recipient == of->recipient || compare(l->to.address, of->to.address) != 0)
			continue;
		l->again = false;
		t->agains--;
		return;
	}
	if (address != NULL) {
		tdelete(address, &t->elsewhere, compare);
		free(address);
	}
}

static void
lead_forget(struct queue *q, struct transaction *t, struct lead *l)
{
	t->agains -= l->again;
	resolved_clear(&l->to);
	q->pending_recipients--;
}

/* Forgets where a recipient led to; the others move up. */
static void
leads_drop(struct queue *q, struct transaction *t, uint32_t recipient)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < t->leads; i++)
		if (t->lead[i].recipient == recipient && t->lead[i].to.leads == LEADS_ELSEWHERE && !t->lead[i].again)
			elsewhere_drop(t, &t->lead[i]);
	for (uint32_t i = 0; i < t->leads; i++) {
		if (t->lead[i].recipient == recipient) {
			lead_forget(q, t, &t->lead[i]);
			continue;
		}
		t->lead[kept] = t->lead[i];
		t->lead[kept++].recipient -= t->lead[i].recipient > recipient;
	}
	t->leads = kept;
}

void
transaction_settle_leads(struct queue *q, struct transaction *t)
{
	uint32_t kept = 0;

	if (t->agains == 0)
		return;
	for (uint32_t i = 0; i < t->leads; i++) {
		if (t->lead[i].again)
			lead_forget(q, t, &t->lead[i]);
		else
			t->lead[kept++] = t->lead[i];
	}
	t->leads = kept;
}

void
transaction_on_mail_recipient_drop(void *me, struct channel *from, uint64_t id, const struct msg_mail_recipient_drop *m,
	const int *fd)
{
	struct queue *q = me;
	struct transaction *t = idmap_get(&q->conversations, id);
	uint32_t i = recipient_index(t, m->number);

	(void)from;
	(void)fd;
	/* Where the places of the message are fixed already, nobody is taken out. */
	if (i == t->count || (t->state == LENT && !t->by_queue))
		return;
	log_info(t->session, "recipient-dropped", KEY_ID("message", id), KEY_STR("to", t->recipient[i].address));
	leads_drop(q, t, i);
	recipient_clear(&t->recipient[i]);
	memmove(&t->recipient[i], &t->recipient[i + 1], (t->count - i - 1) * sizeof(*t->recipient));
	t->count--;
	q->pending_recipients--;
}

/* --- what is known now, and was not --- */

void
transactions_resolve(struct queue *q)
{
	struct pending *p, *next;

	transactions_settle_owners(q);
	for (p = TAILQ_FIRST(&q->pending); p != NULL; p = next) {
		struct transaction *t = p->t;

		next = TAILQ_NEXT(p, next);
		if (!recipient_resolve(q, t, p->r))
			continue;
		TAILQ_REMOVE(&q->pending, p, next);
		free(p);
		t->pending--;
		q->pending_recipients--;
		if (t->pending == 0 && t->data) {
			transaction_begin_data(q, t);
			next = TAILQ_FIRST(&q->pending);   /* it may have ended, and others with it */
		}
	}
}
