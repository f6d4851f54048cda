/*
 * auth-hash - verifies one password against one hash, or makes a hash of one, and forgets both.
 *   inherits    channels to master and auth
 *   keeps       nothing: _auth, an empty root, no file at all, the common system calls
 *   may be lied to by    auth, about nothing that would harm anybody
 *
 * It blocks for as long as a hash takes, by design: auth has as many of it as it needs.
 */
#include <seccomp.h>

#include "common/daemon.h"
#include "common/password.h"
#include "common/scram.h"
#include "common/secret.h"
#include "common/users.h"

static const int syscalls[] = {-1};

static const struct room auth_hash_room = {
	.name = "auth-hash",
	.chrooted = true,
	.files = false,
	.secret_memory = true,
	.syscalls = syscalls,
	.most_descriptors = 64,
};

struct auth_hash {
	struct daemon daemon;
	uint64_t served;
};

/* The receive buffer is wiped after this returns (message.h: secret), the rest by password_verify.
 */
static void
on_hash_ask(
	void *me, struct channel *from, uint64_t id, const struct msg_hash_ask *m, const int *fd)
{
	struct auth_hash *h = me;
	struct msg_hash_told told = {.right = password_verify(m->hash, m->password)};

	(void)fd;
	h->served++;
	send_hash_told(from, id, &told, NULL);
}

/* Only what the administrator chose: another cost would keep the worker busy for as long as somebody likes. */
static bool
is_wanted(const struct settings *s, const struct msg_hash_make *m)
{
	return span_equal(m->scheme, s->password_scheme) && m->cost == (uint64_t)s->password_cost &&
	       m->iterations <= (uint64_t)s->scram_iterations;
}

static void
on_hash_make(
	void *me, struct channel *from, uint64_t id, const struct msg_hash_make *m, const int *fd)
{
	const struct password_strength strength = {m->scheme, m->cost};
	struct auth_hash *h = me;
	struct text hash = TEXT_UP_TO(MOST_HASH), record = TEXT_UP_TO(2 * MOST_HASH);
	struct password p = {.scram_iterations = m->iterations};
	unsigned char salt[SCRAM_SALT];
	struct scram_room room;

	(void)fd;
	h->served++;
	if (!is_wanted(h->daemon.settings, m)) {
		send_hash_made(from, id, &(struct msg_hash_made){.record = span_of("", 0)}, NULL);
		return;
	}
	if (m->iterations > 0) {
		secret_random(salt, sizeof(salt));
		p.scram_salt = span_of(salt, sizeof(salt));
		scram_make(m->password, p.scram_salt, m->iterations, &room, p.scram);
	}
	if (password_hash_new(m->password, &strength, &hash)) {
		p.hash = text_span(&hash);
		password_encode(&p, &record);
	}
	/* Nothing, where it cannot be done: that is no record. */
	send_hash_made(from, id, &(struct msg_hash_made){.record = text_span(&record)}, NULL);
	text_wipe(&hash);
	text_wipe(&record);
	secret_wipe(&room, sizeof(room));
}

static const struct hearing auth_hearing = {
	.on_hash_ask = on_hash_ask,
	.on_hash_make = on_hash_make,
};

static const struct peer_kind peers[] = {
	{PROGRAM_AUTH, &auth_hearing}, /* away: nobody asks */
	{PROGRAM_MASTER, NULL},
};

static void
load(void *me, uint32_t *connections, uint64_t *served)
{
	struct auth_hash *h = me;

	*connections = 0;
	*served = h->served;
}

static const struct daemon_kind auth_hash_kind = {
	.program = PROGRAM_AUTH_HASH,
	.room = &auth_hash_room,
	.peers = peers,
	.load = load,
};

int
main(void)
{
	static struct auth_hash h;

	return daemon_run(&h.daemon, &auth_hash_kind, &h);
}
