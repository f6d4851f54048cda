/*
 * ourselves - under which addresses is this server known: its own, and those at which the world reaches it?
 *
 * Master tells both (address_changed, public_address); every daemon remembers them here. An address counts as ours
 * for two things only: mail for user@[address] is for us, and a server at that address is this one. Nothing is
 * trusted for it.
 */
#ifndef VALIJA_OURSELVES_H
#define VALIJA_OURSELVES_H

#include "message.h"
#include "text.h"

/* An address of this machine came or went (as text; anything else is ignored, and so is the machine's loopback, at
 * which nobody reaches us). */
void ourselves_came(struct span ip);
void ourselves_gone(struct span ip);
/* The addresses at which the world reaches us, with commas between, the best of each family first; what was told
 * before is forgotten. */
void ourselves_public(struct span list);

/* Is this ours, of either kind? `ip` as text, IPv4 also in IPv6 clothes. */
bool ourselves_have(struct span ip);
/* Likewise for an address literal as SMTP writes it: "[192.0.2.1]", "[IPv6:2001:db8::1]" (RFC 5321 4.1.3). */
bool ourselves_have_literal(struct span domain);
/* Where the world reaches us by this family (4 or 6); empty: not known. Valid until the next event. */
struct span ourselves_reached_at(unsigned int family);
/* How we call ourselves to other servers (RFC 5321 4.1.4): `hostname` where it is a full name, else the literal of
 * a public address, preferably of this family (0: any), else `hostname` all the same. */
void ourselves_name(struct span hostname, unsigned int family, struct text *to);

#endif
