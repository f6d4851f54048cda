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
#include "common/passport.h"
#include "common/password.h"
#include "common/secret.h"
#include "login.h"
#include "mechanism.h"

#define TICKET_SIZE 16

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
	struct sasl sasl;
	struct text name;     /* as the client wrote it, for the log */
	struct text password; /* prepared; wiped as soon as the verdict is known */
	struct login login;
	struct job *job;
	size_t source; /* of settings: the next to ask */
	struct event *delay;
	TAILQ_ENTRY(conversation) next;
};

static uint64_t
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec;
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
	c->state = CHECKING;
	c->name = TEXT_UP_TO(MOST_ADDRESS);
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

static void
on_delay_over(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	end(arg, AUTH_WRONG);
}

/* One line for each failure; the address stands before anything that the client chose, and what he
 * chose last. contrib/fail2ban reads it. */
static void
wrong(struct conversation *c, const char *reason)
{
	struct auth *a = c->auth;
	const struct settings *s = a->daemon.settings;
	struct timeval wait = {0, 0};

	wait.tv_sec = delays_failed(a->delays, span_str(c->ip), text_span(&c->login.key), seconds(),
		(uint32_t)s->auth_delay_seconds, (uint32_t)s->auth_delay_most_seconds);
	log_notice(c->session, "auth-failed", KEY_STR("ip", c->ip),
		KEY_STR("service", service_name(c->service)), KEY_STR("mech", c->mechanism->name),
		KEY_STR("reason", reason), KEY_NUM("delay", wait.tv_sec),
		KEY_SPAN("user", text_span(&c->name)));
	text_wipe(&c->password);
	sasl_clear(&c->sasl);
	if (wait.tv_sec == 0 || a->daemon.leaving) {
		end(c, AUTH_WRONG);
		return;
	}
	c->state = DELAYED;
	c->delay = evtimer_new(a->daemon.base, on_delay_over, c);
	if (c->delay == NULL || evtimer_add(c->delay, &wait) < 0)
		end(c, AUTH_WRONG);
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
			.program = (uint8_t)channel_peer(c->from),
			.index = (uint16_t)channel_peer_index(c->from)},
		NULL);
}

static void
right(struct conversation *c)
{
	unsigned char ticket[TICKET_SIZE];
	struct msg_auth_told told = {.verdict = AUTH_RIGHT, .user = text_span(&c->login.key)};

	/* Mailboxes are opened for a ticket; sending mail needs none. */
	if (service_program(c->service) == PROGRAM_IMAP_LOGIN) {
		if (!make_ticket(c, ticket)) {
			later(c, "no ticket");
			return;
		}
		told.ticket = span_of(ticket, sizeof(ticket));
	}
	delays_right(c->auth->delays, span_str(c->ip), text_span(&c->login.key));
	log_info(c->session, "auth-ok", KEY_STR("ip", c->ip),
		KEY_STR("service", service_name(c->service)), KEY_STR("mech", c->mechanism->name),
		KEY_SPAN("user", text_span(&c->login.key)));
	send_auth_told(c->from, c->session, &told, NULL);
	secret_wipe(ticket, sizeof(ticket));
	conversation_free(c);
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
	ask_hash(c, span_str(password_of_nobody));
}

static void
ask_users(struct conversation *c)
{
	struct auth *a = c->auth;

	if (!c->login.has_password)
		ask_next_source(c);
	else if (remember_knows(a->remember, text_span(&c->login.key), text_span(&c->password),
			 c->login.password.hash, seconds(), a->daemon.settings->auth_cache_seconds))
		right(c);
	else
		ask_hash(c, c->login.password.hash);
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

/* The first source that knows him decides. */
static void
ask_next_source(struct conversation *c)
{
	const struct list *sources = &c->auth->daemon.settings->auth_sources;

	if (c->source >= sources->count)
		ask_in_vain(c, "no-password");
	else if (span_equal_nocase(sources->at[c->source++], SPAN("pam")))
		ask_pam(c);
	else
		ask_users(c);
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
	if (!login_find(&c->login, a->users, a->passwords)) {
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

static void
on_hold_over(evutil_socket_t fd, short what, void *arg)
{
	struct conversation *c = arg;

	(void)fd;
	(void)what;
	event_free(c->delay);
	c->delay = NULL;
	check(c);
}

/* Who hung up on the penalty of an earlier failure waits for its end now, before the password is
 * looked at; a crowd of tries is sent away. */
static void
hold_or_check(struct conversation *c)
{
	struct auth *a = c->auth;
	struct timeval wait = {0, 0};

	wait.tv_sec = delays_hold(
		a->delays, span_str(c->ip), text_span(&c->login.key), seconds());
	if (wait.tv_sec == 0 || a->daemon.leaving) {
		check(c);
		return;
	}
	if ((uint64_t)wait.tv_sec > 2 * a->daemon.settings->auth_delay_most_seconds) {
		later(c, "too many tries of one user from one address");
		return;
	}
	c->state = HELD;
	c->delay = evtimer_new(a->daemon.base, on_hold_over, c);
	if (c->delay == NULL || evtimer_add(c->delay, &wait) < 0)
		later(c, "no timer");
}

/* From the words of a client to a key and a prepared password. */
static void
identify(struct conversation *c, const struct claim *claim)
{
	const struct settings *s = c->auth->daemon.settings;
	struct text other = TEXT_UP_TO(MOST_ADDRESS);
	const char *reason = NULL;

	text_add(&c->name, span_part(claim->name, 0, MOST_ADDRESS));
	if (!login_name(&c->login, claim->name, s)) {
		text_clear(&c->login.key);
		reason = "name";
	} else if (claim->authzid.len > 0 &&
		   (!login_key(claim->authzid, s, &other) ||
			   !span_equal(text_span(&other), text_span(&c->login.key)))) {
		reason = "authzid"; /* nobody acts as another */
	} else if (!password_prepare(claim->password, &c->password)) {
		reason = "password-form";
	}
	text_clear(&other);
	sasl_clear(&c->sasl);
	if (reason != NULL)
		wrong(c, reason);
	else
		hold_or_check(c);
}

static void
step(struct conversation *c, struct span data, bool has_data)
{
	struct text challenge = TEXT_UP_TO(MOST_SASL);

	switch (sasl_step(&c->sasl, data, has_data, &challenge)) {
	case SASL_CHALLENGE:
		c->state = CHALLENGED;
		send_auth_challenge(c->from, c->session,
			&(struct msg_auth_challenge){.data = text_span(&challenge)}, NULL);
		break;
	case SASL_CLAIM:
		identify(c, &c->sasl.claim);
		break;
	case SASL_MALFORMED:
		malformed(c);
		break;
	case SASL_WRONG:
		wrong(c, "form");
		break;
	case SASL_FAILED:
		later(c, "the SASL library failed");
		break;
	}
	text_wipe(&challenge);
}

/* --- what front ends say --- */

/* Without a good passport there was no TLS, and a password has crossed the network (RFC 4616 5).
 * Returns why not, and what is said then; or NULL: *ip is what the TLS worker saw. */
static const char *
passport_fault(struct auth *a, uint64_t session, const struct msg_auth_ask *m, struct span *ip,
	enum auth_verdict *verdict)
{
	struct passport p;
	uint64_t now = (uint64_t)time(NULL);
	uint64_t age;

	*verdict = AUTH_NEEDS_TLS;
	if (m->passport.len == 0)
		return "no-tls";
	if (!passport_open(a->daemon.passport_key, m->passport, &p))
		return "passport-forged";
	if (p.session != session)
		return "passport-of-another-session";
	if (p.service != m->service)
		return "passport-of-another-service";
	age = now > p.issued ? now - p.issued : p.issued - now;
	if (age > PASSPORT_MOST_SECONDS) {
		*verdict = AUTH_LATER; /* in a new session */
		return "passport-too-old";
	}
	*ip = p.ip;
	return NULL;
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
	struct span ip = SPAN_NONE;
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
	fault = passport_fault(a, session, m, &ip, &verdict);
	if (fault != NULL) {
		refuse(from, session, m, fault, verdict);
		return;
	}
	if (a->daemon.leaving || *count_of(a, from) >= MOST_CONVERSATIONS) {
		refuse(from, session, m, a->daemon.leaving ? "leaving" : "too-many", AUTH_LATER);
		return;
	}
	c = conversation_new(a, from, session);
	c->service = (enum service)m->service;
	c->mechanism = mechanism;
	(void)span_copy(ip, c->ip, sizeof(c->ip));
	if (!sasl_init(&c->sasl, a->sasl, mechanism))
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
