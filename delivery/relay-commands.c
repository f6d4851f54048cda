/* relay-commands - see relay.h. */
#include "relay.h"

#include "common/solicitation.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_PIPELINED_BODY 32768       /* bytes: sent with the envelope, in one chunk */

#define V_NEEDS_UTF8                                                                               \
	VERDICT_IS(NEVER, 553, "5.6.7", "the server does not take internationalised addresses")
#define V_NEEDS_BINARY VERDICT_IS(NEVER, 554, "5.6.1", "the server does not take binary messages")
#define V_NO_DELIVERBY                                                                             \
	VERDICT_IS(NEVER, 554, "5.3.3", "the server does not promise when it delivers (DELIVERBY)")
#define V_NOT_IN_TIME VERDICT_IS(NEVER, 554, "5.4.7", "the server does not deliver as soon as the sender wants")
#define V_OVERDUE VERDICT_IS(LATER, 451, "4.4.7", "the time by which the sender wants it there is over")
#define V_TOO_BIG_THERE VERDICT_IS(NEVER, 552, "5.3.4", "the message is larger than the server takes")


uint64_t
commands_reply_seconds(const struct dialogue *d)
{
	return d->relay->daemon.settings->relay_reply_seconds;
}

void
commands_say(struct dialogue *d, const char *command)
{
	text_add_str(&d->out, command);
	text_add_str(&d->out, "\r\n");
	dialogue_set_timer(d, commands_reply_seconds(d));
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

bool
commands_next_server(struct dialogue *d, struct verdict v, enum health health)
{
	struct job *j = d->job;

	j->dialogue = NULL;
	d->job = NULL;
	dialogue_quit(d);
	job_next_server(j, v, health);
	return false;
}

bool
commands_try_another(struct dialogue *d, const char *command)
{
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
	(void)commands_next_server(d, v, busy ? HEALTH_BUSY : HEALTH_DEAD);
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

/* RFC 3865 2.7: what the message says of itself, and nothing else. */
static void
add_solicitation(const struct dialogue *d, struct text *out)
{
	struct text keywords = TEXT_UP_TO(SOLICITATION_MOST);

	if ((d->caps & CAP_SOLICIT) != 0 && relay_solicitation(d->job, &keywords)) {
		text_add_str(out, " SOLICIT=");
		text_add(out, text_span(&keywords));
	}
	text_clear(&keywords);
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
	add_solicitation(d, out);
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
	uint8_t asked = r->notify;

	/* RFC 2852 4.1.4.2: a server that knows no DELIVERBY is asked to tell at least that it is late. */
	if (d->job->by_mode == 'N' && (d->caps & CAP_DELIVERBY) == 0 && (asked & NOTIFY_NEVER) == 0)
		asked |= asked == 0 ? NOTIFY_FAILURE | NOTIFY_DELAY : NOTIFY_DELAY;

	text_printf(out, "RCPT TO:<%s>", r->address);
	for (size_t n = 0; n < 4 && (d->caps & CAP_DSN) != 0; n++)
		if ((asked & notify[n].bit) != 0) {
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
	dialogue_set_timer(d, commands_reply_seconds(d));
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
		commands_say(d, "RSET");
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
			commands_say(d, ".");
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
		return commands_try_another(d, "nothing");
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
		dialogue_set_timer(d, commands_reply_seconds(d));
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
		return commands_try_another(d, "the greeting");
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
	if (d->step < STEP_ENVELOPE)
		return hello_reply(d);
	switch (d->step) {
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
		return commands_try_another(d, "nothing");
	}
}
