/*
 * net-survey - what `valija net` knows while it looks around; each net-*.c looks at one thing.
 *
 * Facts come first: settings, the machine's network, certificates. Then every net-*.c asks the DNS what
 * it needs to know (net_ask_*), all at once; then each judges (net_judge_*), adding findings.
 */
#ifndef VALIJA_NET_SURVEY_H
#define VALIJA_NET_SURVEY_H

#include "common/settings.h"
#include "master/dns-client.h"
#include "master/findings.h"
#include "master/netstate.h"

#define MOST_FORWARDS 16
#define MOST_RULES    16384

/* An address under which the world reaches us. */
struct public_address {
	uint8_t family; /* 4 or 6 */
	uint8_t at[16];
	char name[MOST_ADDRESS_TEXT];
	const char *source; /* how we know: "of this machine", "public_address", "by the DNS" */
};

/* A service that the world needs, at the port where the world looks for it, and where it is here. */
struct forward {
	enum service service;
	unsigned int outside, inside;
};

struct survey {
	const struct paths *paths;
	const struct settings *s;
	char hostname[MOST_HOST + 1];
	struct netstate net;
	struct dns_client *dns; /* NULL: offline */
	struct findings f;
	/* --- conclusions --- */
	struct public_address publics[MOST_PUBLIC];
	size_t public_count;
	struct forward forwards[MOST_FORWARDS];
	size_t forward_count;
	bool translated; /* no IPv4 address of this machine is global */
	bool shared;	 /* ... and what it has is the provider's (RFC 6598) */
	const struct netstate_address *server; /* the address that the router should forward to, or NULL */
	const struct netstate_route *gateway;  /* the default route of IPv4, or NULL */
};

struct invocation;

/* cmd-net.c: reads settings and network into *v, which is zero, and draws the first conclusions; `online`: makes
 * ready to ask the DNS. False after complaining. net_survey_end frees *v too, in either case. */
bool net_survey_begin(struct survey *v, const struct invocation *in, bool online);
void net_survey_end(struct survey *v);

/* The link's name, or "?". */
const char *net_link_name(const struct survey *v, const struct netstate_address *a);
/* Does `listen` have this address, by itself, by its interface, or by any? */
bool net_listens_at(const struct survey *v, const struct netstate_address *a);
/* Is this service configured? */
bool net_offers(const struct survey *v, enum service service);
/* An address at which the world reaches us, once. */
void net_public_add(struct survey *v, uint8_t family, const uint8_t *at, const char *source);
/* Is it one of ours, or one of those at which the world reaches us? */
bool net_is_ours(const struct survey *v, uint8_t family, const uint8_t *at);

/* net-address.c: addresses, leases, routes, listeners. net_conclude fills in the conclusions that need
 * no DNS. */
void net_conclude(struct survey *v);
void net_judge_addresses(struct survey *v);
void net_judge_ipv6(struct survey *v);
void net_judge_listeners(struct survey *v);

/* net-router.c: what the router has to do. `hairpin`: rules that let those inside use the public address
 * too. */
void net_judge_router(struct survey *v);
void net_rules_nftables(const struct survey *v, bool hairpin, struct text *to);
void net_rules_iptables(const struct survey *v, bool hairpin, struct text *to);

/* net-name.c: name, addresses, PTR, HELO, certificate. */
void net_ask_names(struct survey *v);
void net_learn_publics(struct survey *v); /* from the DNS, after the first lookup_wait */
void net_ask_pointers(struct survey *v);
void net_judge_names(struct survey *v);
/* The file of the certificate that clients get who ask for the server's name: the one that is for it, or
 * else the first. */
struct span net_certificate_file(const struct survey *v);

/* net-outbound.c: does port 25 of others answer? Takes a few seconds. `domain`: whose mail servers are
 * tried, NULL for some well-known ones. */
void net_ask_outbound(struct survey *v, const char *domain);
void net_judge_outbound(struct survey *v, const char *domain);

/* net-inbound.c: does the router's public address lead here? Takes a few seconds. */
void net_judge_inbound(struct survey *v);

/* net-sources.c: do clients seem to come from the router? By what the log has; `file` NULL: the
 * configured one. */
void net_judge_sources(struct survey *v, const char *file);

#endif
