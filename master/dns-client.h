/*
 * dns-client - asks the DNS many questions at once; for the valija command alone.
 *
 * What comes back is a stranger's: answers are decoded with every length checked, bounded in number and
 * size, and printable. libunbound asks the servers of /etc/resolv.conf, or those that are given, and validates
 * by DNSSEC where the root's key is installed.
 */
#ifndef VALIJA_DNS_CLIENT_H
#define VALIJA_DNS_CLIENT_H

#include "common/dns-answer.h"
#include "common/settings.h"
#include "common/text.h"

#define MOST_ANSWERS_SHOWN 32 /* of one question */
#define MOST_DNS_QUESTIONS 4096
#define DNS_MILLISECONDS   8000 /* for all questions of a client together */

struct lookup {
	char name[MOST_DNS_NAME + 1];
	enum dns_type type;
	enum dns_outcome outcome; /* DNS_LATER also when no answer came in time */
	bool secure; /* proven by DNSSEC */
	/* In the form of a zone file, names in lower case and without the last dot: "192.0.2.1",
	 * "10 mail.example.org", "0 1 993 mail.example.org", "3 1 1 0a1b...", text as it is. */
	char *answers[MOST_ANSWERS_SHOWN];
	size_t count;
	int id;
	struct dns_client *client;
};

struct dns_client;

/* NULL when libunbound cannot begin. `servers` may be empty. */
struct dns_client *dns_client_new(const struct list *servers);
void dns_client_free(struct dns_client **c);
/* Asks, or finds the same question asked before. Never NULL; the outcome is LATER until lookup_wait. Valid as
 * long as the client. */
const struct lookup *lookup(struct dns_client *c, const char *name, enum dns_type type);
/* The name under which the PTR records of an address stand (RFC 1035 3.5, RFC 3596 2.5). */
const struct lookup *lookup_pointer(struct dns_client *c, uint8_t family, const uint8_t *at);
/* Waits for the answers to all that was asked; DNS_MILLISECONDS from the first wait on, no more answers come. */
void lookup_wait(struct dns_client *c);
/* Does one of the answers equal `text`, in any ASCII case? */
bool lookup_has(const struct lookup *q, const char *text);
/* All answers, with ", " between; "" for none. Valid until the next call. */
const char *lookup_answers(const struct lookup *q);

/* One record as text; false when it is malformed or of another type. For the client and its tests. */
bool dns_record_put(enum dns_type type, struct span rdata, struct text *to);

#endif
