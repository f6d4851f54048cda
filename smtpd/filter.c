/*
 * filter - see filter.h.
 */
#include "smtpd/filter.h"

#include <fcntl.h>
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

bool
filter_ask(struct session *s, int file, uint64_t size, size_t trace)
{
	struct channel *milter = daemon_any_peer(&s->server->daemon, PROGRAM_MILTER);
	struct transaction *t = s->mail;
	struct span left = text_span(&t->filtered), address;
	bool looked_up, local = s->service == SERVICE_LOCAL || span_equal(span_str(s->ip), SPAN("local"));
	int copy = fcntl(file, F_DUPFD_CLOEXEC, 0);

	if (!milter || copy < 0) {
		if (copy >= 0)
			close(copy);
		return false;
	}
	send_filter_begin(milter, t->id,
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
	while (span_take_until(&left, '\0', &address))
		send_filter_recipient(
			milter, t->id, &(struct msg_filter_recipient){ .address = address }, NULL);
	t->filter = milter;
	s->stage = STAGE_FILTERED;
	return send_filter_ask(milter, t->id,
		&(struct msg_filter_ask){ .size = size, .trace = (uint32_t)trace }, &copy);
}

/* --- what milter says --- */

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	const struct transaction *t = transaction_find(me, id);

	(void)m;
	return t && t->filter == from && t->session->stage == STAGE_FILTERED ? HOUR_WAITING
									      : HOUR_NONE;
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

/* The file is in an unknown state: nobody but a new attempt can tell. */
static void
gone(void *me, struct channel *from)
{
	struct server *server = me;
	struct session *s;

	LIST_FOREACH(s, &server->sessions, in_all)
		if (s->stage == STAGE_FILTERED && s->mail && s->mail->filter == from) {
			s->mail->filter = NULL;
			receive_filtered(s, NULL);
		}
}

const struct hearing hearing_milter = {
	.hour = hour,
	.gone = gone,
	.on_filter_told = on_filter_told,
};
