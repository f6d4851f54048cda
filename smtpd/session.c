/*
 * session - see session.h.
 */
#include "smtpd/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/id.h"
#include "common/log.h"
#include "common/secret.h"
#include "smtpd/auth.h"
#include "smtpd/client.h"
#include "smtpd/listen.h"
#include "smtpd/receive.h"
#include "smtpd/reply.h"
#include "smtpd/starttls.h"
#include "smtpd/transaction.h"
#include "smtpd/verbs.h"

#define BACKLOG_OF_QUEUE 1024   /* packets that wait for queue: then no more than one RCPT at a time */

static void session_turn(struct session *s, bool readable);

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
	return s->service != SERVICE_SMTP || s->login != NULL;
}

/* --- time --- */

static uint32_t
patience(const struct session *s)
{
	const struct settings *settings = s->server->daemon.settings;

	switch (s->stage) {
	case STAGE_COMMANDS:
		if (replies_waiting(s))
			return QUEUE_WAIT_SECONDS;
		return (uint32_t)settings->smtp_idle_seconds;
	case STAGE_AUTH_CHALLENGED:
	case STAGE_AUTH_LAST:
		return (uint32_t)settings->smtp_idle_seconds;
	case STAGE_TLS:
		return (uint32_t)settings->tls_handshake_seconds + TLS_SLACK_SECONDS;
	case STAGE_AUTH_ASKED:
		return (uint32_t)settings->auth_delay_most_seconds + AUTH_WAIT_SECONDS;
	case STAGE_FILE_ASKED:
		return QUEUE_WAIT_SECONDS;
	case STAGE_COMMITTED:
		return COMMIT_WAIT_SECONDS;
	case STAGE_DATA:
		return (uint32_t)settings->smtp_data_seconds;
	case STAGE_PAUSE:
	case STAGE_TLS_OFFERED:
	case STAGE_CLOSING:
		break;
	}
	return FLUSH_WAIT_SECONDS;
}

static void
set_clock(struct session *s)
{
	struct timeval wait = { .tv_sec = (time_t)patience(s) };

	if (s->stage == STAGE_PAUSE)
		wait = (struct timeval){ .tv_usec = GREETING_PAUSE_MILLISECONDS * 1000 };
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
	if (s->stage == STAGE_COMMANDS) {
		replies_settle_all(s, &later);
		transaction_reset(s);
	} else {
		receive_told(s, &later);
	}
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
		session_close(s, 421, "4.4.2", "idle for too long");
		break;
	case STAGE_DATA:
	case STAGE_AUTH_CHALLENGED:
	case STAGE_AUTH_LAST:
		session_close(s, 421, "4.4.2", "idle for too long");
		break;
	case STAGE_FILE_ASKED:
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

void
session_begin(struct server *server, enum service service, int fd, const char *ip, struct client *client)
{
	struct session *s = must_alloc(sizeof(*s));

	s->server = server;
	s->id = id_new();
	s->service = service;
	s->client = client;
	span_copy(span_str(ip), s->ip, sizeof(s->ip));
	s->input = TEXT_UP_TO(READ_MOST);
	s->output = TEXT_UP_TO(OUTPUT_MOST);
	event_assign(&s->clock, server->daemon.base, -1, 0, on_clock, s);
	event_assign(&s->turn, server->daemon.base, -1, 0, on_turn, s);
	LIST_INSERT_HEAD(&server->sessions, s, in_all);
	LIST_INSERT_HEAD(&server->by_id[s->id % ID_BUCKETS], s, in_bucket);
	server->connections++;
	server->served++;
	log_info(s->id, "connect", KEY_STR("ip", s->ip), KEY_STR("service", service_name(service)));
	session_attach(s, fd);
	if (service_is_tls(service)) {
		s->stage = STAGE_TLS_OFFERED;
	} else if (service == SERVICE_SMTP) {
		s->stage = STAGE_PAUSE;
	} else {
		s->stage = STAGE_COMMANDS;
		if (session_talks_early(s))
			session_refuse_early(s);
		else
			session_greet(s);
	}
	set_clock(s);
}

void
session_greet(struct session *s)
{
	struct text words = TEXT_UP_TO(REPLY_LINE_MOST);

	/* RFC 5321 4.3.1: the name first; RFC 2034: no enhanced code here. */
	text_add(&words, s->server->daemon.settings->hostname);
	text_add_str(&words, " ESMTP Valija");
	answer(s, 220, NULL, text_str(&words));
	text_clear(&words);
	session_wake(s);
}

static void
session_free(struct session *s)
{
	struct server *server = s->server;
	int fd = session_detach(s);

	log_info(s->id, "disconnect", KEY_STR("ip", s->ip), KEY_STR("service", service_name(s->service)),
		KEY_NUM("commands", s->commands), KEY_NUM("messages", s->messages),
		KEY_NUM("errors", s->errors), KEY_STR("login", s->login), KEY_STR("helo", s->helo));
	event_del(&s->clock);
	event_del(&s->turn);
	if (fd >= 0) {
		/* What the client still sends must not turn our last words into a reset. */
		while (s->errors > 0 && recv(fd, server->incoming, READ_MOST, MSG_DONTWAIT) == READ_MOST)
			;
		close(fd);
	}
	transaction_reset(s);
	replies_clear(s);
	text_wipe(&s->input);
	text_clear(&s->output);
	if (s->tls)
		text_clear(&s->tls->passport);
	free(s->tls);
	free(s->login);
	free(s->helo);
	client_leave(&server->clients, &s->client);
	LIST_REMOVE(s, in_all);
	LIST_REMOVE(s, in_bucket);
	free(s);
	server->connections--;
	listen_session_ended(server);
}

static void
give_up_all(struct session *s)
{
	auth_give_up(s);
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
	if (s->stage == STAGE_DATA || s->stage == STAGE_FILE_ASKED || s->stage == STAGE_COMMITTED)
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

	if (s->ahead > 0)
		return true;
	return s->fd >= 0 && recv(s->fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void
session_refuse_early(struct session *s)
{
	static const struct refusal early = { 554, "5.5.0", "you talk out of turn" };

	s->errors++;
	log_info(s->id, "refused", KEY_STR("ip", s->ip), KEY_STR("service", service_name(s->service)),
		KEY_NUM("code", early.code), KEY_STR("status", early.status),
		KEY_STR("command", s->verb), KEY_STR("reason", "input before the answer"),
		KEY_STR("helo", s->helo));
	session_close(s, early.code, early.status, early.reason);
}

/* --- a turn --- */

/* The line at the front of *in is too long: throws it away as it comes. True when its end has come. */
static bool
skip_line(struct session *s, struct span *in)
{
	size_t lf = span_index(*in, '\n'), len = lf < in->len ? lf + 1 : in->len;
	bool after_cr = lf < in->len && lf > 0 && in->at[lf - 1] == '\r';

	/* A CR at the end stays: its LF may follow. */
	if (lf == in->len && in->at[len - 1] == '\r')
		len--;
	s->skipped += len;
	*in = span_part(*in, len, in->len);
	if (s->skipped > LINE_SKIPPED_MOST || (lf < in->len + len && !after_cr)) {
		s->verb = "?";
		refuse(s, 500, "5.5.2", "the line is too long");
		session_close(s, 421, "4.7.0", "the line is too long");
		return false;
	}
	return after_cr;
}

/* Looks at the line at the front, without taking it. False when there is none yet, or it was no line
 * (answered). */
static bool
see_line(struct session *s, struct span *in, struct span *line)
{
	size_t lf = span_index(*in, '\n'), most;
	bool whole = lf < in->len;

	if (whole && (lf == 0 || in->at[lf - 1] != '\r')) {
		/* One server's two lines are another's one: what follows might not be meant for us. */
		refuse(s, 500, "5.5.2", "a line ends with CR LF; this one has a bare line feed");
		session_close(s, 421, "4.7.0", "bare line feed");
		return false;
	}
	if (s->commands == 0 && in->at[0] == 0x16) {
		refuse(s, 500, "5.5.2", "TLS without STARTTLS");
		session_close(s, 421, "4.7.0", "TLS without STARTTLS");
		return false;
	}
	most = s->stage == STAGE_COMMANDS ? verb_line_most(span_part(*in, 0, whole ? lf - 1 : in->len)) :
		AUTH_LINE_MOST;
	if (whole && lf + 1 <= most) {
		*line = span_part(*in, 0, lf - 1);
		return true;
	}
	if (whole || in->len > most)
		s->skipped = 1;
	return false;
}

/* The end of a line that was too long. */
static void
refuse_long_line(struct session *s)
{
	s->skipped = 0;
	s->progressed = true;
	s->verb = "?";
	if (s->stage == STAGE_COMMANDS)
		refuse(s, 500, "5.5.2", "the line is too long");
	else
		auth_line_too_long(s);
}

/* May the command wait no longer for its place in the order of answers? */
static bool
is_its_turn(const struct session *s, const struct verb *v)
{
	const struct channel *queue = daemon_peer(&s->server->daemon, PROGRAM_QUEUE, 0);

	if (!replies_waiting(s))
		return true;
	return verb_joins_group(v) && !replies_full(s) && queue &&
		channel_waiting(queue) < BACKLOG_OF_QUEUE;
}

/* Takes and does one line. False: nothing can be done now. */
static bool
work_on_line(struct session *s, struct span *in)
{
	struct span line;
	const struct verb *v;

	if (s->output.len > OUTPUT_PAUSE)
		return false;
	if (s->skipped > 0) {
		if (skip_line(s, in))
			refuse_long_line(s);
		return in->len > 1;
	}
	if (!see_line(s, in, &line))
		return s->skipped > 0;
	v = verb_find(line);
	if (s->stage == STAGE_COMMANDS && !is_its_turn(s, v))
		return false;
	*in = span_part(*in, line.len + 2, in->len);
	s->ahead = in->len;
	s->progressed = true;
	if (s->stage == STAGE_COMMANDS)
		verb_execute(s, v, line);
	else
		auth_line(s, line);
	return true;
}

static void
work(struct session *s, struct span *in)
{
	bool more = true;

	while (more && in->len > 0) {
		switch (s->stage) {
		case STAGE_COMMANDS:
		case STAGE_AUTH_CHALLENGED:
		case STAGE_AUTH_LAST:
			more = work_on_line(s, in);
			break;
		case STAGE_DATA:
			receive_feed(s, in);
			break;
		case STAGE_PAUSE:
			s->stage = STAGE_COMMANDS;
			session_refuse_early(s);
			break;
		default:
			more = false;
			break;
		}
	}
}

static bool
wants_input(const struct session *s)
{
	switch (s->stage) {
	case STAGE_COMMANDS:
		return s->output.len <= OUTPUT_PAUSE && !replies_full(s);
	case STAGE_PAUSE:
	case STAGE_AUTH_CHALLENGED:
	case STAGE_AUTH_LAST:
	case STAGE_DATA:
		return true;
	default:
		return false;
	}
}

/* Adds to the `had` octets in server->incoming what has arrived. Returns how many there are then. */
static size_t
take_input(struct session *s, size_t had)
{
	size_t most = s->stage == STAGE_DATA ? READ_MOST : COMMAND_READ_MOST;
	ssize_t got;

	if (!wants_input(s) || had >= most)
		return had;
	got = recv(s->fd, s->server->incoming + had, most - had, MSG_DONTWAIT);
	if (got > 0)
		return had + (size_t)got;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return had;
	/* The end of the plaintext is the end of the connection, whoever caused it: nothing goes on in
	 * clear. A client that is gone takes its transaction along. */
	session_drop(s, got == 0 ? "the client closed the connection" : strerror(errno));
	return 0;
}

static void
keep_input(struct session *s, struct span rest, size_t had)
{
	s->ahead = rest.len;
	if (s->stage == STAGE_CLOSING)
		rest.len = 0;
	if (rest.at == s->server->incoming && rest.len == had)
		return; /* nothing came, nothing went */
	text_wipe(&s->input);
	text_add(&s->input, rest);
}

static void
send_output(struct session *s)
{
	ssize_t sent;

	if (s->output.len == 0 || s->fd < 0)
		return;
	sent = send(s->fd, s->output.at, s->output.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN && errno != EINTR) {
		session_drop(s, strerror(errno));
		return;
	}
	if (sent > 0)
		text_drop(&s->output, (size_t)sent);
	if (s->output.len == 0)
		text_clear(&s->output);
}

/* Waits for what the session waits for. A read event that is not wanted is taken out only when it
 * fires: a client that waits for its answers costs no system call. */
static void
watch(struct session *s, bool readable)
{
	bool reads = wants_input(s), writes = s->output.len > 0;

	if (s->fd < 0)
		return;
	if (reads && !s->reading) {
		event_add(&s->readable, NULL);
		s->reading = true;
	} else if (!reads && s->reading && readable) {
		event_del(&s->readable);
		s->reading = false;
	}
	if (writes && !s->writing)
		event_add(&s->writable, NULL);
	else if (!writes && s->writing)
		event_del(&s->writable);
	s->writing = writes;
}

static void
session_turn(struct session *s, bool readable)
{
	struct server *server = s->server;
	size_t had = s->input.len, have = had;
	bool secret = s->stage == STAGE_AUTH_CHALLENGED;

	if (had > 0)
		memcpy(server->incoming, s->input.at, had);
	if (readable && s->fd >= 0)
		have = take_input(s, had);
	if (have > 0 && s->stage != STAGE_CLOSING) {
		struct span in = span_of(server->incoming, have);

		work(s, &in);
		keep_input(s, in, had);
		if (secret || s->stage == STAGE_AUTH_ASKED)
			secret_wipe(server->incoming, have);
	}
	if (server->daemon.leaving && s->stage == STAGE_COMMANDS && !replies_waiting(s))
		session_leave(s);
	send_output(s);
	if (s->stage == STAGE_TLS_OFFERED && s->output.len == 0)
		starttls_hand_over(s);
	if (s->stage == STAGE_CLOSING && (s->output.len == 0 || s->fd < 0)) {
		session_free(s);
		return;
	}
	watch(s, readable);
	if (s->progressed || s->stage != s->timed || replies_waiting(s) != s->timed_queue ||
	    s->progress >= DATA_PROGRESS_BYTES)
		set_clock(s);
}
