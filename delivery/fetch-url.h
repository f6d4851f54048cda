/*
 * fetch-url - a URL that fetch would ask for, taken apart (RFC 3986, no more of it than is needed).
 */
#ifndef VALIJA_FETCH_URL_H
#define VALIJA_FETCH_URL_H

#include "common/span.h"

struct fetch_url {
	bool tls;                /* https, or http */
	struct span host;        /* without brackets: a name of letters, digits, hyphens, dots; or an address */
	struct span authority;   /* as written, for the Host field */
	uint16_t port;           /* 443 or 80 when none is written */
	bool literal;            /* the host is an address */
	struct span target;      /* from the slash on, query included; empty: the root */
};

/* Reads all of `text`; the spans lie in it. NULL, or in static memory why not: another scheme, user
 * information, a fragment, a host that can be none, anything that is not printable ASCII. */
const char *fetch_url_read(struct span text, struct fetch_url *to);

#endif
