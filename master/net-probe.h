/*
 * net-probe - is there a server, and what does it say first? Several at once, within a time.
 */
#ifndef VALIJA_NET_PROBE_H
#define VALIJA_NET_PROBE_H

#include "common/dns-answer.h"

#define MOST_GREETING 512
#define MOST_PROBES   16

struct probe {
	int fd; /* -1: none */
	char host[MOST_DNS_NAME + 1];
	bool waits_for_greeting; /* a server that speaks first; else it is enough to be connected */
	bool connected, over;
	char greeting[MOST_GREETING + 1]; /* printable; empty: nothing, or not what mail servers say */
};

/* Begins to connect to an IPv4 address, as text. False: not even that; fd is -1 then. */
bool probe_begin(struct probe *p, const char *host, const char *address, unsigned int port, bool waits_for_greeting);
/* Until all are over or the time is; with `one`, until one is good. At most MOST_PROBES. */
void probes_run(struct probe *probes, size_t count, int milliseconds, bool one);
void probe_end(struct probe *p);

#endif
