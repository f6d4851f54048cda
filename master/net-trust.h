/*
 * net-trust - do the networks that valija.conf names hold more than its writer may know?
 */
#ifndef VALIJA_NET_TRUST_H
#define VALIJA_NET_TRUST_H

#include "common/settings.h"
#include "common/text.h"
#include "master/netstate.h"

/* A line for each option that holds a default gateway, behind which anybody may be, or a whole range of private
 * addresses; empty when there is none. */
void net_trust_doubts(const struct settings *s, const struct netstate *n, struct text *to);

#endif
