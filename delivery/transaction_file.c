/* transaction_file - the file that smtpd writes a message into, and what becomes of it; see transaction_inside.h. */
#include "transaction_inside.h"

#include "common/log.h"
#include "mailboxes.h"

#include <string.h>

/* --- a file to write --- */

/* owner-LIST; never instead of the null sender, or a bounce could be bounced. */
static const char *
sender_of(const struct transaction *t, uint32_t i)
{
	const char *sender = t->lead[i].to.sender;

	return sender == NULL || t->sender[0] == '\0' ? "" : sender;
}

/* Straight into the Maildirs only when that can promise all or nothing for everybody. */
static bool
goes_by_queue(struct queue *q, const struct transaction *t)
{
	if (t->wishes.hold_until != 0 || t->mailboxes == 0 || t->rewritten)
		return true;
	for (uint32_t i = 0; i < t->leads; i++)
		if (t->destination[i].home == NULL || sender_of(t, i)[0] != '\0' ||
			(t->recipient[t->lead[i].recipient].notify & NOTIFY_SUCCESS))
			return true;
	if (t->mailboxes > MOST_PLACES)
		return true;
	/* One worker promises for all, or none does. */
	for (uint32_t i = 1; i < t->mailboxes; i++)
		if (t->destination[t->mailbox[i]].system != t->destination[t->mailbox[0]].system)
			return true;
	for (uint32_t i = 0; t->mailboxes > 1 && i < t->mailboxes; i++)
		if (trouble_is_there(q, t->destination[t->mailbox[i]].home))
			return true;
	return false;
}

static bool
feed_lend(struct queue *q, struct conversation *c)
{
	static const struct destination nowhere;
	struct transaction *t = transaction_of(c);
	const struct destination *d =
		t->mailboxes > 0 ? &t->destination[t->mailbox[0]] : &nowhere;

	(void)q;
	send_lend(c->worker->channel, c->id,
		&(struct msg_lend){.home = t->by_queue ? SPAN_NONE : span_str(d->home),
			.uid = d->uid,
			.gid = d->gid,
			.quota_bytes = d->quota.bytes,
			.quota_messages = d->quota.messages},
		NULL);
	return true;
}

static void
find_mailboxes(struct transaction *t)
{
	t->destination = must_alloc((t->leads + 1) * sizeof(*t->destination));
	for (uint32_t i = 0; i < t->leads; i++) {
		const struct resolved *to = &t->lead[i].to;

		if (to->leads == LEADS_HERE)
			t->destination[i] = (struct destination){.home = to->home,
				.folder = to->folder,
				.uid = to->uid,
				.gid = to->gid,
				.quota = to->quota,
				.system = to->system};
	}
	t->mailbox = mailboxes_of(t->destination, t->leads, &t->mailboxes);
}

void
transaction_begin_data(struct queue *q, struct transaction *t)
{
	enum program program;
	struct worker *w;

	t->data = false;
	if (t->count == 0) {
		transaction_tell(q, t, V_NO_RECIPIENTS);
		return;
	}
	find_mailboxes(t);
	t->by_queue = t->data_by_queue || goes_by_queue(q, t);
	program = t->by_queue			    ? PROGRAM_SPOOL
		: t->destination[t->mailbox[0]].system ? PROGRAM_LOCAL_HOME
						      : PROGRAM_LOCAL;
	w = worker_least_busy(q, program);
	if (w == NULL) {
		log_warning(t->session, "no-worker", KEY_ID("message", t->c.id),
			KEY_STR("program", program_name(program)));
		transaction_tell(q, t, V_LATER);
		return;
	}
	t->state = WAITING;
	conversation_join(&t->c, w);
	conversation_say(q, &t->c, feed_lend);
}

void
transaction_on_mail_data(
	void *me, struct channel *from, uint64_t id, const struct msg_mail_data *m, const int *fd)
{
	struct queue *q = me;
	struct transaction *t = idmap_get(&q->conversations, id);

	(void)from;
	(void)fd;
	t->data_by_queue = m->by_queue;
	/* A sound smtpd waits for mail_begun. */
	if (t->claimed != NULL) {
		transaction_tell(q, t, V_LATER);
		return;
	}
	t->data = true;
	t->state = WAITING;
	if (t->pending == 0)
		transaction_begin_data(q, t);
}

void
transaction_lent(struct queue *q, struct conversation *c, int fd)
{
	struct transaction *t = transaction_of(c);

	(void)q;
	t->state = LENT;
	send_mail_file(t->smtpd, c->id, &(struct msg_mail_file){ .last_write = !t->by_queue }, &fd);
}

/* --- the end of it --- */

static bool
feed_place(struct queue *q, struct conversation *c)
{
	struct transaction *t = transaction_of(c);

	(void)q;
	if (c->cursor < t->mailboxes) {
		uint32_t i = t->mailbox[c->cursor++];

		conversation_target(c, i, span_str(t->lead[i].to.address), &t->destination[i]);
		return false;
	}
	send_place(c->worker->channel, c->id, &(struct msg_place){ .size = t->size,
		.digest = span_of(t->digest, DIGEST_SIZE) }, NULL);
	return true;
}

static bool
feed_spool(struct queue *q, struct conversation *c)
{
	struct transaction *t = transaction_of(c);

	(void)q;
	if (c->cursor < t->leads) {
		uint32_t i = c->cursor++;
		const struct resolved *to = &t->lead[i].to;
		const struct recipient *r = &t->recipient[t->lead[i].recipient];
		struct span address = span_str(to->address), given = span_str(r->address);

		send_spool_recipient(c->worker->channel, c->id,
			&(struct msg_spool_recipient){.number = i,
				.address = address,
				.home = span_str(to->home),
				.uid = to->uid,
				.gid = to->gid,
				.notify = r->notify,
				.orcpt = span_str(r->orcpt),
				.given = span_equal_nocase(address, given) ? SPAN_NONE : given,
				.sender = span_str(sender_of(t, i))},
			NULL);
		return false;
	}
	send_spool(c->worker->channel, c->id,
		&(struct msg_spool){.size = t->size,
			.digest = span_of(t->digest, DIGEST_SIZE),
			.session = t->session,
			.service = t->service,
			.sender = span_str(t->sender),
			.login = span_str(t->login),
			.body = t->body,
			.utf8 = t->utf8,
			WISHES_FIELDS(t->wishes),
			.hold = t->hold,
			.hold_reason = span_str(t->hold_reason),
			.top = t->top},
		NULL);
	return true;
}

void
transaction_on_mail_commit(void *me, struct channel *from, uint64_t id, const struct msg_mail_commit *m,
	const int *fd)
{
	struct queue *q = me;
	struct transaction *t = idmap_get(&q->conversations, id);

	(void)from;
	(void)fd;
	/* The limit is the client's (RFC 1870 5): what smtpd put on top does not count. */
	if (m->size > q->daemon.settings->message_size_bytes + MOST_TRACE ||
		m->digest.len != DIGEST_SIZE) {
		transaction_give_back(q, t);
		transaction_tell(q, t, m->digest.len != DIGEST_SIZE ? V_IN_DOUBT : V_TOO_BIG);
		return;
	}
	/* What lies in a Maildir can neither be held nor get lines on top; whoever was asked about must be known. */
	if ((!t->by_queue && (m->hold || m->top.len > 0)) || t->pending > 0) {
		transaction_give_back(q, t);
		transaction_tell(q, t, V_IN_DOUBT);
		return;
	}
	/* RFC 8689 4.1: MAIL has the last word. */
	t->wishes.tls_optional = m->tls_optional && !t->wishes.require_tls;
	t->hold = m->hold;
	t->hold_reason = must_copy(m->hold_reason);
	t->top = span_of(must_copy(m->top), m->top.len);
	/* Every recipient was to be discarded. */
	if (t->leads == 0) {
		transaction_give_back(q, t);
		transaction_tell(q, t, V_DELIVERED);
		return;
	}
	t->size = m->size;
	memcpy(t->digest, m->digest.at, DIGEST_SIZE);
	transaction_settle_leads(q, t);
	t->state = PLACING;
	conversation_say(q, &t->c, t->by_queue ? feed_spool : feed_place);
}

void
transaction_placed(struct queue *q, struct conversation *c)
{
	struct transaction *t = transaction_of(c);
	uint64_t delay = queue_now_milliseconds() - t->begun;

	/* Whoever waits for it waits no longer than for the disk; the log comes after. */
	transaction_say(t, V_DELIVERED);
	for (uint32_t i = 0; i < t->leads; i++)
		queue_log_recipient(t->session, c->id, span_str(t->lead[i].to.address),
			span_str(t->recipient[t->lead[i].recipient].address), SPAN("local"), delay,
			V_DELIVERED);
	q->served++;
	transaction_tell(q, t, V_DELIVERED);
}

void
transaction_spooled(struct queue *q, struct conversation *c)
{
	struct transaction *t = transaction_of(c);
	uint64_t id = c->id;
	uint32_t sender = queue_sender(span_str(t->login), span_str(t->sender));
	uint8_t priority = t->wishes.priority;

	log_info(t->session, "queued", KEY_ID("message", id), KEY_STR("from", t->sender),
		KEY_NUM("size", t->size), KEY_NUM("nrcpt", t->leads));
	q->served++;
	transaction_tell(q, t, V_QUEUED);
	queue_accept(q, id, sender, priority);
}

void
transaction_refused(struct queue *q, struct conversation *c, struct verdict v)
{
	struct transaction *t = transaction_of(c);

	/* The file was to lie in the first mailbox. */
	if (t->state == WAITING && !t->by_queue && v.outcome == LATER)
		trouble_note(q, t->destination[t->mailbox[0]].home, v);
	conversation_leave(c);
	transaction_tell(q, t, queue_refusal(v));
}

void
transaction_place_refused(
	struct queue *q, struct conversation *c, uint32_t number, struct verdict v)
{
	struct transaction *t = transaction_of(c);

	for (uint32_t i = 0; v.outcome == LATER && i < t->mailboxes; i++)
		if (t->mailbox[i] == number)
			trouble_note(q, t->destination[t->mailbox[i]].home, v);
	transaction_refused(q, c, v);
}
