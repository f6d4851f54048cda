/*
 * rate - how much each client address has done in this minute, in this process.
 *
 * The key is the IPv4 address, or the first 64 bits of an IPv6 address (guest.h). All counts begin
 * anew with each minute of the monotonic clock, so that the set stays small.
 */
#ifndef VALIJA_SMTPD_RATE_H
#define VALIJA_SMTPD_RATE_H

#include <stdint.h>

#include "common/guest.h"

#define RATE_MOST_CLIENTS 100000    /* in one minute; more are not counted */

enum rate_kind { RATE_CONNECTIONS, RATE_MESSAGES, RATE_ERRORS, RATE_KINDS };

struct rates {
	void *clients;                 /* a tree */
	uint32_t count;
	uint64_t minute;
};

/* Adds `more` and returns the sum of this minute; 0 for who is not counted (a client of a UNIX socket).
 * `now`: seconds. */
uint32_t rate_add(struct rates *r, const char *ip, enum rate_kind kind, uint32_t more, uint64_t now);
void rates_clear(struct rates *r);

#endif
