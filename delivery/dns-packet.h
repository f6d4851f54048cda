/*
 * dns-packet - a DNS message (RFC 1035 4.1), read as what a stranger wrote.
 *
 * libunbound has looked at the message before; nothing here relies on that. Compression pointers
 * lead backwards only, names and counts are bounded, and names that cannot be those of hosts do not
 * come through as records.
 */
#ifndef VALIJA_DNS_PACKET_H
#define VALIJA_DNS_PACKET_H

#include "common/dns-answer.h"
#include "common/text.h"

#define MOST_ALIASES 16          /* CNAMEs followed for one question */

struct dns_packet {
	enum dns_outcome outcome;    /* FOUND, NODATA, NXDOMAIN or LATER */
	uint32_t ttl;                /* the least of what counts; of a denial: RFC 2308 section 5 */
	struct text canonical, answers;
};

void dns_packet_init(struct dns_packet *p);
void dns_packet_clear(struct dns_packet *p);
/* Reads the answer to "records of `type` at `name`" (text, lower case, no dot at the end). A message
 * that is malformed, holds a loop of CNAMEs, only records that cannot be used, or more than
 * MOST_DNS_ANSWERS bytes of them, is LATER; *why then says so, in static memory. */
void dns_packet_read(
	struct span message, struct span name, uint16_t type, struct dns_packet *p, const char **why);

#endif
