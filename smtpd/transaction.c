/*
 * transaction - see transaction.h.
 */
#include "smtpd/transaction.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/id.h"
#include "common/log.h"
#include "smtpd/commands.h"
#include "smtpd/policy-ask.h"
#include "smtpd/filter.h"
#include "smtpd/receive.h"
#include "smtpd/reply.h"
#include "smtpd/session.h"
#include "smtpd/verbs.h"

static const struct refusal sender_good = { 250, "2.1.0", "sender accepted" };
static const struct refusal recipient_good = { 250, "2.1.5", "recipient accepted" };
const struct refusal queue_away = {
	451, "4.3.0", "the queue is not available, try again later"
};

static struct channel *
queue(struct session *s)
{
	return daemon_any_peer(&s->server->daemon, PROGRAM_QUEUE);
}

struct transaction *
transaction_find(struct server *server, uint64_t id)
{
	struct transaction *t;

	LIST_FOREACH(t, &server->by_message[id % ID_BUCKETS], in_bucket)
		if (t->id == id)
			return t;
	return NULL;
}

/* Seconds since 1970; 1 for what would lie before that, since 0 is none. */
static uint64_t
deliver_by(const struct envelope_sender *sender)
{
	int64_t when = (int64_t)time(NULL) + sender->by_seconds;

	return sender->by_mode == 0 ? 0 : when > 0 ? (uint64_t)when : 1;
}

/* RFC 4954 section 5: nobody here may assert another's identity, only his own. */
static struct span
trusted_auth(const struct session *s, const struct envelope_sender *sender)
{
	bool own = s->login && strcmp(sender->auth, s->login) == 0;

	return own ? span_str(s->login) : SPAN_NONE;
}

void
transaction_begin(struct session *s, const struct envelope_sender *sender, bool lowered)
{
	struct transaction *t = must_alloc(sizeof(*t));
	struct text address = TEXT_UP_TO(MOST_ADDRESS);

	if (!sender->null)
		envelope_address_put(&address, &sender->address);
	t->session = s;
	t->filter_owes = TEXT_UP_TO(OWES_MOST);
	t->id = id_new();
	t->early_fd = -1;
	t->sender = must_copy(text_span(&address));
	t->utf8 = sender->utf8;
	t->priority = sender->priority;
	t->lowered = lowered;
	t->solicit = sender->solicit[0] ? must_copy(span_str(sender->solicit)) : NULL;
	t->body = sender->body;
	t->announced = sender->size;
	LIST_INSERT_HEAD(&s->server->by_message[t->id % ID_BUCKETS], t, in_bucket);
	s->mail = t;
	t->known = send_mail_begin(queue(s), t->id, &(struct msg_mail_begin){
		.session = s->id, .service = (uint8_t)s->service,
		.sender = text_span(&address), .login = span_str(s->login),
		.body = (uint8_t)sender->body, .utf8 = sender->utf8, .size = sender->size,
		.ip = span_str(s->ip), .helo = span_str(s->helo),
		.envid = span_str(sender->envid), .ret = (uint8_t)sender->ret,
		.require_tls = sender->require_tls, .hold_until = sender->hold_until,
		.hold_for = sender->hold_for,
		.deliver_by = deliver_by(sender), .by_mode = (uint8_t)sender->by_mode,
		.by_trace = sender->by_trace,
		.priority = (uint8_t)(PRIORITY_NORMAL + sender->priority),
		.auth_param = trusted_auth(s, sender) }, NULL);
	if (t->known) {
		replies_await(s, REPLY_MAIL, 0, SPAN_NONE);
	} else {
		refuse_for(s, &queue_away, SPAN_NONE);
		transaction_reset(s);
	}
	text_clear(&address);
}

void
transaction_pass_recipient(struct session *s, uint32_t number, struct span address, uint8_t notify,
	struct span orcpt)
{
	struct verdict v;

	if (s->mail->known && send_mail_recipient(queue(s), s->mail->id, &(struct msg_mail_recipient){
		.number = number, .address = address, .notify = notify, .orcpt = orcpt }, NULL))
		return;
	verdict_set(&v, queue_away.code, queue_away.status, queue_away.reason);
	replies_settle(s, REPLY_RCPT, number, &v, NULL);
}

void
transaction_recipient(struct session *s, const struct envelope_recipient *recipient)
{
	struct transaction *t = s->mail;
	struct text address = TEXT_UP_TO(MOST_ADDRESS);
	uint32_t number = t->asked++;

	envelope_address_put(&address, &recipient->address);
	replies_await(s, REPLY_RCPT, number, text_span(&address));
	if (!policy_greylist(s, recipient, number))
		transaction_pass_recipient(s, number, text_span(&address), recipient->notify,
			span_str(recipient->orcpt));
	text_clear(&address);
}

void
transaction_discard_recipient(struct session *s)
{
	struct transaction *t = s->mail;

	t->asked++;
	t->accepted++;
	t->discarded++;
	answer(s, recipient_good.code, recipient_good.status, recipient_good.reason);
}

bool
transaction_is_discarded(const struct transaction *t)
{
	return t->accepted > 0 && t->accepted == t->discarded;
}

static bool
ask_file(struct session *s)
{
	return send_mail_data(queue(s), s->mail->id, 
		&(struct msg_mail_data){ .by_queue = s->mail->hold != NULL || filter_wanted(s) }, NULL);
}

void
transaction_ask_file_now(struct session *s)
{
	struct verdict v;

	if (ask_file(s))
		return;
	verdict_set(&v, queue_away.code, queue_away.status, queue_away.reason);
	receive_told(s, &v);
}

bool
transaction_ask_file(struct session *s)
{
	return policy_allowance(s) || ask_file(s);
}

void
transaction_ask_file_early(struct session *s)
{
	struct transaction *t = s->mail;

	/* Whose sender it is must be known before a login gets a file; what it may send, policy says. */
	if (!t || !t->known || t->early || s->login || t->held || t->discarded > 0 || t->chunked ||
		t->body == BODY_BINARYMIME || filter_wanted(s))
		return;
	t->early = ask_file(s);
}

bool
transaction_commit(struct session *s, uint64_t size, struct span digest, struct span top, bool tls_optional)
{
	return send_mail_commit(queue(s), s->mail->id,
		&(struct msg_mail_commit){ .size = size, .digest = digest, .hold = s->mail->hold != NULL,
			.hold_reason = span_str(s->mail->hold), .top = top, .tls_optional = tls_optional }, NULL);
}

/* --- what queue has no time to hear --- */

size_t
queue_backlog(struct server *server)
{
	const struct channel *queue = daemon_peer(&server->daemon, PROGRAM_QUEUE, 0);

	return queue ? channel_waiting(queue) : 0;
}

/* All of its clients may go at once, while queue does not read: that need not be the end of queue. */
static void
abort_say(struct session *s, uint64_t id)
{
	struct text *later = &s->server->aborts;

	if (later->len == 0 && queue_backlog(s->server) < BACKLOG_OF_QUEUE)
		send_mail_abort(queue(s), id, &(struct msg_mail_abort){}, NULL);
	else
		text_add(later, span_of(&id, sizeof(id)));
}

void
aborts_after_backlog(struct server *server)
{
	struct channel *queue = daemon_any_peer(&server->daemon, PROGRAM_QUEUE);
	uint64_t id;
	size_t at = 0;

	if (server->aborts.len == 0)
		return;
	while (at < server->aborts.len && queue_backlog(server) < BACKLOG_OF_QUEUE) {
		memcpy(&id, server->aborts.at + at, sizeof(id));
		at += sizeof(id);
		send_mail_abort(queue, id, &(struct msg_mail_abort){}, NULL);
	}
	text_drop(&server->aborts, at);
	if (server->aborts.len == 0)
		text_clear(&server->aborts);
}

void
transaction_abort(struct transaction *t)
{
	/* Whatever policy still says, no file is asked for any more. */
	t->allowance_asked = false;
	if (t->known)
		abort_say(t->session, t->id);
	t->known = false;
}

bool
transaction_is_lost(const struct transaction *t)
{
	return !t->known && !t->early_told && !t->receipt;
}

void
transaction_lose(struct session *s, const struct verdict *why)
{
	bool began = s->mail && !replies_awaits(s, REPLY_MAIL, 0);

	if (s->mail)
		transaction_abort(s->mail);
	replies_settle_all(s, why);
	/* Whose MAIL was accepted hears "later" from now on; not that there was none. */
	if (!began)
		transaction_reset(s);
}

void
transaction_reset(struct session *s)
{
	struct transaction *t = s->mail;

	if (!t)
		return;
	s->mail = NULL;
	xforward_forget(s);
	filter_cancel(t);
	receipt_free(&t->receipt);
	held_recipients_clear(&t->held);
	transaction_abort(t);
	if (t->early_fd >= 0)
		close(t->early_fd);
	free(t->early_told);
	LIST_REMOVE(t, in_bucket);
	for (uint32_t i = 0; t->lmtp && i < t->accepted; i++) {
		free(t->lmtp[i].address);
		free(t->lmtp[i].result);
	}
	free(t->lmtp);
	free(t->sender);
	free(t->recipient);
	free(t->hold);
	free(t->solicit);
	free(t);
}

/* --- what queue says --- */

/* Is DATA still to be worked on, which the file was asked for? */
static bool
is_early(const struct transaction *t)
{
	return t->early && !t->receipt && t->session->stage == STAGE_COMMANDS;
}

static bool
waits_early(const struct transaction *t)
{
	return is_early(t) && t->early_fd < 0;
}

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	const struct transaction *t = transaction_find(me, id);

	(void)from;
	/* Aborted, and maybe told before that was heard. */
	if (!t || !t->known)
		return HOUR_NONE;
	switch (m) {
	case MSG_mail_begun:
		return replies_awaits(t->session, REPLY_MAIL, 0) ? HOUR_WAITING : HOUR_OPEN;
	case MSG_mail_recipient_told:
		return replies_waiting(t->session) || t->adding > 0 ? HOUR_WAITING : HOUR_OPEN;
	case MSG_mail_file:
		return t->session->stage == STAGE_FILE_ASKED || t->session->stage == STAGE_INVITED || waits_early(t)
			? HOUR_WAITING : HOUR_OPEN;
	default:
		break;
	}
	if (t->session->stage == STAGE_FILE_ASKED || t->session->stage == STAGE_INVITED ||
		t->session->stage == STAGE_COMMITTED || is_early(t))
		return HOUR_WAITING;
	return t->receipt ? HOUR_LENT : HOUR_OPEN;
}

static void
on_mail_begun(void *me, struct channel *from, uint64_t id, const struct msg_mail_begun *m,
	const int *fd)
{
	struct transaction *t = transaction_find(me, id);
	struct session *s = t->session;
	struct verdict v, no_sender;
	char words[64];
	struct refusal good = sender_good;

	(void)from;
	(void)fd;
	verdict_read(&v, m->outcome, m->code, m->status, m->reason);
	if (t->lowered) {
		/* RFC 6710 4.1: the new priority, and then words. */
		snprintf(words, sizeof(words), "%d is the priority that it has here", t->priority);
		good = (struct refusal){ 250, "2.3.6", words };
	}
	/* queue has forgotten it. Before the answer: that may end the session, and `t` with it. */
	if (!v.good)
		t->known = false;
	/* It does not know the login: nothing can be sent in this session any more. */
	if (!v.good && v.code == 421) {
		session_close(s, v.code, v.status, v.reason);
		return;
	}
	replies_settle(s, REPLY_MAIL, 0, &v, &good);
	if (v.good)
		return;
	/* It will not answer the RCPTs that came along either. */
	verdict_set(&no_sender, 503, "5.5.1", "MAIL first");
	replies_settle_all(s, &no_sender);
	transaction_reset(s);
}

/* `accepted` is not yet counted up; the room grows by doubling. */
static void
remember_lmtp(struct transaction *t, uint32_t number, struct span address)
{
	if ((t->accepted & (t->accepted - 1)) == 0)
		t->lmtp = must_realloc(t->lmtp,
			(t->accepted ? t->accepted * 2u : 1u) * sizeof(*t->lmtp));
	t->lmtp[t->accepted] = (struct lmtp_recipient){ .number = number, .address = must_copy(address) };
}

/* Accepted by queue, and by the filters. */
static void
recipient_accepted(struct session *s, uint32_t number)
{
	struct transaction *t = s->mail;
	struct verdict v;

	if (s->service == SERVICE_LMTP)
		remember_lmtp(t, number, replies_address(s, number));
	t->accepted++;
	if (!t->recipient)
		t->recipient = must_copy(replies_address(s, number));
	verdict_set(&v, 250, "2.1.5", "");
	replies_settle(s, REPLY_RCPT, number, &v, &recipient_good);
}

void
transaction_drop_recipient(struct session *s, uint32_t number)
{
	send_mail_recipient_drop(
		queue(s), s->mail->id, &(struct msg_mail_recipient_drop){ .number = number }, NULL);
}

void
transaction_recipient_judged(struct session *s, uint32_t number, const struct verdict *v)
{
	if (!replies_awaits(s, REPLY_RCPT, number))
		return;
	if (v->good) {
		recipient_accepted(s, number);
		return;
	}
	transaction_drop_recipient(s, number);
	replies_settle(s, REPLY_RCPT, number, v, NULL);
}

void
transaction_change_sender(struct session *s, struct span sender)
{
	struct span in = sender;
	struct address a;

	if (sender.len > 0 && (address_take_mailbox(&in, s->mail->utf8, &a) != ADDRESS_OK || in.len > 0)) {
		log_warning(s->id, "filter-sender-ignored", KEY_ID("message", s->mail->id), KEY_SPAN("from", sender));
		return;
	}
	send_mail_sender(queue(s), s->mail->id, &(struct msg_mail_sender){ .sender = sender }, NULL);
}

void
transaction_add_recipient(struct session *s, struct span address, struct span parameters)
{
	struct transaction *t = s->mail;
	struct envelope_recipient to = { 0 };
	struct text line = TEXT_UP_TO(ENVELOPE_LINE_MOST), plain = TEXT_UP_TO(MOST_ADDRESS);

	text_add_str(&line, " TO:<");
	text_add(&line, address);
	text_add_byte(&line, '>');
	if (parameters.len > 0)
		text_add_byte(&line, ' ');
	text_add(&line, parameters);
	if (line.failed || t->asked >= s->server->daemon.settings->recipients ||
		envelope_parse_rcpt(text_span(&line), OFFERS_PARAMETERS, t->utf8, &to)) {
		log_warning(s->id, "filter-recipient-ignored", KEY_ID("message", t->id), KEY_SPAN("to", address));
	} else {
		envelope_address_put(&plain, &to.address);
		t->adding += send_mail_recipient(queue(s), t->id,
			&(struct msg_mail_recipient){ .number = t->asked++, .address = text_span(&plain),
				.notify = to.notify, .orcpt = span_str(to.orcpt) },
			NULL);
	}
	text_clear(&line);
	text_clear(&plain);
}

/* Of a recipient that a filter has added. Who cannot be had is not had; the message goes to the others. */
static void
added(struct session *s, uint32_t number, const struct verdict *v)
{
	struct transaction *t = s->mail;

	if (!v->good)
		log_warning(s->id, "filter-recipient-refused", KEY_ID("message", t->id), KEY_NUM("recipient", number),
			KEY_NUM("code", v->code), KEY_STR("reason", v->reason));
	t->add_failed = t->add_failed || (!v->good && v->code < 500);
	if (--t->adding == 0)
		receive_go_on(s);
}

static void
on_mail_recipient_told(void *me, struct channel *from, uint64_t id,
	const struct msg_mail_recipient_told *m, const int *fd)
{
	struct transaction *t = transaction_find(me, id);
	struct session *s = t->session;
	struct verdict v;

	(void)from;
	(void)fd;
	verdict_read(&v, m->outcome, m->code, m->status, m->reason);
	if (s->stage == STAGE_FILTERED && t->adding > 0)
		added(s, m->number, &v);
	if (!replies_awaits(s, REPLY_RCPT, m->number))
		return;
	if (!v.good)
		replies_settle(s, REPLY_RCPT, m->number, &v, &recipient_good);
	else if (!filter_wanted(s) || !filter_recipient(s, m->number, replies_address(s, m->number)))
		recipient_accepted(s, m->number);
}

static void
on_mail_file(
	void *me, struct channel *from, uint64_t id, const struct msg_mail_file *m, const int *fd)
{
	struct transaction *t = transaction_find(me, id);

	(void)from;
	if (!is_early(t)) {
		receive_begin(t->session, fd[0], m->last_write);
		return;
	}
	t->early_fd = fd[0];
	t->early_last_write = m->last_write;
}

/* Of LMTP: remembered until mail_told, which answers for all. */
static void
on_mail_recipient_result(void *me, struct channel *from, uint64_t id,
	const struct msg_mail_recipient_result *m, const int *fd)
{
	struct transaction *t = transaction_find(me, id);

	(void)from;
	(void)fd;
	/* They come in the order of RCPT; whatever queue says, each place is passed once. */
	while (t->lmtp && t->told < t->accepted) {
		struct lmtp_recipient *to = &t->lmtp[t->told++];

		if (to->number != m->number)
			continue;
		to->result = must_alloc(sizeof(*to->result));
		verdict_read(to->result, m->outcome, m->code, m->status, m->reason);
		break;
	}
}

static void
on_mail_told(
	void *me, struct channel *from, uint64_t id, const struct msg_mail_told *m, const int *fd)
{
	struct transaction *t = transaction_find(me, id);
	struct verdict v;

	(void)from;
	(void)fd;
	verdict_read(&v, m->outcome, m->code, m->status, m->reason);
	/* Whatever it says, this was its last word. */
	t->known = false;
	if (is_early(t)) {
		t->early_told = must_alloc(sizeof(*t->early_told));
		*t->early_told = v;
		/* A sound queue has answered for all by now; of others nothing is waited for. */
		if (v.good)
			verdict_set(&v, queue_away.code, queue_away.status, queue_away.reason);
		replies_settle_all(t->session, &v);
	} else {
		receive_told(t->session, &v);
	}
}

/* Its transactions died with it; the clients hear "later", and the connections stay. */
static void
gone(void *me, struct channel *from)
{
	struct server *server = me;
	struct session *s;
	struct verdict v;

	(void)from;
	text_clear(&server->aborts);
	verdict_set(&v, queue_away.code, queue_away.status, queue_away.reason);
	LIST_FOREACH(s, &server->sessions, in_all) {
		struct transaction *t = s->mail;

		if (!t || !t->known)
			continue;
		t->known = false;
		if (s->stage == STAGE_COMMANDS && !t->receipt)
			transaction_lose(s, &v);
		else
			receive_told(s, &v);
	}
}

const struct hearing hearing_queue = {
	.hour = hour,
	.gone = gone,
	.on_mail_begun = on_mail_begun,
	.on_mail_recipient_told = on_mail_recipient_told,
	.on_mail_file = on_mail_file,
	.on_mail_recipient_result = on_mail_recipient_result,
	.on_mail_told = on_mail_told,
};
