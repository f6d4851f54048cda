/*
 * network - see network.h.
 */
#include "network.h"

#include <arpa/inet.h>
#include <string.h>

#define IPV4_BITS 32
#define IPV6_BITS 128
#define MOST_TEXT (INET6_ADDRSTRLEN + 1)
#define MOST_GATEWAYS 8 /* of a family */

/* The address in the form of IPv6, and how many bits it has by itself; 0 when it is none. */
static unsigned int
address_parse(const char *text, unsigned char at[16])
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (inet_pton(AF_INET6, text, at) == 1)
		return IPV6_BITS;
	memcpy(at, mapped, sizeof(mapped));
	return inet_pton(AF_INET, text, at + sizeof(mapped)) == 1 ? IPV4_BITS : 0;
}

static bool
bit(const unsigned char at[16], unsigned int i)
{
	return (at[i / 8] >> (7 - i % 8) & 1) != 0;
}

bool
network_parse(struct span text, struct network *n)
{
	size_t slash = span_index(text, '/');
	struct span length = span_part(text, slash + 1, text.len);
	struct network found = { .bits = 0 };
	char address[MOST_TEXT];
	unsigned int own;
	uint64_t bits;

	if (!span_copy(span_part(text, 0, slash), address, sizeof(address)))
		return false;
	own = address_parse(address, found.at);
	bits = own;
	if (own == 0 || (slash < text.len &&
				(!span_take_number(&length, own, &bits) || length.len > 0)))
		return false;
	found.bits = IPV6_BITS - own + (unsigned int)bits;
	for (unsigned int i = found.bits; i < IPV6_BITS; i++)
		if (bit(found.at, i))
			return false;
	*n = found;
	return true;
}

bool
network_has(const struct network *n, const char *ip)
{
	unsigned char at[16];

	if (!ip || address_parse(ip, at) == 0)
		return false;
	for (unsigned int i = 0; i < n->bits; i++)
		if (bit(at, i) != bit(n->at, i))
			return false;
	return true;
}

bool
networks_have(const struct list *networks, const char *ip)
{
	struct network n;

	for (size_t i = 0; i < networks->count; i++)
		if (network_parse(networks->at[i], &n) && network_has(&n, ip))
			return true;
	return false;
}

/* --- gateways --- */

static struct {
	char at[MOST_GATEWAYS][MOST_TEXT];
	size_t count;
} gateways[2];

void
network_gateways(unsigned int family, struct span list)
{
	unsigned int f = family == 6;
	struct span one;
	bool more = list.len > 0;

	gateways[f].count = 0;
	while (more && gateways[f].count < MOST_GATEWAYS) {
		more = span_take_until(&list, ',', &one);
		if (!more)
			one = list;
		if (one.len && span_copy(one, gateways[f].at[gateways[f].count], MOST_TEXT))
			gateways[f].count++;
	}
}

bool
network_is_gateway(const char *ip)
{
	for (unsigned int f = 0; ip && f < 2; f++)
		for (size_t i = 0; i < gateways[f].count; i++)
			if (strcmp(gateways[f].at[i], ip) == 0)
				return true;
	return false;
}

bool
networks_trust(const struct list *networks, const char *ip)
{
	return !network_is_gateway(ip) && networks_have(networks, ip);
}

bool
networks_name(const struct list *networks, const char *ip)
{
	struct network n;

	if (!network_is_gateway(ip))
		return networks_have(networks, ip);
	for (size_t i = 0; i < networks->count; i++)
		if (network_parse(networks->at[i], &n) && n.bits == IPV6_BITS && network_has(&n, ip))
			return true;
	return false;
}
