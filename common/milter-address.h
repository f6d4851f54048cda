/*
 * milter-address - where a filter listens, as options name it: "unix:/run/opendkim/opendkim.sock",
 * "inet:127.0.0.1:8891", "inet6:[::1]:8891". Names of hosts are not taken: who asks has no resolver.
 */
#ifndef VALIJA_MILTER_ADDRESS_H
#define VALIJA_MILTER_ADDRESS_H

#include <sys/socket.h>

#include "span.h"

/* False: malformed, a relative name, a port of 0, or a path that is too long. */
bool milter_address_parse(struct span text, struct sockaddr_storage *to, socklen_t *len);

#endif
