/* relay-hello - before the first mail: the greeting, what the server can do, TLS, the login; see relay.h. */
#include "relay.h"

#include "common/ourselves.h"
#include "common/secret.h"

#include <stdlib.h>
#include <string.h>

#define V_NEEDS_TLS                                                                                \
	VERDICT_IS(LATER, 451, "4.7.4", "TLS is required for this server, and it does not offer it")
#define V_NO_REQUIRETLS                                                                            \
	VERDICT_IS(NEVER, 550, "5.7.30", "the sender requires TLS all the way; no server offers that")
#define V_LOOPS VERDICT_IS(NEVER, 554, "5.4.6", "mail for this domain leads back to this server")
#define V_NO_MECHANISM                                                                             \
	VERDICT_IS(LATER, 454, "4.7.8", "the server offers no way to log in that we know")
#define V_NOT_PROVED VERDICT_IS(LATER, 454, "4.7.8", "the server does not know the password")

static bool ready(struct dialogue *d);

void
hello_begin(struct dialogue *d)
{
	if (d->job->implicit_tls && !d->tls) {
		dialogue_start_tls(d);
		return;
	}
	d->step = STEP_GREETING;
	dialogue_set_timer(d, commands_reply_seconds(d));
}

static void
add_own_name(const struct dialogue *d, struct text *to)
{
	ourselves_name(d->relay->daemon.settings->hostname, span_has(span_str(d->ip), ':') ? 6 : 4, to);
}

void
hello_say(struct dialogue *d)
{
	struct text command = TEXT_UP_TO(MOST_HOST + 16);
	bool before_greeting = d->job->implicit_tls && d->caps == 0 && !d->greeted;

	smtp_reply_reset(&d->reply);
	d->caps = 0;
	d->auth[0] = '\0';
	if (before_greeting) {
		d->step = STEP_GREETING;
		dialogue_set_timer(d, commands_reply_seconds(d));
		return;
	}
	d->step = STEP_EHLO;
	text_add_str(&command, d->lmtp ? "LHLO " : "EHLO ");
	add_own_name(d, &command);
	commands_say(d, text_str(&command));
	text_clear(&command);
}

static void
hello_without_extensions(struct dialogue *d)
{
	struct text command = TEXT_UP_TO(MOST_HOST + 16);

	d->step = STEP_HELO;
	text_add_str(&command, "HELO ");
	add_own_name(d, &command);
	commands_say(d, text_str(&command));
	text_clear(&command);
}

static struct span
take_word(struct span *line)
{
	struct span word = span_part(*line, 0, span_index(*line, ' '));

	*line = span_trim(span_part(*line, word.len, line->len));
	return word;
}

static void
read_capabilities(struct dialogue *d)
{
	static const struct {
		const char *word;
		unsigned int cap;
	} known[] = {
		{ "PIPELINING", CAP_PIPELINING }, { "8BITMIME", CAP_8BITMIME }, { "SIZE", CAP_SIZE },
		{ "STARTTLS", CAP_STARTTLS }, { "SMTPUTF8", CAP_SMTPUTF8 }, { "CHUNKING", CAP_CHUNKING },
		{ "BINARYMIME", CAP_BINARYMIME }, { "DSN", CAP_DSN }, { "REQUIRETLS", CAP_REQUIRETLS },
		{ "AUTH", CAP_AUTH }, { "ENHANCEDSTATUSCODES", CAP_ENHANCED },
		{ "DELIVERBY", CAP_DELIVERBY }, { "MT-PRIORITY", CAP_PRIORITY },
		{ "NO-SOLICITING", CAP_SOLICIT },
	};
	struct span text = text_span(&d->reply.text), line, word;

	d->size_limit = d->by_least = 0;
	if (!smtp_reply_take_line(&text, &line))
		return;
	while (smtp_reply_take_line(&text, &line)) {
		word = take_word(&line);
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if (span_equal_nocase(word, span_str(known[i].word)))
				d->caps |= known[i].cap;
		if (span_equal_nocase(word, SPAN("SIZE")))
			(void)span_take_number(&line, UINT64_MAX, &d->size_limit);
		if (span_equal_nocase(word, SPAN("DELIVERBY")))
			(void)span_take_number(&line, UINT64_MAX, &d->by_least);
		if (span_equal_nocase(word, SPAN("AUTH")))
			(void)span_copy(span_part(line, 0, sizeof(d->auth) - 1), d->auth, sizeof(d->auth));
	}
}

/* Does the server call itself as we do? Then it is us. */
static bool
is_ourselves(const struct dialogue *d)
{
	struct span text = text_span(&d->reply.text), line, name = d->relay->daemon.settings->hostname;

	return !d->lmtp && d->job->way == WAY_MX && !span_equal_nocase(name, SPAN("localhost")) &&
		smtp_reply_take_line(&text, &line) && span_equal_nocase(take_word(&line), name);
}

static bool
tls_must_be(const struct dialogue *d)
{
	const struct job *j = d->job;

	return j->dane || j->require_tls || j->sts == STS_ENFORCE || j->policy.wanted == WANT_ENCRYPT ||
		j->policy.wanted == WANT_DANE_ONLY || j->policy.wanted == WANT_VERIFY;
}

/* Nobody else can help with this; the password may be mended. */
static bool
auth_failed(struct dialogue *d, struct verdict v)
{
	log_error(d->job->session, "relayhost-login", KEY_STR("relay", d->where),
		KEY_STR("login", d->job->credentials->login), KEY_SPAN("reason", v.reason));
	sasl_free(&d->sasl);
	return commands_next_server(d, v, HEALTH_DEAD);
}

static bool
auth_begin(struct dialogue *d)
{
	struct text command = TEXT_UP_TO(3 * MOST_SECRET);
	bool good;

	sasl_free(&d->sasl);
	d->sasl = sasl_new(span_str(d->auth), span_str(d->host), d->job->credentials);
	good = d->sasl != NULL && sasl_begin(d->sasl, &command);
	if (good) {
		d->step = STEP_AUTH;
		commands_say(d, text_str(&command));
	}
	text_wipe(&command);
	return good ? true : auth_failed(d, V_NO_MECHANISM);
}

static bool
on_auth(struct dialogue *d)
{
	struct text answer = TEXT_UP_TO(3 * MOST_SECRET), reason = TEXT_UP_TO(MOST_REASON);
	struct span text = text_span(&d->reply.text), line = SPAN_NONE;
	char status[MOST_STATUS + 1];
	struct verdict v;
	bool good;

	if (d->reply.code == 235) {
		bool proved = sasl_is_over(d->sasl);

		sasl_free(&d->sasl);
		d->logged_in = true;
		return proved ? ready(d) : auth_failed(d, V_NOT_PROVED);
	}
	if (d->reply.code == 334) {
		smtp_reply_take_line(&text, &line);
		good = sasl_answer(d->sasl, line, &answer);
		commands_say(d, good ? text_str(&answer) : "*");
		text_wipe(&answer);
		return true;
	}
	if (d->job->credentials->command)
		token_refused(d->relay, d->job->credentials->login);
	v = reply_verdict(d, "AUTH", &reason, status);
	v.outcome = LATER;
	v.code = 454;
	status[0] = '4';
	(void)auth_failed(d, v);
	text_clear(&reason);
	return false;
}

/* Greeted, and under TLS where it must be. */
static bool
ready(struct dialogue *d)
{
	if (d->job->credentials != NULL && !d->logged_in) {
		if (!d->tls && d->job->policy.wanted != WANT_NONE)
			return auth_failed(d, V_NEEDS_TLS);
		return auth_begin(d);
	}
	if (d->job->require_tls && (!d->verified || (d->caps & CAP_REQUIRETLS) == 0)) {
		/* RFC 8689 4.2.1: another server may; none: back to the sender. */
		return commands_next_server(d, V_NO_REQUIRETLS, HEALTH_GOOD);
	}
	commands_envelope(d);
	return d->step != STEP_QUIT;
}

static bool
after_hello(struct dialogue *d)
{
	struct job *j = d->job;

	if (!d->tls && j->policy.wanted != WANT_NONE && (d->caps & CAP_STARTTLS) != 0 && !j->plain_again) {
		d->step = STEP_STARTTLS;
		commands_say(d, "STARTTLS");
		return true;
	}
	if (!d->tls && j->policy.wanted == WANT_DANE && !j->plain_again)
		sts_report(j, d->ip, d->own_ip, SPAN("starttls-not-supported"), SPAN(""));
	if (!d->tls && tls_must_be(d)) {
		/* Whoever has TLS, and is said not to, is under attack; whoever has none keeps to no REQUIRETLS. */
		bool never = j->require_tls && !j->dane && j->sts != STS_ENFORCE;

		return commands_next_server(d, never ? V_NO_REQUIRETLS : V_NEEDS_TLS, HEALTH_GOOD);
	}
	return ready(d);
}

static bool
on_hello(struct dialogue *d)
{
	if (d->reply.code / 100 == 2) {
		if (is_ourselves(d)) {
			d->job->servers = d->job->current + 1;
			return commands_next_server(d, V_LOOPS, HEALTH_GOOD);
		}
		if (d->step == STEP_EHLO)
			read_capabilities(d);
		return after_hello(d);
	}
	if (d->step == STEP_EHLO && d->reply.code / 100 == 5 && !d->lmtp && !d->tls) {
		hello_without_extensions(d);
		return true;
	}
	return commands_try_another(d, d->step == STEP_EHLO ? "EHLO" : "HELO");
}

static bool
on_starttls(struct dialogue *d)
{
	if (d->reply.code == 220) {
		dialogue_start_tls(d);
		return false;
	}
	if (tls_must_be(d))
		return commands_try_another(d, "STARTTLS");
	return ready(d);
}

bool
hello_reply(struct dialogue *d)
{
	switch (d->step) {
	case STEP_GREETING:
		d->greeted = true;
		if (d->reply.code / 100 != 2)
			return commands_try_another(d, "the connection");
		hello_say(d);
		return true;
	case STEP_EHLO:
	case STEP_HELO:
		return on_hello(d);
	case STEP_STARTTLS:
		return on_starttls(d);
	case STEP_AUTH:
		return on_auth(d);
	default:
		return commands_try_another(d, "nothing");
	}
}
