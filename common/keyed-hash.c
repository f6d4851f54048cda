/* keyed-hash - see keyed-hash.h. */
#include "keyed-hash.h"

#include "common/secret.h"

#include <string.h>

static inline uint64_t
rotate(uint64_t x, int by)
{
	return x << by | x >> (64 - by);
}

static inline void
sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

static inline void
take_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
}

uint64_t
keyed_hash(struct span bytes)
{
	static uint64_t key[2];
	uint64_t v[4], last = (uint64_t)bytes.len << 56;
	size_t i;

	if (key[0] == 0 && key[1] == 0)
		secret_random(key, sizeof(key));
	v[0] = key[0] ^ 0x736f6d6570736575u;
	v[1] = key[1] ^ 0x646f72616e646f6du;
	v[2] = key[0] ^ 0x6c7967656e657261u;
	v[3] = key[1] ^ 0x7465646279746573u;
	for (i = 0; bytes.len - i >= 8; i += 8) {
		uint64_t word;

		memcpy(&word, bytes.at + i, 8);
		take_word(v, word);
	}
	for (size_t rest = 0; i + rest < bytes.len; rest++)
		last |= (uint64_t)bytes.at[i + rest] << 8 * rest;
	take_word(v, last);
	v[2] ^= 0xff;
	for (int round = 0; round < 3; round++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
