/* Date fields, IMAP dates and date-times, days before 1970, dates that cannot be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "imapd/date.h"

#include <stdlib.h>
#include <string.h>

#include "expect.h"

/* The day is told as date_add_time tells it. */
static const struct {
	const char *value, *expected, *day;          /* NULL: no date */
} fields[] = {
	{ "Fri, 21 Nov 1997 09:55:06 -0600", "'21-Nov-1997 09:55:06 -0600'", "21-Nov-1997" },
	{ "Tue, 1 Jul 2003 10:52:37 +0200", "' 1-Jul-2003 10:52:37 +0200'", "1-Jul-2003" },
	{ "Thu, 13 Feb 1969 23:32:54 -0330", "'13-Feb-1969 23:32:54 -0330'", "13-Feb-1969" },
	{ "Thu,|      13|        Feb|          1969|      23:32|               -0330 (Newfoundland "
	  "Time)",
		"'13-Feb-1969 23:32:00 -0330'", "13-Feb-1969" },
	{ "21 Nov 97 09:55:06 GMT", "'21-Nov-1997 09:55:06 +0000'", "21-Nov-1997" },
	{ "Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", "'21-Nov-1997 09:55:06 -0600'",
		"21-Nov-1997" },
	{ "1 Jan 49 00:00 EST", "' 1-Jan-2049 00:00:00 -0500'", "1-Jan-2049" },
	{ "1 Jan 50 00:00 PDT", "' 1-Jan-1950 00:00:00 -0700'", "1-Jan-1950" },
	{ "1 Jan 104 00:00 Z", "' 1-Jan-2004 00:00:00 +0000'", "1-Jan-2004" },
	{ "1 Jan 2004 00:00 A", "' 1-Jan-2004 00:00:00 +0000'", "1-Jan-2004" },
	{ "1 Jan 2004 00:00 GMT+0200", "' 1-Jan-2004 00:00:00 +0200'", "1-Jan-2004" },
	{ "1 Jan 2004 00:00 +02:00", "' 1-Jan-2004 00:00:00 +0200'", "1-Jan-2004" },
	{ "1 Jan 2004 00:00 +9999", "' 1-Jan-2004 00:00:00 +0000'", "1-Jan-2004" },
	{ "1 January 2004 00:00", "' 1-Jan-2004 00:00:00 +0000'", "1-Jan-2004" },
	{ "1-Jan-04", "' 1-Jan-2004 00:00:00 +0000'", "1-Jan-2004" },
	{ "Sunday, 1 Jan 2004 0:0:0", "' 1-Jan-2004 00:00:00 +0000'", "1-Jan-2004" },
	{ "Sun. 1 Jan 2004", "' 1-Jan-2004 00:00:00 +0000'", "1-Jan-2004" },
	{ "Fri Nov 21 09:55:06 1997", "'21-Nov-1997 09:55:06 +0000'", "21-Nov-1997" },
	{ "Fri Nov 21 09:55:06 EST 1997", "'21-Nov-1997 09:55:06 -0500'", "21-Nov-1997" },
	{ "Fri Nov 21 09:55:06 1997 +0100", "'21-Nov-1997 09:55:06 +0100'", "21-Nov-1997" },
	{ "31 Dec 2016 23:59:60 +0000", "'31-Dec-2016 23:59:59 +0000'", "31-Dec-2016" },
	{ "29 Feb 2000 12:00 +0000", "'29-Feb-2000 12:00:00 +0000'", "29-Feb-2000" },
	{ "1 Jan 0001 00:00 +0000", "' 1-Jan-0001 00:00:00 +0000'", "1-Jan-0001" },
	{ "31 Dec 9999 23:59:59 +0000", "'31-Dec-9999 23:59:59 +0000'", "31-Dec-9999" },
	{ "", NULL, NULL },
	{ "nonsense", NULL, NULL },
	{ "29 Feb 1900 12:00 +0000", NULL, NULL },
	{ "31 Apr 2000", NULL, NULL },
	{ "0 Apr 2000", NULL, NULL },
	{ "1 Foo 2000", NULL, NULL },
	{ "1 Jan 20000", NULL, NULL },
	{ "1 Jan 0000", NULL, NULL },
	{ "1 Jan 2000 24:00", NULL, NULL },
	{ "1 Jan 2000 12:60", NULL, NULL },
	{ "1 Jan 2000 12", NULL, NULL },
	{ "99999999999999999999 Jan 2000", NULL, NULL },
};

static void
test_fields(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS_OF(fields); i++) {
		struct text value = text_of(fields[i].value), shown = TEXT_UP_TO(100);
		struct date date;
		struct span in;
		int32_t day;
		bool parsed = date_parse(text_span(&value), &date);

		if (parsed != (fields[i].expected != NULL))
			fprintf(stderr, "of: %s\n", fields[i].value);
		assert_int_equal(parsed, fields[i].expected != NULL);
		if (parsed) {
			date_add_time(&shown, date.utc, date.zone);
			expect_text(fields[i].value, text_span(&shown), fields[i].expected);
			in = span_str(fields[i].day);
			assert_true(date_take_day(&in, &day) && in.len == 0);
			assert_int_equal(day, date.day);
		}
		text_clear(&value);
		text_clear(&shown);
	}
}

static void
test_days(void **state)
{
	static const struct {
		const char *in;
		bool good;
		int32_t day;
	} cases[] = {
		{ "1-Jan-1970", true, 0 },
		{ "01-jan-1970", true, 0 },
		{ "\"1-JAN-1970\"", true, 0 },
		{ "31-Dec-1969", true, -1 },
		{ "1-Feb-1994", true, 8797 },
		{ "1-Jan-2000", true, 10957 },
		{ "31-Feb-9999", false, 0 },
		{ "1-Jan-70", false, 0 },
		{ "1-Jan", false, 0 },
		{ "", false, 0 },
		{ "\"1-Jan-1970", false, 0 },
		{ "001-Jan-1970", false, 0 },
		{ "1 Jan 1970", false, 0 },
		{ "0-Jan-1970", false, 0 },
		{ "1-Jan-0000", false, 0 },
		{ "-1-Jan-1970", false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ROWS_OF(cases); i++) {
		struct span in = span_str(cases[i].in), before = in;
		int32_t day = 77;

		assert_int_equal(date_take_day(&in, &day), cases[i].good);
		if (cases[i].good)
			assert_true(day == cases[i].day && in.len == 0);
		else
			assert_true(day == 77 && in.at == before.at && in.len == before.len);
	}
}

static void
test_times(void **state)
{
	static const struct {
		const char *in;
		bool good;
		int64_t utc;
	} cases[] = {
		{ "\" 1-Jan-1970 00:00:00 +0000\"", true, 0 },
		{ "\"01-Jan-1970 01:00:00 +0100\"", true, 0 },
		{ "\"31-Dec-1969 23:59:59 +0000\"", true, -1 },
		{ "\"17-Jul-1996 02:44:25 -0700\"", true, 837596665 },
		{ "\"1-Jan-1970 00:00:00 +0000\"", false, 0 },
		{ " 1-Jan-1970 00:00:00 +0000", false, 0 },
		{ "\" 1-Jan-1970 0:00:00 +0000\"", false, 0 },
		{ "\" 1-Jan-1970 00:00:00 0000\"", false, 0 },
		{ "\" 1-Jan-1970 00:00:00 +2400\"", false, 0 },
		{ "\" 1-Jan-1970 00:00:00 +0060\"", false, 0 },
		{ "\" 1-Jan-1970 24:00:00 +0000\"", false, 0 },
		{ "\"31-Jun-1970 00:00:00 +0000\"", false, 0 },
		{ "\" 1-Jan-1970 00:00:00\"", false, 0 },
		{ "\" 1-Jan-1970 00:00:00 +0000", false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ROWS_OF(cases); i++) {
		struct span in = span_str(cases[i].in), before = in;
		struct date date;

		assert_int_equal(date_take_time(&in, &date), cases[i].good);
		if (cases[i].good)
			assert_true(date.utc == cases[i].utc && in.len == 0);
		else
			assert_true(in.at == before.at && in.len == before.len);
	}
}

/* Every day of the calendar has one number and prints as itself; the edges of time do not
 * overflow. */
static void
test_round_trip(void **state)
{
	static const int64_t edges[] = { INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1,
		INT64_MAX };

	(void)state;
	for (int64_t utc = -62135596800; utc < 253402300800; utc += 86400 * 37 + 12345) {
		struct text shown = TEXT_UP_TO(100);
		struct date date;
		struct span in;

		date_add_time(&shown, utc, 0);
		in = text_span(&shown);
		assert_true(date_take_time(&in, &date) && in.len == 0 && date.utc == utc);
		assert_int_equal(date_day_of(utc, 0), date.day);
		text_clear(&shown);
	}
	for (size_t i = 0; i < ROWS_OF(edges); i++) {
		for (int32_t zone = -1439; zone < 1440; zone += 1439) {
			struct text shown = TEXT_UP_TO(100);
			struct span in;
			struct date date;

			date_add_time(&shown, edges[i], zone);
			in = text_span(&shown);
			assert_true(date_take_time(&in, &date) && in.len == 0);
			text_clear(&shown);
		}
	}
	assert_int_equal(date_day_of(-1, 0), -1);
	assert_int_equal(date_day_of(-1, 1), 0);
	assert_int_equal(date_day_of(0, -1), -1);
	assert_int_equal(date_day_of(86399, 0), 0);
	assert_int_equal(date_day_of(86399, 1), 1);
}

/* What is read the quick way is read as with patience: a comment in front takes the other way. */
static void
test_both_ways_agree(void **state)
{
	static const char *const dates[] = { "Tue, 14 Jan 2020 10:07:00 +0100", "1 Dec 0099 23:59:60 -0330" };
	static const char other[] = "0159 :,+-JfbDt(\x80\r";
	char text[40] = "(x)", *value = text + 3;
	size_t dated = 0;

	(void)state;
	for (size_t k = 0; k < ROWS_OF(dates); k++) {
		size_t len = strlen(dates[k]);

		for (size_t i = 0; i < (len + 1) * sizeof(other); i++) {
			struct date quick = { 0 }, patient = { 0 };
			size_t cut = i / sizeof(other);
			bool found;

			memcpy(value, dates[k], len);
			value[cut] = other[i % sizeof(other)];
			if (i % sizeof(other) == sizeof(other) - 1)
				len = cut == 0 ? 1 : cut;       /* cut there */
			found = date_parse(span_of(value, len), &quick);
			assert_int_equal(found, date_parse(span_of(text, len + 3), &patient));
			assert_true(quick.utc == patient.utc && quick.zone == patient.zone && quick.day == patient.day);
			dated += found;
			len = strlen(dates[k]);
		}
	}
	assert_true(dated > 300);
}

/* The same of words in any order. */
static void
test_both_ways_agree_about_words(void **state)
{
	static const char *const words[] = { "Tue, ", "Mon, ", "Sun,", "14 ", "1 ", "Jan ", "Dec ", "2020 ", "0099 ",
		"10:07:00 ", "23:59:60 ", "10:07 ", "+0100", "-0330", "+01:00", "GMT", " ", "(y)" };
	static const unsigned char usual[] = { 0, 3, 5, 7, 9, 12 };
	size_t dated = 0;

	(void)state;
	srandom(4);
	for (int round = 0; round < 300000; round++) {
		char text[120] = "(x)";
		struct date quick = { 0 }, patient = { 0 };
		bool found;

		for (size_t i = 0; i < ROWS_OF(usual); i++) {
			for (long again = random() % 8 == 0 ? random() % 3 : 1; again > 0; again--)
				strcat(text, words[random() % 6 == 0 ? (size_t)random() % ROWS_OF(words) : usual[i]]);
		}
		found = date_parse(span_str(text + 3), &quick);
		if (found != date_parse(span_str(text), &patient))
			fprintf(stderr, "of:       %s\n", text + 3);
		assert_int_equal(found, date_parse(span_str(text), &patient));
		assert_true(quick.utc == patient.utc && quick.zone == patient.zone && quick.day == patient.day);
		dated += found;
	}
	assert_true(dated > 10000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_both_ways_agree),
		cmocka_unit_test(test_both_ways_agree_about_words),
		cmocka_unit_test(test_days),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
