/*
 * hello - EHLO and HELO (RFC 5321 4.1.1.1), LHLO (RFC 2033 section 4.1).
 */
#include <stdlib.h>
#include <time.h>

#include "common/mechanisms.h"
#include "common/tls-ask.h"
#include "smtpd/commands.h"
#include "smtpd/instant.h"
#include "smtpd/parameters.h"
#include "smtpd/reply.h"
#include "smtpd/session.h"
#include "smtpd/told.h"
#include "smtpd/transaction.h"

static bool
greet(struct session *s, struct span arguments, bool extended)
{
	struct span name = span_trim(arguments);

	if (!esmtp_helo_fits(name)) {
		refuse(s, 501, "5.5.4", "this needs your host name or address literal");
		return false;
	}
	/* RFC 5321 4.1.4: as RSET, also for the second one. */
	transaction_reset(s);
	free(s->helo);
	s->helo = must_copy(name);
	s->extended = extended;
	return true;
}

static struct span
hostname(const struct session *s)
{
	return s->server->daemon.settings->hostname;
}

static void
put_extensions(const struct session *s, struct text *lines)
{
	const struct settings *settings = s->server->daemon.settings;
	unsigned int offers = session_offers(s);

	text_add_str(lines,
		"250-PIPELINING\r\n"            /* RFC 2920 */
		"250-8BITMIME\r\n"              /* RFC 6152 */
		"250-CHUNKING\r\n"              /* RFC 3030 */
		"250-BINARYMIME\r\n"
		"250-SMTPUTF8\r\n"              /* RFC 6531 */
		"250-DSN\r\n"                   /* RFC 3461 */
		"250-ENHANCEDSTATUSCODES\r\n"   /* RFC 2034 */
		"250-DELIVERBY\r\n"             /* RFC 2852 */
		"250-LIMITS RCPTMAX=");         /* RFC 9422 */
	text_add_number(lines, settings->recipients);
	text_add_str(lines, "\r\n250-SIZE "); /* RFC 1870 */
	text_add_number(lines, settings->message_size_bytes);
	text_add_str(lines, "\r\n");
	if (offers & OFFERS_REQUIRETLS)
		text_add_str(lines, "250-REQUIRETLS\r\n"); /* RFC 8689 */
	if (offers & OFFERS_PRIORITY)
		text_add_str(lines, "250-MT-PRIORITY\r\n"); /* RFC 6710 */
	if (offers & OFFERS_SOLICIT) {
		text_add_str(lines, "250-NO-SOLICITING"); /* RFC 3865 */
		for (size_t i = 0; i < settings->no_soliciting.count; i++) {
			text_add_byte(lines, i == 0 ? ' ' : ',');
			text_add(lines, settings->no_soliciting.at[i]);
		}
		text_add_str(lines, "\r\n");
	}
	if (offers & OFFERS_RELEASE) {
		text_add_str(lines, "250-FUTURERELEASE "); /* RFC 4865 section 3 */
		text_add_number(lines, settings->future_release_seconds);
		text_add_byte(lines, ' ');
		instant_put(lines, (uint64_t)time(NULL) + settings->future_release_seconds);
		text_add_str(lines, "\r\n");
	}
}

/* EHLO, and LHLO, which is the same (RFC 2033 section 4.1). */
static void
greet_extended(struct session *s, struct span arguments)
{
	struct text lines = TEXT_UP_TO(2048);

	if (!greet(s, arguments, true))
		return;
	text_add_str(&lines, "250-");
	text_add(&lines, hostname(s));
	text_add_str(&lines, "\r\n");
	put_extensions(s, &lines);
	if (!s->tls && s->service != SERVICE_LMTP && s->service != SERVICE_LOCAL &&
		tls_is_offered(&s->server->daemon))
		text_add_str(&lines, "250-STARTTLS\r\n");
	if (s->may_xclient && !s->login) {
		text_add_str(&lines, "250-XCLIENT");
		told_offer(false, &lines);
		text_add_str(&lines, "\r\n");
	}
	if (s->may_xforward) {
		text_add_str(&lines, "250-XFORWARD");
		told_offer(true, &lines);
		text_add_str(&lines, "\r\n");
	}
	/* A password never travels in clear, so nobody is invited to (RFC 4954 section 4). */
	if (s->tls && !s->login) {
		text_add_str(&lines, "250-AUTH");
		mechanisms_offer(s->server->daemon.settings, s->service,
			text_span(&s->tls->passport), " ", &lines);
		text_add_str(&lines, "\r\n");
	}
	text_add_str(&lines, "250 HELP\r\n");
	answer_lines(s, text_span(&lines));
	text_clear(&lines);
}

/* RFC 2033 section 4.1: LMTP has LHLO alone, SMTP has not. */
static bool
is_of_this_protocol(struct session *s, bool lmtp)
{
	if ((s->service == SERVICE_LMTP) == lmtp)
		return true;
	refuse(s, 500, "5.5.1", lmtp ? "this is SMTP: EHLO" : "this is LMTP: LHLO");
	return false;
}

void
do_ehlo(struct session *s, struct span arguments)
{
	if (is_of_this_protocol(s, false))
		greet_extended(s, arguments);
}

void
do_lhlo(struct session *s, struct span arguments)
{
	if (is_of_this_protocol(s, true))
		greet_extended(s, arguments);
}

void
do_helo(struct session *s, struct span arguments)
{
	struct text words = TEXT_UP_TO(MOST_HOST);

	if (!is_of_this_protocol(s, false) || !greet(s, arguments, false))
		return;
	text_add(&words, hostname(s));
	/* RFC 2034: no enhanced code in the answer to HELO and EHLO. */
	answer(s, 250, NULL, text_str(&words));
	text_clear(&words);
}
