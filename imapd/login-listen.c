/* login-listen - who is let in: the listeners, shared with the other imap-login processes, and the
 * limits. */
#include "imapd/login.h"

#include "common/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPT_BURST 16                 /* connections at once: others want some too */
#define ACCEPT_PAUSE_MILLISECONDS 500

struct listener {
	LIST_ENTRY(listener) in_all;
	struct front *front;
	enum service service;
	char address[MOST_IP + 1];
	int fd;
	struct event *acceptable;
};

/* How many connections one address has: an IPv4 address, or the first 64 bits of an IPv6 one, which
 * is what one customer has. Nothing that the client says is in the key. */
struct client {
	unsigned char key[16];
	uint64_t connections;
};

static void
client_name(const struct sockaddr_storage *from, char ip[MOST_IP + 1], unsigned char key[16])
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)from;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)from;
	const void *as_v4 = from->ss_family == AF_INET ? (const void *)&v4->sin_addr : NULL;

	memset(key, 0, 16);
	if (from->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		as_v4 = v6->sin6_addr.s6_addr + 12;
	if (as_v4 != NULL) {
		(void)inet_ntop(AF_INET, as_v4, ip, MOST_IP);
		memset(key + 10, 0xff, 2);
		memcpy(key + 12, as_v4, 4);
	} else if (from->ss_family == AF_INET6) {
		(void)inet_ntop(AF_INET6, &v6->sin6_addr, ip, MOST_IP);
		memcpy(key, v6->sin6_addr.s6_addr, 8);
	} else {
		(void)span_copy(SPAN("unknown"), ip, MOST_IP + 1);
	}
}

static int
client_order(const void *a, const void *b)
{
	return memcmp(((const struct client *)a)->key, ((const struct client *)b)->key, 16);
}

/* One more connection of that address; NULL: it has `most`. A balanced tree: nobody gains by
 * choosing addresses. */
static struct client *
client_enter(struct front *front, const unsigned char key[16], uint64_t most)
{
	struct client *c = must_alloc(sizeof(*c)), **node;

	memcpy(c->key, key, 16);
	node = tsearch(c, &front->clients, client_order);
	if (node == NULL)
		abort();
	if (*node != c)
		free(c);
	c = *node;
	if (c->connections >= most)
		return NULL;
	c->connections++;
	return c;
}

void
login_client_leave(struct front *front, struct client **client)
{
	if (*client == NULL)
		return;
	if (--(*client)->connections == 0) {
		(void)tdelete(*client, &front->clients, client_order);
		free(*client);
	}
	*client = NULL;
}

static void
listeners_watch(struct front *front, bool on)
{
	struct listener *l;

	LIST_FOREACH(l, &front->listeners, in_all)
		(void)(on ? event_add(l->acceptable, NULL) : event_del(l->acceptable));
}

static void
on_accept_again(evutil_socket_t fd, short what, void *me)
{
	(void)fd;
	(void)what;
	listeners_watch(me, true);
}

/* No descriptors, or no memory: what waits goes to the others of our kind, or waits. */
static void
accept_pause(struct front *front)
{
	const struct timeval pause = { 0, ACCEPT_PAUSE_MILLISECONDS * 1000 };

	if (front->accept_again == NULL)
		front->accept_again = event_new(front->daemon.base, -1, 0, on_accept_again, front);
	if (front->accept_again == NULL || event_pending(front->accept_again, EV_TIMEOUT, NULL))
		return;
	listeners_watch(front, false);
	(void)event_add(front->accept_again, &pause);
}

static void
turn_away(enum service service, int fd, const char *ip, const char *why)
{
	static const char line[] = "* BYE [UNAVAILABLE] Too many connections, try again later.\r\n";

	log_notice(0, "turned-away", KEY_STR("ip", ip), KEY_STR("service", service_name(service)),
		KEY_STR("reason", why));
	if (!service_is_tls(service))
		(void)!send(fd, line, sizeof(line) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
}

static void
welcome(struct listener *l, int fd, const struct sockaddr_storage *from)
{
	struct front *front = l->front;
	char ip[MOST_IP + 1];
	unsigned char key[16];
	struct client *client;
	int on = 1;

	client_name(from, ip, key);
	if (front->connections >= front->daemon.settings->connections) {
		turn_away(l->service, fd, ip, "too many connections");
		return;
	}
	client = client_enter(front, key, front->daemon.settings->connections_per_address);
	if (client == NULL) {
		turn_away(l->service, fd, ip, "too many connections from this address");
		return;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	login_new(front, l->service, fd, ip, client);
}

static void
on_acceptable(evutil_socket_t listening, short what, void *me)
{
	struct listener *l = me;

	(void)what;
	for (int i = 0; i < ACCEPT_BURST; i++) {
		struct sockaddr_storage from = { 0 };
		socklen_t len = sizeof(from);
		int fd = accept4(listening, (struct sockaddr *)&from, &len,
			SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			welcome(l, fd, &from);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			log_error(0, "cannot-accept", KEY_ERRNO);
			accept_pause(l->front);
		}
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

void
login_listen(struct front *front, enum service service, struct span address, int fd)
{
	struct listener *l;

	if (service != SERVICE_IMAP && service != SERVICE_IMAPS) {
		log_error(0, "listener-refused", KEY_STR("service", service_name(service)),
			KEY_SPAN("address", address));
		close(fd);
		return;
	}
	(void)evutil_make_socket_nonblocking(fd);
	l = must_alloc(sizeof(*l));
	l->front = front;
	l->service = service;
	l->fd = fd;
	(void)span_copy(address, l->address, sizeof(l->address));
	l->acceptable = event_new(front->daemon.base, fd, EV_READ | EV_PERSIST, on_acceptable, l);
	if (l->acceptable == NULL)
		abort();
	LIST_INSERT_HEAD(&front->listeners, l, in_all);
	(void)event_add(l->acceptable, NULL);
}

static void
listener_free(struct listener *l)
{
	LIST_REMOVE(l, in_all);
	event_free(l->acceptable);
	close(l->fd);
	free(l);
}

void
login_listen_no_more(struct front *front, enum service service, struct span address)
{
	struct listener *l;

	LIST_FOREACH(l, &front->listeners, in_all) {
		if (l->service == service && span_equal(span_str(l->address), address)) {
			listener_free(l);
			return;
		}
	}
}

void
login_listen_none(struct front *front)
{
	while (!LIST_EMPTY(&front->listeners))
		listener_free(LIST_FIRST(&front->listeners));
}
