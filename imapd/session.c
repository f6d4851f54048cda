/* session - see session.h. */
#include "imapd/session.h"

#include "common/kernel-tls.h"
#include "common/log.h"
#include "imapd/command.h"
#include "imapd/compress.h"
#include "imapd/link.h"
#include "imapd/notify.h"
#include "imapd/share.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES (32 * 1024)

/* To a few milliseconds, which is what slices need: it is asked for each message. */
int64_t
session_clock(void)
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
	return session_clock() >= s->slice_end;
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
	(void)event_del(s->readable);
	(void)event_del(s->writable);
	(void)event_del(s->silence);
	/* so that this round ends, and the dead are buried */
	event_active(s->turn, EV_TIMEOUT, 0);
}

/* Its client is gone. What it waits for comes in time, or it is given up: its messages are where they were as well. */
static void
go_on_dead(struct session *s)
{
	const struct timeval wait = { LAST_COMMAND_SECONDS, 0 };

	(void)event_add(s->silence, &wait);
	session_end_command(s);
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
	log_info(s->id, session_is_guest(s) ? "guest-left" : "logout", KEY_STR("ip", s->ip),
		KEY_STR("user", s->account->user),
		KEY_STR("why", s->why),
		KEY_NUM("in", s->bytes_in), KEY_NUM("out", s->bytes_out),
		KEY_NUM("commands", s->commands));
	command_free(&s->command);
	command_free(&s->waiting);
	notify_free(&s->notify);
	text_clear(&s->annotated);
	session_unselect(s);
	link_free(&s->link);
	event_free(s->readable);
	event_free(s->writable);
	event_free(s->turn);
	event_free(s->silence);
	if (!s->gone_back) {
		stream_bye(s->fd);
		/* master and imap-login may have it a moment longer: the end is for them too. */
		(void)shutdown(s->fd, SHUT_RDWR);
	}
	close(s->fd);
	text_clear(&s->passport);
	compress_free(&s->compress);
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

	if (session_is_guest(s) && !s->blocked)     /* the member's process ends it with the client's session */
		(void)event_del(s->silence);
	else
		(void)event_add(s->silence, &wait);
}

/* We read as long as there is room; a client that sends ahead of a long command waits in the
 * socket. */
static void
adjust_reading(struct session *s)
{
	bool room = s->compress == NULL ? imap_input_room(&s->input) > 0 :
		compress_is_hungry(s->compress);

	if (s->closing || s->dead || s->ended || !room)
		(void)event_del(s->readable);
	else
		(void)event_add(s->readable, NULL);
}

/* A client that closed its half (or all) of the connection has its answers; half a command is none, and nobody
 * will say DONE. The end of the round closes it. */
static void
hear_end(struct session *s)
{
	s->closing = true;
	s->why = "client closed";
}

/* Commands, as far as they go; then what was compressed of the next ones. */
static void
work_on(struct session *s)
{
	int more = 0;

	s->slice_end = session_clock() + SLICE_MICROSECONDS;
	session_go_on(s);
	/* Not before the answer to COMPRESS is out: what comes to be answered is compressed. */
	if (s->compress != NULL && !s->compress_soon && !s->dead && !s->closing)
		more = compress_inflate(s->compress, &s->input);
	if (more < 0) {
		log_info(s->id, "refused", KEY_STR("why", "what came is not compressed"));
		session_bye(s, "What came is not compressed, or the stream has ended.");
	}
	if (more > 0)
		session_take_turn(s);
	else if (s->ended && s->starved && !s->compress_soon && !s->closing)
		hear_end(s);
	adjust_reading(s);
}

static void
on_readable(evutil_socket_t fd, short what, void *me)
{
	static unsigned char buffer[READ_BYTES];
	struct session *s = me;
	size_t room = s->compress == NULL ? imap_input_room(&s->input) :
		compress_is_hungry(s->compress) ? COMPRESS_PIECE : 0;
	ssize_t got = room == 0 ? -1 : stream_recv(fd, buffer, room < sizeof(buffer) ? room : sizeof(buffer), MSG_DONTWAIT);

	(void)what;
	if (s->dead || s->closing || room == 0)
		return;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got < 0 || (got == 0 && stream_is_deserted(fd))) {
		session_end(s, got == 0 ? "client closed" : strerror(errno));
		return;
	}
	s->ended = got == 0;
	s->bytes_in += (uint64_t)got;
	if (s->compress == NULL)
		imap_input_add(&s->input, span_of(buffer, (size_t)got));
	else
		compress_take(s->compress, span_of(buffer, (size_t)got));
	explicit_bzero(buffer, (size_t)got);
	restart_silence(s);
	work_on(s);
}

static void
on_turn(evutil_socket_t fd, short what, void *me)
{
	struct session *s = me;

	(void)fd;
	(void)what;
	if (session_must_end(s))
		go_on_dead(s);
	else if (!s->dead && !s->closing)
		work_on(s);
}

/* By a timer that is due at once, not by event_active(): what a handler activates runs in the same pass over
 * what is active, before the loop looks at any socket again and before the round ends, and a command of a
 * thousand slices would be one. */
void
session_take_turn(struct session *s)
{
	static const struct timeval now = { 0, 0 };

	(void)event_add(s->turn, &now);
}

static void
on_writable(evutil_socket_t fd, short what, void *me)
{
	struct session *s = me;

	(void)fd;
	(void)what;
	s->blocked = false;      /* the end of the round sends */
	restart_silence(s);
}

static void
on_silence(evutil_socket_t fd, short what, void *me)
{
	struct session *s = me;

	(void)fd;
	(void)what;
	if (session_must_end(s)) {
		log_notice(s->id, "not-ended", KEY_STR("user", s->account->user),
			KEY_STR("why", "another user's process stands still; what was to be moved may be copied only"));
		s->command->must_end = false;    /* buried at the end of this round */
	} else if (s->blocked)
		session_end(s, "client does not read");
	else
		session_bye(s, "Autologout; idle for too long.");
}

bool
session_compress(struct session *s)
{
	s->compress = compress_new();
	if (s->compress == NULL)
		return false;
	s->compress_soon = true;
	/* What a client sent behind COMPRESS without waiting is compressed, or nothing. */
	while (imap_input_rest(&s->input).len > 0 && compress_is_hungry(s->compress)) {
		struct span rest = imap_input_rest(&s->input);

		compress_take(s->compress, span_part(rest, 0, COMPRESS_PIECE));
		imap_input_drop(&s->input, rest.len);
	}
	return true;
}

/* What can be sent now: of `out`, or of what `out` is when it is compressed. */
static struct span
next_bytes(struct session *s)
{
	if (s->compress == NULL || s->compress_soon)
		return span_part(text_span(&s->out), s->sent, SIZE_MAX);
	while (compress_wire(s->compress).len == 0 && s->sent < s->out.len) {
		struct span piece = span_part(text_span(&s->out), s->sent, COMPRESS_PIECE);

		compress_deflate(s->compress, piece);
		s->sent += piece.len;
	}
	return compress_wire(s->compress);
}

static void
was_sent(struct session *s, size_t len)
{
	s->bytes_out += len;
	if (s->compress == NULL || s->compress_soon)
		s->sent += len;
	else
		compress_sent(s->compress, len);
	restart_silence(s);
}

/* RFC 8437: nobody's again. What the client has sent behind the command goes along. */
static void
give_back(struct session *s)
{
	int copy = fcntl(s->fd, F_DUPFD_CLOEXEC, 0);

	s->gone_back = copy >= 0 && send_imap_back(s->account->daemon.master, s->id,
		&(struct msg_imap_back){ .ip = span_str(s->ip), .service = s->service,
			.passport = text_span(&s->passport), .input = imap_input_rest(&s->input) }, &copy);
	session_end(s, s->gone_back ? "unauthenticated" : "cannot be given back");
}

void
session_flush(struct session *s)
{
	struct span bytes;

	if (s->dead)
		return;
	while (!s->blocked && (bytes = next_bytes(s)).len > 0) {
		ssize_t n = send(s->fd, bytes.at, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			was_sent(s, (size_t)n);
		} else if (errno == EAGAIN) {
			s->blocked = true;
			(void)event_add(s->writable, NULL);
			restart_silence(s);
		} else if (errno != EINTR) {
			session_end(s, strerror(errno));
			return;
		}
	}
	if (s->sent == s->out.len && s->compress_soon) {
		s->compress_soon = false;
		session_take_turn(s);
	}
	if (s->sent == s->out.len) {
		/* A session that idles keeps no buffer. */
		if (s->command == NULL || s->command->wants == WANTS_LINE)
			text_clear(&s->out);
		else
			text_reset(&s->out);
		s->sent = 0;
		if (s->closing && !s->blocked && s->goes_back && !s->dead)
			give_back(s);
		else if (s->closing && !s->blocked)
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
	text_add(out, SPAN(CAPABILITIES));
	if (s->account->daemon.settings->imap_unauthenticate)
		text_add(out, SPAN(" UNAUTHENTICATE"));
	text_add(out, SPAN(" APPENDLIMIT="));    /* RFC 7889 section 2 */
	text_add_number(out, s->account->daemon.settings->message_size_bytes);
}

static struct session *
session_make(struct account *account, uint64_t id, int fd)
{
	struct session *s = must_alloc(sizeof(*s));
	struct event_base *base = account->daemon.base;
	const struct settings *now = account->daemon.settings;

	s->account = account;
	s->id = id;
	s->fd = fd;
	s->separator = now->imap_separator.len == 1 ? (char)now->imap_separator.at[0] : '/';
	(void)span_copy(now->imap_prefix, s->prefix, sizeof(s->prefix));
	(void)evutil_make_socket_nonblocking(fd);
	s->passport = TEXT_UP_TO(MOST_PASSPORT);
	imap_input_init(&s->input, MOST_IMAP_LINE, MOST_IMAP_LITERALS);
	s->out = TEXT_UP_TO(MOST_OUT);
	s->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, s);
	s->writable = event_new(base, fd, EV_WRITE, on_writable, s);
	s->turn = event_new(base, -1, 0, on_turn, s);
	s->silence = event_new(base, -1, 0, on_silence, s);
	if (s->readable == NULL || s->writable == NULL || s->turn == NULL || s->silence == NULL)
		abort();
	return s;
}

struct session *
session_new(struct account *account, uint64_t id, int fd, struct span tag, struct span input,
	struct span ip,
	struct span verb)
{
	struct session *s = session_make(account, id, fd);

	(void)span_copy(ip, s->ip, sizeof(s->ip));
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
	/* auth says the same with its auth-ok. */
	log_debug(id, "login", KEY_SPAN("ip", ip), KEY_STR("user", account->user));
	return s;
}

struct session *
session_new_guest(struct account *account, uint64_t id, int fd, struct span member)
{
	struct session *s = session_make(account, id, fd);

	(void)span_copy(member, s->guest, sizeof(s->guest));
	adjust_reading(s);
	log_info(id, "guest", KEY_STR("user", account->user), KEY_STR("member", s->guest));
	return s;
}
