/* binding - see binding.h. */
#include "master/binding.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "master/conf.h"

#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif

union endpoint {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* The endpoint, and how it is written. */
static socklen_t
endpoint_of(const struct place *p, uint16_t port, union endpoint *e, char name[MOST_IP + 1])
{
	char text[MOST_ADDRESS_TEXT];

	memset(e, 0, sizeof *e);
	netstate_address_name(p->family, p->at, text);
	if (p->family == 4) {
		e->v4.sin_family = AF_INET;
		e->v4.sin_port = htons(port);
		memcpy(&e->v4.sin_addr, p->at, sizeof e->v4.sin_addr);
		snprintf(name, MOST_IP + 1, "%s:%u", text, port);
		return sizeof e->v4;
	}
	e->v6.sin6_family = AF_INET6;
	e->v6.sin6_port = htons(port);
	memcpy(&e->v6.sin6_addr, p->at, sizeof e->v6.sin6_addr);
	if (p->link && netstate_kind_of(6, p->at) == NETSTATE_LINK_LOCAL) {
		e->v6.sin6_scope_id = p->link->index;
		snprintf(name, MOST_IP + 1, "[%.39s%%%.15s]:%u", text, p->link->name, port);
	} else {
		snprintf(name, MOST_IP + 1, "[%s]:%u", text, port);
	}
	return sizeof e->v6;
}

void
binding_name(const struct place *p, uint16_t port, char name[MOST_IP + 1])
{
	union endpoint e;

	(void)endpoint_of(p, port, &e, name);
}

int
binding_open(const struct place *p, uint16_t port, int backlog)
{
	char name[MOST_IP + 1];
	union endpoint e;
	socklen_t len = endpoint_of(p, port, &e, name);
	int fd = socket(e.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, error;

	if (fd < 0)
		return -1;
	/* Our own connections in TIME_WAIT do not keep us from starting again. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	/* The address may come later: a DHCP lease, a tunnel. */
	if (e.any.sa_family == AF_INET6) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
		setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof on);
	} else {
		setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof on);
	}
	if (bind(fd, &e.any, len) == 0 && (backlog == 0 || listen(fd, backlog) == 0))
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

bool
binding_is_no_ipv6(const struct place *p)
{
	return p->family == 6 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL);
}

/* --- which --- */

/* What one call of binding_each hands from hand to hand. */
struct walk {
	const struct settings *s;
	const struct netstate *n;
	const struct bindings *b;
	void *me;
};

static void
at_place(const struct walk *w, const struct place *p)
{
	enum service service;

	for (size_t i = 0; i < w->s->services.count; i++)
		if (conf_service(w->s->services.at[i], &service) && service != SERVICE_LOCAL)
			w->b->want(w->me, p, service,
				(uint16_t)(service_port(service) + (unsigned int)w->s->port_base), false);
}

/* All addresses that the interface has now. */
static void
at_link(const struct walk *w, struct span name)
{
	const struct netstate_link *link = netstate_link_named(w->n, name);
	struct place p = { .link = link };
	bool any = false;

	for (size_t i = 0; link && i < w->n->address_count; i++) {
		if (w->n->addresses[i].link != link->index)
			continue;
		p.family = w->n->addresses[i].family;
		memcpy(p.at, w->n->addresses[i].at, sizeof p.at);
		at_place(w, &p);
		any = true;
	}
	if (!any)
		w->b->no_address(w->me, name, link != NULL);
}

/* One member of `listen`; conf_read has checked it. */
static void
at_member(const struct walk *w, struct span member)
{
	struct place p = { 0 };

	if (span_equal(member, SPAN("any"))) {
		p.family = 4;
		at_place(w, &p);
		p.family = 6;
		at_place(w, &p);
	} else if (netstate_address_take(member, &p.family, p.at)) {
		at_place(w, &p);
	} else {
		at_link(w, member);
	}
}

void
binding_each(const struct settings *s, const struct netstate *n, const struct bindings *b, void *me)
{
	const struct walk w = { s, n, b, me };
	struct span address;
	enum service service;
	unsigned int port;

	for (size_t i = 0; i < s->listen.count; i++)
		at_member(&w, s->listen.at[i]);
	for (size_t i = 0; i < s->proxy_listen.count; i++) {
		struct place p = { 0 };

		if (conf_proxy_listener(s->proxy_listen.at[i], &service, &address, &port) &&
			netstate_address_take(address, &p.family, p.at))
			b->want(me, &p, service, (uint16_t)port, true);
	}
}
