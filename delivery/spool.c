/*
 * spool - keeps messages that wait for another server, or for another try, durably.
 *   inherits    channels to master, log and queue; the spool directory
 *   keeps       nothing: the queue user (_queue), the spool, and the calls that files need
 *   may be lied to by    queue. May lie to: queue.
 *
 * One of several. It waits for the disk, so it is a process of its own: everything that queue says
 * in one round is made durable together, then answered (spooler.h; the states of a file: states.h).
 */
#include "common/daemon.h"
#include "spooler.h"

#include <seccomp.h>

struct spool {
	struct spooler spooler;    /* first: what the handlers hear is at the same address */
	struct daemon daemon;
};

static const int syscalls[] = {
	SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(linkat), SCMP_SYS(unlinkat), SCMP_SYS(renameat), SCMP_SYS(renameat2),
	SCMP_SYS(ftruncate), SCMP_SYS(ftruncate64), SCMP_SYS(fsync), SCMP_SYS(fdatasync),
	SCMP_SYS(sync_file_range), SCMP_SYS(sync_file_range2), -1,
};

static const struct room spool_room = {
	.name = "spool",
	.files = true,
	.syscalls = syscalls,
};

static bool
prepare(void *me)
{
	struct spool *s = me;
	struct daemon *d = &s->daemon;

	d->paths[d->path_count++] = (struct room_path){ d->directory[DIRECTORY_SPOOL], ".",
		ROOM_READ | ROOM_WRITE | ROOM_MAKE };
	return spooler_init(&s->spooler, d->directory[DIRECTORY_SPOOL]);
}

static void
work(void *me)
{
	struct spool *s = me;

	spooler_work(&s->spooler);
}

static void
load(void *me, uint32_t *connections, uint64_t *served)
{
	struct spool *s = me;

	*connections = (uint32_t)s->spooler.jobs.count;
	*served = s->spooler.spooled;
}

static const struct peer_kind peers[] = {
	{ PROGRAM_QUEUE, &spooler_hears_queue },
	{ 0, NULL },
};

static const struct daemon_kind spool_kind = {
	.program = PROGRAM_SPOOL,
	.room = &spool_room,
	.peers = peers,
	.prepare = prepare,
	.work = work,
	.load = load,
};

int
main(void)
{
	static struct spool s;

	return daemon_run(&s.daemon, &spool_kind, &s);
}
