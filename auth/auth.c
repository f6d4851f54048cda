/*
 * auth - decides who somebody is.
 *   inherits    channels to master, smtpd, imap-login, auth-hash and auth-pam; the directories of the
 *               user tables (to read); the passport key
 *   keeps       nothing: _auth, Landlock to the user tables, the system calls below
 *   may be lied to by    smtpd and imap-login, which speak for strangers and may be captured: no
 *               word of theirs about TLS or addresses counts that a TLS worker did not seal, and
 *               none makes one session speak for another
 *   tells       master, whom a ticket is for, and which worker hangs; the front ends, a verdict;
 *               auth-hash, one hash and one password at a time; auth-pam, a name and a password
 */
#include "auth.h"

#include <seccomp.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/users.h"
#include "mechanism.h"

#define HASH_SECONDS 15 /* how long a hash may take, with its wait for a worker */

static const int syscalls[] = {TABLE_READER_SYSCALLS, -1};

static const struct room auth_room = {
	.name = "auth",
	.files = true,
	.secret_memory = true,
	.syscalls = syscalls,
	.most_descriptors = 512,
};

/* --- the workers --- */

static struct pool *
pool_of(struct auth *a, const struct channel *worker)
{
	return channel_peer(worker) == PROGRAM_AUTH_PAM ? a->pam : a->hash;
}

static uint32_t
worker_hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	return pool_hour(pool_of(me, from), from, m, id);
}

static void
worker_gone(void *me, struct channel *from)
{
	pool_gone(pool_of(me, from), from);
}

static void
on_hash_told(
	void *me, struct channel *from, uint64_t id, const struct msg_hash_told *m, const int *fd)
{
	(void)id;
	(void)fd;
	pool_told(pool_of(me, from), from, m);
}

static void
on_pam_told(
	void *me, struct channel *from, uint64_t id, const struct msg_pam_told *m, const int *fd)
{
	(void)id;
	(void)fd;
	pool_told(pool_of(me, from), from, m);
}

static void
on_name_told(
	void *me, struct channel *from, uint64_t id, const struct msg_name_told *m, const int *fd)
{
	(void)id;
	(void)fd;
	pool_told(pool_of(me, from), from, m);
}

static const struct hearing hash_hearing = {
	.hour = worker_hour,
	.gone = worker_gone,
	.on_hash_told = on_hash_told,
};
static const struct hearing pam_hearing = {
	.hour = worker_hour,
	.gone = worker_gone,
	.on_pam_told = on_pam_told,
	.on_name_told = on_name_told,
};

/* It lives and does not answer: master, who can, ends it and starts another. */
static void
on_hang(void *me, struct channel *worker)
{
	struct auth *a = me;

	send_worker_hangs(a->daemon.master, 0,
		&(struct msg_worker_hangs){.program = (uint8_t)channel_peer(worker),
			.index = (uint16_t)channel_peer_index(worker)},
		NULL);
}

/*      who                  what it tells us      while it is away: a case, not an accident */
static const struct peer_kind peers[] = {
	{PROGRAM_SMTPD, &front_end_hearing},	  /* its conversations end */
	{PROGRAM_IMAP_LOGIN, &front_end_hearing}, /* its conversations end */
	{PROGRAM_AUTH_HASH, &hash_hearing},	  /* its question goes to another, or waits */
	{PROGRAM_AUTH_PAM, &pam_hearing},	  /* the same */
	{PROGRAM_MASTER, NULL},
};

/* --- life --- */

static bool
prepare(void *me)
{
	struct auth *a = me;
	struct daemon *d = &a->daemon;
	int users = d->directory[DIRECTORY_STATE], passwords = d->directory[DIRECTORY_PASSWORDS];

	if (users < 0 || passwords < 0) {
		log_error(0, "no-table-directory");
		return false;
	}
	a->sasl = mechanisms_open();
	if (a->sasl == NULL) {
		log_error(0, "no-sasl", KEY_STR("reason", "GNU SASL lacks PLAIN or LOGIN"));
		return false;
	}
	a->users = table_reader(users, USERS_TABLE);
	a->passwords = table_reader(passwords, PASSWD_TABLE);
	a->hash = pool_new(d->base, "auth-hash", HASH_SECONDS, on_hang, a);
	a->pam = pool_new(d->base, "auth-pam", (unsigned int)d->settings->pam_seconds, on_hang, a);
	a->delays = delays_new();
	digest_key_new(&a->nobody);
	a->remember = remember_new();
	d->paths[d->path_count++] = (struct room_path){users, ".", ROOM_READ};
	d->paths[d->path_count++] = (struct room_path){passwords, ".", ROOM_READ};
	return true;
}

static void
settings_changed(void *me, const struct settings *old)
{
	struct auth *a = me;

	(void)old;
	pool_limit(a->pam, (unsigned int)a->daemon.settings->pam_seconds);
}

static void
peer_came(void *me, struct channel *peer)
{
	struct auth *a = me;

	if (channel_peer(peer) == PROGRAM_AUTH_HASH || channel_peer(peer) == PROGRAM_AUTH_PAM)
		pool_came(pool_of(a, peer), peer);
}

/* What is being verified gets its verdict; what is delayed gets it now. */
static void
leave(void *me, unsigned int seconds)
{
	struct auth *a = me;

	(void)seconds;
	conversations_hurry(a);
	if (a->conversations.count == 0)
		daemon_exit(&a->daemon);
}

static void
load(void *me, uint32_t *connections, uint64_t *served)
{
	struct auth *a = me;

	*connections = a->conversations.count;
	*served = a->conversations.served;
}

static const struct daemon_kind auth_kind = {
	.program = PROGRAM_AUTH,
	.room = &auth_room,
	.peers = peers,
	.prepare = prepare,
	.settings_changed = settings_changed,
	.peer_came = peer_came,
	.leave = leave,
	.load = load,
};

int
main(void)
{
	static struct auth a;

	conversations_init(&a.conversations);
	return daemon_run(&a.daemon, &auth_kind, &a);
}
