/* link - see link.h. */
#include "imapd/link.h"

#include "common/log.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE (32 * 1024)
#define SHORT_LINE (8 * 1024)        /* is looked at whole */
#define LONGEST_ANNOUNCEMENT 32      /* "~{18446744073709551615}" CR LF */
#define AGAIN_MICROSECONDS 50000     /* until master is asked anew; doubled each time */

struct link {
	struct session *session;
	char owner[MOST_ADDRESS + 1];
	int fd;                      /* -1: asked for, waiting to ask again, or over */
	bool asked;                  /* master has not answered yet */
	bool greeted;                /* the process serves us: nothing is said to it before */
	bool over, unknown;
	int64_t since;
	suseconds_t again;           /* how long to wait before master is asked anew */
	struct event *readable, *writable, *timer;
	struct text out;
	size_t sent;
	struct text in;
	size_t heard;                /* of `in` */
	uint64_t literal;            /* octets of it that are to come */
	bool within;                 /* of a line whose front was handed out */
};

static void
over(struct link *l)
{
	l->over = true;
	session_take_turn(l->session);
}

/* Asks master for the way; the answer, or the end of the wait for it, comes. */
static void
ask(struct link *l)
{
	struct session *s = l->session;
	const struct timeval wait = { LINK_SECONDS, 0 };

	l->asked = send_share_open(s->account->daemon.master, s->id,
		&(struct msg_share_open){ .owner = link_owner(l) }, NULL);
	if (!l->asked) {
		over(l);
		return;
	}
	s->shares_asked++;
	(void)event_add(l->timer, &wait);
}

static void
on_timer(evutil_socket_t fd, short what, void *me)
{
	struct link *l = me;

	(void)fd;
	(void)what;
	if (l->asked || l->fd >= 0)
		over(l);
	else
		ask(l);
}

struct link *
link_new(struct session *s, struct span owner)
{
	struct link *l = must_alloc(sizeof(*l));

	l->session = s;
	l->fd = -1;
	l->since = session_clock();
	l->again = AGAIN_MICROSECONDS;
	l->out = TEXT_UP_TO(MOST_OUT);
	l->in = TEXT_UP_TO(MOST_LINK_LINE + 2 * PIECE);
	l->timer = event_new(s->account->daemon.base, -1, 0, on_timer, l);
	if (l->timer == NULL)
		abort();
	if (span_copy(owner, l->owner, sizeof(l->owner)))
		ask(l);
	else
		over(l);
	return l;
}

static void
hang_up(struct link *l)
{
	if (l->readable != NULL)
		event_free(l->readable);
	if (l->writable != NULL)
		event_free(l->writable);
	l->readable = l->writable = NULL;
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

void
link_free(struct link **lp)
{
	struct link *l = *lp;

	if (l == NULL)
		return;
	hang_up(l);
	event_free(l->timer);
	text_clear(&l->out);
	text_clear(&l->in);
	free(l);
	*lp = NULL;
}

/* The way is none now. A process that died (and of which master has not heard yet), or is about to leave, is followed
 * by another: before it greeted us nothing was said to it, so that nothing can be done twice. */
static void
lost(struct link *l)
{
	const struct timeval wait = { l->again / 1000000, l->again % 1000000 };

	if (l->greeted || session_clock() - l->since >= LINK_AGAIN_SECONDS * INT64_C(1000000)) {
		over(l);
		return;
	}
	hang_up(l);
	text_reset(&l->in);
	l->heard = 0;
	l->again *= 2;
	(void)event_add(l->timer, &wait);
}

struct span
link_owner(const struct link *l)
{
	return span_str(l->owner);
}

bool
link_is_unknown(const struct link *l)
{
	return l->unknown;
}

bool
link_is_within(const struct link *l)
{
	return l->within || l->literal > 0;
}

uint64_t
link_literal(const struct link *l)
{
	return l->literal;
}

/* Is this master's answer to the last question? One that was given up is answered all the same. */
static bool
is_answered(struct session *s)
{
	return s->shares_asked > 0 && --s->shares_asked == 0 && s->link != NULL && s->link->asked;
}

void
link_refused(struct session *s, bool later)
{
	struct link *l = s->link;

	if (!is_answered(s))
		return;
	l->asked = false;
	if (later && !l->over) {
		lost(l);
		return;
	}
	l->unknown = !later;
	over(l);
}

bool
link_is_full(const struct link *l)
{
	return l->out.len - l->sent >= MOST_LINK_OUT;
}

static void
flush(struct link *l)
{
	while (l->greeted && !l->over && l->sent < l->out.len) {
		ssize_t n = send(l->fd, l->out.at + l->sent, l->out.len - l->sent,
			MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			l->sent += (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			(void)event_add(l->writable, NULL);
			break;
		} else if (n == 0 || errno != EINTR) {
			over(l);
			return;
		}
	}
	if (l->sent == l->out.len) {
		text_clear(&l->out);
		l->sent = 0;
	} else if (l->sent >= MOST_LINK_OUT) {   /* a slow process may never have taken all: what it has goes */
		text_drop(&l->out, l->sent);
		l->sent = 0;
	}
}

void
link_say(struct link *l, struct span octets)
{
	text_add(&l->out, octets);
	if (l->out.failed)
		over(l);
	flush(l);
}

static void
on_readable(evutil_socket_t fd, short what, void *me)
{
	const struct link *l = me;

	(void)fd;
	(void)what;
	session_take_turn(l->session);
}

static void
on_writable(evutil_socket_t fd, short what, void *me)
{
	struct link *l = me;

	(void)fd;
	(void)what;
	flush(l);
	session_take_turn(l->session);
}

void
link_opened(struct session *s, int fd)
{
	struct event_base *base = s->account->daemon.base;
	struct link *l = s->link;

	if (!is_answered(s) || l->over) {
		close(fd);
		return;
	}
	l->asked = false;
	l->fd = fd;
	l->readable = event_new(base, fd, EV_READ, on_readable, l);
	l->writable = event_new(base, fd, EV_WRITE, on_writable, l);
	if (l->readable == NULL || l->writable == NULL)
		abort();
	(void)event_add(l->readable, NULL);
}

void
link_wait(struct link *l)
{
	if (l->readable != NULL && !l->over)
		(void)event_add(l->readable, NULL);
}

/* More octets into `in`. False: none are there now, or it is over. */
static bool
read_more(struct link *l)
{
	unsigned char bytes[PIECE];
	ssize_t got;

	if (l->fd < 0 || l->over)
		return false;
	text_drop(&l->in, l->heard);
	l->heard = 0;
	got = recv(l->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (got > 0) {
		text_add(&l->in, span_of(bytes, (size_t)got));
		return true;
	}
	if (got == 0 || (errno != EAGAIN && errno != EINTR))
		lost(l);
	return false;
}

/* The first line is "* PREAUTH" from a process that serves us. False: it is not here yet, or is another. */
static bool
hear_greeting(struct link *l)
{
	struct span in, line;

	while (!l->over) {
		in = span_part(text_span(&l->in), l->heard, SIZE_MAX);
		if (!span_take_until(&in, '\n', &line)) {
			if (in.len > SHORT_LINE)
				over(l);
			else if (!read_more(l))
				return false;
			continue;
		}
		if (!span_starts_nocase(line, SPAN("* PREAUTH "))) {
			over(l);
			return false;
		}
		l->heard += line.len + 1;
		l->greeted = true;
		(void)event_del(l->timer);
		flush(l);
		session_take_turn(l->session);   /* there may be room for more of a literal */
		return true;
	}
	return false;
}

/* Does a line end by announcing a literal? */
static bool
announces(struct span line, uint64_t *size)
{
	struct span rest;
	size_t open;

	line.len -= line.len > 0 && line.at[line.len - 1] == '\n';
	line.len -= line.len > 0 && line.at[line.len - 1] == '\r';
	if (line.len == 0 || line.at[line.len - 1] != '}')
		return false;
	open = span_rindex(line, '{');
	if (open == line.len)
		return false;
	rest = span_part(line, open + 1, SIZE_MAX);
	return span_take_number(&rest, INT64_MAX, size) && span_equal(rest, SPAN("}"));
}

static bool
is_tagged(struct span line, struct span tag)
{
	return line.len > tag.len && span_equal(span_part(line, 0, tag.len), tag) &&
		line.at[tag.len] == ' ';
}

/* A line, or the rest of one, with its end. */
static enum link_piece
hand_out_line(struct link *l, struct span tag, struct span line, struct span *piece)
{
	bool begun = l->within;

	l->heard += line.len;
	*piece = line;
	if (!begun && is_tagged(line, tag)) {
		line.len--;
		line.len -= line.at[line.len - 1] == '\r';
		*piece = span_part(line, tag.len + 1, SIZE_MAX);
		return LINK_TAGGED;
	}
	if (!begun && line.at[0] == '+')
		return LINK_PLUS;
	if (!begun && span_starts_nocase(line, SPAN("* BYE "))) {
		l->heard = l->in.len;      /* nothing comes behind it */
		over(l);
		return LINK_OVER;
	}
	l->within = announces(line, &l->literal);
	return begun || l->within ? LINK_PASS : LINK_LINE;
}

enum link_piece
link_hear(struct link *l, struct span tag, struct span *piece)
{
	if (!l->greeted && !hear_greeting(l))
		return l->over ? LINK_OVER : LINK_NOTHING;
	for (;;) {
		struct span in = span_part(text_span(&l->in), l->heard, SIZE_MAX);
		size_t end = span_index(in, '\n');

		if (in.len > 0 && l->literal > 0) {
			*piece = span_part(in, 0, l->literal < in.len ? (size_t)l->literal : in.len);
			l->literal -= piece->len;
			l->heard += piece->len;
			return LINK_PASS;
		}
		if (end < in.len)
			return hand_out_line(l, tag, span_part(in, 0, end + 1), piece);
		if (in.len > SHORT_LINE && (l->within || !is_tagged(in, tag))) {
			/* All but what may be an announcement. */
			*piece = span_part(in, 0, in.len - LONGEST_ANNOUNCEMENT);
			l->heard += piece->len;
			l->within = true;
			return LINK_PASS;
		}
		if (in.len > MOST_LINK_LINE) {
			log_notice(l->session->id, "answer-too-long", KEY_STR("owner", l->owner));
			over(l);
		}
		if (!read_more(l))
			return l->over ? LINK_OVER : LINK_NOTHING;
	}
}
