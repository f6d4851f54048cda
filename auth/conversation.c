/* conversation - see conversation.h. */
#include "conversation.h"

#include <errno.h>
#include <event2/event.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "auth.h"
#include "common/log.h"
#include "common/mechanisms.h"
#include "common/passport.h"
#include "common/password.h"
#include "common/password-scheme.h"
#include "common/scram.h"
#include "common/secret.h"
#include "learned.h"
#include "login.h"
#include "mechanism.h"

#define TICKET_SIZE 16
#define MOST_NAMED  4096 /* bytes of addresses that one certificate stands for */

enum state { CHALLENGED, HELD, CHECKING, DELAYED };

struct key {
	const struct channel *from;
	uint64_t session;
};

struct conversation {
	struct key key; /* first: compare() reads nothing else */
	struct auth *auth;
	struct channel *from; /* gone() frees us before it is freed */
	uint64_t session;
	enum service service;
	const struct mechanism *mechanism;
	enum state state;
	char ip[MOST_IP + 1];
	struct sasl_owner owner;
	struct sasl sasl;
	struct text exporter, unique, end_point; /* channel binding data of the connection */
	struct text pending;  /* a last message that is held back */
	struct text named;    /* whom the certificate names, with commas between */
	struct text acts_as;  /* a master user wants to be this one; or empty */
	struct text last;     /* the mechanism's last words, until the end */
	bool proven;	      /* without a password: a certificate, or a token */
	bool refused;	      /* a token; the client was told why, and owes a word (RFC 7628 3.2.3) */
	const char *fault;    /* why nobody can be meant by the name; or NULL */
	struct text name;     /* as the client wrote it, for the log */
	struct text password; /* prepared; wiped as soon as the verdict is known */
	struct login login;
	struct job *job;
	size_t source;	  /* of settings: the next to ask */
	uint64_t claimed; /* when, in milliseconds */
	struct event *delay;
	TAILQ_ENTRY(conversation) next;
};

static uint64_t
milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t
seconds(void)
{
	return milliseconds() / 1000;
}

/* --- finding, making, ending --- */

static int
compare(const void *left, const void *right)
{
	const struct key *a = left, *b = right;

	if (a->from != b->from)
		return a->from < b->from ? -1 : 1;
	return a->session < b->session ? -1 : a->session > b->session;
}

static struct conversation *
find(struct auth *a, const struct channel *from, uint64_t session)
{
	struct key key = {from, session};
	struct conversation **found = tfind(&key, &a->conversations.by_id, compare);

	return found == NULL ? NULL : *found;
}

void
conversations_init(struct conversations *c)
{
	memset(c, 0, sizeof(*c));
	TAILQ_INIT(&c->all);
}

static size_t *
count_of(struct auth *a, const struct channel *from)
{
	return &a->conversations.of_front_end[channel_peer(from)][channel_peer_index(from)];
}

static struct conversation *
conversation_new(struct auth *a, struct channel *from, uint64_t session)
{
	struct conversation *c = must_alloc(sizeof(*c));

	c->key = (struct key){from, session};
	c->from = from;
	c->session = session;
	c->auth = a;
	c->claimed = milliseconds();
	c->state = CHECKING;
	c->name = TEXT_UP_TO(MOST_ADDRESS);
	c->exporter = TEXT_UP_TO(64);
	c->unique = TEXT_UP_TO(64);
	c->end_point = TEXT_UP_TO(64);
	c->pending = TEXT_UP_TO(MOST_SASL);
	c->named = TEXT_UP_TO(MOST_NAMED);
	c->acts_as = TEXT_UP_TO(MOST_ADDRESS);
	c->last = TEXT_UP_TO(MOST_SASL);
	c->password = TEXT_UP_TO(MOST_PASSWORD);
	login_init(&c->login);
	if (tsearch(c, &a->conversations.by_id, compare) == NULL)
		abort(); /* no memory: as must_alloc */
	TAILQ_INSERT_TAIL(&a->conversations.all, c, next);
	a->conversations.count++;
	(*count_of(a, from))++;
	return c;
}

/* One place frees the state, whatever ended it. */
static void
conversation_free(struct conversation *c)
{
	struct auth *a = c->auth;

	tdelete(c, &a->conversations.by_id, compare);
	TAILQ_REMOVE(&a->conversations.all, c, next);
	a->conversations.count--;
	(*count_of(a, c->from))--;
	pool_forget(&c->job);
	if (c->delay != NULL)
		event_free(c->delay);
	sasl_clear(&c->sasl);
	text_clear(&c->name);
	text_wipe(&c->exporter);
	text_wipe(&c->unique);
	text_clear(&c->end_point);
	text_wipe(&c->pending);
	text_clear(&c->named);
	text_clear(&c->acts_as);
	text_clear(&c->last);
	text_wipe(&c->password);
	login_clear(&c->login);
	free(c);
	if (a->daemon.leaving && a->conversations.count == 0)
		daemon_exit(&a->daemon);
}

static void
tell(struct channel *from, uint64_t session, enum auth_verdict verdict)
{
	send_auth_told(from, session, &(struct msg_auth_told){.verdict = (uint8_t)verdict}, NULL);
}

static void
end(struct conversation *c, enum auth_verdict verdict)
{
	tell(c->from, c->session, verdict);
	conversation_free(c);
}

/* --- verdicts --- */

static void
later(struct conversation *c, const char *reason)
{
	log_error(c->session, "auth-later", KEY_STR("ip", c->ip),
		KEY_STR("service", service_name(c->service)), KEY_STR("reason", reason));
	end(c, AUTH_LATER);
}

/* The end of a failure. Of a token's, the client hears first where that stands in the mechanism. */
static void
end_wrong(struct conversation *c)
{
	static const char bearer[] = "{\"status\":\"invalid_token\"}",
			  google[] = "{\"status\":\"401\",\"schemes\":\"Bearer\"}";
	bool is_google = c->mechanism->name[0] == 'X';

	if (c->mechanism->kind != MECHANISM_OF_TOKEN || c->refused || c->auth->daemon.leaving) {
		end(c, AUTH_WRONG);
		return;
	}
	c->refused = true;
	c->state = CHALLENGED;
	send_auth_challenge(c->from, c->session,
		&(struct msg_auth_challenge){.data = span_str(is_google ? google : bearer)}, NULL);
}

static void
on_delay_over(evutil_socket_t fd, short what, void *arg)
{
	struct conversation *c = arg;

	(void)fd;
	(void)what;
	event_free(c->delay);
	c->delay = NULL;
	end_wrong(c);
}

/* One line for each failure; the address stands before anything that the client chose, and what he
 * chose last. contrib/fail2ban reads it. */
static void
wrong(struct conversation *c, const char *reason)
{
	struct auth *a = c->auth;
	struct timeval wait;
	uint32_t cost = guard_failed(a->guard, a->daemon.settings, span_str(c->ip),
		text_span(&c->login.key), (uint64_t)time(NULL));
	/* From when the claim was known: what it took to find out does not show. */
	int64_t left = (int64_t)cost * 1000 - (int64_t)(milliseconds() - c->claimed);

	log_notice(c->session, "auth-failed", KEY_STR("ip", c->ip),
		KEY_STR("service", service_name(c->service)), KEY_STR("mech", c->mechanism->name),
		KEY_STR("reason", reason), KEY_NUM("delay", cost),
		KEY_SPAN("user", text_span(&c->name)));
	text_wipe(&c->password);
	sasl_clear(&c->sasl);
	if (left <= 0 || a->daemon.leaving) {
		end_wrong(c);
		return;
	}
	wait = (struct timeval){left / 1000, (left % 1000) * 1000};
	c->state = DELAYED;
	c->delay = evtimer_new(a->daemon.base, on_delay_over, c);
	if (c->delay == NULL || evtimer_add(c->delay, &wait) < 0)
		end(c, AUTH_WRONG);
}

/* The pair failed too often: nothing is looked at, and the client hears for how long. The filter for
 * fail2ban reads this line too. */
static void
blocked(struct conversation *c, uint32_t for_seconds)
{
	struct text data = TEXT_UP_TO(16);

	log_notice(c->session, "auth-blocked", KEY_STR("ip", c->ip),
		KEY_STR("service", service_name(c->service)), KEY_STR("mech", c->mechanism->name),
		KEY_NUM("seconds", for_seconds), KEY_SPAN("user", text_span(&c->name)));
	text_add_number(&data, for_seconds);
	send_auth_told(c->from, c->session,
		&(struct msg_auth_told){.verdict = AUTH_BLOCKED, .data = text_span(&data)}, NULL);
	text_clear(&data);
	conversation_free(c);
}

static void
malformed(struct conversation *c)
{
	log_notice(c->session, "auth-malformed", KEY_STR("ip", c->ip),
		KEY_STR("service", service_name(c->service)), KEY_STR("mech", c->mechanism->name));
	end(c, AUTH_MALFORMED);
}

/* master hears of the ticket before the front end does, and ties it to session and front end. */
static bool
make_ticket(struct conversation *c, unsigned char ticket[TICKET_SIZE])
{
	const struct user *u = &c->login.user;

	secret_random(ticket, TICKET_SIZE);
	return send_ticket_made(c->auth->daemon.master, c->session,
		&(struct msg_ticket_made){.ticket = span_of(ticket, TICKET_SIZE),
			.user = u->address,
			.home = u->home,
			.uid = u->uid,
			.gid = u->gid,
			.quota_bytes = u->quota_bytes,
			.quota_messages = u->quota_messages,
			.program = (uint8_t)channel_peer(c->from),
			.index = (uint16_t)channel_peer_index(c->from)},
		NULL);
}

/* In whose name the session may send: queue believes that from us alone. */
static bool
tell_queue(struct conversation *c)
{
	return send_mail_login(c->auth->queue, c->session,
		&(struct msg_mail_login){.index = (uint16_t)channel_peer_index(c->from),
			.service = (uint8_t)c->service,
			.login = text_span(&c->login.key)},
		NULL);
}

/* He is who he says, and his mailbox is known. */
static void
let_in(struct conversation *c)
{
	unsigned char ticket[TICKET_SIZE];
	struct msg_auth_told told = {.verdict = AUTH_RIGHT,
		.user = text_span(&c->login.key),
		.data = text_span(&c->last)};

	if (service_program(c->service) == PROGRAM_IMAP_LOGIN) {
		if (!make_ticket(c, ticket)) {
			later(c, "no ticket");
			return;
		}
		told.ticket = span_of(ticket, sizeof(ticket));
	} else if (!tell_queue(c)) {
		later(c, "queue is away");
		return;
	}
	if (c->acts_as.len > 0)
		log_notice(c->session, "auth-acts-as", KEY_STR("ip", c->ip),
			KEY_SPAN("user", text_span(&c->login.key)),
			KEY_SPAN("master", text_span(&c->acts_as)));
	log_info(c->session, "auth-ok", KEY_STR("ip", c->ip),
		KEY_STR("service", service_name(c->service)), KEY_STR("mech", c->mechanism->name),
		KEY_SPAN("user", text_span(&c->login.key)));
	send_auth_told(c->from, c->session, &told, NULL);
	secret_wipe(ticket, sizeof(ticket));
	conversation_free(c);
}

static void
on_other_done(void *me, const void *answer)
{
	const struct msg_name_told *told = answer;
	struct conversation *c = me;

	c->job = NULL;
	if (told == NULL || told->later) {
		later(c, "the system users cannot be looked up");
		return;
	}
	login_system(&c->login, told);
	if (c->login.known)
		let_in(c);
	else
		wrong(c, "no-such-other");
}

/* A master user, proven: from here on the login is the other's. acts_as keeps who it really is. */
static void
become_other(struct conversation *c)
{
	struct auth *a = c->auth;
	struct text other = c->acts_as;
	struct span name;

	c->acts_as = TEXT_UP_TO(MOST_ADDRESS);
	text_add(&c->acts_as, text_span(&c->login.key));
	sasl_clear(&c->sasl);
	login_clear(&c->login);
	text_add(&c->login.key, text_span(&other));
	text_clear(&other);
	if (!login_find(&c->login, a->users, a->passwords, a->learned)) {
		later(c, "a user table cannot be read");
	} else if (c->login.known) {
		let_in(c);
	} else if (login_may_be_system(&c->login, a->daemon.settings, &name)) {
		c->job = pool_ask_name(a->pam, name, on_other_done, c);
		if (c->job == NULL)
			later(c, "too many names wait to be looked up");
	} else {
		wrong(c, "no-such-other");
	}
}

/* `last` are the mechanism's last words, which go along with success. */
static void
right_with(struct conversation *c, struct span last)
{
	text_add(&c->last, last);
	guard_right(c->auth->guard, span_str(c->ip), text_span(&c->login.key),
		(uint64_t)time(NULL));
	if (c->acts_as.len > 0)
		become_other(c);
	else
		let_in(c);
}

static void
right(struct conversation *c)
{
	right_with(c, SPAN_NONE);
}

/* --- checking a claim --- */

static void ask_next_source(struct conversation *c);

static void
on_hash_done(void *me, const void *answer)
{
	const struct msg_hash_told *told = answer;
	struct conversation *c = me;

	c->job = NULL;
	if (told == NULL) {
		later(c, "no hash worker answers");
	} else if (!c->login.known || !c->login.has_password) {
		wrong(c, c->login.unknown_because);
	} else if (!told->right) {
		wrong(c, "password");
	} else {
		learned_improve(c->auth->learned, c->auth->hash, c->auth->daemon.settings,
			text_span(&c->login.key), &c->login.password, text_span(&c->password));
		remember_add(c->auth->remember, text_span(&c->login.key), text_span(&c->password),
			c->login.password.hash, seconds());
		right(c);
	}
}

static void
ask_hash(struct conversation *c, struct span hash)
{
	c->job = pool_ask_hash(c->auth->hash, hash, text_span(&c->password), on_hash_done, c);
	if (c->job == NULL)
		later(c, "too many passwords wait to be verified");
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
		right(c);
	else if (remember_knows(a->remember, text_span(&c->login.key), text_span(&c->password),
			 c->login.password.hash, seconds(), a->daemon.settings->auth_cache_seconds))
		right(c);
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
		later(c, "no hash worker answers");
	else if (told->right)
		right(c);
	else
		wrong(c, "password");
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
			later(c, "too many passwords wait to be verified");
		break;
	case PASSWORD_CLEAR:
		if (secret_equal(text_span(&hash), text_span(&c->password)))
			right(c);
		else
			wrong(c, "password");
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
		later(c, told == NULL ? "no PAM worker answers" : "PAM cannot find out");
	} else if (told->result == PAM_TOLD_UNKNOWN) {
		ask_next_source(c);
	} else if (told->result == PAM_TOLD_RIGHT) {
		right(c); /* never remembered: PAM may think otherwise the next time */
	} else {
		wrong(c, span_copy(told->reason, reason, sizeof(reason)) ? reason : "password");
	}
}

static void
ask_pam(struct conversation *c)
{
	struct auth *a = c->auth;

	c->job = pool_ask_pam(a->pam, login_pam_name(&c->login, a->daemon.settings),
		text_span(&c->password), span_str(c->ip), on_pam_done, c);
	if (c->job == NULL)
		later(c, "too many passwords wait for PAM");
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
		right(c);
	else if (c->source >= sources->count)
		ask_in_vain(c, "no-password");
	else if (span_equal_nocase(sources->at[c->source], SPAN("pam")))
		ask_source(c, ask_pam);
	else if (span_equal_nocase(sources->at[c->source], SPAN("passwd_file")))
		ask_source(c, ask_file);
	else
		ask_source(c, ask_users);
}

static void
on_name_done(void *me, const void *answer)
{
	const struct msg_name_told *told = answer;
	struct conversation *c = me;

	c->job = NULL;
	if (told == NULL || told->later) {
		later(c, "the system users cannot be looked up");
		return;
	}
	login_system(&c->login, told);
	if (c->login.known)
		ask_next_source(c);
	else
		ask_in_vain(c, "unknown-user");
}

/* First the mailbox, then who knows its user's password. */
static void
check(struct conversation *c)
{
	struct auth *a = c->auth;
	struct span name;

	c->state = CHECKING;
	c->source = 0;
	if (!login_find(&c->login, a->users, a->passwords, a->learned)) {
		later(c, "a user table cannot be read");
	} else if (c->login.known) {
		ask_next_source(c);
	} else if (login_may_be_system(&c->login, a->daemon.settings, &name)) {
		c->job = pool_ask_name(a->pam, name, on_name_done, c);
		if (c->job == NULL)
			later(c, "too many names wait to be looked up");
	} else {
		ask_in_vain(c, c->login.unknown_because);
	}
}

static void step_now(struct conversation *c, struct span data, bool has_data);

static void
go_on(struct conversation *c)
{
	if (c->pending.len > 0)
		step_now(c, text_span(&c->pending), true);
	else
		check(c);
}

static void
on_hold_over(evutil_socket_t fd, short what, void *arg)
{
	struct conversation *c = arg;

	(void)fd;
	(void)what;
	event_free(c->delay);
	c->delay = NULL;
	c->state = CHECKING;
	c->claimed = milliseconds();
	go_on(c);
}

/* Who hung up on the penalty of an earlier failure waits for its end now, before the password is
 * looked at; a crowd of tries is sent away. */
static void
hold_or_go_on(struct conversation *c)
{
	struct auth *a = c->auth;
	const struct settings *s = a->daemon.settings;
	struct timeval wait = {0, 0};
	uint32_t for_seconds;
	enum guard_answer answer = guard_ask(a->guard, s, span_str(c->ip),
		text_span(&c->login.key), (uint64_t)time(NULL), &for_seconds);

	c->claimed = milliseconds();
	if (answer == GUARD_BLOCK) {
		blocked(c, for_seconds);
		return;
	}
	if (answer == GUARD_GO || a->daemon.leaving) {
		go_on(c);
		return;
	}
	if (for_seconds > 2 * s->auth_delay_most_seconds) {
		later(c, "too many tries of one user from one address");
		return;
	}
	wait.tv_sec = for_seconds;
	c->state = HELD;
	c->delay = evtimer_new(a->daemon.base, on_hold_over, c);
	if (c->delay == NULL || evtimer_add(c->delay, &wait) < 0)
		later(c, "no timer");
}

static bool
is_master(const struct conversation *c)
{
	const struct list *list = &c->auth->daemon.settings->master_users;

	for (size_t i = 0; i < list->count; i++)
		if (span_equal_nocase(list->at[i], text_span(&c->login.key)))
			return true;
	return false;
}

/* From the words of a client to a key; c->fault says why not. */
static void
identify(struct conversation *c, const struct claim *claim)
{
	const struct settings *s = c->auth->daemon.settings;
	struct text other = TEXT_UP_TO(MOST_ADDRESS);

	text_add(&c->name, span_part(claim->name, 0, MOST_ADDRESS));
	if (!login_name(&c->login, claim->name, s)) {
		text_clear(&c->login.key);
		c->fault = "name";
	} else if (claim->authzid.len > 0) {
		if (!login_key(claim->authzid, s, &other))
			c->fault = "authzid";
		else if (span_equal(text_span(&other), text_span(&c->login.key)))
			; /* himself */
		else if (is_master(c))
			text_add(&c->acts_as, text_span(&other));
		else
			c->fault = "authzid"; /* nobody else acts as another */
	}
	text_clear(&other);
}

/* --- certificates and tokens --- */

/* The next of names with commas between. */
static bool
take_name(struct span *in, struct span *name)
{
	if (in->len == 0)
		return false;
	if (!span_take_until(in, ',', name)) {
		*name = *in;
		in->len = 0;
	}
	return true;
}

static bool
same_user(struct conversation *c, struct span a, struct span b)
{
	const struct settings *s = c->auth->daemon.settings;
	struct text left = TEXT_UP_TO(MOST_ADDRESS), right_one = TEXT_UP_TO(MOST_ADDRESS);
	bool same = login_key(a, s, &left) && login_key(b, s, &right_one) &&
		    span_equal(text_span(&left), text_span(&right_one));

	text_clear(&left);
	text_clear(&right_one);
	return same;
}

/* Is `name` a user of the tables here? */
static bool
is_user(struct conversation *c, struct span name)
{
	struct login l;
	bool known;

	login_init(&l);
	known = login_name(&l, name, c->auth->daemon.settings) &&
		login_find(&l, c->auth->users, c->auth->passwords, c->auth->learned) && l.known;
	login_clear(&l);
	return known;
}

/* Whom the certificate stands for: him whom the client asks for, if it is one of them; else the first
 * who is a user here, or the first. */
static void
certificate_claimed(struct conversation *c, struct span authzid)
{
	struct text asked = TEXT_UP_TO(MOST_ADDRESS);
	struct span rest = text_span(&c->named), name, chosen = SPAN_NONE;
	struct claim claim = {.name = SPAN_NONE};

	text_add(&asked, authzid);
	while (take_name(&rest, &name)) {
		if (authzid.len > 0 ? same_user(c, name, authzid) : is_user(c, name)) {
			chosen = name;
			break;
		}
	}
	rest = text_span(&c->named);
	if (chosen.len == 0 && authzid.len == 0)
		(void)take_name(&rest, &chosen);
	claim.name = chosen.len > 0 ? chosen : text_span(&asked);
	identify(c, &claim);
	sasl_clear(&c->sasl);
	if (chosen.len == 0)
		c->fault = authzid.len > 0 ? "certificate-of-another" : "certificate-of-nobody";
	c->proven = true;
	if (c->fault != NULL)
		wrong(c, c->fault);
	else
		hold_or_go_on(c);
	text_clear(&asked);
}

static void
on_token_done(void *me, const void *answer)
{
	const struct msg_token_told *told = answer;
	struct conversation *c = me;
	struct claim claim = {.authzid = text_span(&c->named)};
	char reason[MOST_REASON + 1];

	c->job = NULL;
	if (told == NULL) {
		later(c, "no token worker answers");
		return;
	}
	claim.name = told->right ? told->user : text_span(&c->named);
	identify(c, &claim);
	if (!told->right)
		wrong(c, span_copy(told->reason, reason, sizeof(reason)) ? reason : "token");
	else if (c->fault != NULL)
		wrong(c, c->fault);
	else {
		c->proven = true;
		hold_or_go_on(c);
	}
}

/* `named` keeps whom the client wants to be. */
static void
token_claimed(struct conversation *c, const struct claim *claim)
{
	text_add(&c->named, span_part(claim->authzid, 0, MOST_ADDRESS));
	c->state = CHECKING;
	c->job = pool_ask_token(c->auth->token, claim->password, on_token_done, c);
	sasl_clear(&c->sasl);
	if (c->job == NULL)
		later(c, "too many tokens wait to be verified");
}

/* A name and a password. */
static void
claimed(struct conversation *c, const struct claim *claim)
{
	identify(c, claim);
	if (c->fault == NULL && !password_prepare(claim->password, &c->password))
		c->fault = "password-form";
	sasl_clear(&c->sasl);
	if (c->fault != NULL)
		wrong(c, c->fault);
	else
		hold_or_go_on(c);
}

/* --- SCRAM --- */

/* Keys of nobody, and a salt that is always the same for one name: who asks does not learn whether
 * that user exists. */
static void
secret_of_nobody(struct conversation *c, struct scram_secret *secret)
{
	static const unsigned char no_key[SCRAM_MOST_KEY];
	const struct span name[] = {SPAN("salt of nobody"), text_span(&c->login.key)};
	struct digest salt = digest_of(&c->auth->nobody, name, 2);
	size_t size = scram_key_size(c->mechanism->scram);

	text_reset(&c->login.home); /* not used by who does not exist */
	text_add(&c->login.home, span_of(salt.at, SCRAM_SALT));
	secret->salt = text_span(&c->login.home);
	secret->iterations = c->auth->daemon.settings->scram_iterations > 0
				     ? (uint32_t)c->auth->daemon.settings->scram_iterations
				     : SCRAM_LEAST_ITERATIONS;
	/* A StoredKey of zeros is the hash of nothing that anybody knows. */
	secret->keys[0] = (struct scram_keys){span_of(no_key, size), span_of(no_key, size)};
	secret->count = 1;
}

static void
secret_of_user(struct conversation *c, struct scram_secret *secret)
{
	const struct password *p = &c->login.password;
	enum scram kind = c->mechanism->scram;

	secret->iterations = p->scram_iterations;
	secret->salt = p->scram_salt;
	secret->keys[secret->count++] = p->scram[kind];
	for (size_t i = 0; i < p->app_count; i++)
		if (p->app[i].scram[kind].stored.len > 0 &&
			app_password_is_for(&p->app[i], c->service))
			secret->keys[secret->count++] = p->app[i].scram[kind];
}

static bool
on_secret(void *me, const struct claim *claim, struct scram_secret *secret)
{
	struct conversation *c = me;
	struct auth *a = c->auth;

	identify(c, claim);
	if (!login_find(&c->login, a->users, a->passwords, a->learned))
		return false;
	if (c->fault == NULL && !c->login.known)
		c->fault = c->login.unknown_because;
	if (c->fault == NULL && (!c->login.has_password ||
					c->login.password.scram[c->mechanism->scram].stored.len == 0 ||
					!settings_has_source(a->daemon.settings, SPAN("users"))))
		c->fault = "no-scram-keys";
	if (c->fault == NULL)
		secret_of_user(c, secret);
	else
		secret_of_nobody(c, secret);
	return true;
}

/* --- the dialogue --- */

static void
step_now(struct conversation *c, struct span data, bool has_data)
{
	struct text challenge = TEXT_UP_TO(MOST_SASL);

	switch (sasl_step(&c->sasl, data, has_data, &challenge)) {
	case SASL_CHALLENGE:
		c->state = CHALLENGED;
		send_auth_challenge(c->from, c->session,
			&(struct msg_auth_challenge){.data = text_span(&challenge)}, NULL);
		break;
	case SASL_CLAIM:
		if (c->mechanism->kind == MECHANISM_OF_CERTIFICATE)
			certificate_claimed(c, c->sasl.claim.authzid);
		else if (c->mechanism->kind == MECHANISM_OF_TOKEN)
			token_claimed(c, &c->sasl.claim);
		else
			claimed(c, &c->sasl.claim);
		break;
	case SASL_PROVEN:
		if (c->fault == NULL)
			right_with(c, text_span(&challenge));
		else
			wrong(c, c->fault);
		break;
	case SASL_DISPROVEN:
		wrong(c, c->fault != NULL ? c->fault : "password");
		break;
	case SASL_MALFORMED:
		malformed(c);
		break;
	case SASL_WRONG:
		wrong(c, "form");
		break;
	case SASL_FAILED:
		later(c, "a user table cannot be read, or the SASL library failed");
		break;
	}
	text_wipe(&challenge);
}

static void
step(struct conversation *c, struct span data, bool has_data)
{
	c->state = CHECKING;
	if (!sasl_decides_next(&c->sasl) || data.len == 0 || c->login.key.len == 0) {
		step_now(c, data, has_data);
		return;
	}
	text_add(&c->pending, data);
	hold_or_go_on(c);
}

/* --- what front ends say --- */

/* Without a good passport there was no TLS, and a password has crossed the network (RFC 4616 5).
 * Returns why not, and what is said then; or NULL: *p is what the TLS worker saw. */
static const char *
passport_fault(struct auth *a, uint64_t session, const struct msg_auth_ask *m, struct passport *p,
	enum auth_verdict *verdict)
{
	uint64_t now = (uint64_t)time(NULL);
	uint64_t age;

	*verdict = AUTH_NEEDS_TLS;
	if (m->passport.len == 0)
		return "no-tls";
	if (!passport_open(a->daemon.passport_key, m->passport, p))
		return "passport-forged";
	if (p->session != session)
		return "passport-of-another-session";
	if (p->service != m->service)
		return "passport-of-another-service";
	age = now > p->issued ? now - p->issued : p->issued - now;
	if (age > PASSPORT_MOST_SECONDS) {
		*verdict = AUTH_LATER; /* in a new session */
		return "passport-too-old";
	}
	return NULL;
}

/* Channel binding data only where a mechanism that binds is offered: a client that asks for none
 * because it saw none offered is right then, else it was lied to (RFC 5802 6, flag "y"). */
static void
note_binding(struct conversation *c, const struct settings *s, const struct msg_auth_ask *m,
	const struct passport *p)
{
	if (!mechanism_offered(s, m->service, m->passport, SPAN("SCRAM-SHA-256-PLUS")) &&
		!mechanism_offered(s, m->service, m->passport, SPAN("SCRAM-SHA-1-PLUS")))
		return;
	text_add(&c->exporter, p->exporter);
	text_add(&c->unique, p->unique);
	text_add(&c->end_point, p->end_point);
}

/* Hexadecimal in either case, with or without colons between the bytes. */
static bool
is_hex_of(struct span text, struct span bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		int high, low;

		if (i > 0)
			(void)span_take(&text, ':');
		high = text.len > 1 ? span_hex_value(text.at[0]) : -1;
		low = text.len > 1 ? span_hex_value(text.at[1]) : -1;
		if (high < 0 || low < 0 || bytes.at[i] != (unsigned char)(high << 4 | low))
			return false;
		text = span_part(text, 2, text.len);
	}
	return bytes.len > 0 && text.len == 0;
}

/* A list in valija.conf has commas between its members: in a subject ';' stands for one. */
static bool
is_subject(struct span text, struct span subject)
{
	if (text.len != subject.len || subject.len == 0)
		return false;
	for (size_t i = 0; i < text.len; i++)
		if (text.at[i] != subject.at[i] && !(text.at[i] == ';' && subject.at[i] == ','))
			return false;
	return true;
}

/* Whom a certificate stands for, in words that a TLS worker sealed: who is written beside it in
 * certificate_users, then its rfc822Names. */
static void
note_names(struct conversation *c, const struct passport *p)
{
	const struct list *list = &c->auth->daemon.settings->certificate_users;

	if (!p->certificate_valid)
		return;
	for (size_t i = 0; i < list->count; i++) {
		size_t at = span_rindex(list->at[i], '=');
		struct span match = span_trim(span_part(list->at[i], 0, at));

		if (!is_hex_of(match, p->certificate_hash) && !is_hex_of(match, p->certificate_key) &&
			!is_subject(match, p->certificate_subject))
			continue;
		text_add(&c->named, span_trim(span_part(list->at[i], at + 1, list->at[i].len)));
		text_add_byte(&c->named, ',');
	}
	text_add(&c->named, p->certificate_mail);
}

static void
refuse(struct channel *from, uint64_t session, const struct msg_auth_ask *m, const char *reason,
	enum auth_verdict verdict)
{
	log_notice(session, "auth-refused", KEY_SPAN("ip", m->ip),
		KEY_STR("service", m->service < SERVICE_COUNT ? service_name(m->service) : "none"),
		KEY_STR("reason", reason), KEY_SPAN("mech", m->mechanism));
	tell(from, session, verdict);
}

static void
on_auth_ask(void *me, struct channel *from, uint64_t session, const struct msg_auth_ask *m,
	const int *fd)
{
	struct auth *a = me;
	const struct mechanism *mechanism = mechanism_find(m->mechanism);
	struct conversation *c;
	struct passport p = {.ip = SPAN_NONE};
	enum auth_verdict verdict;
	const char *fault;

	(void)fd;
	a->conversations.served++;
	if (m->service >= SERVICE_COUNT || service_program(m->service) != channel_peer(from)) {
		refuse(from, session, m, "not-its-service", AUTH_LATER);
		return;
	}
	if (mechanism == NULL) {
		refuse(from, session, m, "unknown-mechanism", AUTH_UNKNOWN_MECHANISM);
		return;
	}
	fault = passport_fault(a, session, m, &p, &verdict);
	if (fault != NULL) {
		refuse(from, session, m, fault, verdict);
		return;
	}
	if (!mechanism_offered(a->daemon.settings, m->service, m->passport, m->mechanism)) {
		refuse(from, session, m, "mechanism-not-offered", AUTH_UNKNOWN_MECHANISM);
		return;
	}
	if (a->daemon.leaving || *count_of(a, from) >= MOST_CONVERSATIONS) {
		refuse(from, session, m, a->daemon.leaving ? "leaving" : "too-many", AUTH_LATER);
		return;
	}
	c = conversation_new(a, from, session);
	c->service = (enum service)m->service;
	c->mechanism = mechanism;
	(void)span_copy(p.ip, c->ip, sizeof(c->ip));
	note_binding(c, a->daemon.settings, m, &p);
	if (mechanism->kind == MECHANISM_OF_CERTIFICATE)
		note_names(c, &p);
	c->owner = (struct sasl_owner){on_secret, c,
		{text_span(&c->exporter), text_span(&c->unique), text_span(&c->end_point)}};
	if (!sasl_init(&c->sasl, a->sasl, mechanism, &c->owner))
		later(c, "the SASL library failed");
	else
		step(c, m->initial, m->has_initial);
}

static void
on_auth_answer(void *me, struct channel *from, uint64_t session, const struct msg_auth_answer *m,
	const int *fd)
{
	struct conversation *c = find(me, from, session); /* it is there: hour() said so */

	(void)fd;
	/* Whatever it says to the reason: that was all. */
	if (c->refused)
		end(c, AUTH_WRONG);
	else
		step(c, m->data, true);
}

static void
on_auth_cancel(void *me, struct channel *from, uint64_t session, const struct msg_auth_cancel *m,
	const int *fd)
{
	(void)m;
	(void)fd;
	conversation_free(find(me, from, session));
}

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t session)
{
	const struct conversation *c = find(me, from, session);

	(void)m;
	if (c == NULL)
		return HOUR_NONE;
	return c->state == CHALLENGED ? HOUR_CHALLENGED : HOUR_WAITING;
}

/* All of a front end that is no more. */
static void
on_gone(void *me, struct channel *from)
{
	struct auth *a = me;
	struct conversation *c = TAILQ_FIRST(&a->conversations.all), *after;

	for (; c != NULL; c = after) {
		after = TAILQ_NEXT(c, next);
		if (c->from == from)
			conversation_free(c);
	}
}

void
conversations_hurry(struct auth *a)
{
	struct conversation *c = TAILQ_FIRST(&a->conversations.all), *after;

	for (; c != NULL; c = after) {
		after = TAILQ_NEXT(c, next);
		/* Who is challenged is dropped in silence: his front end leaves too, or asks anew.
		 */
		if (c->state == DELAYED)
			end(c, AUTH_WRONG);
		else if (c->state == HELD)
			end(c, AUTH_LATER);
		else if (c->state == CHALLENGED)
			conversation_free(c);
	}
}

const struct hearing front_end_hearing = {
	.hour = hour,
	.gone = on_gone,
	.on_auth_ask = on_auth_ask,
	.on_auth_answer = on_auth_answer,
	.on_auth_cancel = on_auth_cancel,
};
