/*
 * sts-policy - MTA-STS (RFC 8461): the record in DNS, the policy, and which servers it lets mail go to.
 *
 * Pure: octets in, facts out. All of it comes from strangers.
 */
#ifndef VALIJA_STS_POLICY_H
#define VALIJA_STS_POLICY_H

#include "common/message.h"
#include "common/text.h"

#define MOST_STS_AGE 31557600        /* seconds (RFC 8461 3.2): a year */

struct sts_policy {
	enum sts_mode mode;
	uint32_t max_age;            /* seconds */
	struct text mx;              /* patterns in lower case, a newline behind each; MOST_STS_MX bytes at most */
};

/* The id in a TXT record (RFC 8461 3.1), which lies in `txt`. False: it is no such record, or malformed. */
bool sts_record_read(struct span txt, struct span *id);
/* Is this TXT record one that says "v=STSv1", well or badly? Two of them count as none. */
bool sts_record_claims(struct span txt);
/* Reads a policy (RFC 8461 3.2) into *to. NULL, or in static memory why it is none; then *to is without content.
 * sts_policy_clear() in any case. */
const char *sts_policy_read(struct span body, struct sts_policy *to);
void sts_policy_clear(struct sts_policy *p);
/* Does a pattern of `patterns` (as in sts_policy.mx) fit this server (RFC 8461 4.1)? "*." stands for one label. */
bool sts_mx_matches(struct span patterns, struct span server);

#endif
