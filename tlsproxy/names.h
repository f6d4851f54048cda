/*
 * names - what a client may call a server: SNI and ALPN, both chosen by strangers.
 */
#ifndef VALIJA_NAMES_H
#define VALIJA_NAMES_H

#include "common/program.h"
#include "common/span.h"

/* A host name as SNI may carry it (RFC 6066 section 3): letters, digits, hyphens in labels of at
 * most 63, with dots between, at most 253 in all, no dot at the end; not an address. */
bool names_is_host(struct span name);

/* The protocol name (RFC 7301; registered with IANA) of a service. */
const char *names_protocol(enum service service);

#endif
