/*
 * smtpd - speaks SMTP with strangers: reception (25) and submission (587, 465).
 *   inherits    channels to master, log, tls, tls-key, auth, queue and policy; listeners, shared with the
 *               other smtpd processes
 *   keeps       nothing: _smtpd, an empty root, no files, the system calls of smtpd_room
 *   may be lied to by    every client. May lie to: queue, auth, tls and tls-key, which must
 *               survive it
 *   while away  queue: 451, the connection stays. auth: 454. tls or tls-key: no STARTTLS, and
 *               465 closes; tls-key: 451 for what is to be signed. policy: nobody is greylisted, no login's messages are counted
 *
 * A connection becomes a session (session.c), its lines commands (verbs.c), its message a file that
 * queue lent (receive.c). Everything is one event loop; nothing here waits.
 */
#include <time.h>

#include "common/local-address.h"
#include "common/dns-ask.h"
#include "common/log.h"
#include "smtpd/auth.h"
#include "smtpd/dkim-sign.h"
#include "smtpd/policy-ask.h"
#include "smtpd/filter.h"
#include "smtpd/session.h"
#include "smtpd/starttls.h"
#include "smtpd/transaction.h"
#include "smtpd/turn.h"

/* Accepting, reading, writing and closing are in the common set; nothing more is needed. */
static const int smtpd_syscalls[] = { -1 };

static const struct room smtpd_room = {
	.name = "smtpd",
	.chrooted = true,
	.files = false,
	.secret_memory = false,
	.syscalls = smtpd_syscalls,
	.keeps = 0,
	.most_descriptors = 8192,
};

/* A message that was dropped, or the notice of its failure: a session as through RUN/local, for the
 * user who owns the file. */
static void
on_local_open(
	void *me, struct channel *from, uint64_t id, const struct msg_local_open *m, const int *fd)
{
	struct server *server = me;
	const struct arrival a = { .service = SERVICE_LOCAL, .ip = "local", .uid = m->uid };

	(void)from;
	(void)id;
	door_let_in(&server->door, &a, fd[0]);
}

static const struct hearing hearing_pickup = {
	.on_local_open = on_local_open,
};

static const struct peer_kind smtpd_peers[] = {
	{ PROGRAM_QUEUE,   &hearing_queue },
	{ PROGRAM_STS,     &hearing_pickup }, /* reports about TLS */
	{ PROGRAM_AUTH,    &hearing_auth },
	{ PROGRAM_TLS,     &hearing_tls },
	{ PROGRAM_TLS_KEY, &hearing_tls_key },
	{ PROGRAM_PICKUP,  &hearing_pickup },
	{ PROGRAM_MILTER,  &hearing_milter },
	{ PROGRAM_DNS,     &dns_hearing },
	{ PROGRAM_POLICY,  &hearing_policy },
	{ 0, NULL },
};

static void
welcome(void *me, const struct arrival *a, int fd, struct guest *guest)
{
	session_begin(me, a, fd, guest);
}

static const struct door_kind smtpd_door = {
	.services = 1u << SERVICE_SMTP | 1u << SERVICE_SUBMISSION | 1u << SERVICE_SUBMISSIONS |
		1u << SERVICE_LMTP | 1u << SERVICE_LOCAL,
	.full = "421 4.3.2 too many connections, try again later\r\n",
	.crowded = "421 4.7.0 too many connections from your address\r\n",
	.welcome = welcome,
};

static bool
prepare(void *me)
{
	(void)me;
	/* The zone of Received and Date lines: its file cannot be read later. */
	tzset();
	return true;
}

static void
peer_came(void *me, struct channel *peer)
{
	struct server *server = me;

	dns_peer_came(&server->daemon, peer);
	if (channel_peer(peer) == PROGRAM_TLS_KEY)
		starttls_announce_again(me, peer);
}

static void
listener(void *me, enum service service, struct span address, bool proxy, int fd)
{
	struct server *server = me;

	door_listen(&server->door, service, address, proxy, fd);
}

static void
listener_gone(void *me, enum service service, struct span address)
{
	struct server *server = me;

	door_unlisten(&server->door, service, address);
}

/* Nobody new; who is in the middle of a message may finish it; the others hear 421. */
static void
leave(void *me, unsigned int seconds)
{
	struct server *server = me;
	struct session *s;

	(void)seconds;
	door_close(&server->door);
	LIST_FOREACH(s, &server->sessions, in_all)
		session_leave(s);
	if (server->door.connections == 0)
		daemon_exit(&server->daemon);
}

/* Who came to an address that is gone will never be heard again. A message that is being made durable
 * becomes so; the TLS workers end the connections that they carry. */
static void
address_changed(void *me, const struct msg_address_changed *m)
{
	struct server *server = me;
	struct session *s;

	LIST_FOREACH(s, &server->sessions, in_all)
		if (s->stage != STAGE_COMMITTED && local_address_is(s->fd, m->gone))
			session_drop(s, "the address that it came to is gone");
}

/* His password is another one, or he is no more: a message that is under way is finished, then his
 * sessions end. */
static void
on_user_changed(void *me, struct channel *from, uint64_t id, const struct msg_user_changed *m,
	const int *fd)
{
	struct server *server = me;
	struct session *s;

	(void)from;
	(void)id;
	(void)fd;
	LIST_FOREACH(s, &server->sessions, in_all)
		if (s->login && span_equal(span_str(s->login), m->user))
			session_leave(s);
}

static const struct hearing hearing_master = { .on_user_changed = on_user_changed };

static void
work(void *me)
{
	aborts_after_backlog(me);
	turns_after_backlog(me);
}

static void
load(void *me, uint32_t *connections, uint64_t *served)
{
	const struct server *server = me;

	*connections = server->door.connections;
	*served = server->served;
}

static const struct daemon_kind smtpd = {
	.program = PROGRAM_SMTPD,
	.room = &smtpd_room,
	.peers = smtpd_peers,
	.control = &hearing_master,
	.prepare = prepare,
	.peer_came = peer_came,
	.listener = listener,
	.listener_gone = listener_gone,
	.leave = leave,
	.address_changed = address_changed,
	.load = load,
	.work = work,
};

int
main(void)
{
	static struct server server;

	TAILQ_INIT(&server.held_back);
	server.aborts = TEXT_UP_TO(ABORTS_MOST);
	door_open(&server.door, &server.daemon, &smtpd_door);
	return daemon_run(&server.daemon, &smtpd, &server);
}
