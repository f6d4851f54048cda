/*
 * keyring - the private keys of one generation of the configuration, with their chains.
 *
 * tls-key has up to three: in force, offered (not yet swapped in), and the one before, which
 * handshakes that were under way during the swap may still name.
 */
#ifndef VALIJA_KEYRING_H
#define VALIJA_KEYRING_H

#include "chain.h"
#include "rsa-sign.h"

#define MOST_KEYS 64            /* certificates in service at a time */

struct held_key {
	gnutls_privkey_t key;
	struct rsa_signer *rsa;                  /* signs faster where it is (rsa-sign.h); or NULL */
	gnutls_pk_algorithm_t kind;
	unsigned char id[KEY_ID_SIZE];
	uint64_t signatures;
	unsigned char fingerprint[KEY_ID_SIZE];  /* SHA-256 of the certificate itself */
	int64_t not_before, not_after;           /* of the chain: the latest begin, the first end */
	char name[256];                          /* for people: its first name */
	int told_days;                           /* the last warning of its end; INT_MAX: none yet */
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
/* Is one of the keys in a token? */
bool keyring_has_tokens(const struct keyring *ring);
/* Is this key one of them, by its public part? One that cannot be told is. */
bool keyring_holds(const struct keyring *ring, gnutls_privkey_t key);
/* The same certificate, not only the same key. */
bool keyring_has(const struct keyring *ring, const struct held_key *held);
/* May it be shown at `now` (seconds since 1970)? A sentence in *why if not. */
bool keyring_is_in_time(const struct held_key *held, int64_t now, struct text *why);
/* Signs with the key what was checked for it. 0 with *signature (gnutls_free its data), or a GnuTLS error. */
int keyring_sign(struct held_key *held, const struct signing *what, gnutls_datum_t *signature);
/* Forgets all keys; GnuTLS wipes what it frees. */
void keyring_clear(struct keyring *ring);

#endif
