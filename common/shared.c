/*
 * shared - see shared.h.
 */
#include "shared.h"

#include <string.h>

#include "network.h"

/* FNV-1a, 64 bits. Users who exist are told apart; nobody gains by a collision but the limits of an address. */
static uint64_t
digest_of(struct span s)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < s.len; i++)
		h = (h ^ s.at[i]) * UINT64_C(0x100000001b3);
	return h;
}

static const struct shared_address *
find(const struct shared_addresses *a, const struct guest_key *key)
{
	for (size_t i = 0; i < SHARED_ADDRESSES; i++)
		if (a->at[i].count && memcmp(&a->at[i].key, key, sizeof(*key)) == 0)
			return &a->at[i];
	return NULL;
}

/* The place of an address: its own, a free one, or that of the one that was quiet longest. */
static struct shared_address *
place(struct shared_addresses *a, const struct guest_key *key)
{
	struct shared_address *quiet = &a->at[0];

	for (size_t i = 0; i < SHARED_ADDRESSES; i++) {
		struct shared_address *one = &a->at[i];

		if (one->count && memcmp(&one->key, key, sizeof(*key)) == 0)
			return one;
		if (one->last < quiet->last)
			quiet = one;
	}
	memset(quiet, 0, sizeof(*quiet));
	quiet->key = *key;
	return quiet;
}

void
shared_note(struct shared_addresses *a, const char *ip, struct span user, uint64_t now)
{
	uint64_t digest = digest_of(user);
	struct shared_address *one;
	struct guest_key key;

	if (!guest_key_of(ip, &key))
		return;
	one = place(a, &key);
	if (one->last + SHARED_SECONDS < now)
		one->count = 0;
	one->last = now;
	for (unsigned int i = 0; i < one->count; i++)
		if (one->users[i] == digest)
			return;
	if (one->count < SHARED_USERS)
		one->users[one->count++] = digest;
}

bool
shared_is(const struct shared_addresses *a, const char *ip, uint64_t now)
{
	const struct shared_address *one;
	struct guest_key key;

	if (network_is_gateway(ip))
		return true;
	if (!guest_key_of(ip, &key) || !(one = find(a, &key)))
		return false;
	return one->count == SHARED_USERS && one->last + SHARED_SECONDS >= now;
}
