/*
 * starttls - see starttls.h.
 */
#include "smtpd/starttls.h"

#include <stdlib.h>

#include "common/log.h"
#include "common/tls-ask.h"
#include "smtpd/commands.h"
#include "smtpd/reply.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"

static const struct refusal twice = { 503, "5.5.1", "TLS is on already" };
static const struct refusal no_argument = { 501, "5.5.4", "STARTTLS takes no argument" };
static const struct refusal away = { 454, "4.7.0", "TLS is not available, try again later" };

void
do_starttls(struct session *s, struct span arguments)
{
	if (arguments.len > 0) {
		refuse_for(s, &no_argument, SPAN_NONE);
	} else if (s->tls) {
		refuse_for(s, &twice, SPAN_NONE);
	} else if (s->service == SERVICE_LOCAL || !tls_is_offered(&s->server->daemon)) {
		refuse_for(s, &away, SPAN_NONE);
	} else if (session_talks_early(s)) {
		/* The injection of 2011: commands in clear that would be taken for the client's
		 * own. Nobody honest talks before the answer; nothing is carried over. */
		session_refuse_early(s);
	} else {
		transaction_reset(s);
		s->stage = STAGE_TLS_OFFERED;
		answer(s, 220, "2.0.0", "go ahead");
	}
}

void
starttls_hand_over(struct session *s)
{
	const char *why;

	s->stage = STAGE_TLS;
	/* Everything that was read in clear ends here. */
	text_wipe(&s->input);
	s->ahead = 0;
	s->tls_worker = tls_ask(&s->server->daemon, s->id, s->service, s->ip, session_detach(s), &why);
	if (!s->tls_worker)
		session_drop(s, why);
}

void
starttls_announce_again(struct server *server, struct channel *tls_key)
{
	struct session *s;

	LIST_FOREACH(s, &server->sessions, in_all)
		if (s->stage == STAGE_TLS)
			tls_announce(tls_key, s->id, s->tls_worker);
}

/* --- what a TLS worker says --- */

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	const struct session *s = session_find(me, id);

	(void)m;
	return s && s->stage == STAGE_TLS && s->tls_worker == from ? HOUR_WAITING : HOUR_NONE;
}

static void
copy_word(struct span from, char *to, size_t room)
{
	if (!span_is_printable(from) || !span_copy(from, to, room))
		span_copy(SPAN("unknown"), to, room);
}

static void
on_tls_ready(
	void *me, struct channel *from, uint64_t id, const struct msg_tls_ready *m, const int *fd)
{
	struct session *s = session_find(me, id);
	struct tls_facts *tls = must_alloc(sizeof(*tls));

	(void)from;
	copy_word(m->version, tls->version, sizeof(tls->version));
	copy_word(m->cipher, tls->cipher, sizeof(tls->cipher));
	tls->passport = TEXT_UP_TO(MOST_PASSPORT);
	text_add(&tls->passport, m->passport);
	s->tls = tls;
	s->tls_worker = NULL;
	log_info(s->id, "tls", KEY_STR("ip", s->ip), KEY_STR("service", service_name(s->service)),
		KEY_STR("version", tls->version), KEY_STR("cipher", tls->cipher),
		KEY_NUM("resumed", m->resumed), KEY_STR("records", m->kernel ? "kernel" : "worker"),
		KEY_SPAN("sni", m->sni));
	/* RFC 3207 4.2: as before the greeting; what was said in clear is forgotten. */
	free(s->helo);
	s->helo = NULL;
	s->extended = false;
	s->stage = STAGE_COMMANDS;
	session_attach(s, fd[0]);
	if (service_is_tls(s->service))
		session_greet(s);
}

static void
on_tls_failed(
	void *me, struct channel *from, uint64_t id, const struct msg_tls_failed *m, const int *fd)
{
	struct session *s = session_find(me, id);

	(void)from;
	(void)fd;
	log_info(s->id, "tls-failed", KEY_STR("ip", s->ip),
		KEY_STR("service", service_name(s->service)), KEY_SPAN("reason", m->reason));
	session_drop(s, "TLS failed");
}

/* Its handshakes died with it. Established sessions see their plaintext sockets end. */
static void
tls_gone(void *me, struct channel *from)
{
	struct server *server = me;
	struct session *s;

	LIST_FOREACH(s, &server->sessions, in_all)
		if (s->stage == STAGE_TLS && s->tls_worker == from)
			session_drop(s, "the TLS worker is gone");
}

const struct hearing hearing_tls = {
	.hour = hour,
	.gone = tls_gone,
	.on_tls_ready = on_tls_ready,
	.on_tls_failed = on_tls_failed,
};
