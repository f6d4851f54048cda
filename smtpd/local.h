/*
 * local - sessions of this machine's users: the sendmail command over RUN/local, and what it dropped
 * while nobody listened there (SERVICE_LOCAL).
 */
#ifndef VALIJA_SMTPD_LOCAL_H
#define VALIJA_SMTPD_LOCAL_H

#include "common/text.h"

struct session;

/* In a session of a user of this machine an address of MAIL or RCPT may lack its domain: the
 * arguments with that of the option local_domain, in `room`, which the caller clears; else the
 * arguments as they were. */
struct span local_qualify(const struct session *s, struct span arguments, struct text *room);

#endif
