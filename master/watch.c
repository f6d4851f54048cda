/*
 * watch - addresses and default routes that come and go.
 */
#include "master/watch.h"

#include <errno.h>
#include <event2/event.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "master/hook.h"
#include "master/listener.h"
#include "master/process.h"
#include "master/public.h"
#include "master/trust-watch.h"

#define DATAGRAM	32768
#define DATAGRAMS_AT_ONCE 64

/* An address that came or went, and was not told yet. */
struct sighting {
	TAILQ_ENTRY(sighting) next;
	bool came;
	struct netstate_address what;
	char link[MOST_LINK_NAME];
	uint64_t since; /* milliseconds, monotonic */
};

TAILQ_HEAD(sighting_list, sighting);

struct watch {
	int fd;
	struct event *readable, *soon, *settle;
	bool reading_due;
	struct netstate now;
	uint64_t read_at; /* milliseconds, monotonic */
	struct sighting_list sightings;
	unsigned int sighting_count;
	uint64_t last_change;
	struct watch_mapping mappings[SERVICE_COUNT];
	size_t mapping_count;
	char public[MOST_ADDRESS_TEXT]; /* of the router, as it says itself */
	char last_old[MOST_ADDRESS_TEXT], last_new[MOST_ADDRESS_TEXT];
};

/* --- what is told to daemons, at once --- */

static bool
hears(const struct process *p)
{
	return p->control && (message_row(MSG_address_changed)->to & (1u << p->row->program));
}

static void
tell(struct process *p, const struct netstate_address *gone, const struct netstate_address *came)
{
	char gone_name[MOST_ADDRESS_TEXT] = "", came_name[MOST_ADDRESS_TEXT] = "";

	if (gone)
		netstate_address_name(gone->family, gone->at, gone_name);
	if (came)
		netstate_address_name(came->family, came->at, came_name);
	send_address_changed(p->control, 0,
		&(struct msg_address_changed){ .gone = span_str(gone_name),
			.came = span_str(came_name),
			.family = gone ? gone->family : came->family },
		NULL);
}

static void
tell_everyone(struct supervisor *s, const struct netstate_address *gone,
	const struct netstate_address *came)
{
	struct process *p;

	TAILQ_FOREACH(p, &s->processes, next)
		if (hears(p))
			tell(p, gone, came);
}

/* All default gateways of a family, as many as the message takes. */
static void
gateways_put(const struct netstate *n, uint8_t family, struct text *to)
{
	char name[MOST_ADDRESS_TEXT];

	for (size_t i = 0; i < n->route_count; i++) {
		const struct netstate_route *r = &n->routes[i];

		if (!r->has_gateway || r->gateway_family != family)
			continue;
		netstate_address_name(family, r->gateway, name);
		if (to->len + strlen(name) + 1 > MOST_HOST)
			return;
		text_add_str(to, to->len ? "," : "");
		text_add_str(to, name);
	}
}

static void
tell_route_to(struct process *p, uint8_t family)
{
	struct text gateways = TEXT_UP_TO(MOST_HOST);

	gateways_put(watch_netstate(p->s), family, &gateways);
	send_address_changed(p->control, 0,
		&(struct msg_address_changed){
			.family = family, .route = true, .gateways = text_span(&gateways) },
		NULL);
	text_clear(&gateways);
}

static void
tell_route(struct supervisor *s, uint8_t family)
{
	struct process *p;

	TAILQ_FOREACH(p, &s->processes, next)
		if (hears(p))
			tell_route_to(p, family);
}

/* Link-local addresses mean nothing without their link, and nobody far away uses them. */
static bool
counts(const struct netstate_address *a)
{
	return a->kind != NETSTATE_LINK_LOCAL && netstate_is_usable(a);
}

void
watch_tell_all(struct process *p)
{
	const struct netstate *n = watch_netstate(p->s);

	if (!hears(p))
		return;
	for (size_t i = 0; i < n->address_count; i++)
		if (counts(&n->addresses[i]))
			tell(p, NULL, &n->addresses[i]);
	for (uint8_t family = 4; family <= 6; family += 2)
		if (netstate_has_route(n, family))
			tell_route_to(p, family);
}

/* --- what is told to people, when old and new are known --- */

static void
remember(struct watch *w, const char *old, const char *new)
{
	w->last_change = (uint64_t)time(NULL);
	span_copy(span_str(old), w->last_old, sizeof w->last_old);
	span_copy(span_str(new), w->last_new, sizeof w->last_new);
}

/* One of the two may be NULL. */
static void
announce(struct supervisor *s, const struct sighting *gone, const struct sighting *came)
{
	const struct sighting *any = came ? came : gone;
	char old[MOST_ADDRESS_TEXT] = "", new[MOST_ADDRESS_TEXT] = "";
	const char *family = any->what.family == 4 ? "ipv4" : "ipv6",
		   *word = gone && came ? "address-changed"
		: came			? "address-came"
					: "address-gone";
	bool back, private = any->what.life == NETSTATE_TEMPORARY;

	if (gone)
		netstate_address_name(gone->what.family, gone->what.at, old);
	if (came)
		netstate_address_name(came->what.family, came->what.at, new);
	if ((back = strcmp(old, new) == 0))
		word = "address-back";
	log_event(private || back ? LOG_LEVEL_INFO : LOG_LEVEL_NOTICE, 0, word,
		KEY_STR("interface", any->link), KEY_STR("family", family), KEY_STR("old", old),
		KEY_STR("new", new), KEY_STR("kind", netstate_kind_name(any->what.kind)),
		KEY_STR("life", netstate_life_name(any->what.life)));
	if (back)
		return;
	remember(s->watch, old, new);
	/* Nobody's name points to an address that lasts for a day. */
	if (!private && any->what.kind != NETSTATE_LOOPBACK)
		hook_address(s, any->link, family, old, new);
}

static void
sighting_forget(struct watch *w, struct sighting *g)
{
	TAILQ_REMOVE(&w->sightings, g, next);
	w->sighting_count--;
	free(g);
}

/* Is one the successor of the other? An interface has one IPv4 address as a rule, but IPv6 addresses
 * for several purposes. */
static bool
belong_together(const struct sighting *a, const struct sighting *b)
{
	return a->came != b->came && a->what.family == b->what.family &&
		strcmp(a->link, b->link) == 0 &&
		(a->what.family == 4 ||
			(a->what.kind == b->what.kind && a->what.life == b->what.life));
}

static bool
same_address(const struct sighting *a, const struct sighting *b)
{
	return memcmp(a->what.at, b->what.at, sizeof a->what.at) == 0;
}

/* The counterpart of `g`: the same address coming back, or else the first that fits. */
static struct sighting *
counterpart(struct watch *w, const struct sighting *g)
{
	struct sighting *other, *found = NULL;

	TAILQ_FOREACH(other, &w->sightings, next) {
		if (!belong_together(g, other))
			continue;
		if (same_address(g, other))
			return other;
		if (!found)
			found = other;
	}
	return found;
}

/* Tells what is ready to be told. `all`: whatever its age. */
static void
settle(struct supervisor *s, bool all)
{
	struct watch *w = s->watch;
	struct timeval again = { 0, PAIR_MILLISECONDS * 1000 };
	uint64_t now = process_milliseconds();
	struct sighting *g, *after, *other;
	bool waits = false;

	for (g = TAILQ_FIRST(&w->sightings); g; g = after) {
		uint64_t wait = g->came ? PAIR_MILLISECONDS : LOSS_MILLISECONDS;

		after = TAILQ_NEXT(g, next);
		if ((other = counterpart(w, g))) {
			announce(s, g->came ? other : g, g->came ? g : other);
			if (after == other)
				after = TAILQ_NEXT(other, next);
			sighting_forget(w, other);
			sighting_forget(w, g);
		} else if (all || now - g->since >= wait) {
			announce(s, g->came ? NULL : g, g->came ? g : NULL);
			sighting_forget(w, g);
		} else {
			waits = true;
		}
	}
	if (waits)
		event_add(w->settle, &again);
}

static void
on_settle(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	settle(arg, false);
}

static void
sighted(struct supervisor *s, const struct netstate *n, const struct netstate_address *a, bool came)
{
	struct watch *w = s->watch;
	const struct netstate_link *l = netstate_link(n, a->link);
	struct timeval when = { 0, PAIR_MILLISECONDS * 1000 };
	struct sighting *g;

	/* A storm is told as it comes. */
	if (w->sighting_count == MOST_SIGHTINGS)
		settle(s, true);
	g = must_alloc(sizeof *g);
	g->came = came;
	g->what = *a;
	g->since = process_milliseconds();
	span_copy(span_str(l ? l->name : "?"), g->link, sizeof g->link);
	TAILQ_INSERT_TAIL(&w->sightings, g, next);
	w->sighting_count++;
	if (!event_pending(w->settle, EV_TIMEOUT, NULL))
		event_add(w->settle, &when);
}

/* --- what differs --- */

static bool
has_usable(const struct netstate *n, const struct netstate_address *a)
{
	for (size_t i = 0; i < n->address_count; i++)
		if (n->addresses[i].family == a->family && counts(&n->addresses[i]) &&
			memcmp(n->addresses[i].at, a->at, sizeof a->at) == 0)
			return true;
	return false;
}

/* The default route that is used: the one with the least metric. */
static const struct netstate_route *
default_route(const struct netstate *n, uint8_t family)
{
	const struct netstate_route *best = NULL;

	if (!netstate_has_route(n, family))
		return NULL;
	for (size_t i = 0; i < n->route_count; i++)
		if (n->routes[i].family == family && (!best || n->routes[i].metric < best->metric))
			best = &n->routes[i];
	return best;
}

static bool
same_route(const struct netstate_route *a, const struct netstate_route *b)
{
	return a->link == b->link && a->has_gateway == b->has_gateway &&
		memcmp(a->gateway, b->gateway, sizeof a->gateway) == 0;
}

static void
compare_routes(struct supervisor *s, const struct netstate *old, const struct netstate *new)
{
	for (uint8_t family = 4; family <= 6; family += 2) {
		const struct netstate_route *before = default_route(old, family),
					   *after = default_route(new, family);
		char gateway[MOST_ADDRESS_TEXT] = "";

		if ((!before && !after) || (before && after && same_route(before, after)))
			continue;
		if (after && after->has_gateway)
			netstate_address_name(after->gateway_family, after->gateway, gateway);
		log_notice(0, after ? "default-route" : "default-route-gone",
			KEY_STR("family", family == 4 ? "ipv4" : "ipv6"),
			KEY_STR("gateway", gateway));
		if (after)
			tell_route(s, family);
	}
}

static void
compare(struct supervisor *s, const struct netstate *old, const struct netstate *new)
{
	for (size_t i = 0; i < old->address_count; i++) {
		const struct netstate_address *a = &old->addresses[i];

		if (counts(a) && !has_usable(new, a)) {
			tell_everyone(s, a, NULL);
			sighted(s, old, a, false);
		}
	}
	for (size_t i = 0; i < new->address_count; i++) {
		const struct netstate_address *a = &new->addresses[i];

		if (counts(a) && !has_usable(old, a)) {
			tell_everyone(s, NULL, a);
			sighted(s, new, a, true);
		}
	}
	compare_routes(s, old, new);
}

static void
on_soon(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	struct watch *w = s->watch;
	struct netstate old = w->now, new;

	(void)fd;
	(void)what;
	if (!netstate_read(&new)) {
		log_error(0, "addresses-unreadable", KEY_ERRNO);
		return;
	}
	if (new.cut && !old.cut)
		log_warning(0, "addresses-too-many", KEY_NUM("addresses", MOST_ADDRESSES));
	w->now = new;
	w->read_at = process_milliseconds();
	/* Sockets first: whoever hears of the address may be asked for it. */
	listener_follow(s);
	compare(s, &old, &new);
	public_follow(s);
	trust_watch(s);
	netstate_clear(&old);
}

static void
read_soon(struct watch *w)
{
	struct timeval when = { 0, WATCH_MILLISECONDS * 1000 };

	if (!event_pending(w->soon, EV_TIMEOUT, NULL))
		event_add(w->soon, &when);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	static unsigned char datagram[DATAGRAM];

	(void)what;
	for (int i = 0; i < DATAGRAMS_AT_ONCE; i++) {
		struct sockaddr_nl from = { 0 };
		socklen_t len = sizeof from;
		ssize_t got = recvfrom(fd, datagram, sizeof datagram, MSG_DONTWAIT | MSG_TRUNC,
			(struct sockaddr *)&from, &len);

		if (got < 0 && errno == ENOBUFS) {
			/* More happened than there was room for: what, the next reading tells. */
			read_soon(s->watch);
			continue;
		}
		if (got < 0)
			return;
		/* Any process may send here; only the kernel tells the truth. */
		if (from.nl_pid != 0)
			continue;
		if (got > (ssize_t)sizeof datagram ||
			netstate_concerns(span_of(datagram, (size_t)got)))
			read_soon(s->watch);
	}
}

/* --- beginning and end --- */

static int
subscribe(void)
{
	struct sockaddr_nl at = { .nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
			RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE), error;

	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof at) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

void
watch_begin(struct supervisor *s)
{
	struct watch *w = s->watch = must_alloc(sizeof *w);

	TAILQ_INIT(&w->sightings);
	/* First the subscription, then the reading: nothing falls between the two. */
	w->fd = subscribe();
	if (w->fd < 0 || !netstate_read(&w->now))
		log_warning(0, "addresses-unwatched", KEY_ERRNO);
	w->read_at = process_milliseconds();
	w->soon = evtimer_new(s->base, on_soon, s);
	w->settle = evtimer_new(s->base, on_settle, s);
	if (w->fd < 0)
		return;
	w->readable = event_new(s->base, w->fd, EV_READ | EV_PERSIST, on_readable, s);
	if (w->readable)
		event_add(w->readable, NULL);
}

void
watch_end(struct supervisor *s)
{
	struct watch *w = s->watch;

	if (!w)
		return;
	while (!TAILQ_EMPTY(&w->sightings))
		sighting_forget(w, TAILQ_FIRST(&w->sightings));
	if (w->readable)
		event_free(w->readable);
	event_free(w->soon);
	event_free(w->settle);
	if (w->fd >= 0)
		close(w->fd);
	netstate_clear(&w->now);
	free(w);
	s->watch = NULL;
}

const struct netstate *
watch_netstate(const struct supervisor *s)
{
	static const struct netstate none;

	return s->watch ? &s->watch->now : &none;
}

uint32_t
watch_age(const struct supervisor *s)
{
	return s->watch ? (uint32_t)((process_milliseconds() - s->watch->read_at) / 1000) : 0;
}

uint64_t
watch_last_change(const struct supervisor *s, const char **old, const char **new)
{
	*old = s->watch ? s->watch->last_old : "";
	*new = s->watch ? s->watch->last_new : "";
	return s->watch ? s->watch->last_change : 0;
}

/* --- port mappings --- */

const char *
watch_router(const struct supervisor *s)
{
	return s->watch ? s->watch->public : "";
}

/* The router's own address, as it tells it: it may say what it wants, but not what is no address. */
static void
note_public(struct supervisor *s, struct span address)
{
	struct watch *w = s->watch;
	uint8_t family, at[16];
	char old[MOST_ADDRESS_TEXT];

	if (!netstate_address_take(address, &family, at) || family != 4 ||
		netstate_kind_of(family, at) == NETSTATE_UNUSABLE ||
		span_equal(address, span_str(w->public)))
		return;
	span_copy(span_str(w->public), old, sizeof old);
	span_copy(address, w->public, sizeof w->public);
	public_follow(s);
	hook_address(s, "router", "ipv4", old, w->public);
}

void
watch_mapped(struct supervisor *s, const struct msg_portmap_told *m)
{
	struct watch *w = s->watch;
	size_t i;

	if (!w || m->service >= SERVICE_COUNT)
		return;
	for (i = 0; i < w->mapping_count; i++)
		if (w->mappings[i].service == m->service)
			break;
	if (i == w->mapping_count)
		w->mapping_count++;
	w->mappings[i] = (struct watch_mapping){ .service = m->service,
		.outside = m->outside,
		.inside = m->inside,
		.seconds = m->seconds };
	span_copy(m->address, w->mappings[i].address, sizeof w->mappings[i].address);
	span_copy(m->protocol, w->mappings[i].protocol, sizeof w->mappings[i].protocol);
	span_copy(m->fault, w->mappings[i].fault, sizeof w->mappings[i].fault);
	if (m->seconds)
		note_public(s, m->address);
}

const struct watch_mapping *
watch_mapping(const struct supervisor *s, size_t i)
{
	return s->watch && i < s->watch->mapping_count ? &s->watch->mappings[i] : NULL;
}
