/* own-address - see own-address.h. */
#include "own-address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

void
address_text(const struct sockaddr_storage *a, char *to, size_t room)
{
	const void *at = a->ss_family == AF_INET
		? (const void *)&((const struct sockaddr_in *)(const void *)a)->sin_addr
		: (const void *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;

	if (inet_ntop(a->ss_family, at, to, (socklen_t)room) == NULL)
		to[0] = '\0';
}

static const struct in6_addr *
six_of(const struct sockaddr_storage *a)
{
	return &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
}

static uint32_t
ipv4_at(const unsigned char *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* IPv4, also inside IPv6, where the kernel makes no difference. False: it is none. */
static bool
as_ipv4(const struct sockaddr_storage *a, uint32_t *four)
{
	if (a->ss_family == AF_INET) {
		*four = ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr);
		return true;
	}
	*four = ipv4_at(six_of(a)->s6_addr + 12);
	return IN6_IS_ADDR_V4MAPPED(six_of(a)) || IN6_IS_ADDR_V4COMPAT(six_of(a));
}

/* Also what a router would make of it: behind NAT64 (RFC 6052), or by 6to4 (RFC 3056). */
static bool
as_translated_ipv4(const struct sockaddr_storage *a, uint32_t *four)
{
	static const unsigned char nat64[12] = { 0x00, 0x64, 0xff, 0x9b };
	const unsigned char *at = six_of(a)->s6_addr;
	bool six = a->ss_family == AF_INET6;

	if (six && memcmp(at, nat64, sizeof(nat64)) == 0)
		*four = ipv4_at(at + 12);
	else if (six && at[0] == 0x20 && at[1] == 0x02)
		*four = ipv4_at(at + 2);
	else
		return as_ipv4(a, four);
	return true;
}

bool
address_is_loopback(const struct sockaddr_storage *a)
{
	uint32_t four;

	return (a->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(six_of(a))) || (as_ipv4(a, &four) && four >> 24 == 127);
}

bool
address_is_nobodys(const struct sockaddr_storage *a)
{
	uint32_t four;

	if (a->ss_family == AF_INET6 && (IN6_IS_ADDR_UNSPECIFIED(six_of(a)) || IN6_IS_ADDR_MULTICAST(six_of(a))))
		return true;
	/* ::ffff:0.0.0.0 would be this machine. */
	return as_translated_ipv4(a, &four) && (four >> 24 == 0 || four >> 28 >= 14);
}

bool
address_is_private(const struct sockaddr_storage *a)
{
	static const struct {
		uint32_t net;
		unsigned int bits;
	} nets[] = {
		{ 0x0a000000, 8 }, { 0xac100000, 12 }, { 0xc0a80000, 16 }, /* RFC 1918 */
		{ 0x64400000, 10 },                                        /* RFC 6598 */
		{ 0xa9fe0000, 16 },                                        /* RFC 3927 */
		{ 0xc0000000, 24 }, { 0xc6120000, 15 },                    /* RFC 6890, RFC 2544 */
		{ 0x7f000000, 8 },                                         /* behind a translator, its own */
	};
	static const unsigned char local_nat64[6] = { 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01 }; /* RFC 8215 */
	const unsigned char *six = six_of(a)->s6_addr;
	uint32_t four;

	if (a->ss_family == AF_INET6 && (IN6_IS_ADDR_LINKLOCAL(six_of(a)) || IN6_IS_ADDR_SITELOCAL(six_of(a)) ||
		(six[0] & 0xfe) == 0xfc || memcmp(six, local_nat64, sizeof(local_nat64)) == 0))
		return true;
	if (!as_translated_ipv4(a, &four))
		return false;
	for (size_t i = 0; i < sizeof(nets) / sizeof(nets[0]); i++)
		if ((four ^ nets[i].net) >> (32 - nets[i].bits) == 0)
			return !address_is_loopback(a);
	return false;
}

static bool
same_ip(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
	const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;

	if (a->ss_family != b->ss_family)
		return false;
	return a->ss_family == AF_INET
		? a4->sin_addr.s_addr == b4->sin_addr.s_addr
		: memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0;
}

/* Where the kernel would speak from, were we to speak with it, is the address itself. No packet
 * leaves for the question. */
bool
address_is_ours(const struct sockaddr_storage *a)
{
	struct sockaddr_storage there = *a, here;
	socklen_t len = sizeof(here);
	int fd = socket(a->ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool same;

	if (fd < 0)
		return false;
	if (a->ss_family == AF_INET)
		((struct sockaddr_in *)(void *)&there)->sin_port = htons(9);
	else
		((struct sockaddr_in6 *)(void *)&there)->sin6_port = htons(9);
	same = connect(fd, (struct sockaddr *)&there, a->ss_family == AF_INET
			       ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6)) == 0 &&
		getsockname(fd, (struct sockaddr *)&here, &len) == 0 && same_ip(&here, a);
	close(fd);
	return same;
}
