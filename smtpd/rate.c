/*
 * rate - see rate.h.
 */
#include "smtpd/rate.h"

#include <arpa/inet.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"

struct client {
	struct guest_key key;
	uint32_t sums[RATE_KINDS];
};

static int
compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct guest_key));
}

/* As guest_name() makes it from the socket's address. */
static bool
key_of(const char *ip, struct guest_key *key)
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

void
rates_clear(struct rates *r)
{
	tdestroy(r->clients, free);
	r->clients = NULL;
	r->count = 0;
}

uint32_t
rate_add(struct rates *r, const char *ip, enum rate_kind kind, uint32_t more, uint64_t now)
{
	struct client wanted = { 0 }, **node, *c;

	if (!key_of(ip, &wanted.key))
		return 0;
	if (now / 60 != r->minute) {
		rates_clear(r);
		r->minute = now / 60;
	}
	node = tfind(&wanted, &r->clients, compare);
	if (!node) {
		if (more == 0 || r->count >= RATE_MOST_CLIENTS)
			return 0;
		c = must_alloc(sizeof(*c));
		c->key = wanted.key;
		node = tsearch(c, &r->clients, compare);
		if (!node) {
			free(c);
			return 0;
		}
		r->count++;
	}
	c = *node;
	c->sums[kind] = c->sums[kind] > UINT32_MAX - more ? UINT32_MAX : c->sums[kind] + more;
	return c->sums[kind];
}
