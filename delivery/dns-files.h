/*
 * dns-files - resolv.conf(5) and hosts(5).
 */
#ifndef VALIJA_DNS_FILES_H
#define VALIJA_DNS_FILES_H

#include "common/dns-answer.h"
#include "common/text.h"

#define MOST_DNS_FILE (1024 * 1024)     /* bytes of either file that are read */
#define MOST_NAME_SERVERS 8
#define MOST_SERVER_TEXT 80

struct name_servers {
	char at[MOST_NAME_SERVERS][MOST_SERVER_TEXT];   /* "192.0.2.1" or "192.0.2.1@5353" */
	size_t count;
};

/* The servers that resolv.conf names, in its order; what is no address is passed over. */
void resolv_conf_read(struct span file, struct name_servers *to);
/* One server of option dns_servers: an address, with or without a port, as libunbound writes it.
 * False: it is none. */
bool name_server_read(struct span given, char to[MOST_SERVER_TEXT]);

struct hosts;
/* What the hosts file says. Never NULL. */
struct hosts *hosts_read(struct span file);
void hosts_free(struct hosts **h);
/* Packs the records of `type` (A, AAAA, PTR) at `name` (lower case). False: there are none. */
bool hosts_find(const struct hosts *h, struct span name, uint16_t type, struct text *answers);

#endif
