/*
 * filter - see filter.h.
 */
#include "smtpd/filter.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "smtpd/checks.h"
#include "smtpd/receive.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"

static const struct list *
filters_of(const struct session *s)
{
	const struct settings *settings = s->server->daemon.settings;

	if (s->service == SERVICE_LMTP)
		return &settings->lmtp_milters;
	return session_submits(s) ? &settings->submission_milters : &settings->smtp_milters;
}

bool
filter_wanted(const struct session *s)
{
	return filters_of(s)->count > 0;
}

/* Says to a milter who sends. False: there is none. */
static bool
begin(struct session *s)
{
	struct channel *milter = daemon_any_peer(&s->server->daemon, PROGRAM_MILTER);
	struct transaction *t = s->mail;
	bool looked_up, local = s->service == SERVICE_LOCAL || span_equal(span_str(s->ip), SPAN("local"));

	if (!milter)
		return false;
	t->filter = milter;
	return send_filter_begin(milter, t->id,
		&(struct msg_filter_begin){
			.session = s->id,
			.service = (uint8_t)s->service,
			.submitted = session_submits(s),
			.ip = local ? SPAN("127.0.0.1") : span_str(s->ip),
			.name = local ? SPAN("localhost") : span_str(checks_name(s, &looked_up)),
			.helo = span_str(s->helo),
			.tls_version = s->tls ? span_str(s->tls->version) : SPAN_NONE,
			.tls_cipher = s->tls ? span_str(s->tls->cipher) : SPAN_NONE,
			.login = span_str(s->login),
			.sender = span_str(t->sender) },
		NULL);
}

bool
filter_recipient(struct session *s, uint32_t number, struct span address)
{
	struct transaction *t = s->mail;

	if (t->filter_lost || (!t->filter && !begin(s))) {
		t->filter_lost = true;
		return false;
	}
	text_add(&t->filter_owes, span_of(&number, sizeof(number)));
	return send_filter_recipient(t->filter, t->id,
		&(struct msg_filter_recipient){ .number = number, .address = address }, NULL);
}

bool
filter_owes(const struct transaction *t)
{
	return t->filter_owes.len > 0;
}

void
filter_cancel(struct transaction *t)
{
	if (t->filter)
		send_filter_cancel(t->filter, t->id, &(struct msg_filter_cancel){ }, NULL);
	t->filter = NULL;
	text_clear(&t->filter_owes);
}

bool
filter_ask(struct session *s, int file, uint64_t size, size_t trace)
{
	struct transaction *t = s->mail;
	int copy = t->filter ? fcntl(file, F_DUPFD_CLOEXEC, 0) : -1;

	if (copy < 0)
		return false;
	s->stage = STAGE_FILTERED;
	return send_filter_ask(t->filter, t->id,
		&(struct msg_filter_ask){ .size = size, .trace = (uint32_t)trace }, &copy);
}

/* --- what milter says --- */

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	const struct transaction *t = transaction_find(me, id);

	(void)m;
	if (!t || t->filter != from)
		return HOUR_NONE;
	return t->session->stage == STAGE_FILTERED ? HOUR_WAITING : HOUR_OPEN;
}

/* The number that milter owes an answer about next. */
static bool
take_owed(struct transaction *t, uint32_t *number)
{
	if (t->filter_owes.len < sizeof(*number))
		return false;
	memcpy(number, t->filter_owes.at, sizeof(*number));
	text_drop(&t->filter_owes, sizeof(*number));
	return true;
}

static void
on_filter_recipient_told(void *me, struct channel *from, uint64_t id,
	const struct msg_filter_recipient_told *m, const int *fd)
{
	struct transaction *t = transaction_find(me, id);
	struct verdict v;
	uint32_t number;

	(void)from;
	(void)fd;
	if (!take_owed(t, &number))
		return;
	verdict_read(&v, m->outcome, m->code, m->status, m->reason);
	/* They come in the order in which they were asked for; another number says nothing. */
	if (number != m->number)
		verdict_set(&v, 451, "4.3.0", "the filters of this server failed, try again later");
	transaction_recipient_judged(t->session, number, &v);
}

static void
on_filter_sender(void *me, struct channel *from, uint64_t id, const struct msg_filter_sender *m, const int *fd)
{
	(void)from;
	(void)fd;
	transaction_change_sender(transaction_find(me, id)->session, m->address);
}

static void
on_filter_add(void *me, struct channel *from, uint64_t id, const struct msg_filter_add *m, const int *fd)
{
	(void)from;
	(void)fd;
	transaction_add_recipient(transaction_find(me, id)->session, m->address, m->parameters);
}

static void
on_filter_remove(void *me, struct channel *from, uint64_t id, const struct msg_filter_remove *m, const int *fd)
{
	(void)from;
	(void)fd;
	transaction_drop_recipient(transaction_find(me, id)->session, m->number);
}

static void
on_filter_told(
	void *me, struct channel *from, uint64_t id, const struct msg_filter_told *m, const int *fd)
{
	struct transaction *t = transaction_find(me, id);

	(void)from;
	(void)fd;
	t->filter = NULL;
	receive_filtered(t->session, m);
}

/* The file is in an unknown state: nobody but a new attempt can tell. Recipients that were asked about hear "later". */
static void
lost(struct session *s)
{
	struct transaction *t = s->mail;
	struct verdict v;
	uint32_t number;

	t->filter = NULL;
	t->filter_lost = true;
	if (s->stage == STAGE_FILTERED) {
		receive_filtered(s, NULL);
		return;
	}
	verdict_set(&v, 451, "4.3.0", "the filters of this server failed, try again later");
	while (s->mail == t && take_owed(t, &number))
		transaction_recipient_judged(s, number, &v);
}

static void
gone(void *me, struct channel *from)
{
	struct server *server = me;
	struct session *s;

	LIST_FOREACH(s, &server->sessions, in_all)
		if (s->mail && s->mail->filter == from)
			lost(s);
}

const struct hearing hearing_milter = {
	.hour = hour,
	.gone = gone,
	.on_filter_recipient_told = on_filter_recipient_told,
	.on_filter_sender = on_filter_sender,
	.on_filter_add = on_filter_add,
	.on_filter_remove = on_filter_remove,
	.on_filter_told = on_filter_told,
};
