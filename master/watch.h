/*
 * watch - the address watch: what changes on this machine's network, and who is told.
 *
 * Any event of the kernel leads to a new reading of everything (netstate.h), WATCH_MILLISECONDS later,
 * and what differs is acted on at once: listeners by interface are opened and closed, the daemons
 * hear address_changed. The log line and the hook wait until old and new address of an interface
 * can be told together (PAIR_MILLISECONDS for one that came, LOSS_MILLISECONDS for one that went).
 */
#ifndef VALIJA_WATCH_H
#define VALIJA_WATCH_H

#include "master/netstate.h"
#include "master/supervisor.h"

#define WATCH_MILLISECONDS 20
#define PAIR_MILLISECONDS  300
#define LOSS_MILLISECONDS  10000
#define MOST_SIGHTINGS	   256 /* came or gone, not yet told */

/* Begins. A kernel that does not tell is logged; then nothing is watched. */
void watch_begin(struct supervisor *s);
void watch_end(struct supervisor *s);
/* The network at the latest reading. */
const struct netstate *watch_netstate(const struct supervisor *s);
/* Seconds since that reading: what is to be taken off lifetimes. */
uint32_t watch_age(const struct supervisor *s);
/* Tells a new process the addresses that are there, as if each had just come. */
void watch_tell_all(struct process *p);
/* The latest change that was told: seconds since 1970 (0: none yet), and both addresses, "" for
 * none. Valid until the next event. */
uint64_t watch_last_change(const struct supervisor *s, const char **old, const char **new);

#endif
