/*
 * pcp - see pcp.h.
 */
#include "master/pcp.h"

#include <arpa/inet.h>
#include <string.h>

#define VERSION		2
#define NAT_PMP_VERSION 0
#define OPCODE_MAP	1
#define ANSWER		0x80
#define PROTOCOL_TCP	6
#define PREFER_FAILURE	2 /* an option that the router has to heed, or refuse (RFC 6887 13.2) */
#define UNSUPP_VERSION	1
#define HEADER		24
#define MAP		36

static void
put16(unsigned char *to, uint16_t n)
{
	to[0] = (unsigned char)(n >> 8);
	to[1] = (unsigned char)n;
}

static void
put32(unsigned char *to, uint32_t n)
{
	put16(to, (uint16_t)(n >> 16));
	put16(to + 2, (uint16_t)n);
}

static uint16_t
get16(const unsigned char *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t
get32(const unsigned char *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

/* ::ffff:a.b.c.d (RFC 6887 5) */
static void
put_ipv4(unsigned char *to, const unsigned char *at)
{
	to[10] = to[11] = 0xff;
	memcpy(to + 12, at, 4);
}

size_t
pcp_request_put(const struct pcp_request *r, unsigned char to[PCP_REQUEST])
{
	static const unsigned char any[4];
	unsigned char *map = to + HEADER;

	memset(to, 0, PCP_REQUEST);
	to[0] = VERSION;
	to[1] = OPCODE_MAP;
	put32(to + 4, r->seconds);
	put_ipv4(to + 8, r->client);
	memcpy(map, r->nonce, PCP_NONCE);
	map[12] = PROTOCOL_TCP;
	put16(map + 16, r->inside);
	/* RFC 6887 15: a mapping that is taken away has no place of its own. */
	put16(map + 18, r->seconds ? r->outside : 0);
	put_ipv4(map + 20, any);
	if (r->seconds == 0)
		return HEADER + MAP;
	map[MAP] = PREFER_FAILURE;
	return PCP_REQUEST;
}

enum pcp_outcome
pcp_answer_take(struct span packet, struct pcp_answer *answer)
{
	const unsigned char *at = packet.at, *map;
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct pcp_answer a = { .result = 0 };

	if (packet.len < 4 || !(at[1] & ANSWER))
		return PCP_NONSENSE;
	/* NAT-PMP's word for it is 16 bits long, and stands at the same place (RFC 6886 3.5, RFC 6887 9). */
	if (at[0] != VERSION)
		return at[3] == UNSUPP_VERSION && (at[0] == NAT_PMP_VERSION ? at[2] == 0 : packet.len >= HEADER)
			? PCP_OTHER_VERSION
			: PCP_NONSENSE;
	if (packet.len < HEADER || packet.len > PCP_MOST_ANSWER || packet.len % 4 != 0)
		return PCP_NONSENSE;
	if (at[3] == UNSUPP_VERSION)
		return PCP_OTHER_VERSION;
	if (at[1] != (ANSWER | OPCODE_MAP) || packet.len < HEADER + MAP || at[HEADER + 12] != PROTOCOL_TCP)
		return PCP_NONSENSE;
	map = at + HEADER;
	a.result = at[3];
	a.seconds = get32(at + 4);
	a.epoch = get32(at + 8);
	memcpy(a.nonce, map, PCP_NONCE);
	a.inside = get16(map + 16);
	a.outside = get16(map + 18);
	if (memcmp(map + 20, mapped, sizeof mapped) == 0)
		memcpy(a.address, map + 32, sizeof a.address);
	*answer = a;
	return PCP_ANSWER;
}

const char *
pcp_result_text(uint8_t result)
{
	static const char *const texts[] = {
		"done",
		"the router speaks another version",
		"the router does not permit it",
		"the router finds the request malformed",
		"the router maps no ports",
		"the router does not know the option PREFER_FAILURE",
		"the router finds an option malformed",
		"the router has trouble with its network",
		"the router has no room for it now",
		"the router does not map TCP",
		"the router gives us no more ports",
		"the router cannot give this port; perhaps another machine, or our former address, has it",
		"there is another translation between us and the router",
		"the router does not limit who may come",
	};

	return result < sizeof texts / sizeof texts[0] ? texts[result] : "the router refuses";
}
