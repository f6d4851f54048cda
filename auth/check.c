/* check - whether a claim is true: the guard first, then the sources in their order; the first that knows the user
 * decides. */
#include "conversation-inside.h"

#include <event2/event.h>
#include <time.h>

#include "common/password-scheme.h"
#include "common/password.h"
#include "common/scram.h"
#include "common/secret.h"
#include "learned.h"

static void ask_next_source(struct conversation *c);

static void
on_hash_done(void *me, const void *answer)
{
	const struct msg_hash_told *told = answer;
	struct conversation *c = me;

	c->job = NULL;
	if (told == NULL) {
		verdict_later(c, "no hash worker answers");
	} else if (!c->login.known || !c->login.has_password) {
		verdict_wrong(c, c->login.unknown_because);
	} else if (!told->right) {
		verdict_wrong(c, "password");
	} else {
		learned_improve(c->auth->learned, c->auth->hash, c->auth->daemon.settings,
			text_span(&c->login.key), &c->login.password, text_span(&c->password));
		remember_add(c->auth->remember, text_span(&c->login.key), text_span(&c->password),
			c->login.password.hash, auth_seconds());
		verdict_right(c);
	}
}

static void
ask_hash(struct conversation *c, struct span hash)
{
	c->job = pool_ask_hash(c->auth->hash, hash, text_span(&c->password), on_hash_done, c);
	if (c->job == NULL)
		verdict_later(c, "too many passwords wait to be verified");
}

/* Nobody knows him: as long as a wrong password takes. */
static void
ask_in_vain(struct conversation *c, const char *because)
{
	c->login.known = false;
	c->login.unknown_because = because;
	ask_hash(c, c->auth->nobody_hash.len > 0 ? text_span(&c->auth->nobody_hash)
						  : span_str(password_of_nobody));
}

static void
ask_users(struct conversation *c)
{
	struct auth *a = c->auth;

	if (!c->login.has_password)
		ask_next_source(c);
	else if (app_password_find(&c->login.password, c->service, text_span(&c->password)) != NULL)
		verdict_right(c);
	else if (remember_knows(a->remember, text_span(&c->login.key), text_span(&c->password),
			 c->login.password.hash, auth_seconds(), a->daemon.settings->auth_cache_seconds))
		verdict_right(c);
	else
		ask_hash(c, c->login.password.hash);
}

/* Whose hash comes from a file that somebody else keeps: it decides, right or wrong. */
static void
on_file_done(void *me, const void *answer)
{
	const struct msg_hash_told *told = answer;
	struct conversation *c = me;

	c->job = NULL;
	if (told == NULL)
		verdict_later(c, "no hash worker answers");
	else if (told->right)
		verdict_right(c);
	else
		verdict_wrong(c, "password");
}

static void
ask_file(struct conversation *c)
{
	struct text hash = TEXT_UP_TO(MOST_HASH);
	struct span field;

	if (!passwd_file_find(c->auth->file, text_span(&c->login.key), c->auth->daemon.settings,
		    &field)) {
		ask_next_source(c);
		return;
	}
	switch (password_scheme_read(field, &hash)) {
	case PASSWORD_HASH:
		c->job = pool_ask_hash(c->auth->hash, text_span(&hash), text_span(&c->password),
			on_file_done, c);
		if (c->job == NULL)
			verdict_later(c, "too many passwords wait to be verified");
		break;
	case PASSWORD_CLEAR:
		if (secret_equal(text_span(&hash), text_span(&c->password)))
			verdict_right(c);
		else
			verdict_wrong(c, "password");
		break;
	default:
		ask_in_vain(c, "no-password");
	}
	text_wipe(&hash);
}

static void
on_pam_done(void *me, const void *answer)
{
	const struct msg_pam_told *told = answer;
	struct conversation *c = me;
	char reason[MOST_REASON + 1];

	c->job = NULL;
	if (told == NULL || told->result == PAM_TOLD_LATER) {
		verdict_later(c, told == NULL ? "no PAM worker answers" : "PAM cannot find out");
	} else if (told->result == PAM_TOLD_UNKNOWN) {
		ask_next_source(c);
	} else if (told->result == PAM_TOLD_RIGHT) {
		verdict_right(c); /* never remembered: PAM may think otherwise the next time */
	} else {
		verdict_wrong(c, span_copy(told->reason, reason, sizeof(reason)) ? reason : "password");
	}
}

static void
ask_pam(struct conversation *c)
{
	struct auth *a = c->auth;

	c->job = pool_ask_pam(a->pam, login_pam_name(&c->login, a->daemon.settings),
		text_span(&c->password), span_str(c->ip), on_pam_done, c);
	if (c->job == NULL)
		verdict_later(c, "too many passwords wait for PAM");
}

static void
on_program_done(void *me, enum check_result told)
{
	struct conversation *c = me;

	c->check = NULL;
	if (told == CHECK_RIGHT)
		verdict_right(c); /* never remembered: the program may think otherwise the next time */
	else if (told == CHECK_WRONG)
		ask_next_source(c); /* it does not say whether it knows him */
	else
		verdict_later(c, "checkpassword cannot find out");
}

static void
ask_program(struct conversation *c)
{
	struct auth *a = c->auth;

	c->check = checker_ask(a->checker, a->daemon.master, text_span(&c->login.key),
		text_span(&c->password), span_str(c->ip), span_str(service_name(c->service)),
		on_program_done, c);
	if (c->check == NULL)
		verdict_later(c, "too many passwords wait for checkpassword");
}

static void
ask_source(struct conversation *c, void (*ask)(struct conversation *c))
{
	c->source++;
	ask(c);
}

/* The first source that knows him decides. */
static void
ask_next_source(struct conversation *c)
{
	const struct list *sources = &c->auth->daemon.settings->auth_sources;

	if (c->proven)
		verdict_right(c);
	else if (c->source >= sources->count)
		ask_in_vain(c, "no-password");
	else if (span_equal_nocase(sources->at[c->source], SPAN("pam")))
		ask_source(c, ask_pam);
	else if (span_equal_nocase(sources->at[c->source], SPAN("passwd_file")))
		ask_source(c, ask_file);
	else if (span_equal_nocase(sources->at[c->source], SPAN("checkpassword")))
		ask_source(c, ask_program);
	else
		ask_source(c, ask_users);
}

/* --- whom it means --- */

static void
on_name_done(void *me, const void *answer)
{
	const struct msg_name_told *told = answer;
	struct conversation *c = me;

	c->job = NULL;
	if (told == NULL || told->later) {
		verdict_later(c, "the system users cannot be looked up");
		return;
	}
	login_system(&c->login, told);
	if (c->login.known)
		c->known(c);
	else
		c->unknown(c, "unknown-user");
}

void
check_find(struct conversation *c, void (*known)(struct conversation *c),
	void (*unknown)(struct conversation *c, const char *because))
{
	struct auth *a = c->auth;
	struct span name;

	c->known = known;
	c->unknown = unknown;
	if (!login_find(&c->login, a->users, a->passwords, a->learned)) {
		verdict_later(c, "a user table, or a record of it, cannot be read");
	} else if (c->login.known) {
		known(c);
	} else if (login_may_be_system(&c->login, a->daemon.settings, &name)) {
		c->job = pool_ask_name(a->pam, name, on_name_done, c);
		if (c->job == NULL)
			verdict_later(c, "too many names wait to be looked up");
	} else {
		unknown(c, c->login.unknown_because);
	}
}

/* --- the guard, and then --- */

static void
on_hold_over(evutil_socket_t fd, short what, void *arg)
{
	struct conversation *c = arg;

	(void)fd;
	(void)what;
	event_free(c->delay);
	c->delay = NULL;
	c->state = CHECKING;
	c->claimed = auth_milliseconds();
	c->go_on(c);
}

static void
hold(struct conversation *c, uint32_t seconds)
{
	const struct timeval wait = {(time_t)seconds, 0};

	c->waited = true;
	c->state = HELD;
	c->delay = evtimer_new(c->auth->daemon.base, on_hold_over, c);
	if (c->delay == NULL || evtimer_add(c->delay, &wait) < 0)
		verdict_later(c, "no timer");
}

/* Who hung up on the penalty of an earlier failure waits for its end now, before anything is looked at; a crowd of
 * tries is sent away. */
void
check_guard(struct conversation *c, struct span key, void (*go_on)(struct conversation *c))
{
	struct auth *a = c->auth;
	const struct settings *s = a->daemon.settings;
	uint32_t for_seconds;
	enum guard_answer answer =
		guard_ask(a->guard, s, span_str(c->ip), key, (uint64_t)time(NULL), &for_seconds);

	c->claimed = auth_milliseconds();
	c->go_on = go_on;
	if (answer == GUARD_BLOCK) {
		if (c->name.len == 0)
			text_add(&c->name, key);
		verdict_blocked(c, for_seconds);
	} else if (answer == GUARD_GO || c->waited || a->daemon.leaving) {
		go_on(c);
	} else if (for_seconds > 2 * s->auth_delay_most_seconds) {
		verdict_later(c, "too many tries of one user from one address");
	} else {
		hold(c, for_seconds);
	}
}

/* First the mailbox, then who knows its user's password; SCRAM's claim was looked up by claim_secret. */
static void
check(struct conversation *c)
{
	if (c->pending.len > 0) {
		conversation_step(c, text_span(&c->pending), true);
		return;
	}
	c->state = CHECKING;
	c->source = 0;
	check_find(c, ask_next_source, ask_in_vain);
}

void
check_begin(struct conversation *c)
{
	check_guard(c, text_span(&c->login.key), check);
}
