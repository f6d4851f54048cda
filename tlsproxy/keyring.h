/*
 * keyring - the private keys of one generation of the configuration, with their chains.
 *
 * tls-key has up to three: in force, offered (not yet swapped in), and the one before, which
 * handshakes that were under way during the swap may still name.
 */
#ifndef VALIJA_KEYRING_H
#define VALIJA_KEYRING_H

#include "chain.h"

#define MOST_KEYS 64            /* certificates in service at a time */

struct held_key {
	gnutls_privkey_t key;
	gnutls_pk_algorithm_t kind;
	unsigned char id[KEY_ID_SIZE];
	uint64_t signatures;
};

struct keyring {
	uint32_t generation;
	unsigned int count;
	struct held_key held[MOST_KEYS];
};

/* Reads chain and key and puts them in. 0, or -1 with a sentence in *why. The caller closes both.
 */
int keyring_add(struct keyring *ring, int chain_fd, int key_fd, struct text *why);
/* By the digest of its public key; NULL if it is not there. */
struct held_key *keyring_find(struct keyring *ring, struct span id);
/* Forgets all keys; GnuTLS wipes what it frees. */
void keyring_clear(struct keyring *ring);

#endif
