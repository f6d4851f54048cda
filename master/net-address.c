/*
 * net-address - addresses, leases, routes, and where Valija listens.
 */
#include <linux/if_addr.h>
#include <stdio.h>
#include <string.h>

#include "master/conf.h"
#include "master/conf-check.h"
#include "master/net-survey.h"

#define MOST_TIME 32

const char *
net_link_name(const struct survey *v, const struct netstate_address *a)
{
	const struct netstate_link *l = netstate_link(&v->net, a->link);

	return l ? l->name : "?";
}

bool
net_listens_at(const struct survey *v, const struct netstate_address *a)
{
	uint8_t family, at[16];

	for (size_t i = 0; i < v->s->listen.count; i++) {
		struct span member = v->s->listen.at[i];

		if (span_equal(member, SPAN("any")) ||
			span_equal(member, span_str(net_link_name(v, a))))
			return true;
		if (!netstate_address_take(member, &family, at) || family != a->family)
			continue;
		if (memcmp(at, a->at, sizeof at) == 0 ||
			memcmp(at, (const uint8_t[16]){ 0 }, sizeof at) == 0)
			return true;
	}
	return false;
}

bool
net_offers(const struct survey *v, enum service service)
{
	enum service one;

	for (size_t i = 0; i < v->s->services.count; i++)
		if (conf_service(v->s->services.at[i], &one) && one == service)
			return true;
	return false;
}

void
net_public_add(struct survey *v, uint8_t family, const uint8_t *at, const char *source)
{
	struct public_address *p;

	for (size_t i = 0; i < v->public_count; i++)
		if (v->publics[i].family == family && memcmp(v->publics[i].at, at, 16) == 0)
			return;
	if (v->public_count == MOST_PUBLIC)
		return;
	p = &v->publics[v->public_count++];
	p->family = family;
	memcpy(p->at, at, sizeof p->at);
	p->source = source;
	netstate_address_name(family, at, p->name);
}

bool
net_is_ours(const struct survey *v, uint8_t family, const uint8_t *at)
{
	if (netstate_has(&v->net, family, at))
		return true;
	for (size_t i = 0; i < v->public_count; i++)
		if (v->publics[i].family == family &&
			memcmp(v->publics[i].at, at, family == 4 ? 4 : 16) == 0)
			return true;
	return false;
}

/* --- conclusions --- */

static bool
is_of_the_world(const struct netstate_address *a)
{
	return a->kind != NETSTATE_LOOPBACK && a->kind != NETSTATE_LINK_LOCAL &&
		a->kind != NETSTATE_UNUSABLE;
}

static const struct netstate_route *
default_route(const struct survey *v, uint8_t family)
{
	const struct netstate_route *best = NULL;

	for (size_t i = 0; i < v->net.route_count; i++)
		if (v->net.routes[i].family == family &&
			(!best || v->net.routes[i].metric < best->metric))
			best = &v->net.routes[i];
	return best;
}

/* The IPv4 address that the world comes to, or that a router would forward to: a global one before others, one on the
 * link of the default route before others, else the first. */
static const struct netstate_address *
server_address(const struct survey *v)
{
	const struct netstate_address *best = NULL;
	int best_worth = -1;

	for (size_t i = 0; i < v->net.address_count; i++) {
		const struct netstate_address *a = &v->net.addresses[i];
		int worth;

		if (a->family != 4 || !is_of_the_world(a))
			continue;
		worth = 2 * (a->kind == NETSTATE_GLOBAL) + (v->gateway && a->link == v->gateway->link);
		if (worth > best_worth) {
			best = a;
			best_worth = worth;
		}
	}
	return best;
}

/* The world speaks with 25, 465, 587 and 993; it needs 143 only where there is no 993. */
static void
conclude_forwards(struct survey *v)
{
	static const enum service wanted[] = { SERVICE_SMTP, SERVICE_SUBMISSIONS, SERVICE_SUBMISSION,
		SERVICE_IMAPS, SERVICE_IMAP };

	for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
		if (!net_offers(v, wanted[i]) ||
			(wanted[i] == SERVICE_IMAP && net_offers(v, SERVICE_IMAPS)))
			continue;
		v->forwards[v->forward_count++] = (struct forward){ wanted[i],
			service_port(wanted[i]),
			service_port(wanted[i]) + (unsigned int)v->s->port_base };
	}
}

void
net_conclude(struct survey *v)
{
	bool global = false, shared = false, any = false;
	uint8_t family, at[16];

	v->gateway = default_route(v, 4);
	v->server = server_address(v);
	for (size_t i = 0; i < v->net.address_count; i++) {
		const struct netstate_address *a = &v->net.addresses[i];

		if (!is_of_the_world(a))
			continue;
		if (a->kind == NETSTATE_GLOBAL && a->life != NETSTATE_TEMPORARY)
			net_public_add(v, a->family, a->at, "of this machine");
		if (a->family != 4)
			continue;
		any = true;
		global = global || a->kind == NETSTATE_GLOBAL;
		shared = shared || a->kind == NETSTATE_SHARED;
	}
	v->translated = any && !global;
	v->shared = v->translated && shared;
	for (size_t i = 0; i < v->s->public_address.count; i++)
		if (netstate_address_take(v->s->public_address.at[i], &family, at))
			net_public_add(v, family, at, "public_address");
	conclude_forwards(v);
}

/* --- addresses --- */

static void
time_text(uint32_t seconds, char text[MOST_TIME])
{
	if (seconds >= 2 * 86400)
		snprintf(text, MOST_TIME, "%u days", seconds / 86400);
	else if (seconds >= 2 * 3600)
		snprintf(text, MOST_TIME, "%u hours", seconds / 3600);
	else if (seconds >= 120)
		snprintf(text, MOST_TIME, "%u minutes", seconds / 60);
	else
		snprintf(text, MOST_TIME, "%u seconds", seconds);
}

static void
life_text(const struct netstate_address *a, char text[80])
{
	char left[MOST_TIME];

	time_text(a->valid, left);
	switch (a->life) {
	case NETSTATE_NO_LIFETIME:
		snprintf(text, 80, "without a lifetime");
		break;
	case NETSTATE_LEASED:
		snprintf(text, 80, "leased, %s left", left);
		break;
	case NETSTATE_ADVERTISED:
		snprintf(text, 80, "made from router advertisements");
		break;
	case NETSTATE_TEMPORARY:
		snprintf(text, 80, "temporary, for privacy");
		break;
	case NETSTATE_OF_KERNEL:
		snprintf(text, 80, "made by the kernel");
		break;
	}
}

static void
judge_one(struct survey *v, const struct netstate_address *a)
{
	const struct netstate_link *l = netstate_link(&v->net, a->link);
	char name[MOST_ADDRESS_TEXT], life[80];

	netstate_address_name(a->family, a->at, name);
	life_text(a, life);
	if (a->flags & IFA_F_DADFAILED) {
		finding_add(&v->f, FINDING_PROBLEM, "address",
			"%s on %s belongs to another machine too: it is not used", name,
			net_link_name(v, a));
		finding_advise(&v->f, "Give one of the two another address");
	} else if (l && !l->running) {
		finding_add(&v->f, FINDING_WARNING, "address", "%s on %s: the interface is %s", name,
			l->name, l->up ? "without a carrier" : "switched off");
		finding_advise(&v->f, l->up ? "Look at the cable of %s" : "ip link set %s up", l->name);
	} else {
		finding_add(&v->f, FINDING_OK, "address", "%s/%u on %s: %s, %s", name, a->prefix,
			net_link_name(v, a), netstate_kind_name(a->kind), life);
	}
}

static void
hardware_text(const struct survey *v, const struct netstate_address *a, char text[32])
{
	const struct netstate_link *l = netstate_link(&v->net, a->link);
	static const uint8_t none[6];

	if (!l || memcmp(l->hardware, none, sizeof none) == 0)
		snprintf(text, 32, "%s", net_link_name(v, a));
	else
		snprintf(text, 32, "%02x:%02x:%02x:%02x:%02x:%02x", l->hardware[0], l->hardware[1],
			l->hardware[2], l->hardware[3], l->hardware[4], l->hardware[5]);
}

/* Is the address that the world depends on ours to keep? */
static void
judge_lease(struct survey *v)
{
	const struct netstate_address *a = v->server;
	char name[MOST_ADDRESS_TEXT], hardware[32], left[MOST_TIME];

	if (!a)
		return;
	netstate_address_name(4, a->at, name);
	hardware_text(v, a, hardware);
	time_text(a->valid, left);
	if (a->life != NETSTATE_LEASED) {
		finding_add(&v->f, FINDING_OK, "lease",
			"%s has no lifetime: it is static, or a DHCP client gave it without one", name);
		if (v->translated)
			finding_advise(&v->f,
				"If it comes from the router by DHCP, reserve it there for %s",
				hardware);
	} else if (v->translated) {
		finding_add(&v->f, FINDING_WARNING, "lease",
			"%s is leased (%s left): with another address, the ports that the router forwards would lead nowhere",
			name, left);
		finding_advise(&v->f,
			"In the router's DHCP settings, reserve %s for the hardware address %s; or give this machine a static address outside of the range that the router leases",
			name, hardware);
	} else {
		finding_add(&v->f, FINDING_WARNING, "lease",
			"the public address %s is leased (%s left): names, PTR and SPF will be wrong when it changes",
			name, left);
		finding_advise(&v->f,
			"Ask the provider for a static address. Until then let address_hook update the DNS (valija-net(8)) and send by a relay host: many servers refuse mail from dynamic addresses");
	}
}

static void
judge_routes(struct survey *v)
{
	char gateway[MOST_ADDRESS_TEXT] = "";

	if (!v->server)
		return;
	if (!v->gateway) {
		finding_add(&v->f, FINDING_PROBLEM, "route",
			"there is no default route: this machine reaches nobody beyond its own links");
		finding_advise(&v->f, "Set one: ip route add default via GATEWAY");
		return;
	}
	netstate_address_name(v->gateway->gateway_family, v->gateway->gateway, gateway);
	if (netstate_has_route(&v->net, 4))
		finding_add(&v->f, FINDING_OK, "route", "the default route leads %s%s",
			v->gateway->has_gateway ? "by " : "over a link without gateway", gateway);
	else
		finding_add(&v->f, FINDING_PROBLEM, "route",
			"the default route leads over an interface that is down");
	if (!netstate_has_route(&v->net, 4))
		finding_advise(&v->f, "Switch it on, or look at its cable");
}

void
net_judge_addresses(struct survey *v)
{
	bool any = false;

	for (size_t i = 0; i < v->net.address_count; i++)
		if (is_of_the_world(&v->net.addresses[i])) {
			judge_one(v, &v->net.addresses[i]);
			any = true;
		}
	if (!any) {
		finding_add(&v->f, FINDING_PROBLEM, "address",
			"this machine has no address beyond itself");
		finding_advise(&v->f,
			"Is the cable in, and does DHCP work? `ip address` shows what there is. Valija serves as soon as one comes");
	}
	if (v->net.cut)
		finding_add(&v->f, FINDING_WARNING, "address",
			"this machine has more addresses than are looked at here");
	if (v->net.cut)
		finding_advise(&v->f, "Name in listen those that are for mail");
	judge_lease(v);
	judge_routes(v);
}

/* --- IPv6 --- */

void
net_judge_ipv6(struct survey *v)
{
	const struct netstate_address *global = NULL;
	bool route = netstate_has_route(&v->net, 6);
	char name[MOST_ADDRESS_TEXT];

	for (size_t i = 0; i < v->net.address_count; i++) {
		const struct netstate_address *a = &v->net.addresses[i];

		if (a->family == 6 && a->kind == NETSTATE_GLOBAL && a->life != NETSTATE_TEMPORARY &&
			netstate_is_usable(a)) {
			global = a;
			break;
		}
	}
	if (!global && !route) {
		finding_add(&v->f, FINDING_OK, "ipv6", "there is no IPv6 here beyond the own links");
		return;
	}
	if (!global) {
		finding_add(&v->f, FINDING_WARNING, "ipv6",
			"there is a default route for IPv6, but no global address");
		finding_advise(&v->f, "Half an IPv6 delays mail: complete it, or remove the route");
		return;
	}
	netstate_address_name(6, global->at, name);
	if (!route) {
		finding_add(&v->f, FINDING_WARNING, "ipv6",
			"%s is a global address, but there is no default route for IPv6", name);
		finding_advise(&v->f,
			"Half an IPv6 delays mail: complete it, or remove the address; until then publish no AAAA record");
	} else if (!net_listens_at(v, global)) {
		finding_add(&v->f, FINDING_WARNING, "ipv6", "IPv6 works here, but Valija does not listen on %s",
			name);
		finding_advise(&v->f, "Add :: to listen; or publish no AAAA record");
	} else {
		finding_add(&v->f, FINDING_OK, "ipv6", "%s has a default route and is listened on", name);
	}
}

/* --- listeners --- */

static void
judge_member(struct survey *v, struct span member)
{
	uint8_t family, at[16];
	const struct netstate_link *l;
	bool any = false;

	if (span_equal(member, SPAN("any")))
		return;
	if (netstate_address_take(member, &family, at)) {
		if (memcmp(at, (const uint8_t[16]){ 0 }, sizeof at) == 0 ||
			netstate_has(&v->net, family, at))
			return;
		finding_add(&v->f, FINDING_WARNING, "listen", "%.*s in listen is not an address of this machine now",
			SPAN_ARG(member));
		finding_advise(&v->f, "It is served as soon as it is there. Is it the right one?");
		return;
	}
	l = netstate_link_named(&v->net, member);
	for (size_t i = 0; l && i < v->net.address_count; i++)
		any = any || v->net.addresses[i].link == l->index;
	if (any)
		return;
	finding_add(&v->f, FINDING_WARNING, "listen", "the interface %.*s in listen %s", SPAN_ARG(member),
		l ? "has no address now" : "is not there now");
	finding_advise(&v->f, "`ip address` shows what there is");
}

/* Services that nobody outside needs, at an address where everybody is. */
static void
judge_exposure(struct survey *v, const struct netstate_address *a)
{
	static const enum service inner[] = { SERVICE_LMTP, SERVICE_IMAP };
	char name[MOST_ADDRESS_TEXT];

	netstate_address_name(a->family, a->at, name);
	for (size_t i = 0; i < sizeof inner / sizeof inner[0]; i++) {
		if (!net_offers(v, inner[i]) ||
			(inner[i] == SERVICE_IMAP && !net_offers(v, SERVICE_IMAPS)))
			continue;
		finding_add(&v->f, FINDING_WARNING, "exposed",
			"%s (port %u) is open to the world at %s, and the world does not need it",
			service_name(inner[i]),
			service_port(inner[i]) + (unsigned int)v->s->port_base, name);
		finding_advise(&v->f, "%s",
			inner[i] == SERVICE_IMAP ? "Clients use imaps (993): take imap out of services, or close the port in the firewall"
						 : "Take lmtp out of services (its UNIX socket stays), or close the port in the firewall");
	}
}

void
net_judge_listeners(struct survey *v)
{
	size_t before = v->f.count;
	bool served = false, exposed[2] = { false, false }, all_there;

	for (size_t i = 0; i < v->s->listen.count; i++)
		judge_member(v, v->s->listen.at[i]);
	all_there = v->f.count == before;
	for (size_t i = 0; i < v->net.address_count; i++) {
		const struct netstate_address *a = &v->net.addresses[i];

		if (!is_of_the_world(a) || !net_listens_at(v, a))
			continue;
		served = true;
		/* Once for each family is enough. */
		if (a->kind == NETSTATE_GLOBAL && !exposed[a->family == 6]) {
			exposed[a->family == 6] = true;
			judge_exposure(v, a);
		}
	}
	if (!served) {
		finding_add(&v->f, FINDING_PROBLEM, "listen",
			"Valija listens on no address of this machine that others can reach");
		finding_advise(&v->f, "listen = any, or the name of an interface, in valija.conf");
	} else if (v->server && !net_listens_at(v, v->server)) {
		char name[MOST_ADDRESS_TEXT];

		netstate_address_name(4, v->server->at, name);
		finding_add(&v->f, FINDING_WARNING, "listen", "Valija does not listen on %s", name);
		finding_advise(&v->f, "Add it, or its interface %s, to listen",
			net_link_name(v, v->server));
	}
	if (v->s->port_base && !v->translated && net_offers(v, SERVICE_SMTP)) {
		finding_add(&v->f, FINDING_PROBLEM, "ports",
			"port_base is %llu: other mail servers only come to port 25",
			(unsigned long long)v->s->port_base);
		finding_advise(&v->f, "Set port_base = 0 (this needs root), or redirect port 25 in the firewall");
	}
	if (all_there && served)
		finding_add(&v->f, FINDING_OK, "listen", "every address in listen is there");
}
