/* verdict - what is said of a claim: to the front end, to master or queue, to the log and to the guard. */
#include "conversation-inside.h"

#include <event2/event.h>
#include <time.h>

#include "common/log.h"
#include "common/secret.h"

#define TICKET_SIZE 16

void
verdict_later(struct conversation *c, const char *reason)
{
	log_error(c->session, "auth-later", KEY_STR("ip", c->ip),
		KEY_STR("service", service_name(c->service)), KEY_STR("reason", reason));
	conversation_end(c, AUTH_LATER);
}

/* The end of a failure. Of a token's, the client hears first where that stands in the mechanism. */
static void
end_wrong(struct conversation *c)
{
	static const char bearer[] = "{\"status\":\"invalid_token\"}",
			  google[] = "{\"status\":\"401\",\"schemes\":\"Bearer\"}";
	bool is_google = c->mechanism->name[0] == 'X';

	if (c->mechanism->kind != MECHANISM_OF_TOKEN || c->refused || c->auth->daemon.leaving) {
		conversation_end(c, AUTH_WRONG);
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
void
verdict_wrong(struct conversation *c, const char *reason)
{
	struct auth *a = c->auth;
	struct timeval wait;
	uint32_t cost = guard_failed(a->guard, a->daemon.settings, span_str(c->ip),
		text_span(&c->login.key), (uint64_t)time(NULL));
	/* From when the claim was known: what it took to find out does not show. */
	int64_t left = (int64_t)cost * 1000 - (int64_t)(auth_milliseconds() - c->claimed);

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
		conversation_end(c, AUTH_WRONG);
}

/* The pair failed too often: nothing is looked at, and the client hears for how long. The filter for
 * fail2ban reads this line too. */
void
verdict_blocked(struct conversation *c, uint32_t for_seconds)
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

void
verdict_malformed(struct conversation *c)
{
	log_notice(c->session, "auth-malformed", KEY_STR("ip", c->ip),
		KEY_STR("service", service_name(c->service)), KEY_STR("mech", c->mechanism->name));
	conversation_end(c, AUTH_MALFORMED);
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
			verdict_later(c, "no ticket");
			return;
		}
		told.ticket = span_of(ticket, sizeof(ticket));
	} else if (!tell_queue(c)) {
		verdict_later(c, "queue is away");
		return;
	}
	if (c->acts_as.len > 0)
		log_notice(c->session, "auth-acts-as", KEY_STR("ip", c->ip),
			KEY_SPAN("user", text_span(&c->login.key)),
			KEY_SPAN("master", text_span(&c->acts_as)));
	/* All that is asked about a login, in one line; valija-auth(8) promises its form. */
	log_info(c->session, "auth-ok", KEY_STR("ip", c->ip),
		KEY_STR("service", service_name(c->service)), KEY_STR("tls", c->tls),
		KEY_STR("cipher", c->cipher), KEY_STR("mech", c->mechanism->name),
		KEY_SPAN("user", text_span(&c->login.key)));
	send_auth_told(c->from, c->session, &told, NULL);
	secret_wipe(ticket, sizeof(ticket));
	conversation_free(c);
}

static void
no_such_other(struct conversation *c, const char *because)
{
	(void)because;
	verdict_wrong(c, "no-such-other");
}

/* A master user, proven: from here on the login is the other's. acts_as keeps who it really is. */
static void
become_other(struct conversation *c)
{
	struct text other = c->acts_as;

	c->acts_as = TEXT_UP_TO(MOST_ADDRESS);
	text_add(&c->acts_as, text_span(&c->login.key));
	sasl_clear(&c->sasl);
	login_clear(&c->login);
	text_add(&c->login.key, text_span(&other));
	text_clear(&other);
	check_find(c, let_in, no_such_other);
}

/* `last` are the mechanism's last words, which go along with success. */
void
verdict_right_with(struct conversation *c, struct span last)
{
	text_add(&c->last, last);
	guard_right(c->auth->guard, span_str(c->ip), text_span(&c->login.key),
		(uint64_t)time(NULL));
	if (c->acts_as.len > 0)
		become_other(c);
	else
		let_in(c);
}

void
verdict_right(struct conversation *c)
{
	verdict_right_with(c, SPAN_NONE);
}
