/*
 * auth-token - finds out whom a signed token is for.
 *   inherits    channels to master, auth and auth-fetch; the issuer's public keys, as a setting; what we say to
 *               the issuer when we ask it, from a file
 *   keeps       nothing: _auth, an empty root, no file at all, the common system calls
 *   may be lied to by    auth, about nothing that would harm anybody; by whoever writes tokens; by auth-fetch, which
 *               tells what the issuer says
 *   tells       auth, a user that the issuer vouches for
 *
 * JSON and signatures of strangers are taken apart here, away from where password hashes are read.
 */
#include <seccomp.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/daemon.h"
#include "common/fetch-ask.h"
#include "common/log.h"
#include "common/secret.h"
#include "common/text.h"
#include "introspect.h"
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
	struct text authorization, authorization_offered; /* wiped */
	struct question *asked; /* under way, or NULL: auth asks one at a time */
	uint64_t served;
};

/* The issuer is asked. */
struct question {
	struct auth_token *a;
	struct channel *from;
	uint64_t id;
	struct fetch_question *fetch;
};

static struct jwt_wanted
wanted(const struct auth_token *a)
{
	const struct settings *s = a->daemon.settings;

	return (struct jwt_wanted){
		s->oauth_issuer, s->oauth_audience, s->oauth_scope, s->oauth_user_claim};
}

static void
tell(struct channel *to, uint64_t id, const struct msg_token_told *told)
{
	/* A claim with a NUL in it is no user; JSON may have one only where that was allowed. */
	if (!send_token_told(to, id, told, NULL))
		log_error(0, "token-not-told");
}

static void
on_answer(void *me, const struct fetch_answer *answer)
{
	struct question *q = me;
	struct text user = TEXT_UP_TO(MOST_ADDRESS);
	struct jwt_wanted w = wanted(q->a);
	struct msg_token_told told = {.right = false};
	const char *why = NULL;

	q->a->asked = NULL;
	told.right = introspect_judge(&w, answer->status, answer->body, (uint64_t)time(NULL), &user,
		&told.seconds, &why, &told.later);
	if (told.right)
		told.user = text_span(&user);
	else
		told.reason = span_str(why);
	if (told.later)
		log_error(0, "introspection-failed", KEY_NUM("status", answer->status),
			KEY_SPAN("reason", answer->fault));
	tell(q->from, q->id, &told);
	text_clear(&user);
	free(q);
}

static void
ask_issuer(struct auth_token *a, struct channel *from, uint64_t id, struct span token)
{
	const struct settings *s = a->daemon.settings;
	struct text body = TEXT_UP_TO(MOST_FETCH_BODY_SENT);
	struct question *q;

	if (a->asked != NULL) {
		tell(from, id, &(struct msg_token_told){.later = true});
	} else if (!introspect_body(token, &body)) {
		tell(from, id, &(struct msg_token_told){.reason = SPAN("token-form")});
	} else {
		q = must_alloc(sizeof(*q));
		*q = (struct question){.a = a, .from = from, .id = id};
		a->asked = q;
		q->fetch = fetch_ask(&a->daemon,
			&(struct fetch_wanted){.url = s->oauth_introspection,
				.method = FETCH_POST,
				.authorization = text_span(&a->authorization),
				.content_type = SPAN("application/x-www-form-urlencoded"),
				.body = text_span(&body),
				.most_bytes = INTROSPECT_MOST_ANSWER,
				.milliseconds = (uint32_t)s->oauth_seconds * 1000},
			on_answer, q);
	}
	text_wipe(&body);
}

static void
on_token_ask(
	void *me, struct channel *from, uint64_t id, const struct msg_token_ask *m, const int *fd)
{
	struct auth_token *a = me;
	struct jwt_wanted w = wanted(a);
	struct text user = TEXT_UP_TO(MOST_ADDRESS);
	const char *why = "no-keys";
	struct msg_token_told told = {.right = false};

	(void)fd;
	a->served++;
	if (a->daemon.settings->oauth_introspection.len > 0) {
		ask_issuer(a, from, id, m->token);
		return;
	}
	if (a->keys != NULL)
		told.right =
			jwt_verify(a->keys, &w, m->token, (uint64_t)time(NULL), &user, &why);
	if (told.right)
		told.user = text_span(&user);
	else
		told.reason = span_str(why);
	tell(from, id, &told);
	text_clear(&user);
}

static void
auth_gone(void *me, struct channel *from)
{
	struct auth_token *a = me;

	if (a->asked == NULL || a->asked->from != from)
		return;
	/* The next auth asks anew, and finds nobody busy for one that is no more. */
	fetch_cancel(&a->asked->fetch);
	free(a->asked);
	a->asked = NULL;
}

static const struct hearing auth_hearing = {.on_token_ask = on_token_ask, .gone = auth_gone};

static const struct peer_kind peers[] = {
	{PROGRAM_AUTH, &auth_hearing},	     /* away: nobody asks */
	{PROGRAM_AUTH_FETCH, &fetch_hearing}, /* away: asked again when it comes, or later */
	{PROGRAM_MASTER, NULL},
};

/* --- master --- */

static void
on_auth_file(
	void *me, struct channel *from, uint64_t id, const struct msg_auth_file *m, const int *fd)
{
	struct auth_token *a = me;
	unsigned char block[INTROSPECT_MOST_CREDENTIALS + 2];
	ssize_t n = read(fd[0], block, sizeof(block));

	(void)from;
	(void)id;
	(void)m;
	close(fd[0]);
	if (n <= 0 || !introspect_authorization(span_of(block, (size_t)n), &a->authorization_offered)) {
		text_wipe(&a->authorization_offered);
		log_error(0, "oauth-credentials-unusable",
			KEY_STR("hint", "one line: CLIENT:SECRET, or a bearer token"));
	}
	secret_wipe(block, sizeof(block));
}

static const struct hearing master_hearing = {.on_auth_file = on_auth_file};

static const char *
settings_check(void *me, const struct settings *s)
{
	struct auth_token *a = me;
	struct text why = TEXT_UP_TO(256);
	bool by_keys = s->oauth_issuer.len > 0 && s->oauth_introspection.len == 0;

	jwks_free(&a->offered);
	if (by_keys)
		a->offered = jwks_read(s->oauth_keys, &why);
	if (by_keys && a->offered == NULL)
		log_error(0, "token-keys-unusable", KEY_SPAN("reason", text_span(&why)));
	text_clear(&why);
	return by_keys && a->offered == NULL
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
	/* What came with the offer that is in force now. */
	text_wipe(&a->authorization);
	text_add(&a->authorization, text_span(&a->authorization_offered));
	text_wipe(&a->authorization_offered);
}

static void
peer_came(void *me, struct channel *peer)
{
	struct auth_token *a = me;

	fetch_peer_came(&a->daemon, peer);
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
	.control = &master_hearing,
	.peer_came = peer_came,
	.load = load,
};

int
main(void)
{
	static struct auth_token a;

	a.authorization = TEXT_UP_TO(MOST_AUTHORIZATION);
	a.authorization_offered = TEXT_UP_TO(MOST_AUTHORIZATION);
	return daemon_run(&a.daemon, &auth_token_kind, &a);
}
