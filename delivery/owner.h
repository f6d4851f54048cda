/* owner - which sender addresses a login may use (RFC 6409 section 6.1). */
#ifndef VALIJA_OWNER_H
#define VALIJA_OWNER_H

#include "resolve.h"

/* The sender as smtpd said it, the login as auth did, LOCAL@DOMAIN. A login may use its own address, with a detail too; an alias
 * that leads to its mailbox; what the table `senders` grants it; and the null sender, which belongs to
 * everybody (notifications are sent with it, RFC 8098). */
enum owner { OWNER_NO, OWNER_YES, OWNER_NOT_KNOWN /* yet: somebody was asked, as resolution.waits has it */ };
enum owner owner_may_use(struct resolver *r, const struct settings *s, struct span login, struct span sender);

/* Is it asked at all, on this service? (option owner_services) */
bool owner_is_asked(const struct settings *s, uint8_t service);

#endif
