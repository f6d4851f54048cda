/*
 * local-address - is a connection at an address that this machine no longer has?
 */
#ifndef VALIJA_LOCAL_ADDRESS_H
#define VALIJA_LOCAL_ADDRESS_H

#include "span.h"

/* Is this end of the socket at `ip` (text, as address_changed tells it)? False for what is no
 * internet socket, and for -1. */
bool local_address_is(int fd, struct span ip);

#endif
