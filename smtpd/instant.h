/*
 * instant - a date and time of the Internet (RFC 3339), as HOLDUNTIL carries it.
 */
#ifndef VALIJA_SMTPD_INSTANT_H
#define VALIJA_SMTPD_INSTANT_H

#include "common/text.h"

/* "2026-11-28T12:00:00Z", with a fraction (ignored) or an offset ("+01:00") if it likes. All of `in` must
 * be used. *seconds since 1970; what lies before that is 0. False when it is no such date. */
bool instant_parse(struct span in, uint64_t *seconds);
/* "2026-11-28T12:00:00Z" */
void instant_put(struct text *to, uint64_t seconds);

#endif
