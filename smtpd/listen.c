/*
 * listen - see listen.h.
 */
#include "smtpd/listen.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/text.h"
#include "smtpd/client.h"
#include "smtpd/session.h"

struct listener {
	LIST_ENTRY(listener) in_all;
	struct server *server;
	enum service service;
	char *address;
	int fd;
	struct event *acceptable;
};

static void
listeners_watch(struct server *server, bool on)
{
	struct listener *l;

	LIST_FOREACH(l, &server->listeners, in_all) {
		if (on)
			event_add(l->acceptable, NULL);
		else
			event_del(l->acceptable);
	}
}

static void
on_accept_again(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;

	(void)fd;
	(void)what;
	server->accept_paused = false;
	listeners_watch(server, true);
}

/* Leaves what comes to the others for a while. */
static void
accept_pause(struct server *server)
{
	struct timeval pause = { .tv_usec = ACCEPT_PAUSE_MILLISECONDS * 1000 };

	if (!server->accept_again)
		server->accept_again = evtimer_new(server->daemon.base, on_accept_again, server);
	if (!server->accept_again || server->accept_paused)
		return;
	server->accept_paused = true;
	listeners_watch(server, false);
	event_add(server->accept_again, &pause);
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
is_full(const struct server *server)
{
	return server->connections >= server->daemon.settings->connections;
}

static void
welcome(struct listener *l, int fd, const struct sockaddr *from)
{
	struct server *server = l->server;
	char ip[MOST_IP];
	struct client_key key;
	struct client *client;
	int on = 1;

	client_name(from, ip, &key);
	if (is_full(server)) {
		turn_away(l->service, fd, ip, "421 4.3.2 too many connections, try again later\r\n",
			"too many connections");
		return;
	}
	client = client_enter(
		&server->clients, &key, server->daemon.settings->connections_per_address);
	if (!client) {
		turn_away(l->service, fd, ip,
			"421 4.7.0 too many connections from your address\r\n",
			"too many connections from this address");
		return;
	}
	/* Answers are written whole: waiting for more of them only costs time. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	session_begin(server, l->service, fd, ip, client);
}

static void
on_acceptable(evutil_socket_t listening, short what, void *arg)
{
	struct listener *l = arg;
	struct server *server = l->server;
	struct sockaddr_storage from;

	(void)what;
	for (int i = 0; i < ACCEPT_BURST; i++) {
		socklen_t len = sizeof(from);
		int fd;

		/* Full: first the others may take it; who still waits then hears 421. */
		if (is_full(server) && !server->accept_refuses) {
			server->accept_refuses = true;
			accept_pause(server);
			return;
		}
		server->accept_refuses = server->accept_refuses && is_full(server);
		memset(&from, 0, sizeof(from));
		fd = accept4(
			listening, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			welcome(l, fd, (const struct sockaddr *)&from);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			log_error(0, "cannot-accept", KEY_ERRNO);
			accept_pause(server);
		}
		if (errno != ECONNABORTED && errno != EINTR)
			break;
	}
	/* The next burst of refusals only after the next pause. */
	server->accept_refuses = false;
}

void
listen_add(struct server *server, enum service service, struct span address, int fd)
{
	struct listener *l;

	if (service != SERVICE_SMTP && service != SERVICE_SUBMISSION &&
		service != SERVICE_SUBMISSIONS) {
		log_error(0, "listener-refused", KEY_STR("service", service_name(service)),
			KEY_SPAN("address", address), KEY_STR("reason", "not a service of smtpd"));
		close(fd);
		return;
	}
	evutil_make_socket_nonblocking(fd);
	evutil_make_socket_closeonexec(fd);
	l = must_alloc(sizeof(*l));
	l->server = server;
	l->service = service;
	l->address = must_copy(address);
	l->fd = fd;
	l->acceptable = event_new(server->daemon.base, fd, EV_READ | EV_PERSIST, on_acceptable, l);
	LIST_INSERT_HEAD(&server->listeners, l, in_all);
	if (!server->accept_paused)
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
listen_remove(struct server *server, enum service service, struct span address)
{
	struct listener *l;

	LIST_FOREACH(l, &server->listeners, in_all)
		if (l->service == service && span_equal(span_str(l->address), address))
			break;
	if (l)
		listener_free(l);
}

void
listen_remove_all(struct server *server)
{
	while (!LIST_EMPTY(&server->listeners))
		listener_free(LIST_FIRST(&server->listeners));
}

void
listen_session_ended(struct server *server)
{
	if (server->daemon.leaving && server->connections == 0)
		daemon_exit(&server->daemon);
}
