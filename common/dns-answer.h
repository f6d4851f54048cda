/*
 * dns-answer - what program dns tells of a name, and how to read it.
 *
 * The answers of one dns_told are packed: u16 length in network order, then that many bytes of
 * record data, one record after the other. Numbers inside are in network order as on the wire;
 * names inside are text in lower case, without the dot at the end, and stand last, so that they
 * need no length. dns has looked at every byte, but its word is read as carefully as anybody's.
 */
#ifndef VALIJA_DNS_ANSWER_H
#define VALIJA_DNS_ANSWER_H

#include "span.h"

#include <sys/socket.h>

#define MOST_DNS_NAME 255       /* bytes of a name as text (RFC 1035 2.3.4) */
#define MOST_DNS_ANSWERS 60000  /* bytes of packed records */

enum dns_type {
	DNS_A = 1, DNS_NS = 2, DNS_CNAME = 5, DNS_SOA = 6, DNS_PTR = 12, DNS_MX = 15, DNS_TXT = 16,
	DNS_AAAA = 28, DNS_SRV = 33, DNS_TLSA = 52, DNS_CAA = 257,
};

enum dns_outcome {
	DNS_FOUND = 1,          /* at least one record */
	DNS_NODATA = 2,         /* the name is there, and has none of this type */
	DNS_NXDOMAIN = 3,       /* there is no such name */
	DNS_LATER = 4,          /* nobody answered, or nothing that can be used: ask again later */
	DNS_BOGUS = 5,          /* somebody answered with what DNSSEC proves to be forged or broken */
};

/* One whole answer; the spans are borrowed until the handler that got it returns. */
struct dns_answer {
	enum dns_outcome outcome;
	bool secure;            /* proved by DNSSEC, also that there is nothing */
	uint32_t ttl;           /* seconds */
	struct span canonical;  /* the name to which CNAMEs led; the asked one if there were none */
	struct span answers;
};

/* Each takes the next record from the front of *answers (dns_answer.answers, copied). False at the end,
 * or when the record is not of the expected form: it is skipped then, and the next is looked at. */
bool dns_take_record(struct span *answers, struct span *rdata);
/* `name` lies in *answers. An empty name stands for the root: null MX (RFC 7505). */
bool dns_take_mx(struct span *answers, uint16_t *preference, struct span *name);
/* CNAME, NS, PTR. */
bool dns_take_name(struct span *answers, struct span *name);
bool dns_take_srv(struct span *answers, uint16_t *priority, uint16_t *weight, uint16_t *port,
	struct span *name);
/* A and AAAA, told apart by their length; port 0. */
bool dns_take_address(struct span *answers, struct sockaddr_storage *address, socklen_t *len);
/* RFC 6698 2.1. data: as it came, at least one byte. */
bool dns_take_tlsa(struct span *answers, uint8_t *usage, uint8_t *selector, uint8_t *matching,
	struct span *data);
/* A TXT record, its strings joined into `to` of `room` bytes; *len of them used. A record that does
 * not fit is skipped. */
bool dns_take_txt(struct span *answers, unsigned char *to, size_t room, size_t *len);

#define DNS_REVERSE_ROOM 80
/* The name under which the PTR of an IPv4 (4 bytes) or IPv6 address (16 bytes) stands; with another
 * `suffix` than NULL below that: DNS block lists. False: neither length, or it does not fit. */
bool dns_reverse(struct span address, const char *suffix, char *to, size_t room);

/* The word for a log line. */
const char *dns_outcome_name(enum dns_outcome outcome);

#endif
