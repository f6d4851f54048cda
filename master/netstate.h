/*
 * netstate - what this machine's network is now: links, addresses, default routes.
 *
 * Read from the kernel by rtnetlink(7), without any privilege. The bytes come from the kernel, never from
 * the network; every length is checked all the same. A snapshot is bounded (MOST_LINKS,
 * MOST_ADDRESSES, MOST_ROUTES); `cut` says when the machine has more.
 */
#ifndef VALIJA_NETSTATE_H
#define VALIJA_NETSTATE_H

#include "common/message.h"
#include "common/text.h"

#define MOST_LINKS	  4096
#define MOST_ADDRESSES	  4096
#define MOST_ROUTES	  64
#define MOST_LINK_NAME	  16
#define NETSTATE_FOREVER	  UINT32_MAX
#define MOST_ADDRESS_TEXT 46

/* RFC 1918; RFC 6598; RFC 3927, RFC 4291 2.5.6; RFC 4193; the machine itself; anything else that no
 * stranger can reach (unspecified, multicast, site-local); and what the world can reach. */
enum netstate_kind {
	NETSTATE_LOOPBACK,
	NETSTATE_LINK_LOCAL,
	NETSTATE_PRIVATE,
	NETSTATE_SHARED,
	NETSTATE_UNIQUE_LOCAL,
	NETSTATE_UNUSABLE,
	NETSTATE_GLOBAL,
	NETSTATE_KIND_COUNT
};

/* How an address came to be, as far as the kernel knows. Most DHCP clients give it the lifetime of
 * the lease; some do not, so that one without lifetime is not for certain a static one. */
enum netstate_life {
	NETSTATE_NO_LIFETIME,
	NETSTATE_LEASED,	    /* it has a lifetime */
	NETSTATE_ADVERTISED, /* made from router advertisements (RFC 4862) */
	NETSTATE_TEMPORARY,  /* the same, for privacy (RFC 8981): gone after a day or so */
	NETSTATE_OF_KERNEL   /* loopback and link-local ones that it made by itself */
};

struct netstate_address {
	uint8_t family; /* 4 or 6 */
	uint8_t prefix;
	uint8_t at[16]; /* IPv4: the first four */
	uint32_t link;	/* its index */
	uint32_t flags; /* IFA_F_* */
	uint8_t scope;	/* RT_SCOPE_* */
	uint8_t proto;	/* IFAPROT_*, 0: not told */
	uint32_t valid, preferred; /* seconds left, or NETSTATE_FOREVER */
	enum netstate_kind kind;
	enum netstate_life life;
};

struct netstate_link {
	uint32_t index;
	char name[MOST_LINK_NAME];
	bool up;      /* somebody switched it on */
	bool running; /* and it has a carrier */
	bool loopback;
	uint8_t hardware[6]; /* its address on the wire; zeros: none of this kind */
};

/* A default route. */
struct netstate_route {
	uint8_t family; /* 4 or 6 */
	bool has_gateway;
	uint8_t gateway_family; /* 4 or 6: an IPv4 route may lead over an IPv6 neighbour */
	uint8_t gateway[16];
	uint32_t link; /* 0: several */
	uint32_t metric;
};

struct netstate {
	struct netstate_link *links;
	struct netstate_address *addresses;
	struct netstate_route *routes;
	size_t link_count, address_count, route_count;
	bool cut;
};

/* Reads everything. False with errno when the kernel does not answer; *n is empty then. */
bool netstate_read(struct netstate *n);
void netstate_clear(struct netstate *n);
/* Takes one datagram of a dump into *n. 1: more follow; 0: that was the last; -1 with errno: the dump
 * failed. What is malformed is left out. */
int netstate_take(struct netstate *n, struct span datagram);
/* Does this datagram of a subscribed socket tell of anything that netstate_read shows? */
bool netstate_concerns(struct span datagram);

const struct netstate_link *netstate_link(const struct netstate *n, uint32_t index);
const struct netstate_link *netstate_link_named(const struct netstate *n, struct span name);
/* An address of this family with these bytes, on any link; or NULL. */
const struct netstate_address *netstate_has(const struct netstate *n, uint8_t family, const uint8_t *at);
/* Is there a default route of this family that is of any use: its link is up? */
bool netstate_has_route(const struct netstate *n, uint8_t family);
/* Is it an address at which this machine may serve: not tentative, not a duplicate? */
bool netstate_is_usable(const struct netstate_address *a);

enum netstate_kind netstate_kind_of(uint8_t family, const uint8_t *at);
/* Reads an address, IPv4 or IPv6, all of `s`. */
bool netstate_address_take(struct span s, uint8_t *family, uint8_t at[16]);
/* "192.0.2.1", "2001:db8::1". */
void netstate_address_name(uint8_t family, const uint8_t *at, char name[MOST_ADDRESS_TEXT]);
/* "private", "leased": one word each. */
const char *netstate_kind_name(enum netstate_kind kind);
const char *netstate_life_name(enum netstate_life life);
/* Could this be the name of a network interface? Letters, digits and - _ . @, at most 15 octets, not only
 * digits and dots, which would be a mistyped address. */
bool netstate_is_link_name(struct span s);

#endif
