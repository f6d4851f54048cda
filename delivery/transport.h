/* transport - the right-hand side of the transport table (tables(5)). */
#ifndef VALIJA_TRANSPORT_H
#define VALIJA_TRANSPORT_H

#include "resolve.h"

enum transport_kind { BY_TRANSPORT, TO_MAILBOX, TO_NOWHERE, TO_ERROR };

struct transport_way {
	enum transport_kind kind;
	enum transport transport;    /* BY_TRANSPORT */
	struct span next_hop;        /* BY_TRANSPORT; lies in the value; empty: the domain itself */
	struct span status, text;    /* TO_ERROR */
};

/* relay[:DOMAIN] | smtp:HOST[:PORT] | lmtp:HOST:PORT | lmtp:unix:/SOCKET | local: | discard: |
 * error:[4.x.x or 5.x.x] TEXT. False, and a reason in static memory, when it is none of these. */
bool transport_parse(struct span value, struct transport_way *way, const char **why);

#endif
