#include "keyring.h"

#include <string.h>

int
keyring_add(struct keyring *ring, int chain_fd, int key_fd, struct text *why)
{
	struct chain chain;
	struct held_key *held;
	int result;

	if (ring->count >= MOST_KEYS) {
		text_printf(why, "more than %d certificates", MOST_KEYS);
		return -1;
	}
	if (chain_read(chain_fd, &chain, why) < 0)
		return -1;
	held = &ring->held[ring->count];
	memset(held, 0, sizeof(*held));
	result = chain_read_key(key_fd, &chain, &held->key, why);
	if (result == 0) {
		held->kind = chain.kind;
		memcpy(held->id, chain.key_id, sizeof(held->id));
		ring->count++;
	}
	chain_clear(&chain);
	return result;
}

struct held_key *
keyring_find(struct keyring *ring, struct span id)
{
	for (unsigned int i = 0; i < ring->count; i++)
		if (span_equal(id, span_of(ring->held[i].id, sizeof(ring->held[i].id))))
			return &ring->held[i];
	return NULL;
}

void
keyring_clear(struct keyring *ring)
{
	for (unsigned int i = 0; i < ring->count; i++)
		gnutls_privkey_deinit(ring->held[i].key);
	memset(ring, 0, sizeof(*ring));
}
