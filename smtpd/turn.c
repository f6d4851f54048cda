/*
 * turn - see turn.h.
 */
#include "smtpd/turn.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "common/kernel-tls.h"
#include "common/secret.h"
#include "smtpd/auth.h"
#include "smtpd/bdat.h"
#include "smtpd/checks.h"
#include "smtpd/receive.h"
#include "smtpd/reply.h"
#include "smtpd/session.h"
#include "smtpd/starttls.h"
#include "smtpd/transaction.h"
#include "smtpd/verbs.h"

static const char why_gone[] = "the client closed the connection";

#define TURNS_AFTER_BACKLOG 256      /* sessions that go on at a time when queue has read */

/* Throws away, as it comes, a line that is too long. True when its end has come. */
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

/* The line is too long to tell how many octets follow that are no commands. */
static void
refuse_uncounted(struct session *s)
{
	s->verb = "BDAT";
	refuse(s, 500, "5.5.2", "the line is too long");
	session_close(s, 421, "4.7.0", "a chunk without a size");
}

/* Looks at the line at the front, without taking it. False when there is none yet, or it was no
 * line (answered). */
static bool
see_line(struct session *s, struct span *in, struct span *line)
{
	size_t lf = span_index(*in, '\n'), most;
	bool whole = lf < in->len;

	if (whole && (lf == 0 || in->at[lf - 1] != '\r')) {
		/* One server's two lines are another's one: what follows may not be for us. */
		refuse(s, 500, "5.5.2", "a line ends with CR LF; this one has a bare line feed");
		session_close(s, 421, "4.7.0", "bare line feed");
		return false;
	}
	if (s->commands == 0 && in->at[0] == 0x16) {
		refuse(s, 500, "5.5.2", "TLS without STARTTLS");
		session_close(s, 421, "4.7.0", "TLS without STARTTLS");
		return false;
	}
	most = s->stage == STAGE_COMMANDS
		       ? verb_line_most(span_part(*in, 0, whole ? lf - 1 : in->len))
		       : AUTH_LINE_MOST;
	if (whole && lf + 1 <= most) {
		*line = span_part(*in, 0, lf - 1);
		return true;
	}
	if (!whole && in->len <= most)
		return false;
	if (s->stage == STAGE_COMMANDS && verb_counts_octets(*in))
		refuse_uncounted(s);
	else
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
	return !replies_waiting(s) || (verb_joins_group(v) && !replies_full(s));
}

static bool
hold_back(struct session *s)
{
	if (queue_backlog(s->server) < BACKLOG_OF_QUEUE)
		return false;
	s->held_back = true;
	TAILQ_INSERT_TAIL(&s->server->held_back, s, in_held_back);
	return true;
}

void
turns_after_backlog(struct server *server)
{
	struct session *s;

	if (queue_backlog(server) > BACKLOG_OF_QUEUE / 2)
		return;
	/* Who waits longest first: whoever has to wait again stands behind all others. */
	for (unsigned int i = 0; i < TURNS_AFTER_BACKLOG && (s = TAILQ_FIRST(&server->held_back)); i++) {
		turn_release(s);
		session_wake(s);
	}
}

void
turn_release(struct session *s)
{
	if (s->held_back)
		TAILQ_REMOVE(&s->server->held_back, s, in_held_back);
	s->held_back = false;
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
	if (s->stage == STAGE_COMMANDS && (!is_its_turn(s, v) || (verb_waits_for_checks(v) && checks_wait(s)))) {
		if (line.len + 2 == in->len && span_equal_nocase(line, SPAN("DATA")) &&
			queue_backlog(s->server) < BACKLOG_OF_QUEUE)
			transaction_ask_file_early(s);
		return false;
	}
	if (s->stage == STAGE_COMMANDS && verb_asks_queue(v) && hold_back(s))
		return false;
	*in = span_part(*in, line.len + 2, in->len);
	s->ahead = in->len;
	s->progressed = true;
	if (time(NULL) - s->since > WITHOUT_MESSAGE_SECONDS)
		session_close(s, 421, "4.4.2", "no message for too long");
	else if (s->stage == STAGE_COMMANDS)
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
		case STAGE_CHUNK:
			bdat_feed(s, in);
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
	if (s->ended)
		return false;
	switch (s->stage) {
	case STAGE_COMMANDS:
		return s->output.len <= OUTPUT_PAUSE && !replies_full(s) && !s->held_back && !(s->mail && checks_wait(s));
	case STAGE_PAUSE:
	case STAGE_AUTH_CHALLENGED:
	case STAGE_AUTH_LAST:
	case STAGE_DATA:
	case STAGE_CHUNK:
		return true;
	default:
		return false;
	}
}

/* Adds what has arrived to the `had` octets in server->incoming. Returns how many there are. */
static size_t
take_input(struct session *s, size_t had)
{
	bool message = s->stage == STAGE_DATA || s->stage == STAGE_CHUNK;
	size_t most = message ? READ_MOST : COMMAND_READ_MOST;
	ssize_t got;

	if (!wants_input(s) || had >= most)
		return had;
	got = stream_recv(s->fd, s->server->incoming + had, most - had, MSG_DONTWAIT);
	if (got > 0)
		return had + (size_t)got;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return had;
	/* The end of the plaintext is the end of what is heard, whoever caused it: nothing goes on in clear. */
	s->ended = got == 0 && !stream_is_deserted(s->fd);
	if (s->ended)
		return had;
	session_drop(s, got == 0 ? why_gone : strerror(errno));
	return 0;
}

/* Is nothing left to do for a client that says no more? */
static bool
is_done(const struct session *s)
{
	switch (s->stage) {
	case STAGE_COMMANDS:
		return s->output.len == 0 && !replies_waiting(s) && !s->held_back &&
			!(s->ahead > 0 && s->mail && checks_wait(s));
	case STAGE_PAUSE:
	case STAGE_AUTH_CHALLENGED:
	case STAGE_AUTH_LAST:
	case STAGE_DATA:
	case STAGE_CHUNK:
		return true;
	default:                 /* another owes it something */
		return false;
	}
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

/* RFC 2920 3.2: the answers to a group leave together. Its client has sent it all, and waits for the last of them. */
static bool
output_waits(const struct session *s)
{
	return s->output.len <= OUTPUT_PAUSE &&
		((s->stage == STAGE_COMMANDS && replies_waiting(s)) || s->stage == STAGE_FILE_ASKED);
}

/* Sends of it what the client takes. False with errno when it can take nothing any more. */
static bool
say(struct session *s)
{
	ssize_t sent = send(s->fd, s->output.at, s->output.len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent < 0)
		return errno == EAGAIN || errno == EINTR;
	text_drop(&s->output, (size_t)sent);
	if (s->output.len == 0)
		text_clear(&s->output);
	return true;
}

static void
send_output(struct session *s)
{
	if (s->output.len > 0 && s->fd >= 0 && !output_waits(s) && !say(s))
		session_drop(s, strerror(errno));
}

void
turn_say(struct session *s)
{
	/* What goes wrong here will do so again in the turn, and is seen to there. */
	if (s->output.len > 0 && s->fd >= 0 && !s->writing && !output_waits(s))
		(void)say(s);
}

/* Waits for what the session waits for. A read event that is not wanted is taken out only when it
 * fires: a client that waits for its answers costs no system call. */
static void
watch(struct session *s, bool readable)
{
	bool reads = wants_input(s), writes = s->output.len > 0 && !output_waits(s);

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

void
session_turn(struct session *s, bool readable)
{
	struct server *server = s->server;
	size_t had = s->input.len, have = had;
	bool secret = s->stage == STAGE_AUTH_CHALLENGED, held;
	/* The file came, for a message that probably waits in the socket by now. */
	bool invited = s->stage == STAGE_DATA && s->timed == STAGE_INVITED;

	turn_release(s);
	if (had > 0)
		memcpy(server->incoming, s->input.at, had);
	if ((readable || invited) && s->fd >= 0)
		have = take_input(s, had);
	if (have > 0 && s->stage != STAGE_CLOSING) {
		struct span in = span_of(server->incoming, have);

		work(s, &in);
		keep_input(s, in, had);
		if (secret || s->stage == STAGE_AUTH_ASKED)
			secret_wipe(server->incoming, have);
	}
	held = s->ahead > 0 && s->stage == STAGE_COMMANDS && s->output.len > OUTPUT_PAUSE;
	if (server->daemon.leaving && s->stage == STAGE_COMMANDS && !replies_waiting(s))
		session_leave(s);
	send_output(s);
	/* Commands that waited only for the client to read. */
	if (held && s->output.len <= OUTPUT_PAUSE)
		session_wake(s);
	/* It takes its transaction along. */
	else if (s->ended && is_done(s))
		session_drop(s, why_gone);
	if (s->stage == STAGE_TLS_OFFERED && s->output.len == 0)
		starttls_hand_over(s);
	if (s->stage == STAGE_CLOSING && (s->output.len == 0 || s->fd < 0)) {
		session_free(s);
		return;
	}
	watch(s, readable);
	if (s->progressed || s->stage != s->timed || replies_waiting(s) != s->timed_queue ||
	    s->progress >= DATA_PROGRESS_BYTES)
		session_set_clock(s);
}
