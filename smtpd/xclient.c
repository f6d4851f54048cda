/*
 * xclient - XCLIENT: the client that speaks here stands for another one; XFORWARD: the message comes from
 * another one, which only the log shall know. Both for the hosts that xclient_from and xforward_from name, and
 * for nobody else, whoever the client says to be by then.
 *
 * XCLIENT changes whom the tests for strangers, the rules, limits, filters and the Received field see; auth hears of
 * addresses from the TLS worker alone. It lets nobody in: LOGIN is logged, and gives no right to send in anybody's name, since
 * only auth says who has logged in.
 */
#include <stdlib.h>

#include "common/log.h"
#include "smtpd/checks.h"
#include "smtpd/commands.h"
#include "smtpd/session.h"
#include "smtpd/told.h"
#include "smtpd/transaction.h"

static const struct refusal not_you = { 550, "5.7.0", "this is not for you" };
static const struct refusal in_mail = { 503, "5.5.1", "a transaction is open" };
static const struct refusal logged_in = { 503, "5.5.1", "you have logged in" };

static const char *
shown(const struct told *t, enum told_attribute a)
{
	static const char *const words[] = { NULL, NULL, "unavailable", "unknown" };

	return t->of[a].how == TOLD_VALUE ? t->of[a].value : words[t->of[a].how];
}

static void
log_told(const struct session *s, const char *word, uint64_t message, const char *by, const struct told *t)
{
	log_info(s->id, word, KEY_STR("ip", s->ip), KEY_ID("message", message), KEY_STR("proxy", by),
		KEY_STR("name", shown(t, TOLD_NAME)), KEY_STR("addr", shown(t, TOLD_ADDR)),
		KEY_STR("port", shown(t, TOLD_PORT)), KEY_STR("proto", shown(t, TOLD_PROTO)),
		KEY_STR("helo", shown(t, TOLD_HELO)), KEY_STR("login", shown(t, TOLD_LOGIN)),
		KEY_STR("destaddr", shown(t, TOLD_DESTADDR)), KEY_STR("destport", shown(t, TOLD_DESTPORT)),
		KEY_STR("ident", shown(t, TOLD_IDENT)), KEY_STR("source", shown(t, TOLD_SOURCE)));
}

/* The address, and with it whom the connection counts for. False: that one has too many. */
static bool
become(struct session *s, const struct told *t)
{
	if (t->of[TOLD_ADDR].how == TOLD_NOT)
		return true;
	span_copy(t->of[TOLD_ADDR].how == TOLD_VALUE ? span_str(t->of[TOLD_ADDR].value) : SPAN("unknown"),
		s->ip, sizeof(s->ip));
	return door_is_of(&s->server->door, &s->guest, s->ip);
}

/* HELO and PROTO count until the client says EHLO or HELO itself. */
static void
say_hello_for(struct session *s, const struct told *t)
{
	const char *proto = told_value(t, TOLD_PROTO), *helo = told_value(t, TOLD_HELO);

	free(s->helo);
	s->helo = helo ? must_copy(span_str(helo)) : NULL;
	s->extended = helo && proto && span_equal_nocase(span_str(proto), SPAN("ESMTP"));
}

void
do_xclient(struct session *s, struct span arguments)
{
	struct told t = { 0 };
	char by[MOST_IP];
	const struct refusal *no = !s->may_xclient ? &not_you
		: s->mail			   ? &in_mail
		: s->login			   ? &logged_in
						   : told_parse(arguments, false, &t);

	if (no) {
		refuse_for(s, no, SPAN_NONE);
		return;
	}
	span_copy(span_str(s->ip), by, sizeof(by));
	if (!become(s, &t)) {
		session_close(s, 421, "4.7.0", "too many connections from your address");
		return;
	}
	say_hello_for(s, &t);
	log_told(s, "xclient", 0, by, &t);
	free(s->forwarded);
	s->forwarded = NULL;
	/* All anew: as if that client had just come. */
	if (t.of[TOLD_ADDR].how != TOLD_NOT || t.of[TOLD_NAME].how != TOLD_NOT) {
		checks_free(&s->checks);
		checks_begin(s, &t);
	}
	if (t.of[TOLD_ADDR].how != TOLD_NOT && session_comes_too_often(s))
		session_refuse_often(s);
	else
		session_greet(s);
}

void
do_xforward(struct session *s, struct span arguments)
{
	struct told t = { 0 };
	const struct refusal *no;

	if (s->forwarded)
		t = *s->forwarded;
	no = !s->may_xforward ? &not_you : s->mail ? &in_mail : told_parse(arguments, true, &t);
	if (no) {
		refuse_for(s, no, SPAN_NONE);
		return;
	}
	if (!s->forwarded)
		s->forwarded = must_alloc(sizeof(*s->forwarded));
	*s->forwarded = t;
	answer(s, 250, "2.0.0", "noted");
}

void
xforward_log(const struct session *s, uint64_t message)
{
	if (s->forwarded)
		log_told(s, "forwarded", message, NULL, s->forwarded);
}

void
xforward_forget(struct session *s)
{
	free(s->forwarded);
	s->forwarded = NULL;
}
