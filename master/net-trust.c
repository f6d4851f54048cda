/*
 * net-trust - see net-trust.h.
 */
#include "master/net-trust.h"

#include "common/network.h"

/* First and last address of what others may come from, when a router puts its own in place of theirs. */
static const struct range {
	const char *first, *last, *name;
} ranges[] = {
	{ "10.0.0.0", "10.255.255.255", "10.0.0.0/8" },
	{ "172.16.0.0", "172.31.255.255", "172.16.0.0/12" },
	{ "192.168.0.0", "192.168.255.255", "192.168.0.0/16" },
	{ "100.64.0.0", "100.127.255.255", "100.64.0.0/10" },
	{ "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fc00::/7" },
};

#define RANGE_COUNT (sizeof ranges / sizeof ranges[0])

static void
doubt_gateways(const char *option, const struct list *list, const struct netstate *n, struct text *to)
{
	char gateway[MOST_ADDRESS_TEXT];

	for (size_t i = 0; i < n->route_count; i++) {
		const struct netstate_route *r = &n->routes[i];

		if (!r->has_gateway)
			continue;
		netstate_address_name(r->gateway_family, r->gateway, gateway);
		if (!networks_have(list, gateway))
			continue;
		text_printf(to,
			"%s holds the default gateway %s: whoever seems to come from there may be anybody. It is not trusted\n",
			option, gateway);
		return;
	}
}

static void
doubt_ranges(const char *option, const struct list *list, struct text *to)
{
	struct network n;

	for (size_t i = 0; i < list->count; i++) {
		if (!network_parse(list->at[i], &n))
			continue;
		for (size_t j = 0; j < RANGE_COUNT; j++) {
			if (!network_has(&n, ranges[j].first) || !network_has(&n, ranges[j].last))
				continue;
			text_printf(to,
				"%s: %.*s holds all private addresses of %s: name the networks that are yours\n",
				option, SPAN_ARG(list->at[i]), ranges[j].name);
			break;
		}
	}
}

void
net_trust_doubts(const struct settings *s, const struct netstate *n, struct text *to)
{
	const struct {
		const char *name;
		const struct list *list;
	} options[] = { { "policy_exempt", &s->policy_exempt }, { "lmtp_clients", &s->lmtp_clients },
		{ "proxy_from", &s->proxy_from }, { "xclient_from", &s->xclient_from },
		{ "xforward_from", &s->xforward_from } };

	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
		doubt_gateways(options[i].name, options[i].list, n, to);
		doubt_ranges(options[i].name, options[i].list, to);
	}
}
