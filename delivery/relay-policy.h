/*
 * relay-policy - which TLS a next hop must have: option tls_policy, one string for each:
 *
 *     DOMAIN LEVEL [NAME...]       ".example.org" stands for all below it, "*" for all others
 *
 *   none      no TLS
 *   may       TLS where it is offered, whoever it is; else without
 *   encrypt   TLS, whoever it is
 *   dane      as may; but where DNSSEC proves TLSA records, by these (RFC 7672). The default
 *   dane-only TLS by TLSA records
 *   verify    TLS, with a certificate of a trusted authority for the server's name or one of NAME...
 */
#ifndef VALIJA_RELAY_POLICY_H
#define VALIJA_RELAY_POLICY_H

#include "common/settings.h"
#include "common/text.h"

enum tls_wanted { WANT_NONE, WANT_MAY, WANT_ENCRYPT, WANT_DANE, WANT_DANE_ONLY, WANT_VERIFY };

struct tls_policy {
	enum tls_wanted wanted;
	char names[1024];            /* with commas between; empty: the server's own name */
};

/* Reads one string. False: it is malformed. *domain lies in `rule`. */
bool tls_policy_read(struct span rule, struct span *domain, struct tls_policy *to);
/* What counts for `next_hop`: the longest match. */
void tls_policy_find(const struct settings *s, struct span next_hop, struct tls_policy *to);
/* Does a rule name it, beside "*"? */
bool tls_policy_is_given(const struct settings *s, struct span next_hop);

#endif
