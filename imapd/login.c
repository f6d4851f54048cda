/* login - see login.h. Bytes in, bytes out, and the end. */
#include "imapd/login.h"

#include "common/id.h"
#include "common/kernel-tls.h"
#include "common/log.h"
#include "common/mechanisms.h"
#include "common/tls-ask.h"
#include "imapd/imap-parse.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES 4096

struct login *
login_find(struct front *front, uint64_t id)
{
	struct login *l;

	LIST_FOREACH(l, &front->buckets[id % LOGIN_BUCKETS], in_bucket) {
		if (l->id == id)
			return l->dead ? NULL : l;
	}
	return NULL;
}

void
login_passed_on(struct login *l)
{
	l->dead = true;
	l->front->dead++;
	if (l->timeout != NULL)
		event_active(l->timeout, EV_TIMEOUT, 0);     /* the round ends, and it is freed */
}

void
login_drop(struct login *l, const char *why)
{
	if (l->dead)
		return;
	login_auth_cancel(l);
	log_info(l->id, "disconnect", KEY_STR("ip", l->ip), KEY_STR("service",
		service_name(l->service)),
		KEY_NUM("tls", l->tls), KEY_STR("why", why), KEY_NUM("errors", l->errors));
	login_passed_on(l);
}

static void
login_free(struct login *l)
{
	LIST_REMOVE(l, in_all);
	LIST_REMOVE(l, in_bucket);
	/* Without a word: after the login the connection goes on elsewhere. */
	if (l->fd >= 0)
		close(login_detach(l));
	event_free(l->timeout);
	imap_input_clear(&l->input);
	text_clear(&l->out);
	text_clear(&l->passport);
	door_left(&l->front->door, &l->guest);
	free(l);
}

void
logins_bury(struct front *front)
{
	struct login *l = LIST_FIRST(&front->logins), *next;

	for (; front->dead > 0 && l != NULL; l = next) {
		next = LIST_NEXT(l, in_all);
		if (!l->dead)
			continue;
		front->dead--;
		login_free(l);
	}
}

/* --- writing --- */

/* Sends what waits. When all is sent: what had to wait for that is done. */
static void
login_flush(struct login *l)
{
	while (l->fd >= 0 && l->out.len > 0 && !l->dead) {
		ssize_t n = send(l->fd, l->out.at, l->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			text_drop(&l->out, (size_t)n);
		} else if (errno == EAGAIN) {
			(void)event_add(l->writable, NULL);
			return;
		} else if (errno != EINTR) {
			login_drop(l, strerror(errno));
			return;
		}
	}
	text_clear(&l->out);
	if (l->state == LOGIN_CLOSING && l->fd >= 0) {
		stream_bye(l->fd);
		(void)shutdown(l->fd, SHUT_WR);
		login_drop(l, "closed");
	} else if (l->starts_tls) {
		l->starts_tls = false;
		login_tls_start(l);
	}
}

void
login_say(struct login *l, struct span line)
{
	text_add(&l->out, line);
	if (l->out.failed) {
		login_drop(l, "client does not read");
		return;
	}
	login_flush(l);
}

static void
login_answer(struct login *l, const char *word, const char *code, const char *text)
{
	struct text line = TEXT_UP_TO(MOST_LOGIN_OUT / 4);

	text_add_str(&line, l->tag[0] == '\0' ? "*" : l->tag);
	text_add_byte(&line, ' ');
	text_add_str(&line, word);
	if (code != NULL) {
		text_add(&line, SPAN(" ["));
		text_add_str(&line, code);
		text_add_byte(&line, ']');
	}
	text_add_byte(&line, ' ');
	text_add_str(&line, text);
	text_add(&line, SPAN("\r\n"));
	login_say(l, text_span(&line));
	text_clear(&line);
}

void
login_ok(struct login *l, const char *code, const char *text)
{
	login_answer(l, "OK", code, text);
}

static void
count_error(struct login *l)
{
	if (++l->errors >= MOST_LOGIN_ERRORS)
		login_bye(l, "Too many errors.");
}

void
login_no(struct login *l, const char *code, const char *text)
{
	log_info(l->id, "refused", KEY_STR("ip", l->ip), KEY_STR("verb", l->verb),
		KEY_STR("answer", "NO"), KEY_STR("code", code),
		KEY_STR("why", text));
	login_answer(l, "NO", code, text);
	count_error(l);
}

void
login_bad(struct login *l, const char *expected)
{
	struct text why = TEXT_UP_TO(500);

	text_add(&why, SPAN("Expected "));
	text_add_str(&why, expected);
	text_add_byte(&why, '.');
	log_info(l->id, "refused", KEY_STR("ip", l->ip), KEY_STR("verb", l->verb),
		KEY_STR("answer", "BAD"),
		KEY_STR("why", expected));
	login_answer(l, "BAD", NULL, text_str(&why));
	text_clear(&why);
	count_error(l);
}

void
login_bye(struct login *l, const char *text)
{
	const struct timeval wait = { LAST_WORDS_SECONDS, 0 };
	struct text line = TEXT_UP_TO(500);

	if (l->dead || l->state == LOGIN_CLOSING)
		return;
	login_auth_cancel(l);
	l->state = LOGIN_CLOSING;
	if (l->fd < 0) {
		login_drop(l, text);
		return;
	}
	(void)event_del(l->readable);
	(void)event_add(l->timeout, &wait);
	text_add(&line, SPAN("* BYE "));
	text_add_str(&line, text);
	text_add(&line, SPAN("\r\n"));
	login_say(l, text_span(&line));
	text_clear(&line);
}

void
login_write_capabilities(const struct login *l, struct text *out)
{
	/* ENABLE and IDLE come after login; but there are clients, such as Python's imaplib, that ask only once, before. */
	text_add(out, SPAN("IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE"));
	/* A password never goes in clear (RFC 3501 6.2.1, 11.1; RFC 8314). */
	if (l->tls)
		mechanisms_offer(l->front->daemon.settings, l->service, text_span(&l->passport),
			" AUTH=", out);
	else if (tls_is_offered(&l->front->daemon))
		text_add(out, SPAN(" STARTTLS LOGINDISABLED"));
	else
		text_add(out, SPAN(" LOGINDISABLED"));
}

void
login_greet(struct login *l)
{
	struct text line = TEXT_UP_TO(1000);

	text_add(&line, SPAN("* OK [CAPABILITY "));
	login_write_capabilities(l, &line);
	text_add(&line, SPAN("] Valija ready.\r\n"));
	login_say(l, text_span(&line));
	text_clear(&line);
}

/* --- reading --- */

/* What was announced is no literal that we take: refused before anybody sends a "+". */
static void
on_announcement(struct login *l)
{
	struct imap_input *in = &l->input;
	struct span command = imap_input_command(in), tag;

	if (imap_input_literal_fits(in)) {
		bool waits = in->synchronizing;

		imap_input_accept(in);
		if (waits)
			login_say(l, SPAN("+ Ready for the literal.\r\n"));
		return;
	}
	if (!imap_take_tag(&command, &tag) || !span_copy(tag, l->tag, sizeof(l->tag)))
		l->tag[0] = '\0';
	(void)span_copy(SPAN("literal"), l->verb, sizeof(l->verb));
	login_bad(l, "a smaller literal");
	/* Without waiting for "+" the bytes come all the same, and would be taken for commands. */
	if (!in->synchronizing)
		login_bye(l, "[TOOBIG] The literal is too large.");
	imap_input_next(in);
}

/* SASL answers are lines of base64: no literals, and a limit of their own. */
static bool
go_on_challenged(struct login *l)
{
	switch (imap_input_look(&l->input)) {
	case INPUT_MORE:
		return false;
	case INPUT_COMMAND:
		login_sasl_line(l, imap_input_command(&l->input));
		break;
	default:
		login_auth_cancel(l);
		l->state = LOGIN_COMMAND;
		login_bad(l, "a line of base64, or *");
		login_bye(l, "That is no answer to a challenge.");
		break;
	}
	imap_input_next(&l->input);
	return true;
}

static bool
go_on_command(struct login *l)
{
	switch (imap_input_look(&l->input)) {
	case INPUT_MORE:
		return false;
	case INPUT_LITERAL:
		on_announcement(l);
		return true;
	case INPUT_TOO_LONG:
		log_info(l->id, "refused", KEY_STR("ip", l->ip), KEY_STR("why", "line too long"));
		login_bye(l, "[TOOBIG] The line is too long.");
		return false;
	case INPUT_BARE_LF:
		l->tag[0] = '\0';
		(void)span_copy(SPAN("line"), l->verb, sizeof(l->verb));
		login_bad(l, "CR LF at the end of a line, not LF alone");
		break;
	case INPUT_COMMAND:
	default:
		login_command(l, imap_input_command(&l->input));
		break;
	}
	if (!l->dead && l->state != LOGIN_HANDED)
		imap_input_next(&l->input);
	return true;
}

/* While others work for it nothing more is read: what comes stays in the socket, for whoever gets that. Nor while the
 * client owes it to take an answer. */
static bool
login_reads(const struct login *l)
{
	return !l->dead && !l->starts_tls && l->out.len == 0 &&
		(l->state == LOGIN_COMMAND || l->state == LOGIN_CHALLENGED);
}

void
login_go_on(struct login *l)
{
	bool more = true;

	while (more && login_reads(l))
		more = l->state == LOGIN_COMMAND ? go_on_command(l) : go_on_challenged(l);
	if (l->dead || l->fd < 0 || l->state == LOGIN_CLOSING)
		return;
	if (login_reads(l))
		(void)event_add(l->readable, NULL);
}

static void
on_readable(evutil_socket_t fd, short what, void *me)
{
	unsigned char buffer[READ_BYTES];
	struct login *l = me;
	size_t room = imap_input_room(&l->input);
	ssize_t got;

	(void)what;
	if (l->dead)
		return;
	/* A client waits for answers, as a rule, so that only what comes all the same costs this. */
	if (!login_reads(l)) {
		(void)event_del(l->readable);
		return;
	}
	got = stream_recv(fd, buffer, room < sizeof(buffer) ? room : sizeof(buffer), MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		login_drop(l, got == 0 ? "client closed" : strerror(errno));
		return;
	}
	imap_input_add(&l->input, span_of(buffer, (size_t)got));
	explicit_bzero(buffer, (size_t)got);
	login_go_on(l);
}

static void
on_writable(evutil_socket_t fd, short what, void *me)
{
	(void)fd;
	(void)what;
	login_flush(me);
	login_go_on(me);
}

static void
on_timeout(evutil_socket_t fd, short what, void *me)
{
	struct login *l = me;

	(void)fd;
	(void)what;
	if (l->dead)
		return;
	if (l->state == LOGIN_CLOSING)
		login_drop(l, "client does not read");
	else if (l->state == LOGIN_TLS)
		login_drop(l, "TLS takes too long");
	else
		login_bye(l, "[UNAVAILABLE] Autologout; no login in time.");
}

void
login_attach(struct login *l, int fd)
{
	struct event_base *base = l->front->daemon.base;

	l->fd = fd;
	l->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, l);
	l->writable = event_new(base, fd, EV_WRITE, on_writable, l);
	if (l->readable == NULL || l->writable == NULL)
		abort();
	(void)event_add(l->readable, NULL);
}

int
login_detach(struct login *l)
{
	int fd = l->fd;

	if (l->readable != NULL)
		event_free(l->readable);
	if (l->writable != NULL)
		event_free(l->writable);
	l->readable = l->writable = NULL;
	l->fd = -1;
	return fd;
}

/* It comes back from the process of the user that it was logged in as: no greeting, no handshake. */
static void
go_on_again(struct login *l, const struct msg_imap_again *m)
{
	text_add(&l->passport, m->passport);
	l->tls = m->passport.len > 0;
	imap_input_add(&l->input, m->input);
	log_info(l->id, "unauthenticated", KEY_STR("ip", l->ip), KEY_STR("service",
		service_name(l->service)));
	if (!door_is_of(&l->front->door, &l->guest, l->ip))
		login_bye(l, "[UNAVAILABLE] Too many connections from your address.");
	else
		login_go_on(l);
}

void
login_new(struct front *front, const struct arrival *a, int fd, struct guest *guest)
{
	const struct timeval limit = { (time_t)front->daemon.settings->login_seconds, 0 };
	struct login *l = must_alloc(sizeof(*l));

	l->front = front;
	l->id = front->again != NULL ? front->again_id : id_new();
	l->service = a->service;
	l->guest = guest;
	(void)span_copy(span_str(a->ip), l->ip, sizeof(l->ip));
	imap_input_init(&l->input, MOST_LOGIN_LINE, MOST_LOGIN_LITERALS);
	l->out = TEXT_UP_TO(MOST_LOGIN_OUT);
	l->passport = TEXT_UP_TO(MOST_PASSPORT);
	l->timeout = event_new(front->daemon.base, -1, 0, on_timeout, l);
	if (l->timeout == NULL)
		abort();
	(void)event_add(l->timeout, &limit);
	LIST_INSERT_HEAD(&front->logins, l, in_all);
	LIST_INSERT_HEAD(&front->buckets[l->id % LOGIN_BUCKETS], l, in_bucket);
	front->served++;
	if (front->again != NULL) {
		login_attach(l, fd);
		go_on_again(l, front->again);
		return;
	}
	/* Where TLS comes first, tls or tls-failed say the same of it. */
	if (service_is_tls(l->service))
		log_debug(l->id, "connect", KEY_STR("ip", l->ip), KEY_STR("service", service_name(l->service)));
	else
		log_info(l->id, "connect", KEY_STR("ip", l->ip), KEY_STR("service", service_name(l->service)));
	if (a->via[0])
		log_info(l->id, "proxied", KEY_STR("ip", l->ip), KEY_STR("proxy", a->via),
			KEY_STR("tls", a->tls));
	if (service_is_tls(l->service)) {
		l->fd = fd;     /* nothing of it is read here */
		login_tls_start(l);
	} else {
		login_attach(l, fd);
		login_greet(l);
	}
}
