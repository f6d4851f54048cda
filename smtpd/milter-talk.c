/*
 * milter-talk - see milter-talk.h.
 *
 * step() does what can be done: it sends what waits, takes an answer that is there, says the next thing. It returns
 * when it must wait: for the socket, for a recipient or the message, or for ever, when the talk is over.
 */
#include "smtpd/milter-talk.h"
#include "smtpd/milter-talk-inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/milter-address.h"

#define OUT_MOST (4 * 1024 * 1024)
#define IN_PIECE 16384
#define ENVELOPE_CHANGES_MOST (1024 * 1024)  /* octets */
#define PROGRESS_FACTOR 4            /* "still working" prolongs the time, up to so many times */
#define STEPS_A_TURN 64              /* things said and heard before others have their turn */

uint64_t
talk_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- the end of it --- */

/* Goodbye, if it still listens; what it says to that is of no interest. */
static void
hang_up(struct talk *t)
{
	if (t->fd < 0)
		return;
	event_del(&t->readable);
	event_del(&t->writable);
	event_del(&t->clock);
	if (t->out.len == 0 && t->stage > AT_CONNECTING)
		(void)!send(t->fd, "\0\0\0\1Q", 5, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(t->fd);
	t->fd = -1;
}

void
talk_end(struct talk *t, enum milter_verdict verdict)
{
	if (t->over)
		return;
	t->over = true;
	t->o.verdict = verdict;
	hang_up(t);
}

void
talk_fail(struct talk *t, const char *fault)
{
	if (t->over)
		return;
	t->o.fault = fault;
	t->o.unreachable = t->o.unreachable || (t->fd >= 0 && t->stage == AT_CONNECTING);
	talk_end(t, MILTER_FAILS);
}

/* --- time --- */

void
talk_set_clock(struct talk *t, unsigned int seconds)
{
	struct timeval wait = { .tv_sec = (time_t)seconds };

	event_add(&t->clock, &wait);
}

unsigned int
talk_patience(const struct talk *t)
{
	return t->stage == AT_END ? t->times.content : t->times.command;
}

void
talk_prolong(struct talk *t)
{
	if (talk_now() - t->since > (uint64_t)talk_patience(t) * 1000 * PROGRESS_FACTOR)
		talk_fail(t, "it is in progress for too long");
	else
		talk_set_clock(t, talk_patience(t));
}

/* --- the socket --- */

/* False: it must be waited for, or all is over. */
static bool
send_out(struct talk *t)
{
	while (t->out.len > 0) {
		ssize_t n = send(t->fd, t->out.at, t->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			text_drop(&t->out, (size_t)n);
		} else if (errno == EAGAIN) {
			event_add(&t->writable, NULL);
			return false;
		} else if (errno != EINTR) {
			talk_fail(t, "the connection broke");
			return false;
		}
	}
	return true;
}

/* One packet, whose data is good until the next call. False: none yet, or all is over. */
static bool
take_packet(struct talk *t, struct milter_reply *r)
{
	static unsigned char piece[IN_PIECE];
	bool broken = false;

	text_drop(&t->in, t->used);
	t->used = 0;
	for (;;) {
		struct span in = text_span(&t->in);
		ssize_t n;

		if (milter_packet_take(&in, r, &broken)) {
			t->used = t->in.len - in.len;
			return true;
		}
		if (broken) {
			talk_fail(t, "it sent a packet of an impossible length");
			return false;
		}
		n = recv(t->fd, piece, sizeof(piece), MSG_DONTWAIT);
		if (n > 0) {
			text_add(&t->in, span_of(piece, (size_t)n));
		} else if (n < 0 && errno == EAGAIN) {
			event_add(&t->readable, NULL);
			return false;
		} else if (n == 0 || errno != EINTR) {
			talk_fail(t, n == 0 ? "it closed the connection" : "the connection broke");
			return false;
		}
	}
}

static void
step(struct talk *t)
{
	struct milter_reply r;
	unsigned int steps = 0;

	while (!t->over) {
		if (!send_out(t))
			return;
		/* A filter that answers at once, or need not answer at all, keeps nobody else waiting. */
		if (steps++ == STEPS_A_TURN) {
			event_add(&t->writable, NULL);
			return;
		}
		if (t->awaits) {
			if (!take_packet(t, &r))
				return;
			talk_hear(t, &r);
		} else if (!talk_say_next(t)) {
			event_del(&t->clock);
			return;
		}
	}
}

static void
on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct talk *t = arg;
	int error = 0;
	socklen_t size = sizeof(error);

	(void)what;
	if (t->stage == AT_CONNECTING && (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error != 0))
		talk_fail(t, strerror(error));
	step(t);
	t->progress(t->me);
}

static void
on_clock(evutil_socket_t fd, short what, void *arg)
{
	struct talk *t = arg;

	(void)fd;
	(void)what;
	talk_fail(t, t->stage == AT_CONNECTING ? "the connection takes too long" : "it does not answer in time");
	t->progress(t->me);
}

/* --- the owner's side --- */

/* A socket that is connected, or will be; -1 with errno. */
static int
connect_to(struct span filter)
{
	struct sockaddr_storage to;
	socklen_t len;
	int fd, error;

	if (!milter_address_parse(filter, &to, &len)) {
		errno = EINVAL;
		return -1;
	}
	fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&to, len) == 0 || errno == EINPROGRESS)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

struct talk *
talk_new(struct event_base *base, struct span address, const struct milter_facts *facts,
	struct milter_times times, void (*progress)(void *me), void *me)
{
	struct talk *t = must_alloc(sizeof(*t));

	t->facts = facts;
	t->times = times;
	t->progress = progress;
	t->me = me;
	t->body_begins = true;
	t->in = TEXT_UP_TO(MILTER_PACKET_MOST + 65536);
	t->out = TEXT_UP_TO(OUT_MOST);
	t->macros = TEXT_UP_TO(MILTER_PACKET_MOST);
	t->o.envelope = TEXT_UP_TO(ENVELOPE_CHANGES_MOST);
	t->fd = -1;
	if (address.len == 0) {
		talk_fail(t, "it was not reachable a moment ago");
		return t;
	}
	t->fd = connect_to(address);
	if (t->fd < 0) {
		t->o.unreachable = true;
		talk_fail(t, strerror(errno));
		return t;
	}
	event_assign(&t->readable, base, t->fd, EV_READ, on_socket, t);
	event_assign(&t->writable, base, t->fd, EV_WRITE, on_socket, t);
	event_assign(&t->clock, base, -1, 0, on_clock, t);
	event_add(&t->writable, NULL);
	talk_set_clock(t, times.connect);
	return t;
}

void
talk_free(struct talk **talk)
{
	struct talk *t = *talk;

	*talk = NULL;
	if (!t)
		return;
	hang_up(t);
	text_clear(&t->in);
	text_clear(&t->out);
	text_clear(&t->macros);
	text_clear(&t->o.envelope);
	free(t);
}

/* Something new is there to say; while an answer is awaited, the socket leads on. */
static void
resume(struct talk *t)
{
	if (t->stage > AT_NEGOTIATION && !t->awaits && !t->over)
		step(t);
}

size_t
talk_recipients(struct talk *t, size_t known)
{
	t->known = known;
	resume(t);
	return t->judged;
}

void
talk_message(struct talk *t, struct milter_edit *e)
{
	if (t->edit || t->over)
		return;
	t->edit = e;
	t->field = e->hidden;
	resume(t);
}

const struct milter_outcome *
talk_outcome(const struct talk *t)
{
	return t->over ? &t->o : NULL;
}

void
talk_give_up(struct talk *t, const char *fault)
{
	talk_fail(t, fault);
}
