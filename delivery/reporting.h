/*
 * reporting - counts how TLS with other domains went, by day, and sends each domain that asks for it a report
 * when the day is over (RFC 8460). Part of sts.
 */
#ifndef VALIJA_REPORTING_H
#define VALIJA_REPORTING_H

#include "tls-report.h"

#include "common/daemon.h"

#define MOST_TLS_ROWS 30000          /* counted; more domains are not */

/* `policies`: borrowed, to write what was in force. False: no memory, or no table. */
bool reporting_prepare(struct daemon *d, int directory, struct table *policies);
void reporting_seen(const struct msg_tls_seen *m);
/* Sends what is due: of days that are over; all: of today too. Called each hour, and by the command. */
void reporting_send(bool all);

/* Before the end: what was counted is on the disk. */
void reporting_sync(void);

#endif
