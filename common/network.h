/*
 * network - addresses and networks as options name them: "192.0.2.7", "192.0.2.0/24",
 * "2001:db8::/32".
 */
#ifndef VALIJA_NETWORK_H
#define VALIJA_NETWORK_H

#include "settings.h"

struct network {
	unsigned char at[16];   /* IPv4 as ::ffff:a.b.c.d */
	unsigned int bits;      /* of the 128 that count */
};

/* Strict: an address as inet_pton(3) takes it, perhaps "/" and a length; no bit may be set behind
 * the length (a typing mistake then). False: malformed, *n unchanged. */
bool network_parse(struct span text, struct network *n);
/* Does the address lie in the network? `ip` is an address as text, without port; anything else,
 * NULL too, lies in none. */
bool network_has(const struct network *n, const char *ip);
/* Is the address in one of these, each as network_parse takes it? Malformed ones count for nothing:
 * the configuration was checked. */
bool networks_have(const struct list *networks, const char *ip);

/* The default gateways of this machine, of IPv4 (4) or IPv6 (6): addresses with commas between; what was
 * told of that family before is forgotten. Whoever seems to come from there comes from somewhere else. */
void network_gateways(unsigned int family, struct span list);
bool network_is_gateway(const char *ip);
/* As networks_have, for networks that are trusted with anything: never a gateway. */
bool networks_trust(const struct list *networks, const char *ip);
/* As networks_trust; but a gateway counts where it is named by itself: it may be a proxy. */
bool networks_name(const struct list *networks, const char *ip);

#endif
