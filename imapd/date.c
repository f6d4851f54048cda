/*
 * date - RFC 5322 Date fields, IMAP dates and date-times. See date.h.
 */
#include "imapd/date.h"

#include "imapd/header.h"

#include <string.h>

#define DAY ((int64_t)86400)
#define MOST_DATE 1000            /* bytes of a Date field that are read */

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

static bool
is_leap(int32_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int32_t
month_days(int32_t year, int32_t month)
{
	static const int32_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* The Gregorian calendar as days since 1970-01-01. Years count from March, in eras of 400. */
static int32_t
day_from(int32_t year, int32_t month, int32_t day)
{
	int32_t y = month <= 2 ? year - 1 : year, era = y / 400, of_era = y - era * 400;
	int32_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void
day_split(int32_t days, int32_t *year, int32_t *month, int32_t *day)
{
	int32_t z = days + 719468, era = z / 146097, of_era = z - era * 146097;
	int32_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int32_t of_year = of_era - (365 * y + y / 4 - y / 100), m = (5 * of_year + 2) / 153;

	*day = of_year - (153 * m + 2) / 5 + 1;
	*month = m < 10 ? m + 3 : m - 9;
	*year = y + era * 400 + (*month <= 2);
}

/* What a date is made of before it is one. */
struct parts {
	int32_t year, month, day, hour, minute, second, zone;
};

static bool
parts_join(const struct parts *p, struct date *date)
{
	/* RFC 5322 3.3 allows a leap second; it is told as the one before, so that the day stays */
	int32_t second = p->second == 60 ? 59 : p->second;

	if (p->year < 1 || p->year > 9999 || p->month < 1 || p->month > 12 || p->day < 1 ||
		p->day > month_days(p->year, p->month) || p->hour > 23 || p->minute > 59 ||
		p->second > 60)
		return false;
	date->day = day_from(p->year, p->month, p->day);
	date->zone = p->zone;
	date->utc = date->day * DAY + p->hour * 3600 + p->minute * 60 + second -
		p->zone * 60;
	return true;
}

/* Takes `least` to `most` digits. */
static bool
digits_take(struct span *in, size_t least, size_t most, int32_t *value, size_t *count)
{
	size_t i = 0;

	*value = 0;
	for (; i < in->len && i < most && in->at[i] >= '0' && in->at[i] <= '9'; i++)
		*value = *value * 10 + (in->at[i] - '0');
	if (i < least)
		return false;
	*in = span_part(*in, i, in->len);
	if (count != NULL)
		*count = i;
	return true;
}

static bool
month_take(struct span *in, int32_t *month)
{
	for (int32_t m = 0; m < 12; m++) {
		if (!span_take_word(in, span_of(months + (size_t)m * 3, 3)))
			continue;
		*month = m + 1;
		return true;
	}
	return false;
}

static bool
is_letter(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c >= 0x80;
}

static struct span
letters_take(struct span *in)
{
	struct span word = SPAN_NONE;
	size_t i = 0;

	while (i < in->len && is_letter(in->at[i]))
		i++;
	span_take_bytes(in, i, &word);
	return word;
}

/* "+0100", "+01:00" or "+01" behind the sign; true with *zone in minutes. */
static bool
offset_take(struct span *in, int32_t *zone)
{
	bool west = span_take(in, '-');
	int32_t hours, minutes = 0;

	if (!west && !span_take(in, '+'))
		return false;
	if (!digits_take(in, 2, 2, &hours, NULL))
		return false;
	span_take(in, ':');
	digits_take(in, 2, 2, &minutes, NULL);
	if (hours > 23 || minutes > 59)
		hours = minutes = 0;
	*zone = (west ? -1 : 1) * (hours * 60 + minutes);
	return true;
}

/* A zone, or nothing: then it is UTC. Names are those of RFC 5322 4.3; all others, the military
 * letters too, say nothing about the offset. */
static void
zone_take(struct span *in, int32_t *zone)
{
	static const struct {
		struct span name;
		int32_t hours;
	} rows[] = {
		{ SPAN("EDT"), -4 }, { SPAN("EST"), -5 }, { SPAN("CDT"), -5 }, { SPAN("CST"), -6 },
		{ SPAN("MDT"), -6 }, { SPAN("MST"), -7 }, { SPAN("PDT"), -7 }, { SPAN("PST"), -8 },
	};
	struct span name;

	*zone = 0;
	cfws_skip(in, NULL);
	if (offset_take(in, zone))
		return;
	name = letters_take(in);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (span_equal_nocase(name, rows[i].name))
			*zone = rows[i].hours * 60;
	if (span_equal_nocase(name, SPAN("GMT")) || span_equal_nocase(name, SPAN("UTC")))
		offset_take(in, zone);                     /* "GMT+0200" is common */
}

/* hour:minute[:second]; comments and blanks may stand around the colons (RFC 5322 4.3). */
static bool
clock_take(struct span *in, struct parts *p)
{
	struct span rest = *in;

	cfws_skip(&rest, NULL);
	if (!digits_take(&rest, 1, 2, &p->hour, NULL))
		return false;
	cfws_skip(&rest, NULL);
	if (!span_take(&rest, ':'))
		return false;
	cfws_skip(&rest, NULL);
	if (!digits_take(&rest, 1, 2, &p->minute, NULL))
		return false;
	*in = rest;
	cfws_skip(&rest, NULL);
	if (!span_take(&rest, ':'))
		return true;
	cfws_skip(&rest, NULL);
	if (!digits_take(&rest, 1, 2, &p->second, NULL))
		return false;
	*in = rest;
	return true;
}

/* A year; of two digits to 49 it is 20xx, of two or three else 19xx and on (RFC 5322 4.3). */
static bool
year_take(struct span *in, int32_t *year)
{
	size_t count;

	cfws_skip(in, NULL);
	if (!digits_take(in, 2, 5, year, &count) || count == 5)
		return false;
	if (count == 2 && *year <= 49)
		*year += 2000;
	else if (count < 4)
		*year += 1900;
	return true;
}

/* Blanks, comments and the hyphen of "1-Jan-94". */
static void
gap_skip(struct span *in)
{
	cfws_skip(in, NULL);
	span_take(in, '-');
	cfws_skip(in, NULL);
}

/* "Jan  5 10:00:00 [zone] 2004", what ctime() prints; the month is already taken. */
static bool
ctime_take(struct span *in, struct parts *p)
{
	struct span rest;

	cfws_skip(in, NULL);
	if (!digits_take(in, 1, 2, &p->day, NULL) || !clock_take(in, p))
		return false;
	rest = *in;
	if (year_take(&rest, &p->year)) {
		*in = rest;
		zone_take(in, &p->zone);
		return true;
	}
	zone_take(in, &p->zone);
	return year_take(in, &p->year);
}

static bool
two_digits(const unsigned char *at, int32_t *value)
{
	*value = (at[0] - '0') * 10 + (at[1] - '0');
	return at[0] >= '0' && at[0] <= '9' && at[1] >= '0' && at[1] <= '9';
}

/* "Tue, " or nothing. False: something else. */
static bool
day_name_skip(struct span *in)
{
	static const char names[] = "MonTueWedThuFriSatSun";

	for (size_t i = 0; in->len > 5 && i < 7; i++) {
		if (memcmp(in->at, names + 3 * i, 3) == 0 && in->at[3] == ',' && in->at[4] == ' ') {
			*in = span_part(*in, 5, in->len);
			break;
		}
	}
	return in->len > 0 && in->at[0] >= '0' && in->at[0] <= '9';
}

/* "Tue, 14 Jan 2020 10:07:00 +0100", as nearly all mail has it (RFC 5322 3.3). False: to be read with
 * more patience; what is taken here would be read the same way then. */
static bool
common_take(struct span in, struct parts *p)
{
	const unsigned char *at;
	int32_t century;

	if (!day_name_skip(&in) || !digits_take(&in, 1, 2, &p->day, NULL) || in.len < 24)
		return false;
	at = in.at;              /* " Jan 2020 10:07:00 +0100" */
	if (at[0] != ' ' || at[4] != ' ' || at[9] != ' ' || at[12] != ':' || at[15] != ':' ||
		at[18] != ' ' || !two_digits(at + 5, &century) || !two_digits(at + 7, &p->year) ||
		!two_digits(at + 10, &p->hour) || !two_digits(at + 13, &p->minute) ||
		!two_digits(at + 16, &p->second))
		return false;
	p->year += 100 * century;
	for (int32_t m = 0; m < 12; m++) {
		if (memcmp(at + 1, months + (size_t)m * 3, 3) == 0)
			p->month = m + 1;
	}
	in = span_part(in, 19, 5);
	return p->month > 0 && offset_take(&in, &p->zone) && in.len == 0;
}

bool
date_parse(struct span value, struct date *date)
{
	struct span in = span_part(value, 0, MOST_DATE);
	struct parts p = { 0 };

	if (common_take(in, &p))
		return parts_join(&p, date);
	p = (struct parts){ 0 };
	cfws_skip(&in, NULL);
	if (in.len > 0 && is_letter(in.at[0]) && !month_take(&in, &p.month)) {
		letters_take(&in);                         /* the day's name, right or wrong */
		cfws_skip(&in, NULL);
		span_take(&in, '.');
		span_take(&in, ',');
		cfws_skip(&in, NULL);
		month_take(&in, &p.month);
	}
	if (p.month != 0)
		return ctime_take(&in, &p) && parts_join(&p, date);
	if (!digits_take(&in, 1, 2, &p.day, NULL))
		return false;
	gap_skip(&in);
	if (!month_take(&in, &p.month))
		return false;
	letters_take(&in);                                 /* "January" */
	gap_skip(&in);
	if (!year_take(&in, &p.year))
		return false;
	cfws_skip(&in, NULL);
	if (in.len > 0 && in.at[0] >= '0' && in.at[0] <= '9' && !clock_take(&in, &p))
		return false;
	zone_take(&in, &p.zone);
	return parts_join(&p, date);
}

/* day "-" month "-" year, with the year's four digits. */
static bool
imap_day_take(struct span *in, struct parts *p)
{
	return span_take(in, '-') && month_take(in, &p->month) && span_take(in, '-') &&
		digits_take(in, 4, 4, &p->year, NULL);
}

bool
date_take_day(struct span *in, int32_t *day)
{
	struct span rest = *in;
	struct parts p = { 0 };
	struct date date;
	bool quoted = span_take(&rest, '"');

	if (!digits_take(&rest, 1, 2, &p.day, NULL) || !imap_day_take(&rest, &p) ||
		(quoted && !span_take(&rest, '"')) || !parts_join(&p, &date))
		return false;
	*day = date.day;
	*in = rest;
	return true;
}

/* date-time (RFC 3501 section 9): everything has its fixed width. */
bool
date_take_time(struct span *in, struct date *date)
{
	struct span rest = *in;
	struct parts p = { 0 };
	struct date result;
	int32_t hours, minutes;
	size_t width;
	bool west;

	if (!span_take(&rest, '"'))
		return false;
	width = span_take(&rest, ' ') ? 1 : 2;
	if (!digits_take(&rest, width, width, &p.day, NULL) || !imap_day_take(&rest, &p))
		return false;
	if (!span_take(&rest, ' ') || !digits_take(&rest, 2, 2, &p.hour, NULL) ||
		!span_take(&rest, ':') || !digits_take(&rest, 2, 2, &p.minute, NULL) ||
		!span_take(&rest, ':') || !digits_take(&rest, 2, 2, &p.second, NULL) ||
		!span_take(&rest, ' '))
		return false;
	west = span_take(&rest, '-');
	if ((!west && !span_take(&rest, '+')) || !digits_take(&rest, 2, 2, &hours, NULL) ||
		!digits_take(&rest, 2, 2, &minutes, NULL) || hours > 23 || minutes > 59 ||
		!span_take(&rest, '"'))
		return false;
	p.zone = (west ? -1 : 1) * (hours * 60 + minutes);
	if (!parts_join(&p, &result))
		return false;
	*date = result;
	*in = rest;
	return true;
}

int32_t
date_day_of(int64_t utc, int32_t zone)
{
	const int64_t first = day_from(1, 1, 1), last = day_from(9999, 12, 31);
	int64_t local = utc / DAY, second = utc % DAY;

	if (local < first - 2 || local > last + 2)         /* nothing to add that matters */
		return (int32_t)(local < 0 ? first : last);
	second += (int64_t)zone * 60;
	local += second / DAY;
	if (second % DAY < 0)
		local--;
	if (local < first)
		local = first;
	return (int32_t)(local > last ? last : local);
}

void
date_add_time(struct text *out, int64_t utc, int32_t zone)
{
	int32_t days = date_day_of(utc, zone), year, month, day, west = zone < 0 ? -zone : zone;
	int64_t second = (utc % DAY + (int64_t)zone * 60) % DAY;

	if (second < 0)
		second += DAY;
	day_split(days, &year, &month, &day);
	text_printf(out, "\"%2d-%.3s-%04d %02d:%02d:%02d %c%02d%02d\"", day,
		months + (month - 1) * 3, year, (int)(second / 3600), (int)(second / 60 % 60),
		(int)(second % 60), zone < 0 ? '-' : '+', west / 60 % 24, west % 60);
}
