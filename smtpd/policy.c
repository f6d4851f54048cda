/*
 * policy - remembers for smtpd what must outlast a connection: who was greylisted, and how much each
 * login has submitted.
 *   inherits    channels to master, log and every smtpd; the directory state/policy
 *   keeps       nothing: the user of smtpd (_smtpd), that directory, and the calls that a table needs
 *   may be lied to by    smtpd. May lie to: smtpd, about what it remembers.
 *
 * It waits for its disk, so it is a process of its own. What it remembers is written back every
 * SYNC_SECONDS: a crash may forget that much, and a table that a crash has damaged is begun anew.
 */
#include <event2/event.h>
#include <seccomp.h>
#include <time.h>

#include "common/daemon.h"
#include "common/log.h"
#include "smtpd/allowance.h"
#include "smtpd/greylist.h"

#define GREYLIST_TABLE "greylist.db"
#define ALLOWANCE_TABLE "allowance.db"
#define SYNC_SECONDS 5
#define PURGE_SECONDS 3600
#define PURGE_AGAIN_SECONDS 1

struct policy {
	struct daemon daemon;
	struct greylist greylist;
	struct table *allowances;
	struct event *sync, *purge;
	bool greylist_changed, allowances_changed;
	uint64_t served;
};

static const int syscalls[] = { TABLE_READER_SYSCALLS, TABLE_PRIVATE_SYSCALLS, -1 };

static const struct room policy_room = {
	.name = "policy",
	.files = true,
	.syscalls = syscalls,
};

static uint64_t
milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void
sync_tables(struct policy *p)
{
	if (p->greylist_changed && table_sync(p->greylist.table) < 0)
		log_error(0, "table-not-written", KEY_STR("table", GREYLIST_TABLE));
	if (p->allowances_changed && table_sync(p->allowances) < 0)
		log_error(0, "table-not-written", KEY_STR("table", ALLOWANCE_TABLE));
	p->greylist_changed = p->allowances_changed = false;
}

static void
on_sync(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	sync_tables(arg);
}

static void
again_in(struct event *timer, time_t seconds)
{
	struct timeval wait = { .tv_sec = seconds };

	event_add(timer, &wait);
}

static void
on_purge(evutil_socket_t fd, short what, void *arg)
{
	struct policy *p = arg;
	bool more;

	(void)fd;
	(void)what;
	more = greylist_purge(&p->greylist, p->daemon.settings, milliseconds() / 1000);
	more |= allowance_purge(p->allowances, milliseconds());
	p->greylist_changed = p->allowances_changed = true;
	again_in(p->sync, SYNC_SECONDS);
	again_in(p->purge, more ? PURGE_AGAIN_SECONDS : PURGE_SECONDS);
}

static bool
prepare(void *me)
{
	struct policy *p = me;
	struct daemon *d = &p->daemon;
	int directory = d->directory[DIRECTORY_POLICY];

	d->paths[d->path_count++] = (struct room_path){ directory, ".",
		ROOM_READ | ROOM_WRITE | ROOM_MAKE };
	p->greylist.table = table_private(directory, GREYLIST_TABLE, 0600);
	p->allowances = table_private(directory, ALLOWANCE_TABLE, 0600);
	p->sync = evtimer_new(d->base, on_sync, p);
	p->purge = evtimer_new(d->base, on_purge, p);
	return p->greylist.table && p->allowances && p->sync && p->purge;
}

static void
settings_changed(void *me, const struct settings *old)
{
	struct policy *p = me;

	if (!old)
		again_in(p->purge, 0);
}

/* --- what smtpd asks --- */

static void
on_greylist_ask(void *me, struct channel *from, uint64_t id, const struct msg_greylist_ask *m, const int *fd)
{
	struct policy *p = me;
	struct greylist_attempt a = {
		.ip = m->ip, .sender = m->sender, .recipient = m->recipient, .now = milliseconds() / 1000
	};
	uint32_t wait = greylist_judge(&p->greylist, p->daemon.settings, &a);

	(void)fd;
	p->served++;
	p->greylist_changed = true;
	if (!event_pending(p->sync, EV_TIMEOUT, NULL))
		again_in(p->sync, SYNC_SECONDS);
	send_greylist_told(from, id, &(struct msg_greylist_told){ .number = m->number, .seconds = wait }, NULL);
}

static void
on_allowance_ask(void *me, struct channel *from, uint64_t id, const struct msg_allowance_ask *m, const int *fd)
{
	struct policy *p = me;
	uint32_t seconds = 0;
	enum allowance said = ALLOWED;

	(void)fd;
	p->served++;
	/* A key of no octets is none; smtpd does not ask for nobody. */
	if (m->login.len > 0)
		said = allowance_take(p->allowances, p->daemon.settings, m->login, m->recipients, milliseconds(),
			&seconds);
	p->allowances_changed = true;
	if (!event_pending(p->sync, EV_TIMEOUT, NULL))
		again_in(p->sync, SYNC_SECONDS);
	send_allowance_told(from, id, &(struct msg_allowance_told){ .said = (uint8_t)said, .seconds = seconds },
		NULL);
}

static void
leave(void *me, unsigned int seconds)
{
	struct policy *p = me;

	(void)seconds;
	sync_tables(p);
	daemon_exit(&p->daemon);
}

static void
load(void *me, uint32_t *connections, uint64_t *served)
{
	struct policy *p = me;

	*connections = 0;
	*served = p->served;
}

static const struct hearing hears_smtpd = {
	.on_greylist_ask = on_greylist_ask,
	.on_allowance_ask = on_allowance_ask,
};

static const struct peer_kind peers[] = {
	{ PROGRAM_SMTPD, &hears_smtpd },
	{ 0, NULL },
};

static const struct daemon_kind policy_kind = {
	.program = PROGRAM_POLICY,
	.room = &policy_room,
	.peers = peers,
	.prepare = prepare,
	.settings_changed = settings_changed,
	.leave = leave,
	.load = load,
};

int
main(void)
{
	static struct policy p;
	int code = daemon_run(&p.daemon, &policy_kind, &p);

	sync_tables(&p);
	table_free(&p.greylist.table);
	table_free(&p.allowances);
	return code;
}
