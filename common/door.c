/*
 * door - see door.h.
 */
#include "door.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "network.h"
#include "text.h"

struct listener {
	LIST_ENTRY(listener) in_all;
	struct door *door;
	enum service service;
	char *address;
	bool proxy;
	int fd;
	struct event *acceptable;
};

static bool
is_full(const struct door *door)
{
	return door->connections >= door->daemon->settings->connections;
}

static void
listeners_watch(struct door *door, bool on)
{
	struct listener *l;

	LIST_FOREACH(l, &door->listeners, in_all) {
		if (on)
			event_add(l->acceptable, NULL);
		else
			event_del(l->acceptable);
	}
}

/* EPOLLEXCLUSIVE, of which libevent knows nothing: for a connection the kernel wakes the first process that sleeps at
 * the listener and has said this, and everyone that has not. The entry in libevent's epoll instance is replaced behind
 * its back, and is the last of all then. Where that does not work all are woken. False: now it is not watched at all. */
static bool
listener_stands_last(struct listener *l)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLEXCLUSIVE, .data.fd = l->fd };
	int poll_fd = l->door->daemon->poll_fd;

	/* Not there: it is another descriptor, or the listener is not watched. */
	return epoll_ctl(poll_fd, EPOLL_CTL_DEL, l->fd, NULL) < 0 ||
		epoll_ctl(poll_fd, EPOLL_CTL_ADD, l->fd, &e) == 0;
}

static void
listener_wakes(struct listener *l, bool alone)
{
	event_del(l->acceptable);
	event_add(l->acceptable, NULL);
	if (!alone || listener_stands_last(l))
		return;
	event_del(l->acceptable);
	event_add(l->acceptable, NULL);
}

/* A process that is full must not be the only one that hears of a connection. */
static void
choose_who_wakes(struct door *door)
{
	bool alone = door->kind->brief && !is_full(door);
	struct listener *l;

	if (door->paused || alone == door->woken_alone)
		return;
	door->woken_alone = alone;
	LIST_FOREACH(l, &door->listeners, in_all)
		listener_wakes(l, alone);
}

static void
on_accept_again(evutil_socket_t fd, short what, void *arg)
{
	struct door *door = arg;

	(void)fd;
	(void)what;
	door->paused = false;
	listeners_watch(door, true);
	choose_who_wakes(door);
}

/* Leaves what comes to the others for a while. */
static void
accept_pause(struct door *door)
{
	struct timeval pause = { .tv_usec = ACCEPT_PAUSE_MILLISECONDS * 1000 };

	if (!door->accept_again)
		door->accept_again = evtimer_new(door->daemon->base, on_accept_again, door);
	if (!door->accept_again || door->paused)
		return;
	door->paused = true;
	door->woken_alone = false;
	listeners_watch(door, false);
	event_add(door->accept_again, &pause);
}

/* A last word for somebody who is not let in; where TLS comes first there is none. */
static void
turn_away(enum service service, int fd, const char *ip, const char *line, const char *why)
{
	log_notice(0, "turned-away", KEY_STR("ip", ip), KEY_STR("service", service_name(service)),
		KEY_STR("reason", why));
	if (!service_is_tls(service))
		(void)!send(fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
}

/* Behind the 64 bits of an IPv6 address, where those have zeros and IPv4 has ff ff. */
static void
key_of_uid(uint32_t uid, struct guest_key *key)
{
	memset(key, 0, sizeof(*key));
	key->at[8] = 'u';
	memcpy(key->at + 12, &uid, sizeof(uid));
}

static uint64_t
seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec;
}

bool
door_is_shared(const struct door *door, const char *ip)
{
	return shared_is(&door->shared, ip, seconds_now());
}

static uint64_t
most_of_address(const struct door *door, const char *ip)
{
	const struct settings *s = door->daemon->settings;

	return door_is_shared(door, ip) && s->connections / 2 > s->connections_per_address
		? s->connections / 2
		: s->connections_per_address;
}

bool
door_logged_in(struct door *door, struct guest **guest, const char *ip, struct span user)
{
	struct guest_key address, key;
	bool shared = door_is_shared(door, ip);

	if (!guest_key_of(ip, &address))
		return true; /* of this machine */
	guest_key_of_user(&address, user, &key);
	if (*guest &&
		!guest_move(&door->guests, guest, &key, door->daemon->settings->connections_per_user))
		return false;
	shared_note(&door->shared, ip, user, seconds_now());
	if (!shared && door_is_shared(door, ip))
		log_notice(0, "shared-address", KEY_STR("ip", ip),
			KEY_STR("reason", "several users log in from it: limits are for each user now"));
	return true;
}

bool
door_is_of(struct door *door, struct guest **guest, const char *ip)
{
	struct guest_key key;

	if (*guest && guest_key_of(ip, &key))
		return guest_move(&door->guests, guest, &key, most_of_address(door, ip));
	return true;
}

/* In, or turned away. `fd` is taken. */
static bool
let_in(struct door *door, const struct arrival *a, const struct guest_key *key, int fd)
{
	struct guest *guest =
		guest_enter(&door->guests, key, most_of_address(door, a->ip));

	if (!guest) {
		turn_away(a->service, fd, a->ip, door->kind->crowded,
			"too many connections from this address");
		return false;
	}
	door->connections++;
	choose_who_wakes(door);
	door->kind->welcome(door->daemon->me, a, fd, guest);
	return true;
}

/* --- PROXY protocol --- */

/* A connection whose header is not yet whole. It counts as a connection, but for nobody's address:
 * that is not known. */
struct newcomer {
	LIST_ENTRY(newcomer) in_all;
	struct door *door;
	struct arrival arrival;
	struct guest_key key;
	struct event *readable, *deadline;
	int fd;
	size_t len;
	unsigned char header[PROXY_HEADER_MOST];
};

/* Leaves its socket to the caller. */
static int
newcomer_free(struct newcomer *n)
{
	int fd = n->fd;

	LIST_REMOVE(n, in_all);
	event_free(n->readable);
	event_free(n->deadline);
	free(n);
	return fd;
}

static void
newcomer_refuse(struct newcomer *n, const char *why)
{
	struct door *door = n->door;
	struct guest *none = NULL;

	log_notice(0, "proxy-refused", KEY_STR("ip", n->arrival.ip),
		KEY_STR("service", service_name(n->arrival.service)), KEY_STR("reason", why));
	close(newcomer_free(n));
	door_left(door, &none);
}

/* The header is whole: from here on the connection is the client's. */
static void
newcomer_enter(struct newcomer *n, const struct proxy_facts *facts)
{
	struct arrival a = n->arrival;
	struct guest_key key = n->key;
	struct door *door = n->door;

	span_copy(span_str(n->arrival.ip), a.via, sizeof(a.via));
	span_copy(span_str(facts->tls), a.tls, sizeof(a.tls));
	if (!facts->own)
		guest_name((const struct sockaddr *)&facts->from, a.ip, &key);
	door->connections--; /* let_in counts it */
	let_in(door, &a, &key, newcomer_free(n));
}

/* How many octets of the header can be taken now: never one that lies behind it. 0: none. */
static ssize_t
newcomer_read(struct newcomer *n, size_t wants, bool peek)
{
	unsigned char *to = n->header + n->len;
	ssize_t got = recv(n->fd, to, wants, MSG_DONTWAIT | (peek ? MSG_PEEK : 0));
	const unsigned char *lf;

	if (got <= 0 || !peek)
		return got;
	lf = memchr(to, '\n', (size_t)got);
	return recv(n->fd, to, lf ? (size_t)(lf - to) + 1 : (size_t)got, MSG_DONTWAIT);
}

static void
on_newcomer(evutil_socket_t fd, short what, void *arg)
{
	struct newcomer *n = arg;
	struct proxy_facts facts;
	const char *why;
	size_t wants;
	bool peek;

	(void)fd;
	(void)what;
	while ((wants = proxy_header_wants(span_of(n->header, n->len), &peek)) > 0) {
		ssize_t got = newcomer_read(n, wants, peek);

		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0) {
			newcomer_refuse(n, got == 0 ? "closed before its PROXY header"
						    : strerror(errno));
			return;
		}
		n->len += (size_t)got;
	}
	if (proxy_header_parse(span_of(n->header, n->len), &facts, &why))
		newcomer_enter(n, &facts);
	else
		newcomer_refuse(n, why);
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	newcomer_refuse(arg, "no PROXY header in time");
}

/* Waits for the header. The time is one for all of it: no octet prolongs it. */
static void
newcomer_new(struct door *door, const struct arrival *a, const struct guest_key *key, int fd)
{
	static const struct timeval wait = { .tv_sec = PROXY_WAIT_SECONDS };
	struct newcomer *n;

	if (!networks_name(&door->daemon->settings->proxy_from, a->ip)) {
		turn_away(a->service, fd, a->ip, "", "not a proxy of proxy_from");
		return;
	}
	n = must_alloc(sizeof(*n));
	n->door = door;
	n->arrival = *a;
	n->key = *key;
	n->fd = fd;
	n->readable =
		event_new(door->daemon->base, fd, EV_READ | EV_PERSIST, on_newcomer, n);
	n->deadline = evtimer_new(door->daemon->base, on_deadline, n);
	LIST_INSERT_HEAD(&door->newcomers, n, in_all);
	door->connections++;
	choose_who_wakes(door);
	event_add(n->readable, NULL);
	event_add(n->deadline, &wait);
}

/* --- accepting --- */

/* Whose UNIX socket is it? Its owner counts as one client. */
static void
name_local(int fd, struct arrival *a, struct guest_key *key)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0)
		a->uid = who.uid;
	key_of_uid(a->uid, key);
}

static void
welcome(struct listener *l, int fd, const struct sockaddr *from)
{
	struct door *door = l->door;
	struct arrival a = { .service = l->service, .uid = NO_UID };
	struct guest_key key;

	guest_name(from, a.ip, &key);
	if (from->sa_family == AF_UNIX)
		name_local(fd, &a, &key);
	if (is_full(door))
		turn_away(l->service, fd, a.ip, door->kind->full, "too many connections");
	else if (l->proxy)
		newcomer_new(door, &a, &key, fd);
	else
		let_in(door, &a, &key, fd);
}

bool
door_let_in(struct door *door, const struct arrival *a, int fd)
{
	struct guest_key key;

	evutil_make_socket_nonblocking(fd);
	key_of_uid(a->uid, &key);
	if (!is_full(door))
		return let_in(door, a, &key, fd);
	turn_away(a->service, fd, a->ip, door->kind->full, "too many connections");
	return false;
}

static void
on_acceptable(evutil_socket_t listening, short what, void *arg)
{
	struct listener *l = arg;
	struct door *door = l->door;
	struct sockaddr_storage from;
	bool came = false;

	(void)what;
	for (int i = 0; i < ACCEPT_BURST; i++) {
		socklen_t len = sizeof(from);
		int fd;

		/* Full: first the others may take it; who still waits then is turned away. */
		if (is_full(door) && !door->refuses) {
			door->refuses = true;
			accept_pause(door);
			return;
		}
		door->refuses = door->refuses && is_full(door);
		memset(&from, 0, sizeof(from));
		fd = accept4(
			listening, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			came = true;
			welcome(l, fd, (const struct sockaddr *)&from);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			log_error(0, "cannot-accept", KEY_ERRNO);
			accept_pause(door);
		}
		if (errno != ECONNABORTED && errno != EINTR)
			break;
	}
	/* Others have their turn too: a process that an enemy owns hears those alone who came to it. */
	if (came && !run_goes_on(&door->run) && door->woken_alone)
		listener_wakes(l, true);
	/* The next burst of refusals only after the next pause. */
	door->refuses = false;
}

void
door_open(struct door *door, struct daemon *daemon, const struct door_kind *kind)
{
	door->kind = kind;
	door->daemon = daemon;
	LIST_INIT(&door->listeners);
	LIST_INIT(&door->newcomers);
}

/* Connections inherit them, without a call for each. */
static void
set_options(int listening)
{
	int on = 1, idle = KEEPALIVE_IDLE_SECONDS, step = KEEPALIVE_STEP_SECONDS,
	    tries = KEEPALIVE_TRIES;

	/* Answers are written whole: waiting for more of them only costs time. */
	setsockopt(listening, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(listening, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(listening, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(listening, IPPROTO_TCP, TCP_KEEPINTVL, &step, sizeof(step));
	setsockopt(listening, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof(tries));
}

void
door_listen(struct door *door, enum service service, struct span address, bool proxy, int fd)
{
	struct listener *l;

	if (!(door->kind->services & 1u << service)) {
		log_error(0, "listener-refused", KEY_STR("service", service_name(service)),
			KEY_SPAN("address", address), KEY_STR("reason", "not a service of ours"));
		close(fd);
		return;
	}
	evutil_make_socket_nonblocking(fd);
	evutil_make_socket_closeonexec(fd);
	set_options(fd);
	l = must_alloc(sizeof(*l));
	l->door = door;
	l->service = service;
	l->proxy = proxy;
	l->address = must_copy(address);
	l->fd = fd;
	l->acceptable = event_new(door->daemon->base, fd, EV_READ | EV_PERSIST, on_acceptable, l);
	LIST_INSERT_HEAD(&door->listeners, l, in_all);
	if (door->paused)
		return;
	event_add(l->acceptable, NULL);
	if (door->woken_alone)
		listener_wakes(l, true);
	else
		choose_who_wakes(door);
}

static void
listener_free(struct listener *l)
{
	LIST_REMOVE(l, in_all);
	event_free(l->acceptable);
	close(l->fd);
	free(l->address);
	free(l);
}

void
door_unlisten(struct door *door, enum service service, struct span address)
{
	struct listener *l;

	LIST_FOREACH(l, &door->listeners, in_all)
		if (l->service == service && span_equal(span_str(l->address), address))
			break;
	if (l)
		listener_free(l);
}

void
door_close(struct door *door)
{
	while (!LIST_EMPTY(&door->listeners))
		listener_free(LIST_FIRST(&door->listeners));
	/* Who has not even said where he comes from. */
	while (!LIST_EMPTY(&door->newcomers)) {
		close(newcomer_free(LIST_FIRST(&door->newcomers)));
		door->connections--;
	}
}

void
door_left(struct door *door, struct guest **guest)
{
	guest_leave(&door->guests, guest);
	door->connections--;
	choose_who_wakes(door);
	if (door->daemon->leaving && door->connections == 0)
		daemon_exit(door->daemon);
}
