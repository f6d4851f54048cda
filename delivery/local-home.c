/*
 * local-home - puts messages into the Maildirs of the system's users, each as that user.
 *   inherits    channels to master, log, queue and gist
 *   keeps       the mail user (vmail), with CAP_SETUID and CAP_SETGID for one purpose: the file system
 *               user of a delivery, never root (the filter lets no other call of that family through);
 *               below system_homes, and the calls that files need
 *   may be lied to by    queue, about whose home is whose (it asks auth-pam); by whoever owns a home
 *               and plants links or pipes in it. May lie to: queue.
 *
 * There is one, and only with system_users. It does what local does (placer.h) and reads .forward files
 * for queue; virtual users' mail is local's, which has no capability at all.
 */
#include "common/daemon.h"
#include "common/log.h"
#include "common/text.h"
#include "placer.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>

struct home {
	struct placer placer;      /* first: what the handlers hear is at the same address */
	struct daemon daemon;
	char hostname[256];
	char *path[MOST_HOME_ROOTS];
};

static const int syscalls[] = {
	SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(mkdirat), SCMP_SYS(linkat),
	SCMP_SYS(unlinkat), SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(sync_file_range),
	SCMP_SYS(sync_file_range2), SCMP_SYS(getdents64),
	SCMP_SYS(renameat), SCMP_SYS(fstatfs), SCMP_SYS(fstatfs64), -1,
};

static const struct room home_room = {
	.name = "local-home",
	.files = true,
	.file_users = true,
	.syscalls = syscalls,
	.keeps = (UINT64_C(1) << CAP_SETUID) | (UINT64_C(1) << CAP_SETGID),
};

/* The roots are opened now: later nothing is reached by a full name. They change with a restart. */
static bool
prepare(void *me)
{
	struct home *h = me;
	struct daemon *d = &h->daemon;
	const struct list *homes = &d->settings->system_homes;

	placer_init(&h->placer, -1, h->hostname);
	h->placer.homes = true;
	for (size_t i = 0; i < homes->count && h->placer.roots < MOST_HOME_ROOTS; i++) {
		struct span path = homes->at[i];
		struct home_root *r = &h->placer.root[h->placer.roots];

		while (path.len > 1 && path.at[path.len - 1] == '/')
			path.len--;
		h->path[h->placer.roots] = must_copy(path);
		r->path = span_str(h->path[h->placer.roots]);
		r->fd = open(h->path[h->placer.roots], O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (r->fd < 0) {
			log_warning(0, "homes-unusable", KEY_SPAN("directory", path), KEY_ERRNO);
			free(h->path[h->placer.roots]);
			continue;
		}
		d->paths[d->path_count++] = (struct room_path){ r->fd, ".",
			ROOM_READ | ROOM_WRITE | ROOM_MAKE };
		placer_recognise(&h->placer, r->fd);
		h->placer.roots++;
	}
	return true;
}

static void
settings_changed(void *me, const struct settings *old)
{
	struct home *h = me;

	(void)old;
	quota_warnings_set(&h->placer.warnings, &h->daemon.settings->quota_warnings);
	placer_set_journal(&h->placer, h->daemon.settings->mail_journal);
	h->placer.least_uid = (uint32_t)h->daemon.settings->system_least_uid;
	if (!span_copy(h->daemon.settings->hostname, h->hostname, sizeof(h->hostname)))
		h->hostname[0] = '\0';
}

static void
peer_came(void *me, struct channel *peer)
{
	struct home *h = me;

	if (channel_peer(peer) == PROGRAM_GIST)
		filler_peer(&h->placer, peer);
}

static void
work(void *me)
{
	struct home *h = me;

	placer_work(&h->placer);
}

static void
load(void *me, uint32_t *connections, uint64_t *served)
{
	struct home *h = me;

	*connections = (uint32_t)h->placer.jobs.count;
	*served = h->placer.placed;
}

static struct hearing hears_queue;

static const struct peer_kind peers[] = {
	{ PROGRAM_QUEUE, &hears_queue },
	{ PROGRAM_GIST, &filler_hears_gist },     /* away: nothing is worked out */
	{ 0, NULL },
};

static const struct daemon_kind home_kind = {
	.program = PROGRAM_LOCAL_HOME,
	.room = &home_room,
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
	static struct home h;

	hears_queue = placer_hears_queue;
	hears_queue.on_forward_ask = placer_on_forward_ask;
	return daemon_run(&h.daemon, &home_kind, &h);
}
