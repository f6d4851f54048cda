/*
 * auth - decides who somebody is.
 *   inherits    channels to master, smtpd, imap-login, queue, auth-hash, auth-pam and auth-token; the directories
 *               of the user tables (to read); the passport key
 *   keeps       nothing: _auth, Landlock to the user tables and a directory of its own, the system
 *               calls below
 *   may be lied to by    smtpd and imap-login, which speak for strangers and may be captured: no
 *               word of theirs about TLS or addresses counts that a TLS worker did not seal, and
 *               none makes one session speak for another
 *   tells       master, whom a ticket is for, and which worker hangs; the front ends, a verdict;
 *               queue, who has logged in to send;
 *               auth-hash, one hash and one password at a time; auth-pam, a name and a password;
 *               auth-token, a token; a program of the administrator, through master, a name and a password
 */
#include "auth.h"

#include <event2/event.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/secret.h"
#include "common/users.h"
#include "learned.h"
#include "login.h"
#include "mechanism.h"

#define HASH_SECONDS 15 /* how long a hash may take, with its wait for a worker */

#define TOKEN_SECONDS 120 /* more than the issuer has, oauth_seconds */

#define MOST_LISTED 3000 /* entries of one `valija auth list` */
#define TIDY_SECONDS 30 /* between looks whether nobody is there and tables can be made durable */

static const int syscalls[] = {TABLE_READER_SYSCALLS, TABLE_PRIVATE_SYSCALLS, SCMP_SYS(pipe2), -1};

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
	switch (channel_peer(worker)) {
	case PROGRAM_AUTH_PAM:
		return a->pam;
	case PROGRAM_AUTH_TOKEN:
		return a->token;
	default:
		return a->hash;
	}
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

static void
on_hash_made(
	void *me, struct channel *from, uint64_t id, const struct msg_hash_made *m, const int *fd)
{
	(void)id;
	(void)fd;
	pool_told(pool_of(me, from), from, m);
}

static void
on_token_told(
	void *me, struct channel *from, uint64_t id, const struct msg_token_told *m, const int *fd)
{
	(void)id;
	(void)fd;
	pool_told(pool_of(me, from), from, m);
}

static const struct hearing token_hearing = {
	.hour = worker_hour,
	.gone = worker_gone,
	.on_token_told = on_token_told,
};
static const struct hearing hash_hearing = {
	.hour = worker_hour,
	.gone = worker_gone,
	.on_hash_made = on_hash_made,
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

/* --- master --- */

static void
on_auth_file(
	void *me, struct channel *from, uint64_t id, const struct msg_auth_file *m, const int *fd)
{
	struct auth *a = me;

	(void)from;
	(void)id;
	(void)m;
	passwd_file_free(&a->file_offered);
	a->file_offered = passwd_file_read(fd[0]);
	close(fd[0]);
}

/* Whose mailbox others may use is not asked who may log in: a mailbox that many share need not have a password. */
static void
on_owner_ask(
	void *me, struct channel *from, uint64_t id, const struct msg_owner_ask *m, const int *fd)
{
	struct auth *a = me;
	struct text value = TEXT_UP_TO(LOGIN_MOST_RECORD);
	struct user u = {.uid = 0};
	bool known = table_get(a->users, m->user, &value) == TABLE_FOUND &&
		     user_decode(m->user, text_span(&value), &u);

	(void)fd;
	send_owner_told(from, id,
		&(struct msg_owner_told){.known = known,
			.user = m->user,
			.home = u.home,
			.uid = u.uid,
			.gid = u.gid,
			.quota_bytes = u.quota_bytes,
			.quota_messages = u.quota_messages},
		NULL);
	text_clear(&value);
}

static void
on_check_told(
	void *me, struct channel *from, uint64_t id, const struct msg_check_told *m, const int *fd)
{
	struct auth *a = me;

	(void)fd;
	checker_told(a->checker, from, id, (enum check_result)m->result);
}

static const struct hearing master_hearing = {
	.on_auth_file = on_auth_file,
	.on_check_told = on_check_told,
	.on_owner_ask = on_owner_ask,
};

/* --- the command --- */

struct answering {
	struct channel *to;
	uint64_t id;
	uint32_t sent;
};

static bool
tell_entry(void *me, const struct guard_entry *e)
{
	struct answering *a = me;

	/* What it does not read at once would only wait in our memory. */
	if (a->sent == MOST_LISTED)
		return false;
	a->sent++;
	return send_auth_entry(a->to, a->id,
		&(struct msg_auth_entry){.kind = (uint8_t)e->kind,
			.ip = e->ip,
			.user = e->user,
			.failures = e->failures,
			.when = e->when,
			.until = e->until},
		NULL);
}

static void
on_auth_list(
	void *me, struct channel *from, uint64_t id, const struct msg_auth_list *m, const int *fd)
{
	struct auth *a = me;
	struct answering answering = {from, id, 0};

	(void)m;
	(void)fd;
	guard_each(a->guard, a->daemon.settings, (uint64_t)time(NULL), tell_entry, &answering);
	send_auth_end(from, id,
		&(struct msg_auth_end){
			.entries = answering.sent, .more = answering.sent == MOST_LISTED},
		NULL);
}

static void
on_auth_forgive(void *me, struct channel *from, uint64_t id, const struct msg_auth_forgive *m,
	const int *fd)
{
	struct auth *a = me;
	uint32_t count = guard_forgive(a->guard, m->what);

	(void)fd;
	log_notice(0, "auth-forgiven", KEY_NUM("entries", count), KEY_SPAN("what", m->what));
	send_auth_end(from, id, &(struct msg_auth_end){.entries = count}, NULL);
}

static const struct hearing command_hearing = {
	.on_auth_list = on_auth_list,
	.on_auth_forgive = on_auth_forgive,
};

/* It says nothing. */
static void
queue_gone(void *me, struct channel *from)
{
	struct auth *a = me;

	(void)from;
	a->queue = NULL;
}

static const struct hearing queue_hearing = {.gone = queue_gone};

/*      who                  what it tells us      while it is away: a case, not an accident */
static const struct peer_kind peers[] = {
	{PROGRAM_SMTPD, &front_end_hearing},	  /* its conversations end */
	{PROGRAM_IMAP_LOGIN, &front_end_hearing}, /* its conversations end */
	{PROGRAM_AUTH_HASH, &hash_hearing},	  /* its question goes to another, or waits */
	{PROGRAM_AUTH_PAM, &pam_hearing},	  /* the same */
	{PROGRAM_AUTH_TOKEN, &token_hearing},	  /* the same */
	{PROGRAM_QUEUE, &queue_hearing},	  /* no login to send mail: later */
	{PROGRAM_COMMAND, &command_hearing},
	{PROGRAM_MASTER, NULL},
};

/* --- life --- */

/* A disk may make us wait here: not while anybody else does. */
static void
on_tidy(evutil_socket_t fd, short what, void *arg)
{
	struct auth *a = arg;

	(void)fd;
	(void)what;
	if (a->conversations.count > 0)
		return;
	guard_sync(a->guard);
	if (a->learned != NULL)
		(void)table_sync(a->learned);
}

/* The key of salts of those who do not exist: the same after a restart, or who compares them would see
 * who does. */
static void
take_nobody(struct auth *a)
{
	const struct span key = SPAN("zsalt"); /* no key of the guard's rows, guard.c */
	struct text kept = TEXT_UP_TO(DIGEST_SIZE);

	digest_key_new(&a->nobody);
	if (a->guard_table == NULL)
		return;
	if (table_get(a->guard_table, key, &kept) == TABLE_FOUND && kept.len == DIGEST_SIZE)
		memcpy(a->nobody.at, kept.at, DIGEST_SIZE);
	else
		(void)table_put(a->guard_table, key, span_of(a->nobody.at, DIGEST_SIZE));
	text_wipe(&kept);
}

static bool
prepare(void *me)
{
	struct auth *a = me;
	struct daemon *d = &a->daemon;
	int users = d->directory[DIRECTORY_STATE], passwords = d->directory[DIRECTORY_PASSWORDS],
	    own = d->directory[DIRECTORY_AUTH];

	if (users < 0 || passwords < 0 || own < 0) {
		log_error(0, "no-table-directory");
		return false;
	}
	a->sasl = mechanisms_open();
	if (a->sasl == NULL) {
		log_error(0, "no-sasl", KEY_STR("reason", "GNU SASL lacks a mechanism"));
		return false;
	}
	a->users = table_reader(users, USERS_TABLE);
	a->passwords = table_reader(passwords, PASSWD_TABLE);
	a->hash = pool_new(d->base, "auth-hash", HASH_SECONDS, on_hang, a);
	a->token = pool_new(d->base, "auth-token", TOKEN_SECONDS, on_hang, a);
	a->pam = pool_new(d->base, "auth-pam", (unsigned int)d->settings->pam_seconds, on_hang, a);
	/* Without these two nobody is kept out: it is only forgotten more (logged by table_private). */
	a->learned = table_private(own, LEARNED_TABLE, 0600);
	a->guard_table = table_private(own, GUARD_TABLE, 0600);
	take_nobody(a);
	a->guard = guard_new(a->guard_table, (uint64_t)time(NULL));
	a->nobody_hash = TEXT_UP_TO(MOST_HASH);
	a->tidy = event_new(d->base, -1, EV_PERSIST, on_tidy, a);
	if (a->tidy == NULL || event_add(a->tidy, &(struct timeval){TIDY_SECONDS, 0}) < 0)
		return false;
	a->tokens = token_cache_new();
	a->checker = checker_new();
	a->remember = remember_new();
	d->paths[d->path_count++] = (struct room_path){users, ".", ROOM_READ};
	d->paths[d->path_count++] = (struct room_path){passwords, ".", ROOM_READ};
	d->paths[d->path_count++] = (struct room_path){own, ".", ROOM_READ | ROOM_WRITE | ROOM_MAKE};
	return true;
}

static void
on_nobody_made(void *me, const void *answer)
{
	const struct msg_hash_made *told = answer;
	struct auth *a = me;
	struct password p;

	if (told == NULL || !password_decode(told->record, &p))
		return;
	text_reset(&a->nobody_hash);
	text_add(&a->nobody_hash, p.hash);
}

/* Who does not exist costs what those cost whose passwords are set now. */
static void
make_nobody(struct auth *a)
{
	const struct settings *s = a->daemon.settings;
	const struct password_strength strength = {s->password_scheme, (uint32_t)s->password_cost};
	unsigned char chance[16];
	struct text password = TEXT_UP_TO(64);

	secret_random(chance, sizeof(chance));
	text_add_hex(&password, span_of(chance, sizeof(chance)));
	(void)pool_ask_make(a->hash, &strength, 0, text_span(&password), on_nobody_made, a);
	text_wipe(&password);
}

static void
settings_changed(void *me, const struct settings *old)
{
	struct auth *a = me;

	/* What came with the offer that is in force now. */
	passwd_file_free(&a->file);
	a->file = a->file_offered;
	a->file_offered = NULL;
	if (old == NULL || !span_equal(old->password_scheme, a->daemon.settings->password_scheme) ||
		old->password_cost != a->daemon.settings->password_cost)
		make_nobody(a);
	/* Audience, scope or issuer may be others. */
	token_cache_clear(a->tokens);
	checker_limit(a->checker, (unsigned int)a->daemon.settings->checkpassword_processes);
	pool_limit(a->pam, (unsigned int)a->daemon.settings->pam_seconds);
}

static void
peer_came(void *me, struct channel *peer)
{
	struct auth *a = me;

	if (channel_peer(peer) == PROGRAM_AUTH_HASH || channel_peer(peer) == PROGRAM_AUTH_PAM ||
		channel_peer(peer) == PROGRAM_AUTH_TOKEN)
		pool_came(pool_of(a, peer), peer);
	else if (channel_peer(peer) == PROGRAM_QUEUE)
		a->queue = peer;
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
	.control = &master_hearing,
	.peer_came = peer_came,
	.leave = leave,
	.load = load,
};

int
main(void)
{
	static struct auth a;

	int code;

	conversations_init(&a.conversations);
	code = daemon_run(&a.daemon, &auth_kind, &a);
	passwd_file_free(&a.file);
	passwd_file_free(&a.file_offered);
	if (a.guard != NULL)
		guard_sync(a.guard);
	table_free(&a.learned);
	table_free(&a.guard_table);
	return code;
}
