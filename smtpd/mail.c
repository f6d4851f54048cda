/*
 * mail - MAIL (RFC 5321 4.1.1.2). Whether the sender belongs to the login, queue says.
 */
#include <time.h>

#include "smtpd/checks.h"
#include "smtpd/commands.h"
#include "smtpd/local.h"
#include "smtpd/reply.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"
#include "smtpd/verbs.h"

static const struct refusal needs_tls = { 530, "5.7.0", "STARTTLS first" };
static const struct refusal needs_login = { 530, "5.7.0", "authentication required" };
static const struct refusal nested = { 503, "5.5.1", "a transaction is open already" };
static const struct refusal too_large = {
	552, "5.3.4", "the message is larger than this server takes"
};

static const struct refusal too_often = {
	450, "4.7.1", "too many messages from your address, try again later"
};

static const struct refusal *
not_now(const struct session *s)
{
	if (session_submits(s) && s->service != SERVICE_LOCAL && !s->login)
		return s->tls ? &needs_login : &needs_tls;
	return s->mail ? &nested : NULL;
}

/* RFC 6710 section 5: what is more urgent than this login may be, is lowered, and the client told. */
static bool
lower_priority(const struct session *s, struct envelope_sender *sender)
{
	int most = (int)s->server->daemon.settings->priority_most;

	if (sender->priority <= most)
		return false;
	sender->priority = most;
	return true;
}

static bool
sends_too_often(struct session *s)
{
	uint64_t most = s->server->daemon.settings->client_messages_per_minute;

	return most > 0 && checks_apply(s) && session_count(s, RATE_MESSAGES, 1) > most;
}

void
do_mail(struct session *s, struct span arguments)
{
	struct envelope_sender sender = { 0 };
	const struct refusal *no = not_now(s);
	struct text qualified = TEXT_UP_TO(ENVELOPE_LINE_MOST);

	arguments = local_qualify(s, arguments, &qualified);

	if (!no)
		no = envelope_parse_mail(arguments, session_offers(s), (uint64_t)time(NULL),
			s->server->daemon.settings->future_release_seconds, &sender);
	if (!no && sender.has_size && sender.size > s->server->daemon.settings->message_size_bytes)
		no = &too_large;
	if (!no && sends_too_often(s))
		no = &too_often;
	if (no) {
		refuse_mail(s, no, envelope_said(arguments));
	} else {
		checks_sender(s, &sender);
		transaction_begin(s, &sender, lower_priority(s, &sender));
	}
	text_clear(&qualified);
}
