/*
 * auth-token - finds out whom a signed token is for.
 *   inherits    channels to master and auth; the issuer's public keys, as a setting
 *   keeps       nothing: _auth, an empty root, no file at all, the common system calls
 *   may be lied to by    auth, about nothing that would harm anybody; by whoever writes tokens
 *   tells       auth, a user that the issuer vouches for
 *
 * JSON and signatures of strangers are taken apart here, away from where password hashes are read.
 */
#include <seccomp.h>
#include <time.h>

#include "common/daemon.h"
#include "common/log.h"
#include "common/text.h"
#include "jwt.h"

static const int syscalls[] = {-1};

static const struct room auth_token_room = {
	.name = "auth-token",
	.chrooted = true,
	.files = false,
	.secret_memory = true,
	.syscalls = syscalls,
	.most_descriptors = 64,
};

struct auth_token {
	struct daemon daemon;
	struct jwks *keys, *offered;
	uint64_t served;
};

static void
on_token_ask(
	void *me, struct channel *from, uint64_t id, const struct msg_token_ask *m, const int *fd)
{
	struct auth_token *a = me;
	const struct settings *s = a->daemon.settings;
	const struct jwt_wanted wanted = {
		s->oauth_issuer, s->oauth_audience, s->oauth_scope, s->oauth_user_claim};
	struct text user = TEXT_UP_TO(MOST_ADDRESS);
	const char *why = "no-keys";
	struct msg_token_told told = {.right = false};

	(void)fd;
	a->served++;
	if (a->keys != NULL)
		told.right = jwt_verify(
			a->keys, &wanted, m->token, (uint64_t)time(NULL), &user, &why);
	if (told.right)
		told.user = text_span(&user);
	else
		told.reason = span_str(why);
	/* A claim with a NUL in it is no user; JSON may have one only where that was allowed. */
	if (!send_token_told(from, id, &told, NULL))
		log_error(0, "token-not-told");
	text_clear(&user);
}

static const struct hearing auth_hearing = {.on_token_ask = on_token_ask};

static const struct peer_kind peers[] = {
	{PROGRAM_AUTH, &auth_hearing}, /* away: nobody asks */
	{PROGRAM_MASTER, NULL},
};

static const char *
settings_check(void *me, const struct settings *s)
{
	struct auth_token *a = me;
	struct text why = TEXT_UP_TO(256);

	jwks_free(&a->offered);
	if (s->oauth_issuer.len > 0)
		a->offered = jwks_read(s->oauth_keys, &why);
	if (s->oauth_issuer.len > 0 && a->offered == NULL)
		log_error(0, "token-keys-unusable", KEY_SPAN("reason", text_span(&why)));
	text_clear(&why);
	return s->oauth_issuer.len > 0 && a->offered == NULL
		       ? "oauth_keys cannot be used; see the log"
		       : NULL;
}

static void
settings_changed(void *me, const struct settings *old)
{
	struct auth_token *a = me;

	(void)old;
	jwks_free(&a->keys);
	a->keys = a->offered;
	a->offered = NULL;
}

static void
load(void *me, uint32_t *connections, uint64_t *served)
{
	struct auth_token *a = me;

	*connections = 0;
	*served = a->served;
}

static const struct daemon_kind auth_token_kind = {
	.program = PROGRAM_AUTH_TOKEN,
	.room = &auth_token_room,
	.peers = peers,
	.settings_check = settings_check,
	.settings_changed = settings_changed,
	.load = load,
};

int
main(void)
{
	static struct auth_token a;

	return daemon_run(&a.daemon, &auth_token_kind, &a);
}
