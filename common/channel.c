/* channel - see channel.h. */
#include "channel.h"

#include "log.h"
#include "secret.h"
#include "wire.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Packets handled in one turn of the event loop, so that one peer does not keep others waiting. */
#define PACKETS_A_TURN 64
/* More than fit into the socket of an honest peer (channel_new), so that a drain hears all that had
 * arrived; a peer that goes on talking meanwhile does not hold us for ever. */
#define PACKETS_A_DRAIN 1024
/* Who rests costs a timer, which is worth it when much is said: so often in a span of so long. */
#define REST_WHEN_ASKED 8
#define REST_SPAN_MILLISECONDS 20
/* A room for a packet that had more in it is given back, not kept. */
#define SPARE_TOUCHED 4096
#define HEADER_SIZE (sizeof(uint16_t) + sizeof(uint64_t))

struct packet {
	STAILQ_ENTRY(packet) next;
	size_t len;
	int fd[MOST_DESCRIPTORS];
	int fds;
	unsigned char at[];
};

struct channel {
	int fd;
	enum program self, peer;
	unsigned int peer_index;
	const struct hearing *hearing;
	void *me;
	void *tag;
	struct event_base *base;
	struct event *readable, *writable;
	LIST_ENTRY(channel) resting;
	bool rests;          /* in the list of those, and not watched */
	STAILQ_HEAD(, packet) waiting;
	size_t waiting_count;
	unsigned int busy;   /* handlers of ours on the stack: free later */
	bool holds;          /* what is said waits for the end of the turn */
	bool dead;           /* nothing more may be heard or said */
	bool told_gone;
	bool refused;        /* we ended the peer, not it itself */
	bool times;	     /* channel_ask_times */
	struct timespec said_at;
};

int
channel_pair(int ends[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

static void
close_all(const int *fd, int count)
{
	for (int i = 0; i < count; i++)
		if (fd[i] >= 0)
			close(fd[i]);
}

static void
packet_free(struct packet *p)
{
	close_all(p->fd, p->fds);
	secret_wipe(p->at, p->len);
	free(p);
}

/* Those that rest, and the one moment at which all of them are heard again. */
static LIST_HEAD(rest, channel) resting = LIST_HEAD_INITIALIZER(resting);
static struct event *rest_end;
/* When it was asked for, the latest REST_WHEN_ASKED times. */
static int64_t rest_asked[REST_WHEN_ASKED];
static unsigned int rest_turn;

static int64_t
now_milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
rest_leave(struct channel *c)
{
	if (!c->rests)
		return;
	c->rests = false;
	LIST_REMOVE(c, resting);
	if (!LIST_EMPTY(&resting) || rest_end == NULL)
		return;
	event_free(rest_end);
	rest_end = NULL;
}

static void
channel_close(struct channel *c)
{
	struct packet *p;

	rest_leave(c);
	if (c->readable != NULL)
		event_free(c->readable);
	if (c->writable != NULL)
		event_free(c->writable);
	c->readable = c->writable = NULL;
	while ((p = STAILQ_FIRST(&c->waiting)) != NULL) {
		STAILQ_REMOVE_HEAD(&c->waiting, next);
		packet_free(p);
	}
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->dead = true;
}

static void
channel_release(struct channel *c)
{
	if (c->dead && c->busy == 0)
		free(c);
}

/* The peer is no more, or must not be: tells the owner once. The caller holds c->busy. */
static void
channel_end(struct channel *c)
{
	if (c->dead)
		return;
	channel_close(c);
	if (!c->told_gone) {
		c->told_gone = true;
		if (c->hearing->gone != NULL)
			c->hearing->gone(c->me, c);
	}
}

static void
channel_refuse(struct channel *c, const char *reason, unsigned int number, uint64_t id)
{
	const struct message_row *row = message_row(number);

	log_error(0, "peer-refused", KEY_STR("peer", program_name(c->peer)),
		KEY_NUM("index", c->peer_index), KEY_STR("reason", reason),
		KEY_STR("message", row != NULL ? row->name : "unknown"), KEY_NUM("number", number),
		KEY_ID("id", id));
	c->refused = true;
	channel_end(c);
}

/* Calls the handler of a message that passed every check. */
static void
handle(struct channel *c, const struct message_row *row, uint64_t id, struct span fields,
	const int *fd, int fds)
{
	switch (row->number) {
#define M(name, no, by, to, hours, count) \
	case MSG_##name: { \
		struct msg_##name m; \
\
		memset(&m, 0, sizeof(m)); \
		if (!message_decode(MSG_##name, fields, &m)) { \
			close_all(fd, fds); \
			channel_refuse(c, "malformed", no, id); \
		} else if (c->hearing->on_##name == NULL) { \
			close_all(fd, fds); \
			channel_refuse(c, "no handler", no, id); \
		} else { \
			c->hearing->on_##name(c->me, c, id, &m, fd); \
		} \
		break; \
	}
		MESSAGES(M)
#undef M
	}
}

/* All checks that stand before a handler, in one place. Descriptors are closed here or handed on. */
static void
dispatch(struct channel *c, struct span packet, const int *fd, int fds)
{
	uint16_t number = 0;
	uint64_t id = 0;
	const struct message_row *row;
	uint32_t hour;
	const char *reason = NULL;

	if (!wire_take_u16(&packet, &number, sizeof(number)) ||
	    !wire_take_u64(&packet, &id, sizeof(id)) || (row = message_row(number)) == NULL) {
		reason = "unknown message";
	} else if ((row->by & 1u << c->peer) == 0 || (row->to & 1u << c->self) == 0) {
		reason = "not its to say";
	} else if (row->fds != fds) {
		reason = "wrong number of descriptors";
	} else {
		hour = c->hearing->hour != NULL ?
			c->hearing->hour(c->me, c, row->number, id) : HOUR_SERVING;
		if ((row->hours & hour) != 0) {
			handle(c, row, id, packet, fd, fds);
			return;
		}
		if (hour == HOUR_NONE && (row->hours & OR_GONE) != 0) {
			close_all(fd, fds);
			return;
		}
		reason = "not at this hour";
	}
	close_all(fd, fds);
	channel_refuse(c, reason, number, id);
}

/* Takes the descriptors out of a control message; more than allowed are closed. -1 when there were
 * too many or the kernel cut some off. */
static int
take_descriptors(struct msghdr *message, int fd[MOST_DESCRIPTORS])
{
	int fds = 0;
	bool over = (message->msg_flags & MSG_CTRUNC) != 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < count; i++) {
			int one;

			memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (fds < MOST_DESCRIPTORS) {
				fd[fds++] = one;
			} else {
				close(one);
				over = true;
			}
		}
	}
	if (!over)
		return fds;
	close_all(fd, fds);
	return -1;
}

/* When the packet was sent, by a control message; else it is now. */
static void
note_time(struct channel *c, struct msghdr *message)
{
	for (struct cmsghdr *m = CMSG_FIRSTHDR(message); m != NULL; m = CMSG_NXTHDR(message, m))
		if (m->cmsg_level == SOL_SOCKET && m->cmsg_type == SCM_TIMESTAMPNS &&
			m->cmsg_len == CMSG_LEN(sizeof(c->said_at))) {
			memcpy(&c->said_at, CMSG_DATA(m), sizeof(c->said_at));
			return;
		}
	clock_gettime(CLOCK_REALTIME, &c->said_at);
}

/* Packets are received into, and made in, memory from the heap, of which only what they fill is
 * touched. On the stack each of its pages would be (-fstack-clash-protection), and stay with every
 * process. One is kept for the next, as long as only its first page was touched: to free so large a
 * piece makes the C library tidy its heap each time, or even give it back to the system. */
static unsigned char *spare_room;

static unsigned char *
room_new(void)
{
	unsigned char *room = spare_room;

	spare_room = NULL;
	return room != NULL ? room : must_realloc(NULL, MOST_PACKET);
}

/* `used`: so much of it was written to. */
static void
room_end(unsigned char *room, size_t used)
{
	if (spare_room == NULL && used <= SPARE_TOUCHED)
		spare_room = room;
	else
		free(room);
}

/* *used: what it wrote into `packet`. */
static int
receive_into(struct channel *c, unsigned char *packet, size_t *used)
{
	char control[CMSG_SPACE(sizeof(int) * 16) + CMSG_SPACE(sizeof(struct timespec))];
	struct iovec part = { packet, MOST_PACKET };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = sizeof(control) };
	int fd[MOST_DESCRIPTORS] = { -1, -1 }, fds;
	ssize_t len;

	do
		len = recvmsg(c->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (len < 0 && errno == EINTR);
	if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	*used = len > 0 ? (size_t)len : 0;
	if (len <= 0) {
		/* The end; or an empty packet, which may have brought descriptors. */
		if (len == 0 && (fds = take_descriptors(&message, fd)) > 0)
			close_all(fd, fds);
		channel_end(c);
		return 0;
	}
	if ((fds = take_descriptors(&message, fd)) < 0) {
		channel_refuse(c, "too many descriptors", 0, 0);
		return 0;
	}
	if ((message.msg_flags & MSG_TRUNC) != 0) {
		close_all(fd, fds);
		channel_refuse(c, "packet too long", 0, 0);
		return 0;
	}
	if (c->times)
		note_time(c, &message);
	dispatch(c, span_of(packet, (size_t)len), fd, fds);
	if ((size_t)len >= sizeof(uint16_t)) {
		uint16_t number;
		const struct message_row *row;

		memcpy(&number, packet, sizeof(number));
		if ((row = message_row(number)) == NULL || row->has_secret)
			secret_wipe(packet, (size_t)len);
	}
	return 1;
}

/* Receives and handles one packet: 1 done, 0 nothing there. Ends the peer where it must. */
static int
receive_one(struct channel *c)
{
	unsigned char *packet = room_new();
	size_t used = 0;
	int result = receive_into(c, packet, &used);

	room_end(packet, used);
	return result;
}

static void end_hold(struct channel *c);

static void
receive_some(struct channel *c, int most)
{
	c->busy++;
	c->holds = c->hearing->answers_together;
	while (!c->dead && most-- > 0 && receive_one(c) > 0)
		;
	if (c->holds)
		end_hold(c);
	c->busy--;
	channel_release(c);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	receive_some(arg, PACKETS_A_TURN);
}

/* Who is let rest anew by what it says now is not even watched in between. */
static void
rest_is_over(struct channel *c)
{
	LIST_REMOVE(c, resting);
	c->rests = false;
	c->busy++;
	receive_some(c, PACKETS_A_TURN);
	if (!c->dead && !c->rests)
		event_add(c->readable, NULL);
	c->busy--;
	channel_release(c);
}

static void
on_rest_end(evutil_socket_t fd, short what, void *arg)
{
	struct rest over = LIST_HEAD_INITIALIZER(over);
	struct channel *c;

	(void)fd;
	(void)what;
	(void)arg;
	event_free(rest_end);
	rest_end = NULL;
	while ((c = LIST_FIRST(&resting)) != NULL) {
		LIST_REMOVE(c, resting);
		LIST_INSERT_HEAD(&over, c, resting);
	}
	while ((c = LIST_FIRST(&over)) != NULL)
		rest_is_over(c);
}

/* Is it asked for so often that the rests of several fall together? */
static bool
rest_is_worth_it(void)
{
	int64_t now = now_milliseconds(), first = rest_asked[rest_turn];

	rest_asked[rest_turn] = now;
	rest_turn = (rest_turn + 1) % REST_WHEN_ASKED;
	return now - first <= REST_SPAN_MILLISECONDS;
}

void
channel_rest(struct channel *c)
{
	const struct timeval pause = { .tv_usec = REST_MILLISECONDS * 1000 };

	if (c == NULL || c->dead || c->rests || c->readable == NULL || !rest_is_worth_it())
		return;
	if (rest_end == NULL) {
		rest_end = evtimer_new(c->base, on_rest_end, NULL);
		if (rest_end == NULL || event_add(rest_end, &pause) < 0)
			abort();
	}
	event_del(c->readable);
	c->rests = true;
	LIST_INSERT_HEAD(&resting, c, resting);
}

/* 1 sent, 0 the socket is full, -1 the peer is gone. */
static int
send_now(struct channel *c, const unsigned char *at, size_t len, const int *fd, int fds)
{
	char control[CMSG_SPACE(sizeof(int) * MOST_DESCRIPTORS)];
	struct iovec part = { (void *)(uintptr_t)at, len };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t sent;

	if (fds > 0) {
		struct cmsghdr *head;

		memset(control, 0, sizeof(control));
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)fds);
		head = CMSG_FIRSTHDR(&message);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)fds);
		memcpy(CMSG_DATA(head), fd, sizeof(int) * (size_t)fds);
	}
	do
		sent = sendmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return 1;
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? 0 : -1;
}

static bool
send_waiting(struct channel *c)
{
	struct packet *p;

	while ((p = STAILQ_FIRST(&c->waiting)) != NULL) {
		int sent = send_now(c, p->at, p->len, p->fd, p->fds);

		if (sent == 0)
			return false;
		STAILQ_REMOVE_HEAD(&c->waiting, next);
		c->waiting_count--;
		packet_free(p);
	}
	return true;
}

static void
end_hold(struct channel *c)
{
	c->holds = false;
	if (!c->dead && !STAILQ_EMPTY(&c->waiting) && !send_waiting(c) && c->writable != NULL)
		event_add(c->writable, NULL);
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct channel *c = arg;

	(void)fd;
	(void)what;
	if (send_waiting(c))
		event_del(c->writable);
}

static bool
keep_waiting(struct channel *c, const unsigned char *at, size_t len, const int *fd, int fds)
{
	struct packet *p;

	if (c->waiting_count >= MOST_WAITING_PACKETS) {
		log_error(0, "peer-does-not-read", KEY_STR("peer", program_name(c->peer)),
			KEY_NUM("index", c->peer_index));
		c->refused = true;
		shutdown(c->fd, SHUT_RDWR); /* the read side ends the peer, not under our caller */
		return false;
	}
	p = must_alloc(sizeof(*p) + len);
	memcpy(p->at, at, len);
	p->len = len;
	p->fds = fds;
	for (int i = 0; i < fds; i++)
		p->fd[i] = fd[i];
	STAILQ_INSERT_TAIL(&c->waiting, p, next);
	c->waiting_count++;
	if (c->writable != NULL && !c->holds)
		event_add(c->writable, NULL);
	return true;
}

bool
channel_send(struct channel *c, enum message m, uint64_t id, const void *fields, const int *fd)
{
	unsigned char *packet = room_new();
	const struct message_row *row = message_row(m);
	int fds = row->fds;
	size_t len = 0;
	int sent = -1;
	bool kept = false;

	if (c == NULL || c->dead)
		goto out;
	if ((row->by & 1u << c->self) == 0 || (row->to & 1u << c->peer) == 0 ||
	    (len = message_encode(m, id, fields, packet)) == 0) {
		log_error(0, "message-not-sent", KEY_STR("message", row->name),
			KEY_STR("peer", program_name(c->peer)), KEY_ID("id", id),
			KEY_STR("reason", "a field is over its ceiling, or it is not ours to say"));
		goto out;
	}
	sent = STAILQ_EMPTY(&c->waiting) && !c->holds ? send_now(c, packet, len, fd, fds) : 0;
	if (sent == 0)
		kept = keep_waiting(c, packet, len, fd, fds);
	if (row->has_secret)
		secret_wipe(packet, len);
out:
	if (fd != NULL && !kept)
		close_all(fd, fds);
	room_end(packet, len);
	return sent > 0 || kept;
}

struct channel *
channel_new(struct event_base *base, int fd, enum program self, enum program peer,
	unsigned int peer_index, const struct hearing *hearing, void *me)
{
	struct channel *c = must_alloc(sizeof(*c));
	int buffer = 4 * MOST_PACKET, flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	/* A whole packet must always fit; the kernel may give less, never less than its default. */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	c->fd = fd;
	c->self = self;
	c->peer = peer;
	c->peer_index = peer_index;
	c->hearing = hearing;
	c->me = me;
	c->base = base;
	STAILQ_INIT(&c->waiting);
	if (base != NULL) {
		c->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
		c->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
		if (c->readable == NULL || c->writable == NULL || event_add(c->readable, NULL) < 0)
			abort();
	}
	return c;
}

void
channel_free(struct channel **channel)
{
	struct channel *c = *channel;

	*channel = NULL;
	if (c == NULL)
		return;
	c->told_gone = true;
	if (!c->dead)
		channel_close(c);
	channel_release(c);
}

enum program
channel_peer(const struct channel *c)
{
	return c->peer;
}

unsigned int
channel_peer_index(const struct channel *c)
{
	return c->peer_index;
}

bool
channel_refused(const struct channel *c)
{
	return c->refused;
}

size_t
channel_waiting(const struct channel *c)
{
	return c->waiting_count;
}

void
channel_set_tag(struct channel *c, void *tag)
{
	c->tag = tag;
}

void *
channel_tag(const struct channel *c)
{
	return c->tag;
}

void
channel_ask_times(struct channel *c)
{
	const int on = 1;

	/* Where the kernel does not know how, the time of arrival will do. */
	(void)setsockopt(c->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
	c->times = true;
}

struct timespec
channel_said_at(const struct channel *c)
{
	struct timespec now = c->said_at;

	if (!c->times)
		clock_gettime(CLOCK_REALTIME, &now);
	return now;
}

bool
channel_drain(struct channel *c)
{
	bool alive;

	c->busy++;
	for (int i = 0; i < PACKETS_A_DRAIN && !c->dead && receive_one(c) > 0; i++)
		;
	alive = !c->dead;
	c->busy--;
	channel_release(c);
	return alive;
}

/* Waits for the socket; false at the deadline. */
static bool
wait_socket(struct channel *c, bool read, int64_t deadline)
{
	int64_t left = deadline - now_milliseconds();
	struct pollfd p = { c->fd, (short)(read ? POLLIN : 0), 0 };

	if (!STAILQ_EMPTY(&c->waiting))
		p.events |= POLLOUT;
	if (left < 0)
		return false;
	return poll(&p, 1, left > 60000 ? 60000 : (int)left) >= 0 || errno == EINTR;
}

bool
channel_wait(struct channel *c, const bool *done, int milliseconds)
{
	int64_t deadline = now_milliseconds() + milliseconds;

	c->busy++;
	while (!c->dead && !*done) {
		send_waiting(c);
		if (receive_one(c) == 0 && !c->dead && !*done && !wait_socket(c, true, deadline))
			break;
	}
	c->busy--;
	channel_release(c);
	return *done;
}

void
channel_flush(struct channel *c, int milliseconds)
{
	int64_t deadline = now_milliseconds() + milliseconds;

	while (!c->dead && !send_waiting(c))
		if (!wait_socket(c, false, deadline))
			return;
}
