/*
 * imap-login - speaks IMAP with strangers until they have logged in.
 *   inherits    channels to master, log, auth, tls and tls-key; listeners (143, 993), shared with
 *               the other imap-login processes
 *   keeps       nothing: _imapd, an empty root, no files, the system calls of login_room
 *   may be lied to by    every client. May lie to: auth, tls, tls-key and master, which must
 *               survive it. It can hand over only sessions that auth vouched for to master, each
 *               once
 *   while away  auth: NO [UNAVAILABLE]. tls or tls-key: no STARTTLS; 993 closes. master: the end
 *
 * A connection is a struct login (login.h); login-verbs.c has its commands, login-auth.c SASL and
 * the way to master, login-tls.c the way to TLS and back. Everything is one event loop; nothing
 * here waits.
 */
#include "imapd/login.h"

#include "common/local-address.h"
#include "common/log.h"

/* Accepting, reading, writing and closing are in the common set; nothing more is needed. */
static const int login_syscalls[] = { -1 };

static const struct room login_room = {
	.name = "imap-login",
	.chrooted = true,
	.files = false,
	.secret_memory = false,
	.syscalls = login_syscalls,
	.keeps = 0,
	.most_descriptors = 8192,
};

static const struct peer_kind login_peers[] = {
	{ PROGRAM_AUTH,    &login_hears_auth },
	{ PROGRAM_TLS,     &login_hears_tls },
	{ PROGRAM_TLS_KEY, &login_hears_tls_key },
	{ 0, NULL },
};

static void
welcome(void *me, const struct arrival *a, int fd, struct guest *guest)
{
	login_new(me, a, fd, guest);
}

static const struct door_kind login_door = {
	.services = 1u << SERVICE_IMAP | 1u << SERVICE_IMAPS,
	.full = "* BYE [UNAVAILABLE] Too many connections, try again later.\r\n",
	.crowded = "* BYE [UNAVAILABLE] Too many connections from your address.\r\n",
	.brief = true,
	.welcome = welcome,
};

static void
peer_came(void *me, struct channel *peer)
{
	if (channel_peer(peer) == PROGRAM_TLS_KEY)
		login_tls_announce(me, peer);
}

static void
listener(void *me, enum service service, struct span address, bool proxy, int fd)
{
	struct front *front = me;

	door_listen(&front->door, service, address, proxy, fd);
}

static void
listener_gone(void *me, enum service service, struct span address)
{
	struct front *front = me;

	door_unlisten(&front->door, service, address);
}

/* Nobody new. Who is about to be handed over may still go; the others hear BYE. */
static void
leave(void *me, unsigned int seconds)
{
	struct front *front = me;
	struct login *l;

	(void)seconds;
	door_close(&front->door);
	LIST_FOREACH(l, &front->logins, in_all) {
		if (l->state != LOGIN_HANDED && l->state != LOGIN_TLS)
			login_bye(l, "[UNAVAILABLE] The server is going down.");
	}
	if (LIST_EMPTY(&front->logins))
		daemon_exit(&front->daemon);
}

/* Who came to an address that is gone will never be heard again. */
static void
address_changed(void *me, const struct msg_address_changed *m)
{
	struct front *front = me;
	struct login *l;

	LIST_FOREACH(l, &front->logins, in_all)
		if (local_address_is(l->fd, m->gone))
			login_drop(l, "the address that it came to is gone");
}

static void
load(void *me, uint32_t *connections, uint64_t *served)
{
	const struct front *front = me;

	*connections = front->door.connections;
	*served = front->served;
}

static void
work(void *me)
{
	logins_bury(me);
}

static const struct daemon_kind imap_login = {
	.program = PROGRAM_IMAP_LOGIN,
	.room = &login_room,
	.peers = login_peers,
	.peer_came = peer_came,
	.listener = listener,
	.listener_gone = listener_gone,
	.leave = leave,
	.address_changed = address_changed,
	.load = load,
	.work = work,
	.control = &login_hears_master,
};

int
main(void)
{
	static struct front front;

	door_open(&front.door, &front.daemon, &login_door);
	return daemon_run(&front.daemon, &imap_login, &front);
}
