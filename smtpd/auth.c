/*
 * auth - see auth.h.
 */
#include "smtpd/auth.h"

#include <stdlib.h>

#include "common/log.h"
#include "smtpd/commands.h"
#include "smtpd/reply.h"
#include "smtpd/session.h"

#define MECHANISM_MOST 20       /* RFC 4422 3.1 */

static const struct refusal needs_tls = {
	538, "5.7.11", "authentication needs TLS; STARTTLS first"
};
static const struct refusal twice = { 503, "5.5.1", "authenticated already" };
static const struct refusal in_transaction = { 503, "5.5.1", "not inside a transaction" };
static const struct refusal needs_ehlo = { 503, "5.5.1", "EHLO first" };
static const struct refusal form = {
	501, "5.5.4", "AUTH needs a mechanism and perhaps an initial response"
};
static const struct refusal not_base64 = { 501, "5.5.2", "this is not base64" };
static const struct refusal cancelled = { 501, "5.7.0", "authentication cancelled" };
static const struct refusal line_too_long = { 500, "5.5.6", "authentication line too long" };
static const struct refusal auth_away = {
	454, "4.7.0", "authentication is not available, try again later"
};
static const struct refusal wrong = { 535, "5.7.8", "authentication credentials invalid" };
static const struct refusal malformed = {
	501, "5.5.2", "the mechanism does not allow this response"
};
static const struct refusal blocked = {
	454, "4.7.0", "too many failed logins of this user from your address, try again later"
};
static const struct refusal unknown_mechanism = { 504, "5.5.4", "mechanism not offered" };

static struct channel *
auth(struct session *s)
{
	return daemon_any_peer(&s->server->daemon, PROGRAM_AUTH);
}

/* The conversation ends without success. The stage first: saying no may close the session. */
static void
fail(struct session *s, const struct refusal *why)
{
	s->stage = STAGE_COMMANDS;
	s->verb = "AUTH";
	refuse_for(s, why, SPAN_NONE);
	session_wake(s);
}

/* auth has refused, and logged it. */
static void
told_no(struct session *s, const struct refusal *why)
{
	answer(s, why->code, why->status, why->reason);
	if (why->code >= 500)
		session_count_error(s);
	session_wake(s);
}

static bool
is_mechanism(struct span name)
{
	if (name.len == 0 || name.len > MECHANISM_MOST)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = name.at[i];

		if (!(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
		    c != '-' && c != '_')
			return false;
	}
	return true;
}

static const struct refusal *
not_now(const struct session *s)
{
	if (!s->extended)
		return &needs_ehlo;
	if (s->login)
		return &twice;
	if (s->mail)
		return &in_transaction;
	return s->tls ? NULL : &needs_tls;
}

/* Splits " MECHANISM[ initial]". */
static bool
take_arguments(struct span in, struct span *mechanism, struct span *initial, bool *has_initial)
{
	in = span_trim(in);
	*mechanism = span_part(in, 0, span_index(in, ' '));
	*has_initial = mechanism->len < in.len;
	*initial = span_trim(span_part(in, mechanism->len, in.len));
	return is_mechanism(*mechanism) && !span_has(*initial, ' ');
}

void
do_auth(struct session *s, struct span arguments)
{
	const struct refusal *no = not_now(s);
	struct span mechanism, initial;
	struct text decoded = TEXT_UP_TO(MOST_SASL), name = TEXT_UP_TO(MECHANISM_MOST);
	bool has_initial;

	if (!no && !take_arguments(arguments, &mechanism, &initial, &has_initial))
		no = &form;
	/* RFC 4954 section 4: "=" is an initial response of no octets. */
	if (!no && has_initial && !span_equal(initial, SPAN("=")) &&
	    !text_add_base64_decoded(&decoded, initial))
		no = &not_base64;
	if (no) {
		refuse_for(s, no, SPAN_NONE);
		goto out;
	}
	for (size_t i = 0; i < mechanism.len; i++) {
		unsigned char c = mechanism.at[i];

		text_add_byte(&name, c >= 'a' && c <= 'z' ? (unsigned char)(c - 'a' + 'A') : c);
	}
	if (send_auth_ask(auth(s), s->id, &(struct msg_auth_ask){
		.service = (uint8_t)s->service, .mechanism = text_span(&name),
		.has_initial = has_initial, .initial = text_span(&decoded),
		.passport = text_span(&s->tls->passport), .ip = span_str(s->ip) }, NULL)) {
		s->stage = STAGE_AUTH_ASKED;
		s->auth_asked = true;
	} else {
		refuse_for(s, &auth_away, SPAN_NONE);
	}
out:
	text_wipe(&decoded);
	text_clear(&name);
}

void
auth_give_up(struct session *s)
{
	if (s->stage == STAGE_AUTH_ASKED || s->stage == STAGE_AUTH_CHALLENGED)
		send_auth_cancel(auth(s), s->id, &(struct msg_auth_cancel){}, NULL);
}

void
auth_forget(struct session *s)
{
	if (s->auth_asked)
		send_mail_login_end(daemon_any_peer(&s->server->daemon, PROGRAM_QUEUE), s->id,
			&(struct msg_mail_login_end){}, NULL);
	free(s->login);
	s->login = NULL;
}

void
auth_timeout(struct session *s)
{
	/* Closed, so that a late answer can never be taken for that to another question. */
	log_warning(s->id, "auth-silent", KEY_STR("ip", s->ip));
	session_close(s, 421, auth_away.status, auth_away.reason);
}

void
auth_line_too_long(struct session *s)
{
	auth_give_up(s);
	auth_forget(s);
	fail(s, &line_too_long);
}

static void
accepted(struct session *s)
{
	s->stage = STAGE_COMMANDS;
	/* Nobody else needs it; an idle session is small. */
	text_clear(&s->tls->passport);
	/* auth says the same with its auth-ok; `disconnect` has the helo. */
	log_debug(s->id, "login", KEY_STR("ip", s->ip), KEY_STR("service", service_name(s->service)),
		KEY_STR("user", s->login), KEY_STR("helo", s->helo));
	answer(s, 235, "2.7.0", "authenticated");
	session_wake(s);
}

/* The client's answer to the last words of auth, which came with success: it must be empty. */
static void
last_line(struct session *s, struct span line)
{
	if (line.len == 0) {
		accepted(s);
		return;
	}
	auth_forget(s);
	fail(s, span_equal(line, SPAN("*")) ? &cancelled : &malformed);
}

void
auth_line(struct session *s, struct span line)
{
	struct text decoded = TEXT_UP_TO(MOST_SASL);

	if (s->ahead > 0) {
		session_refuse_early(s);
	} else if (s->stage == STAGE_AUTH_LAST) {
		last_line(s, line);
	} else if (span_equal(line, SPAN("*"))) {
		auth_give_up(s);
		fail(s, &cancelled);
	} else if (!text_add_base64_decoded(&decoded, line)) {
		auth_give_up(s);
		fail(s, &not_base64);
	} else if (send_auth_answer(auth(s), s->id,
		&(struct msg_auth_answer){ .data = text_span(&decoded) }, NULL)) {
		s->stage = STAGE_AUTH_ASKED;
	} else {
		fail(s, &auth_away);
	}
	text_wipe(&decoded);
}

/* --- what auth says --- */

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	const struct session *s = session_find(me, id);

	(void)from;
	(void)m;
	return s && s->stage == STAGE_AUTH_ASKED ? HOUR_WAITING : HOUR_NONE;
}

/* A 334 line may be as long as its mechanism needs (RFC 4954 section 4). */
static void
challenge(struct session *s, struct span data, enum stage next)
{
	struct text line = TEXT_UP_TO(2 * MOST_SASL);

	s->stage = next;
	text_add_str(&line, "334 ");
	text_add_base64(&line, data);
	text_add_str(&line, "\r\n");
	answer_lines(s, text_span(&line));
	text_clear(&line);
	session_wake(s);
}

static void
on_auth_challenge(void *me, struct channel *from, uint64_t id, const struct msg_auth_challenge *m,
	const int *fd)
{
	struct session *s = session_find(me, id);

	(void)from;
	(void)fd;
	if (session_talks_early(s)) {
		session_refuse_early(s);
		return;
	}
	challenge(s, m->data, STAGE_AUTH_CHALLENGED);
}

static void
on_auth_told(
	void *me, struct channel *from, uint64_t id, const struct msg_auth_told *m, const int *fd)
{
	struct session *s = session_find(me, id);

	(void)from;
	(void)fd;
	/* auth has finished: there is nothing to cancel any more. */
	s->stage = STAGE_COMMANDS;
	if (session_talks_early(s)) {
		session_refuse_early(s);
		return;
	}
	switch (m->verdict) {
	case AUTH_RIGHT:
		if (!door_logged_in(&s->server->door, &s->guest, s->ip, m->user)) {
			log_notice(s->id, "too-many-connections", KEY_STR("ip", s->ip),
				KEY_STR("setting", "connections_per_user"), KEY_SPAN("user", m->user));
			session_close(s, 421, "4.7.0", "too many connections of this user from your address");
			return;
		}
		s->login = must_copy(m->user);
		if (m->data.len > 0)
			challenge(s, m->data, STAGE_AUTH_LAST);
		else
			accepted(s);
		return;
	case AUTH_WRONG:
		told_no(s, &wrong);
		return;
	case AUTH_MALFORMED:
		told_no(s, &malformed);
		return;
	case AUTH_UNKNOWN_MECHANISM:
		told_no(s, &unknown_mechanism);
		return;
	case AUTH_NEEDS_TLS:
		told_no(s, &needs_tls);
		return;
	case AUTH_BLOCKED:
		told_no(s, &blocked);
		return;
	case AUTH_LATER:
	default:
		told_no(s, &auth_away);
		return;
	}
}

static void
gone(void *me, struct channel *from)
{
	struct server *server = me;
	struct session *s;

	(void)from;
	LIST_FOREACH(s, &server->sessions, in_all)
		if (s->stage == STAGE_AUTH_ASKED || s->stage == STAGE_AUTH_CHALLENGED)
			fail(s, &auth_away);
}

const struct hearing hearing_auth = {
	.hour = hour,
	.gone = gone,
	.on_auth_challenge = on_auth_challenge,
	.on_auth_told = on_auth_told,
};
