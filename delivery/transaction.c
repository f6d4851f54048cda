/* transaction - one message from MAIL to its 250, as smtpd asks for it; see queue.h. */
#include "queue.h"

#include "common/address.h"
#include "common/log.h"
#include "logins.h"
#include "mailboxes.h"
#include "owner.h"
#include "rewrite.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum transaction_state {
	OPEN,       /* recipients come */
	WAITING,    /* a worker is asked for a file */
	LENT,       /* smtpd writes */
	PLACING,    /* a worker makes it durable */
};

struct recipient {
	uint32_t number;
	char *address, *orcpt;
	uint8_t notify;
};

/* One place that a recipient leads to. */
struct lead {
	uint32_t recipient;
	bool again;                         /* another one leads there too, and this one only if that is dropped */
	struct resolved to;                 /* owned */
};

/* A recipient whose places are not known yet: somebody was asked. */
struct pending {
	TAILQ_ENTRY(pending) next;
	struct transaction *t;
	struct recipient r;
};

struct transaction {
	struct conversation c;
	TAILQ_ENTRY(transaction) next;      /* of its front */
	struct front *front;
	struct channel *smtpd;              /* NULL: gone, or it gave up; only while PLACING */
	enum transaction_state state;
	uint64_t session, begun;            /* begun: milliseconds */
	uint8_t service, body;
	bool utf8, by_queue;                /* by_queue: not every recipient is a mailbox here */
	bool rewritten;                     /* the sender is not what smtpd takes it for */
	char *sender, *login;
	char *claimed;                      /* the sender as it was said, while nobody knows whose it is */
	struct wishes wishes;               /* its strings are owned: wishes_free */
	bool hold;
	char *hold_reason;
	struct span top;                    /* owned */
	uint64_t size;
	unsigned char digest[DIGEST_SIZE];
	struct recipient *recipient;        /* those that were accepted */
	uint32_t count, room;
	struct lead *lead;
	uint32_t leads, leads_room, agains;
	void *elsewhere;                    /* tree of addresses: who is named twice gets one */
	struct destination *destination;    /* beside lead; borrows; once the data are asked for */
	uint32_t *mailbox, mailboxes;       /* leads that stand for a mailbox each */
	uint32_t pending;                   /* recipients that are not resolved yet */
	bool data, data_by_queue;           /* asked for meanwhile */
};

static struct transaction *
transaction_of(struct conversation *c)
{
	return (struct transaction *)(void *)c;
}

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

static void
transaction_free(struct queue *q, struct transaction *t)
{
	conversation_leave(&t->c);
	idmap_remove(&q->conversations, t->c.id);
	TAILQ_REMOVE(&t->front->transactions, t, next);
	t->front->count--;
	q->transactions--;
	q->pending_recipients -= t->count + t->pending + t->leads;
	pending_drop(q, t);
	for (uint32_t i = 0; i < t->count; i++)
		recipient_clear(&t->recipient[i]);
	for (uint32_t i = 0; i < t->leads; i++)
		resolved_clear(&t->lead[i].to);
	free(t->recipient);
	free(t->lead);
	free(t->destination);
	free(t->mailbox);
	tdestroy(t->elsewhere, free);
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

/* Says how it ended. */
static void
say(struct transaction *t, struct verdict v)
{
	/* RFC 2033 4.2: one reply for each; here it is the same for all. */
	for (uint32_t i = 0; t->smtpd != NULL && t->service == SERVICE_LMTP && i < t->count; i++)
		send_mail_recipient_result(t->smtpd, t->c.id,
			&(struct msg_mail_recipient_result){.number = t->recipient[i].number,
				VERDICT_FIELDS(v)},
			NULL);
	if (t->smtpd != NULL)
		send_mail_told(t->smtpd, t->c.id, &(struct msg_mail_told){VERDICT_FIELDS(v)}, NULL);
	t->smtpd = NULL;
}

/* The same, and forgets it. */
static void
tell(struct queue *q, struct transaction *t, struct verdict v)
{
	say(t, v);
	/* Where nobody is left, each refusal has its line already. */
	if (v.outcome != DONE && t->count > 0)
		log_info(t->session, "not-accepted", KEY_ID("message", t->c.id),
			KEY_NUM("code", v.code), KEY_SPAN("dsn", v.status),
			KEY_SPAN("reason", v.reason));
	transaction_free(q, t);
}

/* The file is not needed, whether it was lent already or is only asked for. */
static void
give_back(struct queue *q, struct transaction *t)
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
	give_back(q, t);
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

static struct troubled *
trouble_of(struct queue *q, const char *home)
{
	for (size_t i = 0; i < MOST_TROUBLED; i++)
		if (q->troubled[i].home != NULL && strcmp(q->troubled[i].home, home) == 0)
			return &q->troubled[i];
	return NULL;
}

static bool
is_troubled(struct queue *q, const char *home)
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

static void
note_trouble(struct queue *q, const char *home, struct verdict v)
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

static void
on_mail_recipient(void *me, struct channel *from, uint64_t id, const struct msg_mail_recipient *m,
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

/* Nobody is dropped any more: what was named twice stays once. */
static void
leads_settle(struct queue *q, struct transaction *t)
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

/* A filter of smtpd's does not want this recipient after all. */
static void
on_mail_recipient_drop(void *me, struct channel *from, uint64_t id, const struct msg_mail_recipient_drop *m,
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
		give_back(q, t);
		transaction_free(q, t);
	}
}

static void
settle_owners(struct queue *q)
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

static void begin_data(struct queue *q, struct transaction *t);

void
transactions_resolve(struct queue *q)
{
	struct pending *p, *next;

	settle_owners(q);
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
			begin_data(q, t);
			next = TAILQ_FIRST(&q->pending);   /* it may have ended, and others with it */
		}
	}
}

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
		if (is_troubled(q, t->destination[t->mailbox[i]].home))
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

static void
begin_data(struct queue *q, struct transaction *t)
{
	enum program program;
	struct worker *w;

	t->data = false;
	if (t->count == 0) {
		tell(q, t, V_NO_RECIPIENTS);
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
		tell(q, t, V_LATER);
		return;
	}
	t->state = WAITING;
	conversation_join(&t->c, w);
	conversation_say(q, &t->c, feed_lend);
}

static void
on_mail_data(
	void *me, struct channel *from, uint64_t id, const struct msg_mail_data *m, const int *fd)
{
	struct queue *q = me;
	struct transaction *t = idmap_get(&q->conversations, id);

	(void)from;
	(void)fd;
	t->data_by_queue = m->by_queue;
	/* A sound smtpd waits for mail_begun. */
	if (t->claimed != NULL) {
		tell(q, t, V_LATER);
		return;
	}
	t->data = true;
	t->state = WAITING;
	if (t->pending == 0)
		begin_data(q, t);
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
		struct destination *d = &t->destination[i];

		send_target(c->worker->channel, c->id,
			&(struct msg_target){.number = i,
				.address = span_str(t->lead[i].to.address),
				.home = span_str(d->home),
				.folder = span_str(d->folder),
				.uid = d->uid,
				.gid = d->gid,
				.quota_bytes = d->quota.bytes,
				.quota_messages = d->quota.messages},
			NULL);
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

static void
on_mail_commit(void *me, struct channel *from, uint64_t id, const struct msg_mail_commit *m,
	const int *fd)
{
	struct queue *q = me;
	struct transaction *t = idmap_get(&q->conversations, id);

	(void)from;
	(void)fd;
	/* The limit is the client's (RFC 1870 5): what smtpd put on top does not count. */
	if (m->size > q->daemon.settings->message_size_bytes + MOST_TRACE ||
		m->digest.len != DIGEST_SIZE) {
		give_back(q, t);
		tell(q, t, m->digest.len != DIGEST_SIZE ? V_IN_DOUBT : V_TOO_BIG);
		return;
	}
	/* What lies in a Maildir can neither be held nor get lines on top; whoever was asked about must be known. */
	if ((!t->by_queue && (m->hold || m->top.len > 0)) || t->pending > 0) {
		give_back(q, t);
		tell(q, t, V_IN_DOUBT);
		return;
	}
	t->hold = m->hold;
	t->hold_reason = must_copy(m->hold_reason);
	t->top = span_of(must_copy(m->top), m->top.len);
	/* Every recipient was to be discarded. */
	if (t->leads == 0) {
		give_back(q, t);
		tell(q, t, V_DELIVERED);
		return;
	}
	t->size = m->size;
	memcpy(t->digest, m->digest.at, DIGEST_SIZE);
	leads_settle(q, t);
	t->state = PLACING;
	conversation_say(q, &t->c, t->by_queue ? feed_spool : feed_place);
}

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
transaction_placed(struct queue *q, struct conversation *c)
{
	struct transaction *t = transaction_of(c);
	uint64_t delay = queue_now_milliseconds() - t->begun;

	/* Whoever waits for it waits no longer than for the disk; the log comes after. */
	say(t, V_DELIVERED);
	for (uint32_t i = 0; i < t->leads; i++)
		queue_log_recipient(t->session, c->id, span_str(t->lead[i].to.address),
			span_str(t->recipient[t->lead[i].recipient].address), SPAN("local"), delay,
			V_DELIVERED);
	q->served++;
	tell(q, t, V_DELIVERED);
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
	tell(q, t, V_QUEUED);
	queue_accept(q, id, sender, priority);
}

void
transaction_refused(struct queue *q, struct conversation *c, struct verdict v)
{
	struct transaction *t = transaction_of(c);

	/* The file was to lie in the first mailbox. */
	if (t->state == WAITING && !t->by_queue && v.outcome == LATER)
		note_trouble(q, t->destination[t->mailbox[0]].home, v);
	conversation_leave(c);
	tell(q, t, queue_refusal(v));
}

void
transaction_place_refused(
	struct queue *q, struct conversation *c, uint32_t number, struct verdict v)
{
	struct transaction *t = transaction_of(c);

	for (uint32_t i = 0; v.outcome == LATER && i < t->mailboxes; i++)
		if (t->mailbox[i] == number)
			note_trouble(q, t->destination[t->mailbox[i]].home, v);
	transaction_refused(q, c, v);
}

void
transaction_lost(struct queue *q, struct conversation *c)
{
	tell(q, transaction_of(c), V_LATER);
}

uint32_t
transaction_hour(const struct conversation *c)
{
	const struct transaction *t = (const struct transaction *)(const void *)c;

	return t->state == WAITING ? HOUR_WAITING : t->state == PLACING ? HOUR_PLACING : HOUR_NONE;
}

const struct hearing queue_hears_smtpd = {
	.hour = hour,
	.gone = smtpd_gone,
	.on_mail_begin = on_mail_begin,
	.on_mail_recipient = on_mail_recipient,
	.on_mail_recipient_drop = on_mail_recipient_drop,
	.on_mail_sender = on_mail_sender,
	.on_mail_data = on_mail_data,
	.on_mail_commit = on_mail_commit,
	.on_mail_abort = on_mail_abort,
	.on_mail_login_end = on_mail_login_end,
};
