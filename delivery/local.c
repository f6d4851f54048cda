/*
 * local - puts messages into Maildirs, durably.
 *   inherits    channels to master, log, queue and gist; the mail root; state/ledger, of which it opens its file
 *   keeps       nothing: the mail user (vmail), the mail root, and the calls that files need
 *   may be lied to by    queue, which names homes: none leads out of the mail root; by whoever
 *               owns a Maildir and plants links or pipes in it; and by gist, which is written down, not
 *               believed (filler.h). May lie to: queue.
 *
 * One of several. It waits for the disk, so it is a process of its own: everything that queue says
 * in one round is made durable together, then answered (placer.h; the states of a file: states.h).
 */
#include "common/daemon.h"
#include "common/log.h"
#include "common/text.h"
#include "placer.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct local {
	struct placer placer;      /* first: what the handlers hear is at the same address */
	struct daemon daemon;
	char hostname[256];
	/* The first one sees to what was left by processes that are no longer configured. */
	struct ledger *left[MOST_LOCALS];
};

static const int syscalls[] = {
	SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(mkdirat), SCMP_SYS(linkat),
	SCMP_SYS(unlinkat), SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(sync_file_range),
	SCMP_SYS(sync_file_range2), SCMP_SYS(getdents64),
	SCMP_SYS(renameat), SCMP_SYS(fstatfs), SCMP_SYS(fstatfs64),
	SCMP_SYS(pwrite64), SCMP_SYS(ftruncate), SCMP_SYS(ftruncate64), SCMP_SYS(fchmod), -1,
};

static const struct room local_room = {
	.name = "local",
	.files = true,
	.syscalls = syscalls,
};

static void
open_ledgers(struct local *l)
{
	struct daemon *d = &l->daemon;
	int directory = openat(d->directory[DIRECTORY_LEDGER], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char name[16];
	struct stat s;

	if (directory < 0) {
		log_warning(0, "no-ledger", KEY_STR("directory", "state/ledger"), KEY_ERRNO);
		return;
	}
	snprintf(name, sizeof(name), "%u", d->index);
	placer_open_ledger(&l->placer, directory, name);
	for (unsigned int i = (unsigned int)d->settings->local_processes; d->index == 0 && i < MOST_LOCALS; i++) {
		snprintf(name, sizeof(name), "%u", i);
		if (fstatat(directory, name, &s, AT_SYMLINK_NOFOLLOW) < 0 || s.st_size == 0)
			continue;
		l->left[i] = must_alloc(sizeof(*l->left[i]));
		ledger_open(l->left[i], directory, name);
	}
	close(directory);
}

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
	open_ledgers(l);
	return true;
}

/* What an earlier life promised is there before anybody can look: no mailbox is opened before all serve. */
static void
confined(void *me)
{
	struct local *l = me;

	placer_begin_ledger(&l->placer, l->daemon.base);
	for (unsigned int i = 0; i < MOST_LOCALS; i++) {
		if (l->left[i] == NULL)
			continue;
		placer_begin_other_ledger(&l->placer, l->left[i], l->daemon.base);
		if (l->left[i]->state != LEDGER_READY)
			continue;
		ledger_end(l->left[i], true);
		free(l->left[i]);
		l->left[i] = NULL;
	}
}

/* The placer holds a copy: settings are freed when new ones come. */
static void
settings_changed(void *me, const struct settings *old)
{
	struct local *l = me;

	(void)old;
	quota_warnings_set(&l->placer.warnings, &l->daemon.settings->quota_warnings);
	placer_set_journal(&l->placer, l->daemon.settings->mail_journal);
	l->placer.ledger.wanted = l->daemon.settings->mail_ledger;
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
	.confined = confined,
	.peer_came = peer_came,
	.settings_changed = settings_changed,
	.work = work,
	.load = load,
};

int
main(void)
{
	static struct local l;
	int code = daemon_run(&l.daemon, &local_kind, &l);

	ledger_end(&l.placer.ledger, false);
	return code;
}
