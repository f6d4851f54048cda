/*
 * net-records - the DNS records that a domain needs for its mail: printed, and compared with what is there.
 */
#ifndef VALIJA_NET_RECORDS_H
#define VALIJA_NET_RECORDS_H

#include "master/net-survey.h"

#define MOST_ZONE_TEXT 65536
#define ZONE_TTL       3600

/* All records of one domain, and those of the server's name, as a fragment of a zone file (RFC 1035 5):
 * full names, ready to paste. */
void net_zone_put(const struct survey *v, const char *domain, struct text *to);
/* Asks for what net_judge_domain compares; twice, with a lookup_wait after each, since the second questions
 * follow from the first answers. */
void net_ask_domain(struct survey *v, const char *domain);
void net_judge_domain(struct survey *v, const char *domain);
/* The policy of MTA-STS for a domain (RFC 8461 3.2), and its id: 16 hexadecimal digits that change with it. */
void net_sts_policy(const struct survey *v, struct text *to);
void net_sts_id(const struct survey *v, char id[17]);
/* The i-th key that signs mail of this domain (option dkim): the name of its record, and what must stand there.
 * 1; 0: it cannot be read (the record is empty then); -1: there is none. */
int net_dkim_record(const struct survey *v, const char *domain, size_t i, char name[MOST_DNS_NAME + 1],
	struct text *record);
/* SHA-256 of the public key of the server's certificate (RFC 6698: 1 1), in hexadecimal. False when there is
 * none. */
bool net_certificate_key(const struct survey *v, char hex[65]);

#endif
