/*
 * shared - which client addresses are shared by many: an office behind its router, or the whole world behind a
 * router that hides it.
 *
 * An address is shared when SHARED_USERS different users have logged in from it within SHARED_SECONDS; and the
 * default gateway's always is: whoever seems to come from there is somebody else. A limit for each address would
 * punish the many for one: limits for each user take its place.
 */
#ifndef VALIJA_SHARED_H
#define VALIJA_SHARED_H

#include "guest.h"
#include "span.h"

#define SHARED_USERS	 3
#define SHARED_SECONDS	 86400
#define SHARED_ADDRESSES 256 /* remembered; the one that was quiet longest gives way */

struct shared_addresses {
	struct shared_address {
		struct guest_key key;
		uint64_t users[SHARED_USERS]; /* digests of names */
		unsigned int count;
		uint64_t last; /* seconds */
	} at[SHARED_ADDRESSES];
};

/* A user has logged in. `now`: seconds of a clock that does not jump; `ip`: as text, without port. */
void shared_note(struct shared_addresses *a, const char *ip, struct span user, uint64_t now);
bool shared_is(const struct shared_addresses *a, const char *ip, uint64_t now);

#endif
