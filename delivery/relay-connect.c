/*
 * relay-connect - see relay.h. Addresses of one server are tried in their order; one that does not
 * answer soon is joined by the next (RFC 8305), and who answers first is taken.
 */
#include "relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STAGGER_MILLISECONDS 1000      /* how long one address is alone */

struct attempt_socket {
	struct connecting *of;
	size_t address;
	int fd;                        /* -1: over */
	struct event *event;
};

struct connecting {
	struct job *job;
	struct attempt_socket socket[MOST_SERVER_ADDRESSES];
	size_t next, open;
	struct event *stagger, *limit;
	char fault[MOST_REASON + 1];
};

static void try_next(struct connecting *c);

static void
socket_close(struct attempt_socket *s)
{
	if (s->fd < 0)
		return;
	event_free(s->event);
	close(s->fd);
	s->fd = -1;
	s->of->open--;
}

void
connect_cancel(struct job *j)
{
	struct connecting *c = j->connecting;

	if (c == NULL)
		return;
	for (size_t i = 0; i < c->next; i++)
		socket_close(&c->socket[i]);
	event_free(c->stagger);
	event_free(c->limit);
	free(c);
	j->connecting = NULL;
}

static void
note(struct connecting *c, size_t address, int error)
{
	char ip[INET6_ADDRSTRLEN];
	struct text t = TEXT_UP_TO(sizeof(c->fault) - 1);

	address_text(&c->job->addresses.at[address], ip, sizeof(ip));
	text_printf(&t, "connect to %s[%s]:%u: %s", c->job->server[c->job->current].name, ip,
		c->job->port, strerror(error));
	span_copy(text_span(&t), c->fault, sizeof(c->fault));
	text_clear(&t);
}

static void
nobody_answers(struct connecting *c)
{
	struct job *j = c->job;
	struct text reason = TEXT_UP_TO(MOST_REASON);

	text_add_str(&reason, c->fault);
	connect_cancel(j);
	job_next_server(j, (struct verdict){ LATER, 451, SPAN("4.4.1"), text_span(&reason) },
		HEALTH_DEAD);
	text_clear(&reason);
}

static void
on_connected(evutil_socket_t fd, short what, void *arg)
{
	struct attempt_socket *s = arg;
	struct connecting *c = s->of;
	struct job *j = c->job;
	struct sockaddr_storage address = j->addresses.at[s->address];
	int error = 0;
	socklen_t len = sizeof(error);

	(void)what;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error != 0) {
		note(c, s->address, error);
		socket_close(s);
		try_next(c);
		return;
	}
	event_free(s->event);
	s->fd = -1;
	c->open--;
	connect_cancel(j);
	dialogue_new(j, fd, &address);
}

/* The source that is configured for this family. */
static bool
bind_source(struct connecting *c, int fd, sa_family_t family)
{
	const struct settings *s = c->job->relay->daemon.settings;
	struct span source = family == AF_INET ? s->relay_source_ipv4 : s->relay_source_ipv6;
	struct sockaddr_in four = { .sin_family = AF_INET };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	char text[INET6_ADDRSTRLEN];

	if (source.len == 0 || c->job->way == WAY_LMTP || !span_copy(source, text, sizeof(text)))
		return true;
	if (family == AF_INET)
		return inet_pton(AF_INET, text, &four.sin_addr) == 1 &&
			bind(fd, (struct sockaddr *)&four, sizeof(four)) == 0;
	return inet_pton(AF_INET6, text, &six.sin6_addr) == 1 &&
		bind(fd, (struct sockaddr *)&six, sizeof(six)) == 0;
}

/* Begins with the next address. False: it failed at once. */
static bool
try_address(struct connecting *c)
{
	static const struct timeval stagger = { .tv_sec = STAGGER_MILLISECONDS / 1000,
		.tv_usec = STAGGER_MILLISECONDS % 1000 * 1000 };
	struct job *j = c->job;
	size_t i = c->next++;
	struct sockaddr_storage a = j->addresses.at[i];
	struct attempt_socket *s = &c->socket[i];
	int fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	*s = (struct attempt_socket){ .of = c, .address = i, .fd = -1 };
	if (a.ss_family == AF_INET)
		((struct sockaddr_in *)(void *)&a)->sin_port = htons(j->port);
	else
		((struct sockaddr_in6 *)(void *)&a)->sin6_port = htons(j->port);
	if (fd < 0 || !bind_source(c, fd, a.ss_family) ||
		(connect(fd, (struct sockaddr *)&a, j->addresses.len[i]) < 0 && errno != EINPROGRESS)) {
		note(c, i, errno);
		if (fd >= 0)
			close(fd);
		return false;
	}
	s->fd = fd;
	s->event = event_new(j->relay->daemon.base, fd, EV_WRITE, on_connected, s);
	if (s->event == NULL)
		abort();
	event_add(s->event, NULL);
	c->open++;
	evtimer_add(c->stagger, &stagger);
	return true;
}

static void
try_next(struct connecting *c)
{
	while (c->next < c->job->addresses.count)
		if (try_address(c))
			return;
	if (c->open == 0)
		nobody_answers(c);
}

static void
on_stagger(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	try_next(arg);
}

static void
on_limit(evutil_socket_t fd, short what, void *arg)
{
	struct connecting *c = arg;

	(void)fd;
	(void)what;
	note(c, c->next - 1, ETIMEDOUT);
	nobody_answers(c);
}

void
connect_begin(struct job *j)
{
	if (socket_is_wanted(j)) {
		socket_begin(j);
		return;
	}

	struct connecting *c = must_alloc(sizeof(*c));
	struct timeval limit = { .tv_sec =
		(time_t)j->relay->daemon.settings->relay_connect_seconds };

	c->job = j;
	j->connecting = c;
	c->stagger = evtimer_new(j->relay->daemon.base, on_stagger, c);
	c->limit = evtimer_new(j->relay->daemon.base, on_limit, c);
	if (c->stagger == NULL || c->limit == NULL)
		abort();
	evtimer_add(c->limit, &limit);
	try_next(c);
}
