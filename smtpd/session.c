/*
 * session - see session.h.
 */
#include "smtpd/session.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/id.h"
#include "common/kernel-tls.h"
#include "common/log.h"
#include "common/network.h"
#include "smtpd/auth.h"
#include "smtpd/bdat.h"
#include "smtpd/checks.h"
#include "smtpd/filter.h"
#include "smtpd/receive.h"
#include "smtpd/reply.h"
#include "smtpd/transaction.h"
#include "smtpd/turn.h"

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	session_turn(arg, true);
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	session_turn(arg, false);
}

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	session_turn(arg, false);
}

struct session *
session_find(struct server *server, uint64_t id)
{
	struct session *s;

	LIST_FOREACH(s, &server->by_id[id % ID_BUCKETS], in_bucket)
		if (s->id == id)
			return s;
	return NULL;
}

void
session_wake(struct session *s)
{
	event_active(&s->turn, EV_TIMEOUT, 0);
}

bool
session_submits(const struct session *s)
{
	return s->service == SERVICE_SUBMISSION || s->service == SERVICE_SUBMISSIONS ||
		s->service == SERVICE_LOCAL || s->login != NULL;
}

unsigned int
session_offers(const struct session *s)
{
	unsigned int offers = s->extended ? OFFERS_PARAMETERS : 0;

	if (s->tls)
		offers |= OFFERS_REQUIRETLS;
	/* RFC 6710 section 5: whoever is trusted to send may say how urgent it is; and when it is to leave, but
	 * for port 25 (RFC 4865 4.2). */
	if (session_submits(s) && s->service != SERVICE_SMTP &&
		s->server->daemon.settings->future_release_seconds > 0)
		offers |= OFFERS_RELEASE;
	if (session_submits(s))
		offers |= OFFERS_PRIORITY;
	/* LMTP comes from somebody who has taken the message already. */
	if (s->server->daemon.settings->no_soliciting.count > 0 && s->service != SERVICE_LMTP &&
		s->service != SERVICE_LOCAL)
		offers |= OFFERS_SOLICIT;
	return offers;
}

bool
session_is_one_of(const struct session *s, const struct list *services)
{
	for (size_t i = 0; i < services->count; i++)
		if (span_equal(services->at[i], span_str(service_name(s->service))))
			return true;
	return false;
}

/* --- time --- */

/* Who dribbles must not keep others out: when places become few, idle strangers have less time. */
static uint32_t
idle_seconds(const struct session *s)
{
	const struct settings *settings = s->server->daemon.settings;
	uint64_t seconds = settings->smtp_idle_seconds;
	bool busy = s->server->door.connections > settings->connections / 4 * 3;

	return (uint32_t)(busy && !s->login && seconds > BUSY_IDLE_SECONDS ? BUSY_IDLE_SECONDS : seconds);
}

static uint32_t
patience(const struct session *s)
{
	const struct settings *settings = s->server->daemon.settings;

	switch (s->stage) {
	case STAGE_COMMANDS:
		if (replies_waiting(s))
			return s->mail && filter_owes(s->mail) ? FILTER_WAIT_SECONDS : QUEUE_WAIT_SECONDS;
		return idle_seconds(s);
	case STAGE_AUTH_CHALLENGED:
	case STAGE_AUTH_LAST:
		return (uint32_t)settings->smtp_idle_seconds;
	case STAGE_TLS:
		return (uint32_t)settings->tls_handshake_seconds + TLS_SLACK_SECONDS;
	case STAGE_AUTH_ASKED:
		return (uint32_t)settings->auth_delay_most_seconds + AUTH_WAIT_SECONDS;
	case STAGE_FILE_ASKED:
	case STAGE_INVITED:
		return QUEUE_WAIT_SECONDS;
	case STAGE_SIGNING:
		return SIGN_WAIT_SECONDS;
	case STAGE_FILTERED:
		return FILTER_WAIT_SECONDS;
	case STAGE_COMMITTED:
		return COMMIT_WAIT_SECONDS;
	case STAGE_DATA:
	case STAGE_CHUNK:
		return (uint32_t)settings->smtp_data_seconds;
	case STAGE_PAUSE:
	case STAGE_TLS_OFFERED:
	case STAGE_CLOSING:
		break;
	}
	return FLUSH_WAIT_SECONDS;
}

/* Everybody waits a little on port 25: no mail server talks before the greeting. */
static uint64_t
greeting_delay(const struct session *s)
{
	uint64_t delay = s->server->daemon.settings->greeting_delay_milliseconds;

	return delay > LEAST_GREETING_DELAY && !checks_apply(s) ? LEAST_GREETING_DELAY : delay;
}

static struct timeval
milliseconds(uint64_t n)
{
	return (struct timeval){ .tv_sec = (time_t)(n / 1000), .tv_usec = (suseconds_t)(n % 1000 * 1000) };
}

void
session_set_clock(struct session *s)
{
	struct timeval wait = { .tv_sec = (time_t)patience(s) };

	if (s->stage == STAGE_PAUSE)
		wait = milliseconds(greeting_delay(s));
	event_add(&s->clock, &wait);
	s->progress = 0;
	s->progressed = false;
	s->timed = s->stage;
	s->timed_queue = replies_waiting(s);
}

static void
queue_is_silent(struct session *s)
{
	struct verdict later;

	verdict_set(&later, 451, "4.3.0", "the queue does not answer, try again later");
	log_warning(s->id, "queue-silent", KEY_STR("ip", s->ip),
		KEY_ID("message", s->mail ? s->mail->id : 0));
	if (s->stage == STAGE_COMMANDS)
		transaction_lose(s, &later);
	else
		receive_told(s, &later);
}

static void
on_clock(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;

	(void)fd;
	(void)what;
	switch (s->stage) {
	case STAGE_PAUSE:
		s->stage = STAGE_COMMANDS;
		if (session_talks_early(s))
			session_refuse_early(s);
		else
			session_greet(s);
		break;
	case STAGE_COMMANDS:
		if (replies_waiting(s)) {
			queue_is_silent(s);
			break;
		}
		if (s->held_back) {
			session_close(s, 421, "4.3.2", "too much to do, try again later");
			break;
		}
		session_close(s, 421, "4.4.2", "idle for too long");
		break;
	case STAGE_DATA:
	case STAGE_CHUNK:
	case STAGE_AUTH_CHALLENGED:
	case STAGE_AUTH_LAST:
		session_close(s, 421, "4.4.2", "idle for too long");
		break;
	case STAGE_SIGNING:
		receive_signed(s, SPAN_NONE, false);
		break;
	case STAGE_FILTERED:
		filter_cancel(s->mail);
		receive_filtered(s, NULL);
		break;
	case STAGE_FILE_ASKED:
	case STAGE_INVITED:
	case STAGE_COMMITTED:
		queue_is_silent(s);
		break;
	case STAGE_AUTH_ASKED:
		auth_timeout(s);
		break;
	case STAGE_TLS:
		session_drop(s, "the TLS handshake took too long");
		break;
	case STAGE_TLS_OFFERED:
	case STAGE_CLOSING:
		session_drop(s, "does not read its answers");
		break;
	}
	session_wake(s);
}

/* --- begin and end --- */

void
session_attach(struct session *s, int fd)
{
	struct event_base *base = s->server->daemon.base;

	s->fd = fd;
	event_assign(&s->readable, base, fd, EV_READ | EV_PERSIST, on_readable, s);
	event_assign(&s->writable, base, fd, EV_WRITE | EV_PERSIST, on_writable, s);
	s->reading = s->writing = false;
	session_wake(s);
}

int
session_detach(struct session *s)
{
	int fd = s->fd;

	if (fd >= 0) {
		event_del(&s->readable);
		event_del(&s->writable);
	}
	s->reading = s->writing = false;
	s->fd = -1;
	return fd;
}

static uint64_t
seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec;
}

uint32_t
session_count(struct session *s, enum rate_kind kind, uint32_t more)
{
	/* Where many come from one address, one of them must not use up what all may do. */
	if (networks_trust(&s->server->daemon.settings->policy_exempt, s->ip) ||
		door_is_shared(&s->server->door, s->ip))
		return 0;
	return rate_add(&s->server->rates, s->ip, kind, more, seconds_now());
}

/* Over one of the limits of a minute. */
bool
session_comes_too_often(struct session *s)
{
	const struct settings *settings = s->server->daemon.settings;
	uint64_t connections = settings->client_connections_per_minute;
	uint64_t errors = settings->client_errors_per_minute;

	return (session_count(s, RATE_CONNECTIONS, 1) > connections && connections > 0) ||
		(errors > 0 && session_count(s, RATE_ERRORS, 0) >= errors);
}

void
session_refuse_often(struct session *s)
{
	session_close(s, 421, "4.7.0",
		"too many connections or errors from your address, try again later");
}

/* What comes by LMTP was checked by whoever hands it over. */
static bool
may_connect(const struct session *s)
{
	const struct settings *settings = s->server->daemon.settings;

	return s->service != SERVICE_LMTP || span_equal(span_str(s->ip), SPAN("local")) ||
		networks_trust(&settings->lmtp_clients, s->ip);
}

void
session_begin(struct server *server, const struct arrival *a, int fd, struct guest *guest)
{
	struct session *s = must_alloc(sizeof(*s));

	s->server = server;
	s->id = id_new();
	s->service = a->service;
	s->uid = a->uid;
	s->guest = guest;
	span_copy(span_str(a->ip), s->ip, sizeof(s->ip));
	s->may_xclient = networks_name(&server->daemon.settings->xclient_from, s->ip);
	s->may_xforward = networks_name(&server->daemon.settings->xforward_from, s->ip);
	s->input = TEXT_UP_TO(READ_MOST);
	/* LMTP answers a message once for each recipient (RFC 2033 section 4.2). */
	s->output = TEXT_UP_TO(OUTPUT_MOST + (s->service == SERVICE_LMTP
		? server->daemon.settings->recipients * REPLY_LINE_MOST : 0));
	event_assign(&s->clock, server->daemon.base, -1, 0, on_clock, s);
	event_assign(&s->turn, server->daemon.base, -1, 0, on_turn, s);
	LIST_INSERT_HEAD(&server->sessions, s, in_all);
	LIST_INSERT_HEAD(&server->by_id[s->id % ID_BUCKETS], s, in_bucket);
	server->served++;
	s->since = time(NULL);
	log_info(s->id, "connect", KEY_STR("ip", s->ip), KEY_STR("service", service_name(s->service)));
	if (a->via[0])
		log_info(s->id, "proxied", KEY_STR("ip", s->ip), KEY_STR("proxy", a->via),
			KEY_STR("tls", a->tls));
	session_attach(s, fd);
	if (!may_connect(s)) {
		session_close(s, 550, "5.7.1", "LMTP is not for you");
	} else if (session_comes_too_often(s)) {
		session_refuse_often(s);
	} else if (service_is_tls(s->service)) {
		s->stage = STAGE_TLS_OFFERED;
	} else if (s->service == SERVICE_SMTP) {
		checks_begin(s, NULL);
		s->stage = STAGE_PAUSE;
	} else {
		s->stage = STAGE_COMMANDS;
		if (session_talks_early(s))
			session_refuse_early(s);
		else
			session_greet(s);
	}
	session_set_clock(s);
}

void
session_greet(struct session *s)
{
	struct text words = TEXT_UP_TO(REPLY_LINE_MOST);

	/* RFC 5321 4.3.1: the name first; RFC 2034: no enhanced code here. */
	text_add(&words, s->server->daemon.settings->hostname);
	text_add_str(&words, s->service == SERVICE_LMTP ? " LMTP Valija" : " ESMTP Valija");
	answer(s, 220, NULL, text_str(&words));
	text_clear(&words);
	session_wake(s);
}

void
session_free(struct session *s)
{
	struct server *server = s->server;
	int fd = session_detach(s);

	log_info(s->id, "disconnect", KEY_STR("ip", s->ip),
		KEY_STR("service", service_name(s->service)), KEY_NUM("commands", s->commands),
		KEY_NUM("messages", s->messages), KEY_NUM("errors", s->errors),
		KEY_STR("login", s->login), KEY_STR("helo", s->helo));
	event_del(&s->clock);
	event_del(&s->turn);
	if (fd >= 0) {
		/* What the client still sends must not turn our last words into a reset. */
		while (s->errors > 0 &&
			recv(fd, server->incoming, READ_MOST, MSG_DONTWAIT) == READ_MOST)
			;
		stream_bye(fd);
		close(fd);
	}
	session_count(s, RATE_ERRORS, s->errors);
	checks_free(&s->checks);
	bdat_give_up(s);
	turn_release(s);
	transaction_reset(s);
	replies_clear(s);
	text_wipe(&s->input);
	text_clear(&s->output);
	if (s->tls)
		text_clear(&s->tls->passport);
	free(s->tls);
	free(s->forwarded);
	auth_forget(s);
	free(s->helo);
	LIST_REMOVE(s, in_all);
	LIST_REMOVE(s, in_bucket);
	door_left(&server->door, &s->guest);
	free(s);
}

static void
give_up_all(struct session *s)
{
	auth_give_up(s);
	bdat_give_up(s);
	replies_clear(s);
	transaction_reset(s);
}

void
session_close(struct session *s, unsigned int code, const char *status, const char *words)
{
	if (s->stage == STAGE_CLOSING)
		return;
	give_up_all(s);
	if (code >= 400)
		log_info(s->id, "closing", KEY_STR("ip", s->ip), KEY_NUM("code", code),
			KEY_STR("reason", words));
	answer(s, code, status, words);
	s->stage = STAGE_CLOSING;
	session_wake(s);
}

void
session_drop(struct session *s, const char *why)
{
	if (s->stage != STAGE_CLOSING)
		give_up_all(s);
	log_info(s->id, "dropped", KEY_STR("ip", s->ip), KEY_STR("reason", why));
	text_clear(&s->output);
	s->stage = STAGE_CLOSING;
	session_wake(s);
}

void
session_count_error(struct session *s)
{
	s->errors++;
	session_check_errors(s);
}

void
session_check_errors(struct session *s)
{
	if (s->errors >= s->server->daemon.settings->smtp_errors)
		session_close(s, 421, "4.7.0", "too many errors");
}

void
session_leave(struct session *s)
{
	if (s->stage == STAGE_DATA || s->stage == STAGE_FILE_ASKED || s->stage == STAGE_INVITED || s->stage == STAGE_COMMITTED ||
		s->stage == STAGE_SIGNING ||
		s->stage == STAGE_FILTERED ||
		s->stage == STAGE_CHUNK || (s->mail && s->mail->chunked))
		return;
	if (s->stage == STAGE_TLS)
		session_drop(s, "shutting down");
	else if (s->stage == STAGE_TLS_OFFERED && service_is_tls(s->service))
		session_drop(s, "shutting down");
	else
		session_close(s, 421, "4.3.2", "this server is shutting down");
}

/* --- out of turn --- */

bool
session_talks_early(struct session *s)
{
	char octet;

	/* No stranger can put words into the mouth of this machine's users, and programs write a whole
	 * dialogue into `sendmail -bs` without waiting. */
	if (s->service == SERVICE_LOCAL)
		return false;
	if (s->ahead > 0)
		return true;
	return s->fd >= 0 && recv(s->fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void
session_refuse_early(struct session *s)
{
	static const struct refusal early = { 554, "5.5.0", "you talk out of turn" };

	s->errors++;
	log_info(s->id, "refused", KEY_STR("ip", s->ip),
		KEY_STR("service", service_name(s->service)), KEY_NUM("code", early.code),
		KEY_STR("status", early.status), KEY_STR("command", s->verb),
		KEY_STR("reason", "input before the answer"), KEY_STR("helo", s->helo),
		KEY_STR("from", s->mail ? s->mail->sender : NULL), KEY_STR("to", s->mail ? s->mail->recipient : NULL));
	session_close(s, early.code, early.status, early.reason);
}
