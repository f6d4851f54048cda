/* transaction - one message from MAIL to its 250, as smtpd asks for it; see queue.h. Here: its life, and its sender. */
#include "transaction_inside.h"

#include "common/address.h"
#include "common/log.h"
#include "logins.h"
#include "owner.h"
#include "rewrite.h"

#include <stdlib.h>
#include <string.h>

static void
transaction_free(struct queue *q, struct transaction *t)
{
	conversation_leave(&t->c);
	idmap_remove(&q->conversations, t->c.id);
	TAILQ_REMOVE(&t->front->transactions, t, next);
	t->front->count--;
	q->transactions--;
	transaction_forget_recipients(q, t);
	free(t->destination);
	free(t->mailbox);
	q->unowned -= t->claimed != NULL;
	free(t->claimed);
	free(t->sender);
	free(t->login);
	free((void *)(uintptr_t)t->wishes.envid.at);
	free((void *)(uintptr_t)t->wishes.auth_param.at);
	free((void *)(uintptr_t)t->top.at);
	free(t->hold_reason);
	free(t);
	if (q->daemon.leaving && q->transactions == 0)
		daemon_exit(&q->daemon);
}

void
transaction_say(struct transaction *t, struct verdict v)
{
	/* RFC 2033 4.2: one reply for each; here it is the same for all. Those that there is no room for hear the last
	 * word on the message: an smtpd that has more than a channel keeps to read is no broken one. */
	for (uint32_t i = 0; t->smtpd != NULL && t->service == SERVICE_LMTP && i < t->count &&
		channel_waiting(t->smtpd) < MOST_FED_PACKETS; i++)
		send_mail_recipient_result(t->smtpd, t->c.id,
			&(struct msg_mail_recipient_result){.number = t->recipient[i].number,
				VERDICT_FIELDS(v)},
			NULL);
	if (t->smtpd != NULL)
		send_mail_told(t->smtpd, t->c.id, &(struct msg_mail_told){VERDICT_FIELDS(v)}, NULL);
	t->smtpd = NULL;
}

void
transaction_tell(struct queue *q, struct transaction *t, struct verdict v)
{
	transaction_say(t, v);
	/* Where nobody is left, each refusal has its line already. */
	if (v.outcome != DONE && t->count > 0)
		log_info(t->session, "not-accepted", KEY_ID("message", t->c.id),
			KEY_NUM("code", v.code), KEY_SPAN("dsn", v.status),
			KEY_SPAN("reason", v.reason));
	transaction_free(q, t);
}

void
transaction_give_back(struct queue *q, struct transaction *t)
{
	struct worker *w = t->c.worker;
	bool asked = w != NULL && t->c.feed == NULL;

	conversation_leave(&t->c);
	if (asked)
		worker_give_back(q, w, t->c.id);
}

/* smtpd does not want it any more. What is being placed already is finished in any case. */
static void
abandon(struct queue *q, struct transaction *t)
{
	if (t->state == PLACING) {
		t->smtpd = NULL;
		return;
	}
	transaction_give_back(q, t);
	transaction_free(q, t);
}

/* --- what smtpd says --- */

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	static const uint32_t hours[] = {
		[OPEN] = HOUR_OPEN,
		[WAITING] = HOUR_WAITING,
		[LENT] = HOUR_LENT,
		[PLACING] = HOUR_PLACING,
	};
	struct queue *q = me;
	struct conversation *c = idmap_get(&q->conversations, id);

	(void)m;
	if (id == 0)
		return 0;
	/* The id of somebody else's message is unknown to this peer; mail_begin refuses it. */
	if (c == NULL || c->kind != TRANSACTION || transaction_of(c)->smtpd != from)
		return HOUR_NONE;
	return hours[transaction_of(c)->state];
}

static void
smtpd_gone(void *me, struct channel *from)
{
	struct queue *q = me;
	struct front *f = &q->front[channel_peer_index(from)];
	struct transaction *t, *next;

	for (t = TAILQ_FIRST(&f->transactions); t != NULL; t = next) {
		next = TAILQ_NEXT(t, next);
		if (t->smtpd == from)
			abandon(q, t);
	}
	logins_forget(q, channel_peer_index(from));
}

/* --- its sender --- */

/* A sender is empty or a mailbox: it becomes the Return-Path line of a file. */
static bool
sender_is_sound(struct span sender)
{
	struct address a;

	return sender.len == 0 ||
		(address_take_mailbox(&sender, true, &a) == ADDRESS_OK && sender.len == 0);
}

static struct verdict
may_begin(struct queue *q, const struct front *f, uint64_t id, const struct msg_mail_begin *m, enum owner *owner)
{
	const struct settings *s = q->daemon.settings;

	if (q->daemon.leaving)
		return V_LEAVING;
	if (idmap_get(&q->conversations, id) != NULL || schedule_find(&q->schedule, id) != NULL) {
		log_error(m->session, "message-id-taken", KEY_ID("message", id));
		return V_LATER;
	}
	if (f->count >= s->connections || q->transactions >= MOST_TRANSACTIONS)
		return V_BUSY;
	if (!sender_is_sound(m->sender))
		return V_BAD_SENDER;
	if (m->login.len > 0 && !logins_know(q, (unsigned int)(f - q->front), m->session, m->service,
				m->login, queue_now())) {
		log_warning(m->session, "mail-login-unknown", KEY_NUM("front", f - q->front),
			KEY_SPAN("login", m->login));
		return V_LOG_IN_AGAIN;
	}
	*owner = m->login.len > 0 && owner_is_asked(s, m->service)
		? owner_may_use(&q->resolver, s, m->login, m->sender)
		: OWNER_YES;
	if (*owner == OWNER_NO)
		return V_NOT_OWNER;
	return m->size > s->message_size_bytes ? V_TOO_BIG : V_BEGUN;
}

/* What our own users send gets the sender that the tables say. */
static void
sender_set(struct queue *q, struct transaction *t, const struct msg_mail_begin *m)
{
	struct text sender = TEXT_UP_TO(MOST_ADDRESS);

	if (m->login.len > 0)
		rewrite_sender(&q->resolver, q->daemon.settings, m->sender, &sender);
	else
		text_add(&sender, m->sender);
	t->sender = must_copy(text_span(&sender));
	t->rewritten = !span_equal(text_span(&sender), m->sender);
	text_clear(&sender);
}

static void
on_mail_begin(void *me, struct channel *from, uint64_t id, const struct msg_mail_begin *m,
	const int *fd)
{
	struct queue *q = me;
	struct front *f = &q->front[channel_peer_index(from)];
	enum owner owner = OWNER_NO;
	struct verdict v = may_begin(q, f, id, m, &owner);
	struct transaction *t;

	(void)fd;
	if (v.outcome == DONE) {
		t = must_alloc(sizeof(*t));
		t->c.kind = TRANSACTION;
		t->c.id = id;
		t->front = f;
		t->smtpd = from;
		t->session = m->session;
		t->begun = queue_now_milliseconds();
		t->service = m->service;
		t->body = m->body;
		t->utf8 = m->utf8;
		sender_set(q, t, m);
		t->login = must_copy(m->login);
		t->wishes = WISHES_OF(m);
		t->wishes.envid = span_of(must_copy(m->envid), m->envid.len);
		t->wishes.auth_param = span_of(must_copy(m->auth_param), m->auth_param.len);
		idmap_put(&q->conversations, id, t);
		TAILQ_INSERT_TAIL(&f->transactions, t, next);
		f->count++;
		q->transactions++;
	}
	if (v.outcome == DONE && owner == OWNER_NOT_KNOWN) {
		t->claimed = must_copy(m->sender);
		q->unowned++;
		return;
	}
	send_mail_begun(from, id, &(struct msg_mail_begun){ VERDICT_FIELDS(v) }, NULL);
}

/* A filter wants another sender. Whoever has logged in is still held to his own. */
static void
on_mail_sender(void *me, struct channel *from, uint64_t id, const struct msg_mail_sender *m, const int *fd)
{
	struct queue *q = me;
	struct transaction *t = idmap_get(&q->conversations, id);
	const struct settings *s = q->daemon.settings;
	bool owned = t->login[0] == '\0' || !owner_is_asked(s, t->service) ||
		owner_may_use(&q->resolver, s, span_str(t->login), m->sender) == OWNER_YES;

	(void)from;
	(void)fd;
	log_info(t->session, owned && t->by_queue ? "sender-changed" : "sender-kept", KEY_ID("message", id),
		KEY_STR("from", t->sender), KEY_SPAN("wanted", m->sender));
	if (!owned || !t->by_queue || !sender_is_sound(m->sender))
		return;
	free(t->sender);
	t->sender = must_copy(m->sender);
}

/* Who waits to hear whether the sender is his hears it, if it is known now. */
static void
settle_owner(struct queue *q, struct transaction *t)
{
	struct verdict v = V_BEGUN;
	enum owner owner = owner_may_use(
		&q->resolver, q->daemon.settings, span_str(t->login), span_str(t->claimed));

	if (owner == OWNER_NOT_KNOWN)
		return;
	if (owner == OWNER_NO)
		v = V_NOT_OWNER;
	send_mail_begun(t->smtpd, t->c.id, &(struct msg_mail_begun){ VERDICT_FIELDS(v) }, NULL);
	free(t->claimed);
	t->claimed = NULL;
	q->unowned--;
	if (owner == OWNER_NO) {
		transaction_give_back(q, t);
		transaction_free(q, t);
	}
}

void
transactions_settle_owners(struct queue *q)
{
	struct transaction *t, *next;

	for (size_t i = 0; q->unowned > 0 && i < MOST_PEERS_OF_A_KIND; i++) {
		for (t = TAILQ_FIRST(&q->front[i].transactions); t != NULL; t = next) {
			next = TAILQ_NEXT(t, next);
			if (t->claimed != NULL && t->smtpd != NULL)
				settle_owner(q, t);
		}
	}
}

/* --- its end --- */

static void
on_mail_abort(void *me, struct channel *from, uint64_t id, const struct msg_mail_abort *m,
	const int *fd)
{
	struct queue *q = me;

	(void)from;
	(void)m;
	(void)fd;
	abandon(q, idmap_get(&q->conversations, id));
}

static void
on_mail_login_end(void *me, struct channel *from, uint64_t session,
	const struct msg_mail_login_end *m, const int *fd)
{
	(void)m;
	(void)fd;
	logins_end(me, channel_peer_index(from), session);
}

void
transaction_lost(struct queue *q, struct conversation *c)
{
	struct transaction *t = transaction_of(c);

	if (t->state == PLACING && t->by_queue)
		recover_unpromised(q, c->id);
	transaction_tell(q, t, V_LATER);
}

uint32_t
transaction_hour(const struct conversation *c)
{
	const struct transaction *t = (const struct transaction *)(const void *)c;

	return t->state == WAITING ? HOUR_WAITING : t->state == PLACING ? HOUR_PLACING : HOUR_NONE;
}

const struct hearing queue_hears_smtpd = {
	.answers_together = true,
	.hour = hour,
	.gone = smtpd_gone,
	.on_mail_begin = on_mail_begin,
	.on_mail_recipient = transaction_on_mail_recipient,
	.on_mail_recipient_drop = transaction_on_mail_recipient_drop,
	.on_mail_sender = on_mail_sender,
	.on_mail_data = transaction_on_mail_data,
	.on_mail_commit = transaction_on_mail_commit,
	.on_mail_abort = on_mail_abort,
	.on_mail_login_end = on_mail_login_end,
};
