/*
 * proxy-header - the header of the PROXY protocol, version 1 (a line) and 2 (binary), in which a
 * load balancer tells from where a connection came that it passes on
 * (https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt).
 *
 * Pure: octets in, facts out. Nothing of a header is trusted by itself; door.c takes one only where
 * a listener asks for it, and only from proxies that are named in the configuration.
 */
#ifndef VALIJA_PROXY_HEADER_H
#define VALIJA_PROXY_HEADER_H

#include <sys/socket.h>

#include "span.h"

#define PROXY_HEADER_MOST 2048     /* octets; version 2 could have 65,551 */
#define PROXY_TLS_MOST 80

struct proxy_facts {
	/* The proxy speaks for itself (LOCAL: a health check), or does not know (UNKNOWN, UNSPEC, or
	 * a UNIX socket): the connection's own addresses count. */
	bool own;
	struct sockaddr_storage from, to;
	/* What the proxy says of TLS between the client and itself, from the TLVs of version 2:
	 * "TLSv1.3 TLS_AES_256_GCM_SHA384", "yes" or "". For the log alone. Printable. */
	char tls[PROXY_TLS_MOST + 1];
};

/* How many octets may be read now without taking one that does not belong to the header; *peek: look
 * first, and take only up to the line feed (or all, when there is none). 0: `have` is whole, or
 * malformed. */
size_t proxy_header_wants(struct span have, bool *peek);
/* Reads a whole header. False with a sentence in *why: malformed, too long, or not yet whole. */
bool proxy_header_parse(struct span have, struct proxy_facts *facts, const char **why);

#endif
