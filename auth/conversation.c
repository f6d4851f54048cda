/* conversation - see conversation.h. */
#include "conversation-inside.h"

#include <event2/event.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "common/mechanisms.h"
#include "common/passport.h"

uint64_t
auth_milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t
auth_seconds(void)
{
	return auth_milliseconds() / 1000;
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
	c->claimed = auth_milliseconds();
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
	c->token = TEXT_UP_TO(MOST_SASL);
	login_init(&c->login);
	if (tsearch(c, &a->conversations.by_id, compare) == NULL)
		abort(); /* no memory: as must_alloc */
	TAILQ_INSERT_TAIL(&a->conversations.all, c, next);
	a->conversations.count++;
	(*count_of(a, from))++;
	return c;
}

/* One place frees the state, whatever ended it. */
void
conversation_free(struct conversation *c)
{
	struct auth *a = c->auth;

	tdelete(c, &a->conversations.by_id, compare);
	TAILQ_REMOVE(&a->conversations.all, c, next);
	a->conversations.count--;
	(*count_of(a, c->from))--;
	pool_forget(&c->job);
	check_forget(&c->check);
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
	text_wipe(&c->token);
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

void
conversation_end(struct conversation *c, enum auth_verdict verdict)
{
	tell(c->from, c->session, verdict);
	conversation_free(c);
}

/* --- the dialogue --- */

void
conversation_step(struct conversation *c, struct span data, bool has_data)
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
			claim_of_certificate(c, c->sasl.claim.authzid);
		else if (c->mechanism->kind == MECHANISM_OF_TOKEN)
			claim_of_token(c, &c->sasl.claim);
		else
			claim_of_password(c, &c->sasl.claim);
		break;
	case SASL_PROVEN:
		if (c->fault == NULL)
			verdict_right_with(c, text_span(&challenge));
		else
			verdict_wrong(c, c->fault);
		break;
	case SASL_DISPROVEN:
		verdict_wrong(c, c->fault != NULL ? c->fault : "password");
		break;
	case SASL_MALFORMED:
		verdict_malformed(c);
		break;
	case SASL_WRONG:
		verdict_wrong(c, "form");
		break;
	case SASL_FAILED:
		verdict_later(c, "a user table cannot be read, or the SASL library failed");
		break;
	}
	text_wipe(&challenge);
}

static void
step(struct conversation *c, struct span data, bool has_data)
{
	c->state = CHECKING;
	if (!sasl_decides_next(&c->sasl) || data.len == 0 || c->login.key.len == 0) {
		conversation_step(c, data, has_data);
		return;
	}
	text_add(&c->pending, data);
	check_begin(c);
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
	(void)span_copy(p.version, c->tls, sizeof(c->tls));
	(void)span_copy(p.cipher, c->cipher, sizeof(c->cipher));
	note_binding(c, a->daemon.settings, m, &p);
	if (mechanism->kind == MECHANISM_OF_CERTIFICATE)
		claim_note_names(c, &p);
	c->owner = (struct sasl_owner){claim_secret, c,
		{text_span(&c->exporter), text_span(&c->unique), text_span(&c->end_point)}};
	if (!sasl_init(&c->sasl, a->sasl, mechanism, &c->owner))
		verdict_later(c, "the SASL library failed");
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
		conversation_end(c, AUTH_WRONG);
	else
		step(c, m->data, true);
}

static void
on_auth_cancel(void *me, struct channel *from, uint64_t session, const struct msg_auth_cancel *m,
	const int *fd)
{
	struct conversation *c = find(me, from, session);

	(void)m;
	(void)fd;
	/* A client that does not like the mechanism it chose tells its user nothing that helps; here it can be seen. */
	if (c->state == CHALLENGED)
		log_info(session, "auth-cancelled", KEY_STR("ip", c->ip), KEY_STR("service", service_name(c->service)),
			KEY_STR("mech", c->mechanism->name));
	conversation_free(c);
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
			conversation_end(c, AUTH_WRONG);
		else if (c->state == HELD)
			conversation_end(c, AUTH_LATER);
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
