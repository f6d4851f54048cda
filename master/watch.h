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
/* What portmap says of one service's port. The public address that comes with it is the router's: when it is another
 * one than before, the hook hears it, with "router" as the interface. */
void watch_mapped(struct supervisor *s, const struct msg_portmap_told *m);

/* The router's public address, as it says itself; "" as long as it did not. */
const char *watch_router(const struct supervisor *s);

struct watch_mapping {
	enum service service;
	uint16_t outside, inside;
	uint32_t seconds; /* 0: not mapped */
	char address[MOST_ADDRESS_TEXT], protocol[9], fault[101];
};

/* The i-th, or NULL after the last. */
const struct watch_mapping *watch_mapping(const struct supervisor *s, size_t i);
/* Seconds since that reading: what is to be taken off lifetimes. */
uint32_t watch_age(const struct supervisor *s);
/* Tells a new process the addresses that are there, as if each had just come. */
void watch_tell_all(struct process *p);
/* The latest change that was told: seconds since 1970 (0: none yet), and both addresses, "" for
 * none. Valid until the next event. */
uint64_t watch_last_change(const struct supervisor *s, const char **old, const char **new);

#endif
