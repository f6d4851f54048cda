/*
 * auth - decides who somebody is.
 *   inherits    channels to master, smtpd, imap-login and auth-hash; the directories of the
 *               user tables (to read); the passport key
 *   keeps       nothing: _auth, Landlock to the user tables, the system calls below
 *   may be lied to by    smtpd and imap-login, which speak for strangers and may be captured: no
 *               word of theirs about TLS or addresses counts that a TLS worker did not seal, and
 *               none makes one session speak for another
 *   tells       master, whom a ticket is for; the front ends, a verdict; auth-hash, one hash and
 *               one password at a time
 */
#include "auth.h"

#include <seccomp.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/users.h"
#include "mechanism.h"

static const int syscalls[] = {TABLE_READER_SYSCALLS, -1};

static const struct room auth_room = {
	.name = "auth",
	.files = true,
	.syscalls = syscalls,
	.most_descriptors = 512,
};

/* --- the hash workers --- */

static uint32_t
hash_hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	struct auth *a = me;

	(void)m;
	return hash_pool_hour(a->pool, from, id);
}

static void
hash_gone(void *me, struct channel *from)
{
	struct auth *a = me;

	hash_pool_gone(a->pool, from);
}

static void
on_hash_told(
	void *me, struct channel *from, uint64_t id, const struct msg_hash_told *m, const int *fd)
{
	struct auth *a = me;

	(void)id;
	(void)fd;
	hash_pool_told(a->pool, from, m->right);
}

static const struct hearing hash_hearing = {
	.hour = hash_hour,
	.gone = hash_gone,
	.on_hash_told = on_hash_told,
};

/*      who                  what it tells us      while it is away: a case, not an accident */
static const struct peer_kind peers[] = {
	{PROGRAM_SMTPD, &front_end_hearing},	  /* its conversations end */
	{PROGRAM_IMAP_LOGIN, &front_end_hearing}, /* its conversations end */
	{PROGRAM_AUTH_HASH, &hash_hearing},	  /* its question goes to another, or waits */
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
	a->pool = hash_pool_new(d->base);
	a->delays = delays_new();
	a->remember = remember_new();
	d->paths[d->path_count++] = (struct room_path){users, ".", ROOM_READ};
	d->paths[d->path_count++] = (struct room_path){passwords, ".", ROOM_READ};
	return true;
}

static void
peer_came(void *me, struct channel *peer)
{
	struct auth *a = me;

	if (channel_peer(peer) == PROGRAM_AUTH_HASH)
		hash_pool_came(a->pool, peer);
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
