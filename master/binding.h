/*
 * binding - the sockets that a configuration asks for: every address times every service.
 *
 * An address that is named gets its socket whether it is there or not (free bind). A network interface
 * gets one for each address that it has now.
 */
#ifndef VALIJA_BINDING_H
#define VALIJA_BINDING_H

#include "common/settings.h"
#include "master/netstate.h"

#define PORT_IN_USE_ADVICE \
	"Another program has that port (ss -ltnp shows which): stop it, or change port_base, listen or services"

/* An address, and for link-local ones the interface that it is meant for. */
struct place {
	uint8_t family; /* 4 or 6 */
	uint8_t at[16];
	const struct netstate_link *link; /* NULL: of no interface in particular */
};

/* What hears of them; both are called while binding_each runs. */
struct bindings {
	void (*want)(void *me, const struct place *p, enum service service, uint16_t port, bool proxy);
	/* A member of `listen` is an interface that has no address, or is not there. */
	void (*no_address)(void *me, struct span interface, bool there);
};

/* Every TCP socket that `s`, which conf_read has accepted, asks for, with the addresses that the machine has now. */
void binding_each(const struct settings *s, const struct netstate *n, const struct bindings *b, void *me);
/* How it is written: "192.0.2.1:25", "[2001:db8::1]:25". */
void binding_name(const struct place *p, uint16_t port, char name[MOST_IP + 1]);
/* A socket that is bound there; it listens, unless `backlog` is 0. -1 with errno: EADDRINUSE when somebody else listens. */
int binding_open(const struct place *p, uint16_t port, int backlog);
/* After binding_open has failed: IPv6 is missing from the kernel or switched off, so that it cannot be reached that way
 * either. */
bool binding_is_no_ipv6(const struct place *p);

#endif
