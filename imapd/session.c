/* session - see session.h. */
#include "imapd/session.h"

#include "common/log.h"
#include "imapd/command.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES (32 * 1024)

/* To a few milliseconds, which is what slices need: it is asked for each message. */
static int64_t
now_microseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return t.tv_sec * (int64_t)1000000 + t.tv_nsec / 1000;
}

bool
session_full(const struct session *s)
{
	return s->out.len - s->sent >= OUT_FULL;
}

bool
session_slice_over(const struct session *s)
{
	return now_microseconds() >= s->slice_end;
}

/* --- ending --- */

void
session_end(struct session *s, const char *why)
{
	if (s->dead)
		return;
	s->dead = true;
	if (s->why == NULL)
		s->why = why;
	/* so that this round ends, and the dead are buried */
	event_active(s->turn, EV_TIMEOUT, 0);
}

void
session_bye(struct session *s, const char *text)
{
	if (s->closing)
		return;
	s->closing = true;
	if (s->why == NULL)
		s->why = text;
	text_add(&s->out, SPAN("* BYE "));
	text_add_str(&s->out, text);
	text_add(&s->out, SPAN("\r\n"));
	(void)event_del(s->readable);
	event_active(s->turn, EV_TIMEOUT, 0);
}

void
session_free(struct session **sp)
{
	struct session *s = *sp;

	if (s == NULL)
		return;
	log_info(s->id, "logout", KEY_STR("ip", s->ip), KEY_STR("user", s->account->user),
		KEY_STR("why", s->why),
		KEY_NUM("in", s->bytes_in), KEY_NUM("out", s->bytes_out),
		KEY_NUM("commands", s->commands));
	command_free(&s->command);
	mail_cache_clear(&s->mail);
	view_close(&s->view);
	event_free(s->readable);
	event_free(s->writable);
	event_free(s->turn);
	event_free(s->silence);
	close(s->fd);
	imap_input_clear(&s->input);
	text_clear(&s->out);
	free(s);
	*sp = NULL;
}

/* --- reading and writing --- */

static void
restart_silence(struct session *s)
{
	const struct timeval wait = { (time_t)s->account->daemon.settings->imap_idle_seconds, 0 };

	(void)event_add(s->silence, &wait);
}

/* We read as long as there is room; a client that sends ahead of a long command waits in the
 * socket. */
static void
adjust_reading(struct session *s)
{
	if (s->closing || s->dead || imap_input_room(&s->input) == 0)
		(void)event_del(s->readable);
	else
		(void)event_add(s->readable, NULL);
}

static void
on_readable(evutil_socket_t fd, short what, void *me)
{
	static unsigned char buffer[READ_BYTES];
	struct session *s = me;
	size_t room = imap_input_room(&s->input);
	ssize_t got = recv(fd, buffer, room < sizeof(buffer) ? room : sizeof(buffer), 0);

	(void)what;
	if (s->dead || s->closing)
		return;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		session_end(s, got == 0 ? "client closed" : strerror(errno));
		return;
	}
	s->bytes_in += (uint64_t)got;
	imap_input_add(&s->input, span_of(buffer, (size_t)got));
	explicit_bzero(buffer, (size_t)got);
	restart_silence(s);
	s->slice_end = now_microseconds() + SLICE_MICROSECONDS;
	session_go_on(s);
	adjust_reading(s);
}

static void
on_turn(evutil_socket_t fd, short what, void *me)
{
	struct session *s = me;

	(void)fd;
	(void)what;
	if (s->dead || s->closing)
		return;
	s->slice_end = now_microseconds() + SLICE_MICROSECONDS;
	session_go_on(s);
	adjust_reading(s);
}

void
session_take_turn(struct session *s)
{
	event_active(s->turn, EV_TIMEOUT, 0);
}

static void
on_writable(evutil_socket_t fd, short what, void *me)
{
	struct session *s = me;

	(void)fd;
	(void)what;
	s->blocked = false;      /* the end of the round sends */
}

static void
on_silence(evutil_socket_t fd, short what, void *me)
{
	struct session *s = me;

	(void)fd;
	(void)what;
	if (s->blocked)
		session_end(s, "client does not read");
	else
		session_bye(s, "Autologout; idle for too long.");
}

void
session_flush(struct session *s)
{
	while (!s->blocked && s->sent < s->out.len) {
		ssize_t n = send(s->fd, s->out.at + s->sent, s->out.len - s->sent, MSG_NOSIGNAL);

		if (n > 0) {
			s->sent += (size_t)n;
			s->bytes_out += (uint64_t)n;
			restart_silence(s);
		} else if (errno == EAGAIN) {
			s->blocked = true;
			(void)event_add(s->writable, NULL);
		} else if (errno != EINTR) {
			session_end(s, strerror(errno));
			return;
		}
	}
	if (s->sent == s->out.len) {
		/* A session that idles keeps no buffer. */
		if (s->command == NULL || s->command->wants == WANTS_LINE)
			text_clear(&s->out);
		else
			text_reset(&s->out);
		s->sent = 0;
		if (s->closing)
			session_end(s, s->why);
	} else if (s->sent >= OUT_FULL) {
		text_drop(&s->out, s->sent);
		s->sent = 0;
	}
	if (s->wants_room && s->out.len - s->sent <= OUT_LOW) {
		s->wants_room = false;
		session_take_turn(s);
	}
}

void
session_capabilities_write(const struct session *s, struct text *out)
{
	text_add(out, SPAN(CAPABILITIES " APPENDLIMIT="));    /* RFC 7889 section 2 */
	text_add_number(out, s->account->daemon.settings->message_size_bytes);
}

struct session *
session_new(struct account *account, uint64_t id, int fd, struct span tag, struct span input,
	struct span ip,
	struct span verb)
{
	struct session *s = must_alloc(sizeof(*s));
	struct event_base *base = account->daemon.base;

	s->account = account;
	s->id = id;
	s->fd = fd;
	(void)evutil_make_socket_nonblocking(fd);
	(void)span_copy(ip, s->ip, sizeof(s->ip));
	imap_input_init(&s->input, MOST_IMAP_LINE, MOST_IMAP_LITERALS);
	s->out = TEXT_UP_TO(MOST_OUT);
	s->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, s);
	s->writable = event_new(base, fd, EV_WRITE, on_writable, s);
	s->turn = event_new(base, -1, 0, on_turn, s);
	s->silence = event_new(base, -1, 0, on_silence, s);
	if (s->readable == NULL || s->writable == NULL || s->turn == NULL || s->silence == NULL)
		abort();
	text_add(&s->out, tag);
	text_add(&s->out, SPAN(" OK [CAPABILITY "));
	session_capabilities_write(s, &s->out);
	text_add(&s->out, SPAN("] "));
	text_add(&s->out, verb);
	text_add(&s->out, SPAN(" completed, logged in.\r\n"));
	imap_input_add(&s->input, input);
	restart_silence(s);
	adjust_reading(s);
	session_take_turn(s);
	log_info(id, "login", KEY_SPAN("ip", ip), KEY_STR("user", account->user));
	return s;
}
