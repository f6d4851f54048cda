/*
 * policy-ask - see policy-ask.h.
 */
#include "smtpd/policy-ask.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/address.h"
#include "common/log.h"
#include "smtpd/checks.h"
#include "smtpd/receive.h"
#include "smtpd/reply.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"

/* A recipient that queue has not heard of yet. */
struct held_recipient {
	struct held_recipient *next;
	uint32_t number;
	uint8_t notify;
	char *address, *orcpt;
};

static struct channel *
policy(struct session *s)
{
	return daemon_any_peer(&s->server->daemon, PROGRAM_POLICY);
}

static void
held_free(struct held_recipient *h)
{
	free(h->address);
	free(h->orcpt);
	free(h);
}

void
held_recipients_clear(struct held_recipient **held)
{
	while (*held) {
		struct held_recipient *h = *held;

		*held = h->next;
		held_free(h);
	}
}

/* Takes RCPT `number` out of those that wait; NULL: it does not. */
static struct held_recipient *
held_take(struct transaction *t, uint32_t number)
{
	for (struct held_recipient **at = &t->held; *at; at = &(*at)->next) {
		struct held_recipient *h = *at;

		if (h->number == number) {
			*at = h->next;
			return h;
		}
	}
	return NULL;
}

static void
let_in(struct session *s, struct held_recipient *h)
{
	transaction_pass_recipient(s, h->number, span_str(h->address), h->notify, span_str(h->orcpt));
	held_free(h);
}

bool
policy_greylist(struct session *s, const struct envelope_recipient *to, uint32_t number)
{
	struct transaction *t = s->mail;
	struct text address = TEXT_UP_TO(MOST_ADDRESS);
	struct held_recipient *h;
	bool asked;

	if (!checks_greylists(s, &to->address))
		return false;
	envelope_address_put(&address, &to->address);
	asked = send_greylist_ask(policy(s), t->id, &(struct msg_greylist_ask){ .number = number,
		.ip = span_str(s->ip), .sender = span_str(t->sender), .recipient = text_span(&address) }, NULL);
	if (asked) {
		h = must_alloc(sizeof(*h));
		h->number = number;
		h->notify = to->notify;
		h->address = must_copy(text_span(&address));
		h->orcpt = must_copy(span_str(to->orcpt));
		h->next = t->held;
		t->held = h;
	}
	text_clear(&address);
	return asked;
}

bool
policy_allowance(struct session *s)
{
	const struct settings *settings = s->server->daemon.settings;

	if (!s->login || (settings->submission_messages_per_hour == 0 &&
		settings->submission_recipients_per_hour == 0))
		return false;
	s->mail->allowance_asked = send_allowance_ask(policy(s), s->mail->id,
		&(struct msg_allowance_ask){ .login = span_str(s->login), .recipients = s->mail->accepted }, NULL);
	return s->mail->allowance_asked;
}

/* --- what policy says --- */

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	const struct transaction *t = transaction_find(me, id);

	(void)from;
	if (!t)
		return HOUR_NONE;
	if (m == MSG_allowance_told)
		return t->allowance_asked ? HOUR_WAITING : HOUR_NONE;
	return t->held ? HOUR_WAITING : HOUR_NONE;
}

static void
on_greylist_told(
	void *me, struct channel *from, uint64_t id, const struct msg_greylist_told *m, const int *fd)
{
	struct transaction *t = transaction_find(me, id);
	struct held_recipient *h = held_take(t, m->number);
	struct verdict v;
	char words[80];

	(void)from;
	(void)fd;
	if (!h)
		return;
	if (m->seconds == 0) {
		let_in(t->session, h);
		return;
	}
	snprintf(words, sizeof(words), "greylisted, try again in %u seconds", (unsigned int)m->seconds);
	verdict_set(&v, 451, "4.7.1", words);
	replies_settle(t->session, REPLY_RCPT, m->number, &v, NULL);
	held_free(h);
}

static void
on_allowance_told(
	void *me, struct channel *from, uint64_t id, const struct msg_allowance_told *m, const int *fd)
{
	struct transaction *t = transaction_find(me, id);
	struct verdict v;
	char words[120];

	(void)from;
	(void)fd;
	t->allowance_asked = false;
	if (m->said == 0) {
		transaction_ask_file_now(t->session);
		return;
	}
	snprintf(words, sizeof(words), "too many %s from this login in an hour, try again in %u seconds",
		m->said == 1 ? "messages" : "recipients", (unsigned int)m->seconds);
	verdict_set(&v, 450, "4.7.1", words);
	receive_told(t->session, &v);
}

static void
gone(void *me, struct channel *from)
{
	struct server *server = me;
	struct session *s;
	struct held_recipient *h;

	(void)from;
	log_warning(0, "policy-away", KEY_STR("reason", "no greylisting and no allowances until it is back"));
	LIST_FOREACH(s, &server->sessions, in_all) {
		while (s->mail && (h = s->mail->held) != NULL) {
			s->mail->held = h->next;
			let_in(s, h);
		}
		if (s->mail && s->mail->allowance_asked) {
			s->mail->allowance_asked = false;
			transaction_ask_file_now(s);
		}
	}
}

const struct hearing hearing_policy = {
	.hour = hour,
	.gone = gone,
	.on_greylist_told = on_greylist_told,
	.on_allowance_told = on_allowance_told,
};
