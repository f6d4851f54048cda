/*
 * guest - see guest.h.
 */
#include "guest.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "text.h"

struct guest {
	struct guest_key key;
	uint64_t connections;
};

static int
guest_compare(const void *a, const void *b)
{
	const struct guest *left = a, *right = b;

	return memcmp(left->key.at, right->key.at, sizeof(left->key.at));
}

static void
name_ipv4(const void *address, char ip[MOST_IP], struct guest_key *key)
{
	inet_ntop(AF_INET, address, ip, MOST_IP);
	memset(key->at + 10, 0xff, 2);
	memcpy(key->at + 12, address, 4);
}

void
guest_name(const struct sockaddr *from, char ip[MOST_IP], struct guest_key *key)
{
	memset(key, 0, sizeof(*key));
	if (from->sa_family == AF_INET) {
		name_ipv4(&((const struct sockaddr_in *)(const void *)from)->sin_addr, ip, key);
		return;
	}
	if (from->sa_family == AF_INET6) {
		const struct in6_addr *a =
			&((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;

		if (IN6_IS_ADDR_V4MAPPED(a)) {
			name_ipv4(a->s6_addr + 12, ip, key);
			return;
		}
		inet_ntop(AF_INET6, a, ip, MOST_IP);
		memcpy(key->at, a->s6_addr, 8);
		return;
	}
	span_copy(from->sa_family == AF_UNIX ? SPAN("local") : SPAN("unknown"), ip, MOST_IP);
}

struct guest *
guest_enter(void **root, const struct guest_key *key, uint64_t most)
{
	struct guest wanted = { *key, 0 };
	struct guest **node = tfind(&wanted, root, guest_compare);
	struct guest *c;

	if (!node) {
		c = must_alloc(sizeof(*c));
		c->key = *key;
		node = tsearch(c, root, guest_compare);
		if (!node) {
			free(c);
			return NULL;
		}
	}
	c = *node;
	if (c->connections >= most)
		return NULL;
	c->connections++;
	return c;
}

void
guest_leave(void **root, struct guest **c)
{
	if (!*c)
		return;
	if (--(*c)->connections == 0) {
		tdelete(*c, root, guest_compare);
		free(*c);
	}
	*c = NULL;
}
