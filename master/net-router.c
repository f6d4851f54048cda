/*
 * net-router - behind a router: which ports it must forward, and the rules for one that is a Linux machine.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "master/net-survey.h"

#define MOST_NET_TEXT (MOST_ADDRESS_TEXT + 8)

static const struct public_address *
public_ipv4(const struct survey *v)
{
	for (size_t i = 0; i < v->public_count; i++)
		if (v->publics[i].family == 4)
			return &v->publics[i];
	return NULL;
}

static void
ports_text(const struct survey *v, struct text *to)
{
	for (size_t i = 0; i < v->forward_count; i++)
		text_printf(to, "%s%u (%s)", i ? ", " : "", v->forwards[i].outside,
			service_name(v->forwards[i].service));
}

static void
judge_translation(struct survey *v, const char *server)
{
	const struct public_address *p = public_ipv4(v);

	if (v->shared) {
		finding_add(&v->f, FINDING_PROBLEM, "nat",
			"%s is an address that the provider shares among customers (RFC 6598): nobody can be reached at it, and no port can be forwarded",
			server);
		finding_advise(&v->f,
			"Ask the provider for a public IPv4 address, use IPv6 if there is any, or rent a small server that forwards the ports through a tunnel (with the PROXY protocol, so that addresses stay true)");
	} else if (p) {
		finding_add(&v->f, FINDING_OK, "nat",
			"%s is private: this machine is behind a router, and the world comes to %s (%s)",
			server, p->name, p->source);
	} else {
		finding_add(&v->f, FINDING_WARNING, "nat",
			"%s is private: this machine is behind a router, and nobody told us the router's public address",
			server);
		finding_advise(&v->f,
			"Set public_address to what the router shows as its Internet (WAN) address; if that changes, publish it under %s by a dynamic DNS service instead",
			v->hostname);
	}
}

static void
judge_forwards(struct survey *v, const char *server)
{
	struct text ports = TEXT_UP_TO(512);
	bool moved = v->s->port_base != 0;

	ports_text(v, &ports);
	finding_add(&v->f, FINDING_OK, "forward", "to be forwarded by the router to %s, TCP: %s%s", server,
		text_str(&ports), moved ? ", each to itself plus port_base" : "");
	finding_advise(&v->f,
		"These and no others; and with the clients' own addresses: a router that puts its own in their place (source NAT for what comes in) makes every sender look like a neighbour. `valija net rules` prints them for nftables and iptables");
	text_clear(&ports);
}

void
net_judge_router(struct survey *v)
{
	char server[MOST_ADDRESS_TEXT];

	if (!v->server)
		return;
	netstate_address_name(4, v->server->at, server);
	if (!v->translated) {
		finding_add(&v->f, FINDING_OK, "nat", "%s is public: nothing needs to be forwarded", server);
		return;
	}
	judge_translation(v, server);
	if (!v->shared)
		judge_forwards(v, server);
}

/* --- rules --- */

/* The network of the server's link: "192.168.77.0/24". */
static void
lan_text(const struct survey *v, char text[MOST_NET_TEXT])
{
	uint32_t bits, mask = v->server->prefix ? ~UINT32_C(0) << (32 - v->server->prefix) : 0;
	char name[MOST_ADDRESS_TEXT];

	memcpy(&bits, v->server->at, sizeof bits);
	bits = htonl(ntohl(bits) & mask);
	netstate_address_name(4, (const uint8_t *)&bits, name);
	snprintf(text, MOST_NET_TEXT, "%s/%u", name, v->server->prefix);
}

/* The router's own address in the LAN, or "". */
static void
gateway_text(const struct survey *v, char text[MOST_ADDRESS_TEXT])
{
	text[0] = '\0';
	if (v->gateway && v->gateway->has_gateway && v->gateway->gateway_family == 4)
		netstate_address_name(4, v->gateway->gateway, text);
}

static void
outside_ports(const struct survey *v, const char *between, bool inside, struct text *to)
{
	for (size_t i = 0; i < v->forward_count; i++)
		text_printf(to, "%s%u", i ? between : "",
			inside ? v->forwards[i].inside : v->forwards[i].outside);
}

void
net_rules_nftables(const struct survey *v, bool hairpin, struct text *to)
{
	char server[MOST_ADDRESS_TEXT], lan[MOST_NET_TEXT], gateway[MOST_ADDRESS_TEXT];

	if (!v->server || v->forward_count == 0)
		return;
	netstate_address_name(4, v->server->at, server);
	lan_text(v, lan);
	gateway_text(v, gateway);
	text_printf(to,
		"# For the router, with nft -f. Set the name of its interface to the Internet first.\n"
		"define wan = \"wan0\"\n"
		"table ip valija {\n"
		"\tchain prerouting {\n"
		"\t\ttype nat hook prerouting priority dstnat; policy accept;\n");
	for (size_t i = 0; i < v->forward_count; i++) {
		const struct forward *f = &v->forwards[i];

		text_printf(to, "\t\tiifname $wan tcp dport %u dnat to %s:%u\n", f->outside, server,
			f->inside);
		if (hairpin)
			text_printf(to,
				"\t\tip saddr %s fib daddr type local ip daddr != %s tcp dport %u dnat to %s:%u\n",
				lan, gateway[0] ? gateway : "127.0.0.1", f->outside, server, f->inside);
	}
	text_add_str(to, "\t}\n\tchain postrouting {\n"
			 "\t\ttype nat hook postrouting priority srcnat; policy accept;\n");
	if (hairpin) {
		text_printf(to, "\t\tip saddr %s ip daddr %s tcp dport { ", lan, server);
		outside_ports(v, ", ", true, to);
		text_add_str(to, " } ct status dnat masquerade\n");
	}
	text_add_str(to, "\t\toifname $wan masquerade\n\t}\n}\n");
	text_printf(to, "# And where the router filters what it forwards, in that chain:\n"
			"#\tct status dnat ip daddr %s accept\n",
		server);
}

void
net_rules_iptables(const struct survey *v, bool hairpin, struct text *to)
{
	char server[MOST_ADDRESS_TEXT], lan[MOST_NET_TEXT], gateway[MOST_ADDRESS_TEXT];

	if (!v->server || v->forward_count == 0)
		return;
	netstate_address_name(4, v->server->at, server);
	lan_text(v, lan);
	gateway_text(v, gateway);
	text_add_str(to, "# For the router, with sh. Set the name of its interface to the Internet first.\n"
			 "WAN=wan0\n");
	for (size_t i = 0; i < v->forward_count; i++) {
		const struct forward *f = &v->forwards[i];

		text_printf(to,
			"iptables -t nat -A PREROUTING -i $WAN -p tcp --dport %u -j DNAT --to-destination %s:%u\n",
			f->outside, server, f->inside);
		if (hairpin)
			text_printf(to,
				"iptables -t nat -A PREROUTING -s %s ! -d %s -m addrtype --dst-type LOCAL -p tcp --dport %u -j DNAT --to-destination %s:%u\n",
				lan, gateway[0] ? gateway : "127.0.0.1", f->outside, server, f->inside);
	}
	if (hairpin) {
		text_printf(to, "iptables -t nat -A POSTROUTING -s %s -d %s -p tcp -m multiport --dports ", lan,
			server);
		outside_ports(v, ",", true, to);
		text_add_str(to, " -m conntrack --ctstate DNAT -j MASQUERADE\n");
	}
	text_printf(to, "iptables -t nat -A POSTROUTING -o $WAN -j MASQUERADE\n"
			"iptables -I FORWARD -d %s -m conntrack --ctstate DNAT -j ACCEPT\n"
			"iptables -I FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n",
		server);
}
