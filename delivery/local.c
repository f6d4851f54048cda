/*
 * local - puts messages into Maildirs, durably.
 *   inherits    channels to master, log, queue and gist; the mail root
 *   keeps       nothing: the mail user (vmail), the mail root, and the calls that files need
 *   may be lied to by    queue, which names homes: none leads out of the mail root; by whoever
 *               owns a Maildir and plants links or pipes in it; and by gist, which is written down, not
 *               believed (filler.h). May lie to: queue.
 *
 * One of several. It waits for the disk, so it is a process of its own: everything that queue says
 * in one round is made durable together, then answered (placer.h; the states of a file: states.h).
 */
#include "common/daemon.h"
#include "placer.h"

#include <seccomp.h>

struct local {
	struct placer placer;      /* first: what the handlers hear is at the same address */
	struct daemon daemon;
	char hostname[256];
};

static const int syscalls[] = {
	SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(mkdirat), SCMP_SYS(linkat),
	SCMP_SYS(unlinkat), SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(sync_file_range),
	SCMP_SYS(sync_file_range2), SCMP_SYS(getdents64),
	SCMP_SYS(renameat), SCMP_SYS(fstatfs), SCMP_SYS(fstatfs64), -1,
};

static const struct room local_room = {
	.name = "local",
	.files = true,
	.syscalls = syscalls,
};

static bool
prepare(void *me)
{
	struct local *l = me;
	struct daemon *d = &l->daemon;

	d->paths[d->path_count++] = (struct room_path){ d->directory[DIRECTORY_MAIL], ".",
		ROOM_READ | ROOM_WRITE | ROOM_MAKE };
	placer_init(&l->placer, d->directory[DIRECTORY_MAIL], l->hostname);
	if (d->directory[DIRECTORY_MAIL] < 0)
		return false;
	placer_recognise(&l->placer, d->directory[DIRECTORY_MAIL]);
	return true;
}

/* The placer holds a copy: settings are freed when new ones come. */
static void
settings_changed(void *me, const struct settings *old)
{
	struct local *l = me;

	(void)old;
	quota_warnings_set(&l->placer.warnings, &l->daemon.settings->quota_warnings);
	placer_set_journal(&l->placer, l->daemon.settings->mail_journal);
	if (!span_copy(l->daemon.settings->hostname, l->hostname, sizeof(l->hostname)))
		l->hostname[0] = '\0';
}

static void
peer_came(void *me, struct channel *peer)
{
	struct local *l = me;

	if (channel_peer(peer) == PROGRAM_GIST)
		filler_peer(&l->placer, peer);
}

static void
work(void *me)
{
	struct local *l = me;

	placer_work(&l->placer);
}

static void
load(void *me, uint32_t *connections, uint64_t *served)
{
	struct local *l = me;

	*connections = (uint32_t)l->placer.jobs.count;
	*served = l->placer.placed;
}

static const struct peer_kind peers[] = {
	{ PROGRAM_QUEUE, &placer_hears_queue },
	{ PROGRAM_GIST, &filler_hears_gist },     /* away: nothing is worked out */
	{ 0, NULL },
};

static const struct daemon_kind local_kind = {
	.program = PROGRAM_LOCAL,
	.room = &local_room,
	.peers = peers,
	.prepare = prepare,
	.peer_came = peer_came,
	.settings_changed = settings_changed,
	.work = work,
	.load = load,
};

int
main(void)
{
	static struct local l;

	return daemon_run(&l.daemon, &local_kind, &l);
}
