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
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "text.h"

struct listener {
	LIST_ENTRY(listener) in_all;
	struct door *door;
	enum service service;
	char *address;
	int fd;
	struct event *acceptable;
};

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

static void
on_accept_again(evutil_socket_t fd, short what, void *arg)
{
	struct door *door = arg;

	(void)fd;
	(void)what;
	door->paused = false;
	listeners_watch(door, true);
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

static bool
is_full(const struct door *door)
{
	return door->connections >= door->daemon->settings->connections;
}

static void
welcome(struct listener *l, int fd, const struct sockaddr *from)
{
	struct door *door = l->door;
	char ip[MOST_IP];
	struct guest_key key;
	struct guest *guest;
	int on = 1;

	guest_name(from, ip, &key);
	if (is_full(door)) {
		turn_away(l->service, fd, ip, door->kind->full, "too many connections");
		return;
	}
	guest = guest_enter(
		&door->guests, &key, door->daemon->settings->connections_per_address);
	if (!guest) {
		turn_away(l->service, fd, ip, door->kind->crowded,
			"too many connections from this address");
		return;
	}
	/* Answers are written whole: waiting for more of them only costs time. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	door->connections++;
	door->kind->welcome(door->daemon->me, l->service, fd, ip, guest);
}

static void
on_acceptable(evutil_socket_t listening, short what, void *arg)
{
	struct listener *l = arg;
	struct door *door = l->door;
	struct sockaddr_storage from;

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
	/* The next burst of refusals only after the next pause. */
	door->refuses = false;
}

void
door_open(struct door *door, struct daemon *daemon, const struct door_kind *kind)
{
	door->kind = kind;
	door->daemon = daemon;
	LIST_INIT(&door->listeners);
}

void
door_listen(struct door *door, enum service service, struct span address, int fd)
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
	l = must_alloc(sizeof(*l));
	l->door = door;
	l->service = service;
	l->address = must_copy(address);
	l->fd = fd;
	l->acceptable = event_new(door->daemon->base, fd, EV_READ | EV_PERSIST, on_acceptable, l);
	LIST_INSERT_HEAD(&door->listeners, l, in_all);
	if (!door->paused)
		event_add(l->acceptable, NULL);
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
}

void
door_left(struct door *door, struct guest **guest)
{
	guest_leave(&door->guests, guest);
	door->connections--;
	if (door->daemon->leaving && door->connections == 0)
		daemon_exit(door->daemon);
}
