/* relay-commands - see relay.h. */
#include "relay.h"

#include "common/ourselves.h"
#include "common/secret.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_PIPELINED_BODY 32768       /* bytes: sent with the envelope, in one chunk */

#define V_NEEDS_TLS                                                                                \
	VERDICT_IS(LATER, 451, "4.7.4", "TLS is required for this server, and it does not offer it")
#define V_NO_REQUIRETLS                                                                            \
	VERDICT_IS(NEVER, 550, "5.7.30", "the sender requires TLS all the way; no server offers that")
#define V_NEEDS_UTF8                                                                               \
	VERDICT_IS(NEVER, 553, "5.6.7", "the server does not take internationalised addresses")
#define V_NEEDS_BINARY VERDICT_IS(NEVER, 554, "5.6.1", "the server does not take binary messages")
#define V_NO_DELIVERBY                                                                             \
	VERDICT_IS(NEVER, 554, "5.3.3", "the server does not promise when it delivers (DELIVERBY)")
#define V_NOT_IN_TIME VERDICT_IS(NEVER, 554, "5.4.7", "the server does not deliver as soon as the sender wants")
#define V_OVERDUE VERDICT_IS(LATER, 451, "4.4.7", "the time by which the sender wants it there is over")
#define V_TOO_BIG_THERE VERDICT_IS(NEVER, 552, "5.3.4", "the message is larger than the server takes")
#define V_LOOPS VERDICT_IS(NEVER, 554, "5.4.6", "mail for this domain leads back to this server")

#define V_NO_MECHANISM                                                                             \
	VERDICT_IS(LATER, 454, "4.7.8", "the server offers no way to log in that we know")
#define V_NOT_PROVED VERDICT_IS(LATER, 454, "4.7.8", "the server does not know the password")

static bool ready(struct dialogue *d);

static uint64_t
reply_seconds(const struct dialogue *d)
{
	return d->relay->daemon.settings->relay_reply_seconds;
}

static void
say(struct dialogue *d, const char *command)
{
	text_add_str(&d->out, command);
	text_add_str(&d->out, "\r\n");
	dialogue_set_timer(d, reply_seconds(d));
	dialogue_flush(d);
}

/* --- verdicts --- */

struct verdict
reply_verdict(const struct dialogue *d, const char *command, struct text *reason,
	char status[MOST_STATUS + 1])
{
	unsigned int class = d->reply.code / 100;
	struct span found = smtp_reply_status(&d->reply);
	struct text plain = TEXT_UP_TO(MOST_STATUS);
	size_t room;

	text_printf(reason, "%s said: ", d->where);
	room = reason->most - reason->len > strlen(command) + 16
		? reason->most - reason->len - strlen(command) - 16 : 0;
	smtp_reply_sentence(&d->reply, reason, room);
	if (class != 2)
		text_printf(reason, " (in reply to %s)", command);
	if (found.len == 0 || found.len > MOST_STATUS) {
		text_printf(&plain, "%u.0.0", class == 2 || class == 5 ? class : 4);
		found = text_span(&plain);
	}
	span_copy(found, status, MOST_STATUS + 1);
	text_clear(&plain);
	/* "Log in first" (RFC 4954 section 6) is between us and the server: no sender's matter. */
	if (d->reply.code == 530 || d->reply.code == 535) {
		status[0] = '4';
		return (struct verdict){ LATER, 454, span_str(status), text_span(reason) };
	}
	return (struct verdict){ class == 2 ? DONE : class == 5 ? NEVER : LATER,
		class == 3 ? 451 : d->reply.code, span_str(status), text_span(reason) };
}

/* Will the server tell the sender nothing of what he wants to hear? Then we tell that it has the message (RFC 3461 5.2.2,
 * RFC 2852 4.1.4.2). */
static bool
ends_here(const struct dialogue *d)
{
	return (d->caps & CAP_DSN) == 0 || (d->job->by_mode == 'N' && (d->caps & CAP_DELIVERBY) == 0);
}

/* Everybody of whom `which` is true gets what the reply says. */
static void
tell_all(struct dialogue *d, enum recipient_state which, const char *command)
{
	struct job *j = d->job;
	struct text reason = TEXT_UP_TO(MOST_REASON);
	char status[MOST_STATUS + 1];
	struct verdict v = reply_verdict(d, command, &reason, status);

	for (uint32_t i = 0; i < j->count; i++)
		if (j->recipient[i].state == which ||
			(which == SENT && j->recipient[i].state == WAITING))
			job_tell(j, &j->recipient[i], v, d->where,
				v.outcome == DONE && ends_here(d));
	text_clear(&reason);
}

/* The server refuses service with the reply at hand: the next one, or later. False. */
static bool
try_another(struct dialogue *d, const char *command)
{
	struct job *j = d->job;
	struct text reason = TEXT_UP_TO(MOST_REASON);
	char status[MOST_STATUS + 1];
	struct verdict v = reply_verdict(d, command, &reason, status);
	bool busy = d->reply.code == 421;

	/* Only 521 and 556 mean never (RFC 7504, RFC 7505). */
	if (v.outcome == NEVER && v.code != 521 && v.code != 556) {
		v.outcome = LATER;
		v.code = 451;
		status[0] = '4';
	}
	j->dialogue = NULL;
	d->job = NULL;
	dialogue_quit(d);
	job_next_server(j, v, busy ? HEALTH_BUSY : HEALTH_DEAD);
	text_clear(&reason);
	return false;
}

/* The job ends, by our own judgement; the connection may be used on. False: `d` may be gone. */
static bool
end_job(struct dialogue *d, struct verdict v)
{
	struct job *j = d->job;

	for (uint32_t i = 0; i < j->count; i++)
		job_tell(j, &j->recipient[i], v, d->where, false);
	dialogue_done(d);
	return false;
}

/* --- before the first mail --- */

void
commands_begin(struct dialogue *d)
{
	if (d->job->implicit_tls && !d->tls) {
		dialogue_start_tls(d);
		return;
	}
	d->step = STEP_GREETING;
	dialogue_set_timer(d, reply_seconds(d));
}

static void
add_own_name(const struct dialogue *d, struct text *to)
{
	ourselves_name(d->relay->daemon.settings->hostname, span_has(span_str(d->ip), ':') ? 6 : 4, to);
}

void
commands_hello(struct dialogue *d)
{
	struct text command = TEXT_UP_TO(MOST_HOST + 16);
	bool before_greeting = d->job->implicit_tls && d->caps == 0 && !d->greeted;

	smtp_reply_reset(&d->reply);
	d->caps = 0;
	d->auth[0] = '\0';
	if (before_greeting) {
		d->step = STEP_GREETING;
		dialogue_set_timer(d, reply_seconds(d));
		return;
	}
	d->step = STEP_EHLO;
	text_add_str(&command, d->lmtp ? "LHLO " : "EHLO ");
	add_own_name(d, &command);
	say(d, text_str(&command));
	text_clear(&command);
}

static void
hello_without_extensions(struct dialogue *d)
{
	struct text command = TEXT_UP_TO(MOST_HOST + 16);

	d->step = STEP_HELO;
	text_add_str(&command, "HELO ");
	add_own_name(d, &command);
	say(d, text_str(&command));
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
	struct job *j = d->job;

	log_error(j->session, "relayhost-login", KEY_STR("relay", d->where),
		KEY_STR("login", j->credentials->login), KEY_SPAN("reason", v.reason));
	j->dialogue = NULL;
	d->job = NULL;
	sasl_free(&d->sasl);
	dialogue_quit(d);
	job_next_server(j, v, HEALTH_DEAD);
	return false;
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
		say(d, text_str(&command));
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
		say(d, good ? text_str(&answer) : "*");
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
		struct job *j = d->job;

		j->dialogue = NULL;
		d->job = NULL;
		dialogue_quit(d);
		job_next_server(j, V_NO_REQUIRETLS, HEALTH_GOOD);
		return false;
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
		say(d, "STARTTLS");
		return true;
	}
	if (!d->tls && j->policy.wanted == WANT_DANE && !j->plain_again)
		sts_report(j, d->ip, d->own_ip, SPAN("starttls-not-supported"), SPAN(""));
	if (!d->tls && tls_must_be(d)) {
		/* Whoever has TLS, and is said not to, is under attack; whoever has none keeps to no REQUIRETLS. */
		bool never = j->require_tls && !j->dane && j->sts != STS_ENFORCE;

		j->dialogue = NULL;
		d->job = NULL;
		dialogue_quit(d);
		job_next_server(j, never ? V_NO_REQUIRETLS : V_NEEDS_TLS, HEALTH_GOOD);
		return false;
	}
	return ready(d);
}

static bool
on_hello(struct dialogue *d)
{
	if (d->reply.code / 100 == 2) {
		if (is_ourselves(d)) {
			struct job *j = d->job;

			j->dialogue = NULL;
			d->job = NULL;
			dialogue_quit(d);
			j->servers = j->current + 1;
			job_next_server(j, V_LOOPS, HEALTH_GOOD);
			return false;
		}
		if (d->step == STEP_EHLO)
			read_capabilities(d);
		return after_hello(d);
	}
	if (d->step == STEP_EHLO && d->reply.code / 100 == 5 && !d->lmtp && !d->tls) {
		hello_without_extensions(d);
		return true;
	}
	return try_another(d, d->step == STEP_EHLO ? "EHLO" : "HELO");
}

static bool
on_starttls(struct dialogue *d)
{
	if (d->reply.code == 220) {
		dialogue_start_tls(d);
		return false;
	}
	if (tls_must_be(d))
		return try_another(d, "STARTTLS");
	return ready(d);
}

/* --- the envelope --- */

static struct expected *
expect(struct dialogue *d, enum said said, uint32_t recipient)
{
	if (d->expected_from == d->expected_to)
		d->expected_from = d->expected_to = 0;
	if (d->expected_to + 1 >= d->expected_room) {
		d->expected_room = d->expected_room * 2 + 16;
		d->expected = must_realloc(d->expected, d->expected_room * sizeof(*d->expected));
	}
	d->expected[d->expected_to] = (struct expected){ said, recipient };
	return &d->expected[d->expected_to++];
}

/* RFC 3461 section 4: xtext. */
static void
add_xtext(struct text *to, struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = s.at[i];

		if (c < 33 || c > 126 || c == '+' || c == '=')
			text_printf(to, "+%02X", c);
		else
			text_add_byte(to, c);
	}
}

static bool
is_ascii(const char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s >= 0x80)
			return false;
	return true;
}

/* How much of the time that the sender gave is left, in seconds; 0 or less: none. */
static int64_t
by_seconds(const struct job *j)
{
	int64_t left = (int64_t)j->deliver_by - (int64_t)time(NULL);

	return left > 999999999 ? 999999999 : left < -999999999 ? -999999999 : left; /* RFC 2852 4: nine digits */
}

/* RFC 2852 and RFC 6710, to servers that know them. */
static void
add_urgency(const struct dialogue *d, struct text *out)
{
	const struct job *j = d->job;
	int64_t left = by_seconds(j);

	/* With R it is more than none (RFC 2852 4); the second may have ended since misfit(). */
	if (j->by_mode == 'R' && left < 1)
		left = 1;
	if (j->by_mode != 0 && (d->caps & CAP_DELIVERBY) != 0)
		text_printf(out, " BY=%lld;%c%s", (long long)left, j->by_mode, j->by_trace ? "T" : "");
	if (j->priority >= 1 && j->priority <= 19 && j->priority != PRIORITY_NORMAL && (d->caps & CAP_PRIORITY) != 0)
		text_printf(out, " MT-PRIORITY=%d", (int)j->priority - PRIORITY_NORMAL);
}

/* How much leaves to this server, before dots are doubled. */
static uint64_t
outgoing_size(const struct dialogue *d)
{
	return (d->seven ? seven_bit_size(d->job->seven) : d->job->size) + d->job->top_len;
}

static void
say_mail(struct dialogue *d)
{
	const struct job *j = d->job;
	struct text *out = &d->out;

	text_printf(out, "MAIL FROM:<%s>", j->sender);
	if ((d->caps & CAP_SIZE) != 0)
		text_printf(out, " SIZE=%llu", (unsigned long long)outgoing_size(d));
	if (d->body_kind == BODY_BINARYMIME)
		text_add_str(out, " BODY=BINARYMIME");
	else if (d->body_kind == BODY_8BITMIME && (d->caps & CAP_8BITMIME) != 0)
		text_add_str(out, " BODY=8BITMIME");
	if (j->utf8 && (d->caps & CAP_SMTPUTF8) != 0)
		text_add_str(out, " SMTPUTF8");
	if (j->asks_tls && d->verified && (d->caps & CAP_REQUIRETLS) != 0)
		text_add_str(out, " REQUIRETLS");
	if ((d->caps & CAP_DSN) != 0 && j->ret != 0)
		text_add_str(out, j->ret == 1 ? " RET=FULL" : " RET=HDRS");
	if ((d->caps & CAP_DSN) != 0 && j->envid[0] != '\0') {
		text_add_str(out, " ENVID=");
		add_xtext(out, span_str(j->envid));
	}
	add_urgency(d, out);
	text_add_str(out, "\r\n");
	expect(d, SAID_MAIL, 0);
	d->mail_said = true;
}

static void
say_rcpt(struct dialogue *d, uint32_t i)
{
	static const struct {
		uint8_t bit;
		const char *word;
	} notify[] = { { NOTIFY_NEVER, "NEVER" }, { NOTIFY_SUCCESS, "SUCCESS" },
		{ NOTIFY_FAILURE, "FAILURE" }, { NOTIFY_DELAY, "DELAY" } };
	struct job_recipient *r = &d->job->recipient[i];
	struct text *out = &d->out;
	const char *separator = " NOTIFY=";

	text_printf(out, "RCPT TO:<%s>", r->address);
	for (size_t n = 0; n < 4 && (d->caps & CAP_DSN) != 0; n++)
		if ((r->notify & notify[n].bit) != 0) {
			text_printf(out, "%s%s", separator, notify[n].word);
			separator = ",";
		}
	if ((d->caps & CAP_DSN) != 0 && r->orcpt[0] != '\0' && is_ascii(r->orcpt)) {
		struct span value = span_str(r->orcpt), type;

		if (span_take_until(&value, ';', &type)) {
			text_printf(out, " ORCPT=%.*s;", SPAN_ARG(type));
			add_xtext(out, value);
		}
	}
	text_add_str(out, "\r\n");
	r->state = SENT;
	expect(d, SAID_RCPT, i);
}

/* The message as it goes to this server. */
static void
begin_body(struct dialogue *d)
{
	struct job *j = d->job;
	enum outgoing_form form = d->body_kind == BODY_BINARYMIME ? OUTGOING_RAW
		: d->chunking ? OUTGOING_CHUNKS : OUTGOING_DATA;

	if (d->seven)
		outgoing_begin_encoded(&d->body, j->seven, span_of(j->top, j->top_len), form);
	else
		outgoing_begin(&d->body, j->fd, j->size, span_of(j->top, j->top_len), form);
}

/* Says as much as may be said before the next reply. */
static void
say_more(struct dialogue *d)
{
	struct job *j = d->job;
	bool pipelining = (d->caps & CAP_PIPELINING) != 0;

	if (!d->mail_said) {
		say_mail(d);
		if (!pipelining)
			return;
	}
	for (; d->next_recipient < j->count; d->next_recipient++) {
		if (j->recipient[d->next_recipient].state != WAITING)
			continue;
		say_rcpt(d, d->next_recipient);
		if (!pipelining) {
			d->next_recipient++;
			return;
		}
	}
	if (d->data_said)
		return;
	if (d->chunking) {
		/* A small message goes along; a large one waits for somebody to take it. */
		if (d->expected_from != d->expected_to &&
			(!pipelining || outgoing_size(d) > MOST_PIPELINED_BODY))
			return;
		if (d->expected_from == d->expected_to && d->accepted == 0)
			return;
		d->data_said = true;
		begin_body(d);
		d->step = STEP_BODY;
	} else {
		if (!pipelining && (d->expected_from != d->expected_to || d->accepted == 0))
			return;
		d->data_said = true;
		text_add_str(&d->out, "DATA\r\n");
		expect(d, SAID_DATA, 0);
	}
}

static bool
headers_are_ascii(const struct job *j)
{
	unsigned char buffer[4096];
	struct outgoing o;
	size_t len, line = 1;

	outgoing_begin(&o, j->fd, j->size, span_of(j->top, j->top_len), OUTGOING_CHUNKS);
	while ((len = outgoing_next(&o, buffer, sizeof(buffer))) > 0)
		for (size_t i = 0; i < len; i++) {
			if (buffer[i] >= 0x80)
				return false;
			if (buffer[i] == '\n') {
				if (line == 0)
					return true;
				line = 0;
			} else if (buffer[i] != '\r') {
				line++;
			}
		}
	return true;
}

static bool
addresses_are_ascii(const struct job *j)
{
	bool ascii = is_ascii(j->sender);

	for (uint32_t i = 0; ascii && i < j->count; i++)
		ascii = is_ascii(j->recipient[i].address);
	return ascii;
}

static bool
takes_binary(const struct dialogue *d)
{
	return (d->caps & (CAP_BINARYMIME | CAP_CHUNKING)) == (CAP_BINARYMIME | CAP_CHUNKING);
}

/* One slice of the message is looked at, once for all servers of a job: a large one holds up nobody else's mail.
 * False: it goes on in the next turn of the loop. */
static bool
message_is_known(struct dialogue *d)
{
	struct job *j = d->job;

	if (j->seven == NULL)
		j->seven = seven_bit_new(j->fd, j->size);
	if (j->seven_known)
		return true;
	j->seven_known = seven_bit_look(j->seven);
	if (!j->seven_known) {
		d->step = STEP_LOOK;
		dialogue_set_timer(d, 0);
	} else if (seven_bit_needed(j->seven)) {
		log_info(j->session, "encoded-again", KEY_ID("message", j->message), KEY_STR("relay", d->where),
			KEY_NUM("size", seven_bit_size(j->seven)),
			KEY_STR("done", seven_bit_possible(j->seven) ? "yes" : "no"));
	}
	return j->seven_known;
}

/* RFC 6152 3: a server that does not say that it takes 8-bit or binary messages gets them encoded. Whatever cannot
 * be encoded leaves as it is, if it is not binary. False: not yet known. */
static bool
choose_body(struct dialogue *d)
{
	struct job *j = d->job;
	bool binary = j->body == BODY_BINARYMIME, needed;

	d->seven = false;
	d->body_kind = j->body;
	if (binary ? takes_binary(d) : (d->caps & CAP_8BITMIME) != 0)
		return true;
	if (!message_is_known(d))
		return false;
	needed = seven_bit_needed(j->seven);
	d->seven = needed && seven_bit_possible(j->seven) && !(binary && seven_bit_left(j->seven));
	if (d->seven || !needed)
		d->body_kind = BODY_7BIT;
	return true;
}

/* Why this message cannot go to this server at all; outcome 0: it can. */
static struct verdict
misfit(const struct dialogue *d)
{
	const struct job *j = d->job;

	if ((d->caps & CAP_SMTPUTF8) == 0 && (j->utf8 || !addresses_are_ascii(j)) &&
		(!addresses_are_ascii(j) || !headers_are_ascii(j)))
		return V_NEEDS_UTF8;
	if (d->body_kind == BODY_BINARYMIME && !takes_binary(d))
		return V_NEEDS_BINARY;
	/* RFC 2852 4.1.4: "R" means there in time, or back; and who cannot promise it does not get the message. */
	if (j->by_mode == 'R' && (d->caps & CAP_DELIVERBY) == 0)
		return V_NO_DELIVERBY;
	/* That it is too late queue judges, which knows whether its clock was just set. */
	if (j->by_mode == 'R' && by_seconds(j) <= 0)
		return V_OVERDUE;
	if (j->by_mode == 'R' && (uint64_t)by_seconds(j) < d->by_least)
		return V_NOT_IN_TIME;
	if ((d->caps & CAP_SIZE) != 0 && d->size_limit > 0 && outgoing_size(d) > d->size_limit)
		return V_TOO_BIG_THERE;
	return (struct verdict){ 0 };
}

void
commands_envelope(struct dialogue *d)
{
	struct job *j = d->job;
	struct verdict no;

	if (!choose_body(d))
		return;
	no = misfit(d);
	if (no.outcome != 0) {
		(void)end_job(d, no);
		return;
	}
	d->step = STEP_ENVELOPE;
	d->mail_said = d->data_said = d->mail_refused = false;
	d->accepted = d->answered = d->next_recipient = 0;
	d->expected_from = d->expected_to = 0;
	d->chunking = d->body_kind == BODY_BINARYMIME ||
		((d->caps & CAP_CHUNKING) != 0 && !d->lmtp && d->relay->daemon.settings->relay_chunking);
	for (uint32_t i = 0; i < j->count; i++)
		if (j->recipient[i].state != OVER) {
			j->recipient[i].state = WAITING;
			j->recipient[i].again = false;
		}
	say_more(d);
	dialogue_set_timer(d, reply_seconds(d));
	dialogue_flush(d);
}

/* --- the end of a transaction --- */

/* This transaction is over. Who was one too many has the next; else the job is done. */
static bool
transaction_over(struct dialogue *d, bool reset)
{
	struct job *j = d->job;
	bool again = false;

	for (uint32_t i = 0; i < j->count; i++)
		again |= j->recipient[i].state != OVER && j->recipient[i].again;
	if (reset) {
		d->step = STEP_RESET;
		say(d, "RSET");
		return true;
	}
	if (again && d->accepted > 0) {
		commands_envelope(d);
		return d->job != NULL;
	}
	for (uint32_t i = 0; i < j->count; i++)
		job_tell(j, &j->recipient[i], V_LATER, d->where, false);
	dialogue_done(d);
	return d->step == STEP_IDLE || d->step == STEP_QUIT;
}

static bool
on_rcpt(struct dialogue *d, struct job_recipient *r)
{
	struct text reason = TEXT_UP_TO(MOST_REASON);
	char status[MOST_STATUS + 1];
	struct verdict v;

	if (d->mail_refused)
		return true;
	if (d->reply.code / 100 == 2) {
		r->state = ACCEPTED;
		d->accepted++;
		return true;
	}
	if ((d->reply.code == 452 || d->reply.code == 552) && d->accepted > 0) {
		r->state = WAITING;     /* RFC 5321 4.5.3.1.10 */
		r->again = true;
		return true;
	}
	v = reply_verdict(d, "RCPT", &reason, status);
	job_tell(d->job, r, v, d->where, false);
	text_clear(&reason);
	return true;
}

/* All that was said before the body is answered, and nobody takes it. */
static bool
nobody_takes_it(struct dialogue *d)
{
	return transaction_over(d, true);
}

/* The message was taken, or not. */
static bool
on_verdict(struct dialogue *d, const char *command)
{
	struct job *j = d->job;

	if (!d->lmtp) {
		bool refused = d->reply.code / 100 != 2;

		if (d->accepted > 0)
			tell_all(d, ACCEPTED, command);
		return transaction_over(d, refused && d->chunking);
	}
	/* RFC 2033 4.2: one reply for each recipient that was accepted, in their order. */
	for (uint32_t i = 0; i < j->count; i++) {
		struct job_recipient *r = &j->recipient[i];
		struct text reason = TEXT_UP_TO(MOST_REASON);
		char status[MOST_STATUS + 1];

		if (r->state != ACCEPTED)
			continue;
		job_tell(j, r, reply_verdict(d, command, &reason, status), d->where,
			d->reply.code / 100 == 2 && ends_here(d));
		text_clear(&reason);
		break;
	}
	if (++d->answered < d->accepted)
		return true;
	return transaction_over(d, false);
}

static bool
on_data(struct dialogue *d)
{
	if (d->reply.code == 354) {
		if (d->accepted == 0) {
			/* Nobody takes it, and we have asked too early: an empty message ends that. */
			d->step = STEP_VERDICT;
			say(d, ".");
			return true;
		}
		begin_body(d);
		d->step = STEP_BODY;
		dialogue_set_timer(d, d->relay->daemon.settings->relay_data_seconds);
		dialogue_flush(d);
		return true;
	}
	if (d->reply.code / 100 == 2) {
		dialogue_failed(d, VERDICT_IS(LATER, 451, "4.5.0",
			"the server accepted what it had not been sent"));
		return false;
	}
	if (d->accepted > 0 && !d->mail_refused)
		tell_all(d, ACCEPTED, "DATA");
	return transaction_over(d, true);
}

void
commands_body_sent(struct dialogue *d)
{
	d->step = d->chunking ? STEP_BODY : STEP_VERDICT;
	dialogue_set_timer(d, d->relay->daemon.settings->relay_end_seconds);
}

/* One chunk was answered: 250, or the whole is refused. */
static bool
on_chunk(struct dialogue *d, enum said said)
{
	if (said == SAID_LAST_CHUNK) {
		if (d->mail_refused || d->accepted == 0)
			return transaction_over(d, true);
		return on_verdict(d, "BDAT");
	}
	if (d->reply.code / 100 == 2)
		return true;
	/* More of it is under way; what comes back would have to be sorted out. */
	tell_all(d, ACCEPTED, "BDAT");
	dialogue_done(d);
	dialogue_free(d);
	return false;
}

static bool
on_envelope(struct dialogue *d)
{
	struct expected e;

	if (d->expected_from == d->expected_to)
		return try_another(d, "nothing");
	e = d->expected[d->expected_from++];
	switch (e.said) {
	case SAID_MAIL:
		if (d->reply.code / 100 != 2) {
			d->mail_refused = true;
			tell_all(d, SENT, "MAIL");
		}
		break;
	case SAID_RCPT:
		if (!on_rcpt(d, &d->job->recipient[e.recipient]))
			return false;
		break;
	case SAID_DATA:
		return on_data(d);
	default:
		return on_chunk(d, e.said);
	}
	if (!d->mail_refused && d->step == STEP_ENVELOPE) {
		say_more(d);
		dialogue_set_timer(d, reply_seconds(d));
		dialogue_flush(d);
	}
	if (d->expected_from == d->expected_to && d->step == STEP_ENVELOPE)
		return nobody_takes_it(d);
	return true;
}

/* 421 comes at any time (RFC 5321 3.8). */
static bool
on_leaving(struct dialogue *d)
{
	struct text reason = TEXT_UP_TO(MOST_REASON);
	char status[MOST_STATUS + 1];
	struct verdict v = reply_verdict(d, "what was said last", &reason, status);
	struct job *j = d->job;

	if (d->uses > 1 && !d->heard) {
		/* It had enough of this connection, not of us. */
		text_clear(&reason);
		dialogue_failed(d, V_LATER);
		return false;
	}
	if (d->step < STEP_ENVELOPE) {
		text_clear(&reason);
		return try_another(d, "the greeting");
	}
	d->job = NULL;
	j->dialogue = NULL;
	dialogue_free(d);
	job_note_fault(j, v);
	j->health = HEALTH_BUSY;
	job_end_all(j, v, j->fault_server);
	text_clear(&reason);
	return false;
}

bool
commands_reply(struct dialogue *d)
{
	bool alive;

	if (d->step == STEP_IDLE || d->step == STEP_QUIT) {
		/* Nobody asked; or it says goodbye. */
		dialogue_free(d);
		return false;
	}
	if (d->reply.code == 421)
		return on_leaving(d);
	d->heard = true;
	switch (d->step) {
	case STEP_GREETING:
		d->greeted = true;
		if (d->reply.code / 100 != 2)
			return try_another(d, "the connection");
		commands_hello(d);
		return true;
	case STEP_EHLO:
	case STEP_HELO:
		return on_hello(d);
	case STEP_STARTTLS:
		return on_starttls(d);
	case STEP_AUTH:
		return on_auth(d);
	case STEP_ENVELOPE:
		return on_envelope(d);
	case STEP_BODY:
		if (d->chunking)
			return on_envelope(d);
		if (d->reply.code / 100 == 2) {
			dialogue_failed(d, VERDICT_IS(LATER, 451, "4.5.0",
				"the server accepted what it had not been sent"));
			return false;
		}
		/* A verdict in the middle of the message: what follows will not be read. */
		tell_all(d, ACCEPTED, "the message");
		dialogue_done(d);
		dialogue_free(d);
		return false;
	case STEP_VERDICT:
		if (d->accepted == 0)
			return transaction_over(d, false);
		return on_verdict(d, "the end of the message");
	case STEP_RESET:
		alive = transaction_over(d, false);
		return alive;
	default:
		return try_another(d, "nothing");
	}
}
