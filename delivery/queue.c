/*
 * queue - knows every message that is on its way: keeps the envelope of those that smtpd receives,
 * resolves addresses, and decides what is delivered, spooled and tried again when.
 *   inherits    channels to master, log, every smtpd, local and spool; the command's come at run
 *               time; the spool and the state directory (users.db, to read)
 *   keeps       nothing: its user (_queue), the spool, and the calls that files need
 *   may be lied to by    smtpd: about who a client is, never about a file; by local and spool.
 *               May lie to: smtpd, and about mail to anybody.
 *
 * One event loop that never waits for a disk's acknowledgement: blocking is the workers' trade.
 */
#include "keeper.h"
#include "logins.h"
#include "names.h"

#include "common/dns-ask.h"
#include "notice.h"
#include "relaying.h"

#include <seccomp.h>

static const int syscalls[] = {
	SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(getdents64), SCMP_SYS(unlinkat),
	SCMP_SYS(renameat), SCMP_SYS(renameat2), -1,
};

static const struct room queue_room = {
	.name = "queue",
	.files = true,
	.syscalls = syscalls,
};

static bool
prepare(void *me)
{
	struct queue *q = me;
	struct daemon *d = &q->daemon;

	d->paths[d->path_count++] = (struct room_path){ d->directory[DIRECTORY_SPOOL], ".",
		ROOM_READ | ROOM_MAKE };
	d->paths[d->path_count++] = (struct room_path){ d->directory[DIRECTORY_STATE], ".",
		ROOM_READ };
	return keeper_init(q);
}

static void
peer_came(void *me, struct channel *peer)
{
	keeper_peer_came(me, peer);
}

static void
settings_changed(void *me, const struct settings *old)
{
	if (old != NULL)
		keeper_settings_changed(me);
}

/* What smtpd has begun is finished; what waits in the spool is there after the next start. */
static void
leave(void *me, unsigned int seconds)
{
	struct queue *q = me;

	(void)seconds;
	attempts_note(q);
	if (q->transactions == 0 && !attempts_are_noting(q))
		daemon_exit(&q->daemon);
}

static void
load(void *me, uint32_t *connections, uint64_t *served)
{
	struct queue *q = me;

	*connections = (uint32_t)q->transactions;
	*served = q->served;
}

static void
on_notice(void *me, struct channel *from, uint64_t id, const struct msg_notice *m, const int *fd)
{
	(void)from;
	(void)id;
	(void)fd;
	notice_hear(me, m, true);
}

static void
on_pipe_told(void *me, struct channel *from, uint64_t id, const struct msg_pipe_told *m, const int *fd)
{
	(void)from;
	(void)fd;
	attempt_pipe_told(me, id, m);
}

static const struct hearing queue_hears_master = { .on_notice = on_notice, .on_pipe_told = on_pipe_told };

/* A change of our addresses: servers that could not be reached are tried anew. */
static void
address_changed(void *me, const struct msg_address_changed *m)
{
	if (m->came.len > 0 || m->route)
		keeper_network_changed(me);
}

static const struct peer_kind peers[] = {
	{ PROGRAM_AUTH_PAM, &queue_hears_names },
	{ PROGRAM_AUTH, &queue_hears_auth },
	{ PROGRAM_SMTPD, &queue_hears_smtpd },
	{ PROGRAM_LOCAL, &queue_hears_local },
	{ PROGRAM_LOCAL_HOME, &queue_hears_local },
	{ PROGRAM_SPOOL, &queue_hears_spool },
	{ PROGRAM_COMMAND, &queue_hears_command },
	{ PROGRAM_DNS, &dns_hearing },
	{ PROGRAM_RELAY, &queue_hears_relay },
	{ 0, NULL },
};

static const struct daemon_kind queue_kind = {
	.program = PROGRAM_QUEUE,
	.room = &queue_room,
	.peers = peers,
	.prepare = prepare,
	.peer_came = peer_came,
	.settings_changed = settings_changed,
	.leave = leave,
	.load = load,
	.control = &queue_hears_master,
	.address_changed = address_changed,
};

int
main(void)
{
	static struct queue q;

	return daemon_run(&q.daemon, &queue_kind, &q);
}
