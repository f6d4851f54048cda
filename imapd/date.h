/*
 * date - RFC 5322 Date fields, IMAP dates and date-times (RFC 3501 section 9).
 *
 * Times are seconds since 1970 in UTC, negative before; days are days since 1970-01-01, negative
 * before. Years 0001-9999.
 */
#ifndef VALIJA_IMAPD_DATE_H
#define VALIJA_IMAPD_DATE_H

#include "common/text.h"

struct date {
	int64_t utc;        /* seconds since 1970-01-01T00:00:00Z */
	int32_t zone;       /* minutes east of UTC */
	int32_t day; /* the day as written, zone disregarded: for SENTBEFORE, SENTON, SENTSINCE */
};

/* Parses the value of a Date field (RFC 5322 3.3 and 4.3: obsolete zones, two- and three-digit
 * years, comments; seconds and zone may be missing). False if it is no date. */
bool date_parse(struct span value, struct date *date);
/* Takes IMAP's date, `1-Feb-1994` or `"1-Feb-1994"`, from the front of *in. False, nothing
 * changed, if malformed or there is no such day. */
bool date_take_day(struct span *in, int32_t *day);
/* Takes IMAP's date-time, `" 1-Feb-1994 13:45:10 +0100"` with its quotes. False, nothing changed,
 * if malformed or impossible. */
bool date_take_time(struct span *in, struct date *date);
/* Appends the date-time with its quotes, as INTERNALDATE has it. `zone` in minutes east, |zone| <
 * 1440. */
void date_add_time(struct text *out, int64_t utc, int32_t zone);
/* The day of `utc` in `zone`: for BEFORE, ON, SINCE on the internal date. */
int32_t date_day_of(int64_t utc, int32_t zone);

#endif
