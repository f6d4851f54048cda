/* owner - which sender addresses a login may use (RFC 6409 section 6.1). */
#ifndef VALIJA_OWNER_H
#define VALIJA_OWNER_H

#include "common/span.h"

/* Both as smtpd said them: LOCAL@DOMAIN; the null sender belongs to everybody (notifications are
 * sent with it, RFC 8098). */
bool owner_may_use(struct span login, struct span sender);

#endif
