/*
 * digest - HMAC-SHA-256 with a key of this process: what strangers choose becomes a fixed size that
 * they cannot predict, and what is secret cannot be read back.
 */
#ifndef VALIJA_DIGEST_H
#define VALIJA_DIGEST_H

#include "common/span.h"

#define DIGEST_SIZE 32

struct digest_key {
	unsigned char at[DIGEST_SIZE];
};

struct digest {
	unsigned char at[DIGEST_SIZE];
};

void digest_key_new(struct digest_key *key);
/* Each part with its length before it: no two lists of parts run together. */
struct digest digest_of(const struct digest_key *key, const struct span *parts, size_t count);

#endif
