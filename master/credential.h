/*
 * credential - what is kept of a new password: a hash, SCRAM keys, and the application passwords that
 * were there before.
 */
#ifndef VALIJA_CREDENTIAL_H
#define VALIJA_CREDENTIAL_H

#include "common/scram.h"
#include "common/settings.h"

/* p points into the rest, and into what it was made from. */
struct credential {
	struct password p;
	struct text hash;
	unsigned char salt[SCRAM_SALT];
	struct scram_room room;
};

/* Makes one of a prepared password, as `s` says. `old` is what was there, or NULL; it must stay. False
 * with a sentence in *why. Clear it in any case. */
bool credential_make(struct credential *c, struct span password, const struct settings *s,
	const struct password *old, struct text *why);
/* Wipes. */
void credential_clear(struct credential *c);

#endif
