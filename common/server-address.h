/*
 * server-address - how a configuration names a server: HOST, HOST:PORT, [IPv6], [IPv6]:PORT, or an
 * IPv6 address without brackets and port.
 */
#ifndef VALIJA_SERVER_ADDRESS_H
#define VALIJA_SERVER_ADDRESS_H

#include "span.h"

#define MOST_SERVER_HOST 255

struct server_address {
	struct span host;        /* inside `given`, without brackets */
	uint16_t port;
	bool literal;            /* an IPv4 or IPv6 address, also with a scope ("fe80::1%eth0") */
	bool bracketed;          /* "[host]": as Postfix writes it, a host whose MX is not asked for */
};

/* Reads all of `given`. False: it is none of the forms, or the port is 0 or too large. */
bool server_address_read(struct span given, uint16_t default_port, struct server_address *to);

#endif
