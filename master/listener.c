/*
 * listener - every address times every service.
 */
#include "master/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "master/conf.h"
#include "master/process.h"

#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif

union endpoint {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* The endpoint, and how it is written; conf_read has checked the address. */
static socklen_t
endpoint_of(struct span address, uint16_t port, union endpoint *e, char name[MOST_IP + 1])
{
	char text[INET6_ADDRSTRLEN] = "";

	memset(e, 0, sizeof *e);
	if (!span_copy(address, text, sizeof text))
		return 0;
	if (inet_pton(AF_INET, text, &e->v4.sin_addr) == 1) {
		e->v4.sin_family = AF_INET;
		e->v4.sin_port = htons(port);
		snprintf(name, MOST_IP + 1, "%s:%u", text, port);
		return sizeof e->v4;
	}
	if (inet_pton(AF_INET6, text, &e->v6.sin6_addr) == 1) {
		e->v6.sin6_family = AF_INET6;
		e->v6.sin6_port = htons(port);
		snprintf(name, MOST_IP + 1, "[%s]:%u", text, port);
		return sizeof e->v6;
	}
	return 0;
}

/* A listening socket, or -1 with errno. */
static int
open_socket(const union endpoint *e, socklen_t len)
{
	int fd = socket(e->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1,
	    error;

	if (fd < 0)
		return -1;
	/* Our own connections in TIME_WAIT do not keep us from starting again. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	/* The address may come later: a DHCP lease, a tunnel. */
	if (e->any.sa_family == AF_INET6) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
		setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof on);
	} else {
		setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof on);
	}
	if (bind(fd, &e->any, len) == 0 && listen(fd, LISTEN_BACKLOG) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

/* What to do about a failure, told once for all of its kind. */
static void
advise(struct text *errors, bool in_use, bool no_right)
{
	if (in_use)
		text_add_str(errors,
			"Another program has that port (ss -ltnp shows which): stop it, or change port_base, "
			"listen or services. If it is this instance on another address, stop and start it instead of "
			"reloading\n");
	if (no_right)
		text_add_str(errors,
			"Ports below 1024 need root; without it set port_base, for example to 10000\n");
}

/* IPv6 may be missing from the kernel or switched off; then it cannot be reached that way
 * either. */
static bool
is_no_ipv6(const union endpoint *e)
{
	return e->any.sa_family == AF_INET6 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL);
}

static struct listener *
find(struct supervisor *s, enum service service, const char *name)
{
	struct listener *l;

	TAILQ_FOREACH(l, &s->listeners, next)
		if (l->service == service && strcmp(l->address, name) == 0)
			return l;
	return NULL;
}

static void
bind_one(struct supervisor *s, const struct generation *g, struct span address,
	enum service service, struct text *errors, bool *in_use, bool *no_right)
{
	unsigned int port = service_port(service) + (unsigned int)g->settings->port_base;
	union endpoint e;
	char name[MOST_IP + 1];
	socklen_t len = endpoint_of(address, (uint16_t)port, &e, name);
	struct listener *l;
	int fd;

	if (len == 0)
		return;
	if ((l = find(s, service, name))) {
		l->wanted = g->number;
		return;
	}
	if ((fd = open_socket(&e, len)) < 0) {
		if (is_no_ipv6(&e))
			log_notice(0, "no-ipv6", KEY_STR("service", service_name(service)),
				KEY_STR("address", name));
		else
			text_printf(errors, "%s cannot listen on %s: %s\n", service_name(service),
				name, strerror(errno));
		*in_use = *in_use || errno == EADDRINUSE;
		*no_right = *no_right || errno == EACCES;
		return;
	}
	l = must_alloc(sizeof *l);
	l->service = service;
	l->fd = fd;
	l->wanted = g->number;
	snprintf(l->address, sizeof l->address, "%s", name);
	TAILQ_INSERT_TAIL(&s->listeners, l, next);
}

static void
forget(struct supervisor *s, struct listener *l)
{
	TAILQ_REMOVE(&s->listeners, l, next);
	close(l->fd);
	free(l);
}

bool
listener_bind(struct supervisor *s, const struct generation *g, struct text *errors)
{
	size_t before = errors->len;
	bool in_use = false, no_right = false;
	enum service service;

	for (size_t i = 0; i < g->settings->services.count; i++)
		for (size_t j = 0; j < g->settings->listen.count; j++)
			if (conf_service(g->settings->services.at[i], &service))
				bind_one(s, g, g->settings->listen.at[j], service, errors, &in_use,
					&no_right);
	if (errors->len == before)
		return true;
	advise(errors, in_use, no_right);
	listener_drop(s);
	return false;
}

void
listener_drop(struct supervisor *s)
{
	struct listener *l, *after;

	for (l = TAILQ_FIRST(&s->listeners); l; l = after) {
		after = TAILQ_NEXT(l, next);
		if (!l->told)
			forget(s, l);
		else
			l->wanted = s->now.number;
	}
}

static void
tell(struct process *p, const struct listener *l)
{
	int copy;

	if (p->row->program != service_program(l->service) || !p->control)
		return;
	if ((copy = process_duplicate(l->fd)) >= 0)
		send_listener(p->control, 0,
			&(struct msg_listener){
				.service = (uint8_t)l->service, .address = span_str(l->address) },
			&copy);
}

void
listener_tell_all(struct process *p)
{
	struct listener *l;

	TAILQ_FOREACH(l, &p->s->listeners, next)
		if (l->told)
			tell(p, l);
}

static void
tell_gone(struct supervisor *s, const struct listener *l)
{
	struct process *p;

	TAILQ_FOREACH(p, &s->processes, next)
		if (p->control && p->row->program == service_program(l->service))
			send_listener_gone(p->control, 0,
				&(struct msg_listener_gone){ .service = (uint8_t)l->service,
					.address = span_str(l->address) },
				NULL);
}

void
listener_swap(struct supervisor *s)
{
	struct listener *l, *after;
	struct process *p;

	for (l = TAILQ_FIRST(&s->listeners); l; l = after) {
		after = TAILQ_NEXT(l, next);
		if (l->wanted != s->now.number) {
			log_info(0, "listener-closed", KEY_STR("service", service_name(l->service)),
				KEY_STR("address", l->address));
			tell_gone(s, l);
			forget(s, l);
		} else if (!l->told) {
			log_info(0, "listener-opened", KEY_STR("service", service_name(l->service)),
				KEY_STR("address", l->address));
			TAILQ_FOREACH(p, &s->processes, next)
				tell(p, l);
			l->told = true;
		}
	}
}

void
listener_close_all(struct supervisor *s)
{
	while (!TAILQ_EMPTY(&s->listeners))
		forget(s, TAILQ_FIRST(&s->listeners));
}
