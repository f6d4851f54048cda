/*
 * netstate - dumps of rtnetlink(7) become a snapshot.
 */
#include "master/netstate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IFA_PROTO
#define IFA_PROTO 11
#endif
#ifndef IFAPROT_KERNEL_RA
#define IFAPROT_UNSPEC	  0
#define IFAPROT_KERNEL_LO 1
#define IFAPROT_KERNEL_RA 2
#define IFAPROT_KERNEL_LL 3
#endif

/* Messages, attributes and next hops begin at multiples of four; the kernel's macros count in int. */
#define ALIGNED(len)	 (((size_t)(len) + 3) & ~(size_t)3)
#define DATAGRAM	 32768
#define MOST_DATAGRAMS	 4096 /* of one dump: a router's table has its default routes first */
#define ANSWER_SECONDS	 2
#define MOST_ERRNO	 4096
#define ATTRIBUTES	 64 /* the highest number that we look at, and one */

/* --- attributes --- */

struct attributes {
	struct span at[ATTRIBUTES];
};

/* Everything behind the fixed part of a message. What does not fit into the message ends the list. */
static void
attributes_read(struct span in, struct attributes *a)
{
	struct rtattr head;

	memset(a, 0, sizeof *a);
	while (in.len >= sizeof head) {
		size_t step;

		memcpy(&head, in.at, sizeof head);
		if (head.rta_len < sizeof head || head.rta_len > in.len)
			return;
		if ((head.rta_type & NLA_TYPE_MASK) < ATTRIBUTES)
			a->at[head.rta_type & NLA_TYPE_MASK] =
				span_part(in, sizeof head, head.rta_len - sizeof head);
		step = ALIGNED(head.rta_len);
		in = span_part(in, step, in.len);
	}
}

static bool
take_u32(struct span s, uint32_t *value)
{
	if (s.len != sizeof *value)
		return false;
	memcpy(value, s.at, sizeof *value);
	return true;
}

static uint8_t
family_of(unsigned int family)
{
	return family == AF_INET ? 4 : family == AF_INET6 ? 6 : 0;
}

static bool
take_address(struct span s, uint8_t family, uint8_t at[16])
{
	if (s.len != (family == 4 ? 4u : 16u))
		return false;
	memset(at, 0, 16);
	memcpy(at, s.at, s.len);
	return true;
}

/* One more place at the end of a list; NULL, and the snapshot is cut, when there are too many. */
static void *
more(struct netstate *n, void **list, size_t *count, size_t size, size_t most)
{
	/* Grown by doubling, whose steps are the powers of two. */
	if (*count >= most) {
		n->cut = true;
		return NULL;
	}
	if ((*count & (*count - 1)) == 0)
		*list = must_realloc(*list, (*count ? *count * 2 : 1) * size);
	memset((char *)*list + *count * size, 0, size);
	return (char *)*list + (*count)++ * size;
}

#define MORE(n, list, count, most)                                                                 \
	more(n, (void **)&(n)->list, &(n)->count, sizeof *(n)->list, most)

/* --- messages --- */

static void
take_link(struct netstate *n, struct span in)
{
	struct ifinfomsg info;
	struct attributes a;
	struct netstate_link *l;

	if (in.len < sizeof info)
		return;
	memcpy(&info, in.at, sizeof info);
	attributes_read(span_part(in, ALIGNED(sizeof info), in.len), &a);
	if (info.ifi_index <= 0 || !(l = MORE(n, links, link_count, MOST_LINKS)))
		return;
	l->index = (uint32_t)info.ifi_index;
	l->up = info.ifi_flags & IFF_UP;
	l->running = l->up && (info.ifi_flags & IFF_RUNNING);
	l->loopback = info.ifi_flags & IFF_LOOPBACK;
	if (a.at[IFLA_ADDRESS].len == sizeof l->hardware)
		memcpy(l->hardware, a.at[IFLA_ADDRESS].at, sizeof l->hardware);
	if (a.at[IFLA_IFNAME].len)
		span_copy(span_part(a.at[IFLA_IFNAME], 0, a.at[IFLA_IFNAME].len - 1), l->name,
			sizeof l->name);
}

static enum netstate_life
life_of(const struct netstate_address *a)
{
	if (a->kind == NETSTATE_LOOPBACK || a->kind == NETSTATE_LINK_LOCAL ||
		a->proto == IFAPROT_KERNEL_LO || a->proto == IFAPROT_KERNEL_LL)
		return NETSTATE_OF_KERNEL;
	if (a->family == 6 && (a->flags & IFA_F_TEMPORARY))
		return NETSTATE_TEMPORARY;
	if (a->proto == IFAPROT_KERNEL_RA)
		return NETSTATE_ADVERTISED;
	return a->valid != NETSTATE_FOREVER ? NETSTATE_LEASED : NETSTATE_NO_LIFETIME;
}

static void
take_one_address(struct netstate *n, struct span in)
{
	struct ifaddrmsg info;
	struct ifa_cacheinfo life;
	struct attributes a;
	struct netstate_address got = { .valid = NETSTATE_FOREVER, .preferred = NETSTATE_FOREVER },
			       *to;

	if (in.len < sizeof info)
		return;
	memcpy(&info, in.at, sizeof info);
	attributes_read(span_part(in, ALIGNED(sizeof info), in.len), &a);
	got.family = family_of(info.ifa_family);
	/* On a point-to-point link IFA_ADDRESS is the other end's. */
	if (!got.family ||
		!take_address(a.at[IFA_LOCAL].len ? a.at[IFA_LOCAL] : a.at[IFA_ADDRESS],
			got.family, got.at))
		return;
	got.prefix = info.ifa_prefixlen;
	got.link = info.ifa_index;
	got.scope = info.ifa_scope;
	got.flags = info.ifa_flags;
	take_u32(a.at[IFA_FLAGS], &got.flags);
	if (a.at[IFA_PROTO].len == 1)
		got.proto = a.at[IFA_PROTO].at[0];
	if (a.at[IFA_CACHEINFO].len == sizeof life) {
		memcpy(&life, a.at[IFA_CACHEINFO].at, sizeof life);
		got.valid = life.ifa_valid;
		got.preferred = life.ifa_prefered;
	}
	got.kind = netstate_kind_of(got.family, got.at);
	got.life = life_of(&got);
	if ((to = MORE(n, addresses, address_count, MOST_ADDRESSES)))
		*to = got;
}

/* RTA_VIA: a u16 family, then an address. */
static bool
take_via(struct span s, struct netstate_route *r)
{
	uint16_t family;

	if (s.len < sizeof family)
		return false;
	memcpy(&family, s.at, sizeof family);
	r->gateway_family = family_of(family);
	return r->gateway_family &&
		take_address(span_part(s, sizeof family, s.len), r->gateway_family, r->gateway);
}

/* The first way of a route with several. */
static void
take_multipath(struct span s, struct netstate_route *r)
{
	struct rtnexthop hop;
	struct attributes a;

	if (s.len < sizeof hop)
		return;
	memcpy(&hop, s.at, sizeof hop);
	if (hop.rtnh_len < sizeof hop || hop.rtnh_len > s.len)
		return;
	attributes_read(span_part(s, ALIGNED(sizeof hop), hop.rtnh_len - sizeof hop), &a);
	r->gateway_family = r->family;
	r->has_gateway = take_address(a.at[RTA_GATEWAY], r->family, r->gateway) ||
		take_via(a.at[RTA_VIA], r);
}

static bool
is_default_route(const struct rtmsg *info)
{
	return info->rtm_dst_len == 0 && info->rtm_src_len == 0 && info->rtm_type == RTN_UNICAST &&
		family_of(info->rtm_family) && !(info->rtm_flags & RTM_F_CLONED);
}

static void
take_route(struct netstate *n, struct span in)
{
	struct rtmsg info;
	struct attributes a;
	struct netstate_route got = { 0 }, *to;
	uint32_t table;

	if (in.len < sizeof info)
		return;
	memcpy(&info, in.at, sizeof info);
	attributes_read(span_part(in, ALIGNED(sizeof info), in.len), &a);
	table = info.rtm_table;
	take_u32(a.at[RTA_TABLE], &table);
	if (!is_default_route(&info) || table != RT_TABLE_MAIN)
		return;
	got.family = got.gateway_family = family_of(info.rtm_family);
	take_u32(a.at[RTA_OIF], &got.link);
	take_u32(a.at[RTA_PRIORITY], &got.metric);
	got.has_gateway = take_address(a.at[RTA_GATEWAY], got.family, got.gateway) ||
		take_via(a.at[RTA_VIA], &got);
	if (!got.has_gateway)
		take_multipath(a.at[RTA_MULTIPATH], &got);
	if ((to = MORE(n, routes, route_count, MOST_ROUTES)))
		*to = got;
}

/* Takes one message from the front of a datagram. */
static bool
take_message(struct span *in, struct nlmsghdr *head, struct span *body)
{
	if (in->len < sizeof *head)
		return false;
	memcpy(head, in->at, sizeof *head);
	if (head->nlmsg_len < sizeof *head || head->nlmsg_len > in->len)
		return false;
	*body = span_part(*in, ALIGNED(sizeof *head), head->nlmsg_len - ALIGNED(sizeof *head));
	*in = span_part(*in, NLMSG_ALIGN((size_t)head->nlmsg_len), in->len);
	return true;
}

int
netstate_take(struct netstate *n, struct span datagram)
{
	struct nlmsghdr head;
	struct span body;
	int error = 0;

	while (take_message(&datagram, &head, &body)) {
		switch (head.nlmsg_type) {
		case NLMSG_DONE:
			return 0;
		case NLMSG_ERROR:
			if (body.len >= sizeof error)
				memcpy(&error, body.at, sizeof error);
			errno = error < 0 && error > -MOST_ERRNO ? -error : EPROTO;
			return -1;
		case RTM_NEWLINK:
			take_link(n, body);
			break;
		case RTM_NEWADDR:
			take_one_address(n, body);
			break;
		case RTM_NEWROUTE:
			take_route(n, body);
			break;
		default:
			break;
		}
	}
	return 1;
}

bool
netstate_concerns(struct span datagram)
{
	struct nlmsghdr head;
	struct span body;
	struct rtmsg info;

	while (take_message(&datagram, &head, &body)) {
		switch (head.nlmsg_type) {
		case RTM_NEWLINK:
		case RTM_DELLINK:
		case RTM_NEWADDR:
		case RTM_DELADDR:
			return true;
		case RTM_NEWROUTE:
		case RTM_DELROUTE:
			if (body.len < sizeof info)
				break;
			memcpy(&info, body.at, sizeof info);
			if (is_default_route(&info))
				return true;
			break;
		default:
			break;
		}
	}
	return false;
}

/* --- the dumps --- */

/* Asks for one kind of message, and takes what is answered. */
static bool
dump(struct netstate *n, int fd, uint16_t type)
{
	struct {
		struct nlmsghdr head;
		struct rtgenmsg body;
	} ask = { .head = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct rtgenmsg)),
			  .nlmsg_type = type,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
			  .nlmsg_seq = 1 } };
	const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	unsigned char *datagram;
	int result = 1;

	if (sendto(fd, &ask, ask.head.nlmsg_len, 0, (const struct sockaddr *)&kernel,
		    sizeof kernel) < 0)
		return false;
	datagram = must_alloc(DATAGRAM);
	for (int i = 0; result > 0 && i < MOST_DATAGRAMS; i++) {
		struct sockaddr_nl from = { 0 };
		socklen_t len = sizeof from;
		ssize_t got = recvfrom(
			fd, datagram, DATAGRAM, MSG_TRUNC, (struct sockaddr *)&from, &len);

		if (got < 0 && errno != EINTR)
			result = -1;
		/* Other processes may write to this socket as well. */
		if (got < 0 || from.nl_pid != 0)
			continue;
		if (got > DATAGRAM)
			n->cut = true;
		else
			result = netstate_take(n, span_of(datagram, (size_t)got));
	}
	free(datagram);
	n->cut = n->cut || result > 0;
	return result >= 0;
}

/* A router's table may be long: what we want stands first, and the rest goes with the socket. */
static bool
dump_on_its_own(struct netstate *n, uint16_t type)
{
	struct timeval wait = { ANSWER_SECONDS, 0 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), error;
	bool good = fd >= 0;

	if (good)
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	good = good && dump(n, fd, type);
	error = errno;
	if (fd >= 0)
		close(fd);
	errno = error;
	return good;
}

bool
netstate_read(struct netstate *n)
{
	int error;

	memset(n, 0, sizeof *n);
	if (dump_on_its_own(n, RTM_GETLINK) && dump_on_its_own(n, RTM_GETADDR) &&
		dump_on_its_own(n, RTM_GETROUTE))
		return true;
	error = errno;
	netstate_clear(n);
	errno = error;
	return false;
}

void
netstate_clear(struct netstate *n)
{
	free(n->links);
	free(n->addresses);
	free(n->routes);
	memset(n, 0, sizeof *n);
}

/* --- questions --- */

const struct netstate_link *
netstate_link(const struct netstate *n, uint32_t index)
{
	for (size_t i = 0; i < n->link_count; i++)
		if (n->links[i].index == index)
			return &n->links[i];
	return NULL;
}

const struct netstate_link *
netstate_link_named(const struct netstate *n, struct span name)
{
	for (size_t i = 0; i < n->link_count; i++)
		if (span_equal(name, span_str(n->links[i].name)))
			return &n->links[i];
	return NULL;
}

const struct netstate_address *
netstate_has(const struct netstate *n, uint8_t family, const uint8_t *at)
{
	for (size_t i = 0; i < n->address_count; i++)
		if (n->addresses[i].family == family &&
			memcmp(n->addresses[i].at, at, family == 4 ? 4 : 16) == 0)
			return &n->addresses[i];
	return NULL;
}

bool
netstate_has_route(const struct netstate *n, uint8_t family)
{
	const struct netstate_link *l;

	for (size_t i = 0; i < n->route_count; i++)
		if (n->routes[i].family == family &&
			(!(l = netstate_link(n, n->routes[i].link)) || l->running))
			return true;
	return false;
}

bool
netstate_is_usable(const struct netstate_address *a)
{
	return !(a->flags & IFA_F_DADFAILED) &&
		(!(a->flags & IFA_F_TENTATIVE) || (a->flags & IFA_F_OPTIMISTIC));
}

static enum netstate_kind
kind_of_ipv4(const uint8_t *at)
{
	if (at[0] == 127)
		return NETSTATE_LOOPBACK;
	if (at[0] == 169 && at[1] == 254)
		return NETSTATE_LINK_LOCAL;
	if (at[0] == 10 || (at[0] == 172 && (at[1] & 0xf0) == 16) || (at[0] == 192 && at[1] == 168))
		return NETSTATE_PRIVATE;
	if (at[0] == 100 && (at[1] & 0xc0) == 64)
		return NETSTATE_SHARED;
	if (at[0] == 0 || at[0] >= 224)
		return NETSTATE_UNUSABLE;
	return NETSTATE_GLOBAL;
}

enum netstate_kind
netstate_kind_of(uint8_t family, const uint8_t *at)
{
	static const uint8_t loopback[16] = { [15] = 1 }, none[16];

	if (family == 4)
		return kind_of_ipv4(at);
	if (memcmp(at, loopback, 16) == 0)
		return NETSTATE_LOOPBACK;
	if (memcmp(at, none, 16) == 0 || at[0] == 0xff || (at[0] == 0xfe && (at[1] & 0xc0) == 0xc0))
		return NETSTATE_UNUSABLE;
	if (at[0] == 0xfe && (at[1] & 0xc0) == 0x80)
		return NETSTATE_LINK_LOCAL;
	if ((at[0] & 0xfe) == 0xfc)
		return NETSTATE_UNIQUE_LOCAL;
	/* IPv4 in IPv6 clothes is what it is underneath (RFC 4291 2.5.5.2). */
	if (memcmp(at, none, 10) == 0 && at[10] == 0xff && at[11] == 0xff)
		return kind_of_ipv4(at + 12);
	return NETSTATE_GLOBAL;
}

bool
netstate_address_take(struct span s, uint8_t *family, uint8_t at[16])
{
	char text[INET6_ADDRSTRLEN];
	uint8_t got[16] = { 0 };

	if (!span_copy(s, text, sizeof text))
		return false;
	if (inet_pton(AF_INET, text, got) == 1)
		*family = 4;
	else if (inet_pton(AF_INET6, text, got) == 1)
		*family = 6;
	else
		return false;
	memcpy(at, got, sizeof got);
	return true;
}

void
netstate_address_name(uint8_t family, const uint8_t *at, char name[MOST_ADDRESS_TEXT])
{
	name[0] = '\0';
	inet_ntop(family == 4 ? AF_INET : AF_INET6, at, name, MOST_ADDRESS_TEXT);
}

const char *
netstate_kind_name(enum netstate_kind kind)
{
	static const char *const names[NETSTATE_KIND_COUNT] = { "loopback", "link-local", "private",
		"shared", "unique-local", "unusable", "global" };

	return kind < NETSTATE_KIND_COUNT ? names[kind] : "unknown";
}

const char *
netstate_life_name(enum netstate_life life)
{
	static const char *const names[] = { "no-lifetime", "leased", "advertised", "temporary",
		"kernel" };

	return life <= NETSTATE_OF_KERNEL ? names[life] : "unknown";
}

bool
netstate_is_link_name(struct span s)
{
	bool letter = false;

	if (s.len == 0 || s.len >= MOST_LINK_NAME)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = s.at[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
			letter = true;
		else if (!(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.' && c != '@')
			return false;
	}
	return letter;
}
