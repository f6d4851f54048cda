/*
 * checks - is the client a stranger, and what do we think of it?
 */
#ifndef VALIJA_SMTPD_CHECKS_H
#define VALIJA_SMTPD_CHECKS_H

#include "common/address.h"

struct session;

/* Are the tests for strangers for this client? Not for logins, programs of this machine, LMTP, and the
 * networks of policy_exempt. */
bool checks_apply(const struct session *s);
/* Must mail for this recipient always get through (RFC 5321 4.5.1, RFC 2142)? postmaster, and abuse of a
 * local domain. */
bool checks_spare(const struct session *s, const struct address *to);
/* Is the client greylisted where it writes to this recipient? */
bool checks_greylists(const struct session *s, const struct address *to);

#endif
