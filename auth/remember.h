/*
 * remember - logins that were right a moment ago, so that a client with ten connections costs one
 * hash. Kept is an HMAC over user, password and stored hash, with a key that dies with the process:
 * users with the same password have different digests, and a changed or removed
 * password is not found any more.
 */
#ifndef VALIJA_REMEMBER_H
#define VALIJA_REMEMBER_H

#include "common/span.h"

#define REMEMBER_MOST 8192

struct remember;

struct remember *remember_new(void);
void remember_free(struct remember **r);
/* Was this right, less than `seconds` before `now`? */
bool remember_knows(struct remember *r, struct span user, struct span password, struct span hash,
	uint64_t now, uint64_t seconds);
void remember_add(
	struct remember *r, struct span user, struct span password, struct span hash, uint64_t now);

#endif
