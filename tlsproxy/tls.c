/*
 * tls - one TLS worker: handshakes and records, without any private key.
 *   inherits    control and log channels; certificate chains (certificate) and the authorities that
 *               vouch for other servers (tls_trust) as open files; the key that seals passports;
 *               channels to tls-key, to each front end, which hands over the sockets of clients
 *               (tls_start), and to relay, which hands over connections to other servers (tls_connect)
 *   keeps       nothing: _tls, an empty root, the system calls of tls_room
 *   may be lied to by    every client and server, front ends, relay. May lie to: front ends, relay and,
 *               about what it saw, auth (it seals passports). It cannot sign: tls-key does, once for
 *               each session that a front end announced for this worker.
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/local-address.h"
#include "common/log.h"
#include "priorities.h"
#include "worker.h"

#define MOST_DESCRIPTORS_WANTED 262144

/* --- certificates come, and come into force --- */

/* The credentials of an offer, begun by whatever of it comes first. */
static struct credentials *
offered(struct worker *w, uint32_t generation)
{
	if (w->offered == NULL || credentials_generation(w->offered) != generation) {
		credentials_drop(&w->offered);
		w->offered = credentials_new(generation, signer_ask, w);
		w->offered_wrong[0] = '\0';
	}
	return w->offered;
}

/* Something of the offer cannot be used. */
static void
refuse_offer(struct worker *w, const char *word, unsigned int number, struct text *why)
{
	log_error(0, word, KEY_NUM("generation", credentials_generation(w->offered)),
		KEY_NUM("number", number), KEY_SPAN("reason", text_span(why)));
	span_copy(text_span(why), w->offered_wrong, sizeof(w->offered_wrong));
}

static bool
on_certificate(void *arg, uint32_t generation, unsigned int number, int chain_fd)
{
	struct worker *w = arg;
	struct text why = TEXT_UP_TO(sizeof(w->offered_wrong) - 1);
	bool good = credentials_add(offered(w, generation), chain_fd, &why) == 0;

	close(chain_fd);
	if (!good)
		refuse_offer(w, "certificate-refused", number, &why);
	text_clear(&why);
	/* Settings that are still to come will be refused with the reason itself. */
	return good || w->checked != generation;
}

static bool
on_trust(void *arg, uint32_t generation, unsigned int kind, int fd)
{
	struct worker *w = arg;
	struct text why = TEXT_UP_TO(sizeof(w->offered_wrong) - 1);
	bool good = true;

	if (kind == TRUST_SERVERS) {
		trust_free(&w->offered_trust);
		w->offered_trust = trust_new(generation, fd);
		return true;
	}
	if (kind < TRUST_COUNT)
		good = credentials_add_clients(
			offered(w, generation), kind == TRUST_REVOKED, fd, &why) == 0;
	close(fd);
	if (!good)
		refuse_offer(w, "authorities-refused", 0, &why);
	text_clear(&why);
	return good || w->checked != generation;
}

/* A response that cannot be used is left out: whoever needs it asks the authority. */
static bool
on_certificate_status(void *arg, uint32_t generation, unsigned int number, int fd)
{
	struct worker *w = arg;
	struct text why = TEXT_UP_TO(MOST_REASON);

	if (credentials_add_status(offered(w, generation), number, fd, &why) < 0)
		log_warning(0, "ocsp-response-unused", KEY_NUM("number", number),
			KEY_SPAN("reason", text_span(&why)));
	close(fd);
	text_clear(&why);
	return true;
}

/* ocsp has an answer of an authority. It is judged here too: nobody can make us say what the authority
 * does not. */
static void
on_staple(void *arg, struct channel *from, uint64_t id, const struct msg_staple *m, const int *fd)
{
	struct worker *w = arg;
	struct credentials *both[] = { w->now, w->offered };
	struct text why = TEXT_UP_TO(MOST_REASON);

	(void)from;
	(void)id;
	(void)fd;
	for (size_t i = 0; i < 2; i++) {
		text_reset(&why);
		if (both[i] != NULL && credentials_staple(both[i], m->fingerprint, m->response, &why) < 0)
			log_warning(0, "ocsp-response-unused", KEY_SPAN("reason", text_span(&why)));
	}
	text_clear(&why);
}

static const char *
settings_check(void *arg, const struct settings *offers)
{
	struct worker *w = arg;
	struct text why = TEXT_UP_TO(sizeof(w->offered_wrong) - 1);

	if (w->offered != NULL && credentials_generation(w->offered) == offers->generation &&
	    w->offered_wrong[0] != '\0')
		return w->offered_wrong;
	if (w->offered_priorities != NULL)
		gnutls_priority_deinit(w->offered_priorities);
	w->offered_priorities = NULL;
	if (priorities_make(offers->tls_priorities, &w->offered_priorities, &why) < 0) {
		snprintf(w->offered_wrong, sizeof(w->offered_wrong), "tls_priorities: %s",
			text_str(&why));
		text_clear(&why);
		return w->offered_wrong;
	}
	text_clear(&why);
	w->checked = offers->generation;
	return NULL;
}

static void
settings_dropped(void *arg, uint32_t generation)
{
	struct worker *w = arg;

	if (w->offered != NULL && credentials_generation(w->offered) == generation)
		credentials_drop(&w->offered);
	if (w->offered_trust != NULL && trust_generation(w->offered_trust) == generation)
		trust_free(&w->offered_trust);
	w->offered_wrong[0] = '\0';
	w->checked = 0;
}

/* What was offered with the settings that are now in force comes into force; the rest was of an offer
 * that was dropped. */
static void
take_offered(struct worker *w)
{
	uint32_t generation = w->daemon.settings->generation;

	trust_free(&w->trust);
	if (w->offered_trust != NULL && trust_generation(w->offered_trust) == generation)
		w->trust = w->offered_trust;
	else
		trust_free(&w->offered_trust);
	w->offered_trust = NULL;
	if (w->offered != NULL && credentials_generation(w->offered) == generation) {
		if (w->now != NULL && w->daemon.settings->tls_ocsp)
			credentials_inherit_staples(w->offered, w->now);
		credentials_drop(&w->now);
		w->now = w->offered;
		w->offered = NULL;
	} else {
		credentials_drop(&w->offered);
	}
	if (w->offered_priorities == NULL)
		return;
	/* Sessions that use the old ones hold them. */
	if (w->priorities != NULL)
		gnutls_priority_deinit(w->priorities);
	w->priorities = w->offered_priorities;
	w->offered_priorities = NULL;
}

/* Which service has which default name, and which asks for certificates; master has checked both. */
static void
learn_services(struct worker *w)
{
	const struct settings *s = w->daemon.settings;

	for (enum service i = 0; i < SERVICE_COUNT; i++) {
		struct span name = span_str(service_name(i));

		w->otherwise[i] = SPAN_NONE;
		w->asks[i] = GNUTLS_CERT_IGNORE;
		for (size_t k = 0; k < s->tls_default.count; k++) {
			struct span member = s->tls_default.at[k], service;

			if (span_take_until(&member, '=', &service) &&
				span_equal(span_trim(service), name))
				w->otherwise[i] = span_trim(member);
		}
		for (size_t k = 0; k < s->tls_client_services.count; k++)
			if (w->now != NULL && credentials_asks_clients(w->now) &&
				span_equal(s->tls_client_services.at[k], name))
				w->asks[i] = s->tls_client_required ? GNUTLS_CERT_REQUIRE
								    : GNUTLS_CERT_REQUEST;
	}
}

static void
settings_changed(void *arg, const struct settings *old)
{
	struct worker *w = arg;
	size_t wanted = (size_t)w->daemon.settings->connections;
	struct rlimit limit;

	(void)old;
	take_offered(w);
	learn_services(w);
	kernel_learn(w);
	/* Each connection has two descriptors. */
	w->most_connections = wanted;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > 2 * SPARE_DESCRIPTORS &&
	    (limit.rlim_cur - SPARE_DESCRIPTORS) / 2 < wanted)
		w->most_connections = (size_t)(limit.rlim_cur - SPARE_DESCRIPTORS) / 2;
}

/* --- front ends --- */

/* Why a connection more cannot be served, or NULL. */
static const char *
judge(const struct worker *w, int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM)
		return "the descriptor is not a stream socket";
	if (w->daemon.leaving)
		return "the TLS worker is leaving";
	if (w->connection_count >= w->most_connections)
		return "too many connections in this TLS worker";
	return NULL;
}

static void
on_tls_start(
	void *arg, struct channel *from, uint64_t id, const struct msg_tls_start *m, const int *fd)
{
	struct worker *w = arg;
	const char *reason = judge(w, fd[0]);
	struct connection *c;

	if (m->service >= SERVICE_COUNT || service_program(m->service) != channel_peer(from))
		reason = "the service is not one of this front end";
	if (reason != NULL) {
		close(fd[0]);
	} else if ((c = connection_new(w, from, id, m->service, fd[0])) == NULL) {
		reason = "client closed before the handshake";
	} else {
		connection_told_address(c, m->ip);
		handshake_begin(c);
		return;
	}
	send_tls_failed(from, id, &(struct msg_tls_failed){ .reason = span_str(reason) }, NULL);
}

/* relay or fetch wants to be somebody's client. */
static void
on_tls_connect(
	void *arg, struct channel *from, uint64_t id, const struct msg_tls_connect *m, const int *fd)
{
	struct worker *w = arg;
	const char *reason = judge(w, fd[0]);
	struct wanted *wanted = reason == NULL ? wanted_new(m, &reason) : NULL;
	struct connection *c;

	if (reason != NULL) {
		close(fd[0]);
	} else if ((c = connection_new(w, from, id, SERVICE_SMTP, fd[0])) == NULL) {
		free(wanted);
		reason = "server closed before the handshake";
	} else {
		c->wanted = wanted;
		c->outgoing = true;
		connection_set_options(c);
		handshake_begin(c);
		return;
	}
	send_tls_failed(from, id, &(struct msg_tls_failed){
		.reason = span_str(reason), .result = SPAN("validation-failure") }, NULL);
}

static uint32_t
front_hour(void *arg, struct channel *from, enum message m, uint64_t id)
{
	(void)from;
	(void)m;
	return id != 0 && connection_find(arg, id) == NULL ? HOUR_NONE : HOUR_SERVING;
}

/* Connections that pump go on until their plaintext sockets say the end; handshakes have nobody to
 * go to. */
static void
front_gone(void *arg, struct channel *front)
{
	struct worker *w = arg;
	struct connection *c, *next;

	for (c = LIST_FIRST(&w->all); c != NULL; c = next) {
		next = LIST_NEXT(c, all);
		if (c->front != front)
			continue;
		c->front = NULL;
		if (c->phase == HELD || c->phase == HANDSHAKE)
			connection_free(c);
	}
}

/* --- life --- */

static void
key_back(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	if (daemon_peer(&w->daemon, PROGRAM_TLS_KEY, 0) == NULL)
		return;
	w->key_ready = true;
	handshake_resume_held(w);
}

static bool
prepare(void *arg)
{
	struct worker *w = arg;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max < MOST_DESCRIPTORS_WANTED ? limit.rlim_max
									  : MOST_DESCRIPTORS_WANTED;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	LIST_INIT(&w->all);
	TAILQ_INIT(&w->handshakes);
	w->key_back = evtimer_new(w->daemon.base, key_back, w);
	return w->key_back != NULL && connection_prepare(w) && outgoing_prepare(w);
}

static void
leave(void *arg, unsigned int seconds)
{
	struct worker *w = arg;
	struct connection *c;

	(void)seconds;
	while ((c = TAILQ_FIRST(&w->handshakes)) != NULL)
		handshake_fail(c, "the TLS worker is leaving");
	/* Connections that pump end when their front ends leave. */
	if (w->connection_count == 0)
		daemon_exit(&w->daemon);
}

/* Who came to an address that is gone will never be heard again: the front end sees the end. */
static void
address_changed(void *arg, const struct msg_address_changed *m)
{
	struct worker *w = arg;
	struct connection *c, *next;

	for (c = LIST_FIRST(&w->all); m->gone.len && c != NULL; c = next) {
		next = LIST_NEXT(c, all);
		if (!local_address_is(c->client, m->gone))
			continue;
		log_info(c->session, "connection-lost",
			KEY_STR("reason", "the address that it came to is gone"));
		if (c->phase == HELD || c->phase == HANDSHAKE)
			handshake_fail(c, "the address that the client came to is gone");
		else
			connection_free(c);
	}
}

static void
load(void *arg, uint32_t *connections, uint64_t *served)
{
	struct worker *w = arg;

	*connections = (uint32_t)w->connection_count;
	*served = w->served;
}

/* Beside the common set: sockets of clients, the pair for the front end, reading certificates. */
static const int syscalls[] = { SYS_socketpair, SYS_shutdown, SYS_getpeername, SYS_getsockname,
	SYS_getsockopt, SYS_setsockopt, SYS_pread64, SYS_getrusage, SYS_poll, SYS_prlimit64, -1 };

static const struct room tls_room = {
	.name = "tls",
	.chrooted = true,
	.files = false,
	.secret_memory = true,
	.syscalls = syscalls,
};
static const struct hearing from_front = {
	.hour = front_hour, .gone = front_gone, .on_tls_start = on_tls_start,
};
static const struct hearing from_relay = {
	.hour = front_hour, .gone = front_gone, .on_tls_connect = on_tls_connect,
};
static const struct hearing from_ocsp = { .on_staple = on_staple };
static const struct peer_kind peers[] = {
	/* who                 what it says     while it is dead */
	{ PROGRAM_TLS_KEY,    &signer_hearing }, /* new handshakes wait */
	{ PROGRAM_SMTPD,      &from_front },     /* its handshakes end; the rest ends by itself */
	{ PROGRAM_IMAP_LOGIN, &from_front },
	{ PROGRAM_OCSP,       &from_ocsp },    /* what it said last is shown until it ends */
	{ PROGRAM_RELAY,      &from_relay },   /* as a front end's; tls-key is not needed for it */
	{ PROGRAM_FETCH,      &from_relay },   /* likewise */
	{ PROGRAM_AUTH_FETCH, &from_relay },
	{ 0, NULL },
};
static const struct daemon_kind kind = {
	.program = PROGRAM_TLS, .room = &tls_room, .peers = peers, .prepare = prepare,
	.settings_check = settings_check, .settings_changed = settings_changed,
	.settings_dropped = settings_dropped,
	.certificate = on_certificate, .certificate_status = on_certificate_status,
	.trust = on_trust, .leave = leave, .address_changed = address_changed, .load = load,
};

int
main(void)
{
	static struct worker me;

	return daemon_run(&me.daemon, &kind, &me);
}
