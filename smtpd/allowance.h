/*
 * allowance - how many messages and recipients a login may submit in an hour, kept across restarts.
 *
 * For each login a table (table.h) has two levels, which rise with each message and sink steadily, so
 * that what the settings allow in an hour drains in an hour. Times are milliseconds since 1970.
 */
#ifndef VALIJA_SMTPD_ALLOWANCE_H
#define VALIJA_SMTPD_ALLOWANCE_H

#include "common/settings.h"
#include "common/table.h"

#define ALLOWANCE_PURGE_BATCH 10000

enum allowance { ALLOWED = 0, TOO_MANY_MESSAGES = 1, TOO_MANY_RECIPIENTS = 2 };

/* Takes one message with `recipients` from the login's allowance, if there is room for it: else nothing
 * is taken, and *seconds says when there will be. A message with more recipients than an hour has is
 * taken when the login has sent nothing for an hour. An unusable table allows. */
enum allowance allowance_take(struct table *t, const struct settings *s, struct span login, uint32_t recipients,
	uint64_t now, uint32_t *seconds);
/* Removes the records of logins that sent nothing for an hour. True when there are more. */
bool allowance_purge(struct table *t, uint64_t now);

#endif
