/*
 * instant - see instant.h.
 */
#include "smtpd/instant.h"

#include <time.h>

static bool
take_digits(struct span *in, size_t count, int64_t *number)
{
	struct span digits;

	*number = 0;
	if (!span_take_bytes(in, count, &digits))
		return false;
	for (size_t i = 0; i < count; i++) {
		if (digits.at[i] < '0' || digits.at[i] > '9')
			return false;
		*number = *number * 10 + digits.at[i] - '0';
	}
	return true;
}

static bool
is_leap(int64_t year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int64_t
days_of(int64_t year, int64_t month)
{
	static const int64_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[month - 1] + (month == 2 && is_leap(year));
}

/* Days from 1 January 1970 to the first of the month; years are counted as if they began in March,
 * so that the leap day comes last. */
static int64_t
days_before(int64_t year, int64_t month)
{
	int64_t y = month > 2 ? year : year - 1, m = month > 2 ? month - 3 : month + 9;

	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 - 719468;
}

/* "Z", or "+hh:mm": seconds east. */
static bool
take_zone(struct span *in, int64_t *east)
{
	int64_t hours, minutes;
	bool minus;

	*east = 0;
	if (span_take_word(in, SPAN("Z")))
		return true;
	minus = span_take(in, '-');
	if (!minus && !span_take(in, '+'))
		return false;
	if (!take_digits(in, 2, &hours) || !span_take(in, ':') || !take_digits(in, 2, &minutes) ||
		hours > 23 || minutes > 59)
		return false;
	*east = (hours * 60 + minutes) * (minus ? -60 : 60);
	return true;
}

bool
instant_parse(struct span in, uint64_t *seconds)
{
	int64_t year, month, day, hour, minute, second, east, result;

	if (!take_digits(&in, 4, &year) || !span_take(&in, '-') || !take_digits(&in, 2, &month) ||
		!span_take(&in, '-') || !take_digits(&in, 2, &day) || !span_take_word(&in, SPAN("T")) ||
		!take_digits(&in, 2, &hour) || !span_take(&in, ':') || !take_digits(&in, 2, &minute) ||
		!span_take(&in, ':') || !take_digits(&in, 2, &second))
		return false;
	if (span_take(&in, '.')) {
		size_t digits = 0;

		while (digits < in.len && in.at[digits] >= '0' && in.at[digits] <= '9')
			digits++;
		if (digits == 0)
			return false;
		in = span_part(in, digits, in.len);
	}
	if (!take_zone(&in, &east) || in.len > 0)
		return false;
	/* 60: a leap second */
	if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_of(year, month) || hour > 23 ||
		minute > 59 || second > 60)
		return false;
	result = (days_before(year, month) + day - 1) * 86400 + hour * 3600 + minute * 60 + second - east;
	*seconds = result < 0 ? 0 : (uint64_t)result;
	return true;
}

void
instant_put(struct text *to, uint64_t seconds)
{
	time_t when = (time_t)seconds;
	struct tm t;

	if (gmtime_r(&when, &t))
		text_printf(to, "%04d-%02d-%02dT%02d:%02d:%02dZ", t.tm_year + 1900, t.tm_mon + 1,
			t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
}
