/*
 * rcpt - RCPT (RFC 5321 4.1.1.3). Who is known, and who may be relayed to, queue says.
 */
#include "smtpd/checks.h"
#include "smtpd/commands.h"
#include "smtpd/local.h"
#include "smtpd/reply.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"
#include "smtpd/verbs.h"

static const struct refusal needs_sender = { 503, "5.5.1", "MAIL first" };
static const struct refusal chunks_began = { 503, "5.5.1", "BDAT was begun: no RCPT" };
static const struct refusal too_many = { 452, "4.5.3", "too many recipients for one message" };

static void
judge(struct session *s, struct envelope_recipient *recipient)
{
	struct text address = TEXT_UP_TO(MOST_ADDRESS);
	struct verdict v;

	envelope_address_put(&address, &recipient->address);
	switch (checks_judge(s, recipient, &v)) {
	case JUDGED_REFUSED:
		s->mail->asked++;
		refuse_verdict(s, &v, text_span(&address));
		break;
	case JUDGED_DISCARDED:
		transaction_discard_recipient(s);
		break;
	case JUDGED_GOOD:
	case JUDGED_REDIRECTED:
		transaction_recipient(s, recipient);
		break;
	}
	text_clear(&address);
}

void
do_rcpt(struct session *s, struct span arguments)
{
	struct envelope_recipient recipient = { 0 };
	const struct refusal *no = s->mail ? NULL : &needs_sender;
	struct text qualified = TEXT_UP_TO(ENVELOPE_LINE_MOST);

	/* Its message is on its way already: the client has lost its place, and starts again. */
	if (!no && s->mail->chunked) {
		refuse_for(s, &chunks_began, envelope_said(arguments));
		transaction_reset(s);
		return;
	}
	arguments = local_qualify(s, arguments, &qualified);
	if (!no)
		no = envelope_parse_rcpt(arguments, session_offers(s), s->mail->utf8, &recipient);
	/* RFC 5321 4.5.3.1.10 */
	if (!no && s->mail->asked >= s->server->daemon.settings->recipients)
		no = &too_many;
	if (!no && transaction_is_lost(s->mail))
		no = &queue_away;
	if (no)
		refuse_for(s, no, envelope_said(arguments));
	else
		judge(s, &recipient);
	text_clear(&qualified);
}
