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

bool
guest_key_of(const char *ip, struct guest_key *key)
{
	unsigned char at[16];

	memset(key, 0, sizeof(*key));
	if (inet_pton(AF_INET, ip, key->at + 12) == 1) {
		memset(key->at + 10, 0xff, 2);
		return true;
	}
	if (inet_pton(AF_INET6, ip, at) != 1)
		return false;
	memcpy(key->at, at, 8);
	return true;
}

/* FNV-1a, begun with `seed`. */
static uint64_t
digest(uint64_t seed, struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		seed = (seed ^ s.at[i]) * UINT64_C(0x100000001b3);
	return seed;
}

void
guest_key_of_user(const struct guest_key *address, struct span user, struct guest_key *key)
{
	struct span at = span_of(address->at, sizeof(address->at));
	uint64_t first = digest(digest(UINT64_C(0xcbf29ce484222325), at), user),
		 second = digest(digest(UINT64_C(0x9e3779b97f4a7c15), at), user);

	memcpy(key->at, &first, 8);
	memcpy(key->at + 8, &second, 8);
	/* IPv6 has zeros behind the first 64 bits, IPv4 as well here; a uid has 'u' (door.c). */
	key->at[8] = 'U';
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

bool
guest_move(void **root, struct guest **c, const struct guest_key *key, uint64_t most)
{
	struct guest *now = guest_enter(root, key, most);

	if (!now)
		return false;
	guest_leave(root, c);
	*c = now;
	return true;
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
