/* The ends of certificates: when postmaster is told, and what is remembered of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "master/expiry-told.h"

#define DAY 86400
#define END INT64_C(1900000000)

/* --- stages, with made-up times --- */

static void
test_stages_by_days_left(void **state)
{
	static const struct {
		int64_t left;
		enum expiry_stage stage;
	} rows[] = {
		{ INT64_C(400) * DAY, EXPIRY_FAR }, { 22 * DAY, EXPIRY_FAR }, { 21 * DAY, EXPIRY_FAR },
		{ 21 * DAY - 1, EXPIRY_21_DAYS }, { 7 * DAY, EXPIRY_21_DAYS }, { 7 * DAY - 1, EXPIRY_7_DAYS },
		{ 3 * DAY, EXPIRY_7_DAYS }, { 3 * DAY - 1, EXPIRY_3_DAYS }, { DAY, EXPIRY_3_DAYS },
		{ DAY - 1, EXPIRY_1_DAY }, { 0, EXPIRY_1_DAY }, { -1, EXPIRY_OVER }, { -400 * DAY, EXPIRY_OVER },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(expiry_stage(END, END - rows[i].left), rows[i].stage);
}

/* As many mails as there are stages, whenever one looks: each hour for a year, with restarts between. */
static void
test_each_stage_is_told_once(void **state)
{
	struct expiry_told told = { .count = 0 };
	unsigned char fingerprint[FINGERPRINT_SIZE] = { 1, 2, 3 };
	int mails[EXPIRY_STAGE_COUNT] = { 0 };

	(void)state;
	for (int64_t now = END - INT64_C(365) * DAY; now < END + 9 * DAY; now += 3600) {
		struct text file = TEXT_UP_TO(MOST_TOLD_FILE);
		struct expiry_told_row *row = expiry_told_find(&told, fingerprint);
		enum expiry_stage stage = expiry_stage(END, now);

		if (!row)
			row = expiry_told_add(&told, fingerprint);
		assert_int_equal(row->revoked, now > END - 50 * DAY);
		row->revoked = now + 3600 > END - 50 * DAY;
		if (stage > row->stage) {
			mails[stage]++;
			row->stage = stage;
		}
		expiry_told_write(&told, &file);
		memset(&told, 0xee, sizeof told);
		expiry_told_read(&told, text_span(&file));
		text_clear(&file);
	}
	assert_int_equal(told.count, 1);
	for (int stage = EXPIRY_21_DAYS; stage < EXPIRY_STAGE_COUNT; stage++)
		assert_int_equal(mails[stage], 1);
}

/* Renewed while a third of its life is still left; not long before. */
static void
test_due_before_a_third_is_left(void **state)
{
	const int64_t life = INT64_C(820) * DAY, begin = END - life;

	(void)state;
	assert_false(expiry_is_due(begin, END, begin));
	assert_false(expiry_is_due(begin, END, END - life / 3 - 3 * DAY));
	assert_true(expiry_is_due(begin, END, END - life / 3 - DAY));
	assert_true(expiry_is_due(begin, END, END - life / 3));
	assert_true(expiry_is_due(begin, END, END + DAY));
}

/* --- the file --- */

static void
test_what_is_no_line_is_left_out(void **state)
{
	struct expiry_told told;
	struct text file = TEXT_UP_TO(MOST_TOLD_FILE);
	unsigned char fingerprint[FINGERPRINT_SIZE];

	(void)state;
	memset(fingerprint, 0xab, sizeof fingerprint);
	for (int i = 0; i < 32; i++)
		text_add_str(&file, "ab");
	text_add_str(&file, " 3\n\nnonsense\n");
	for (int i = 0; i < 32; i++)
		text_add_str(&file, "ac");
	text_add_str(&file, " 6\n");          /* no such stage */
	for (int i = 0; i < 32; i++)
		text_add_str(&file, "xy");
	text_add_str(&file, " 1\n");
	for (int i = 0; i < 32; i++)
		text_add_str(&file, "ae");
	text_add_str(&file, " 1 revoked?\n");
	for (int i = 0; i < 32; i++)
		text_add_str(&file, "ad");
	text_add_str(&file, " 1");            /* cut */
	expiry_told_read(&told, text_span(&file));
	assert_int_equal(told.count, 1);
	assert_non_null(expiry_told_find(&told, fingerprint));
	assert_int_equal(expiry_told_find(&told, fingerprint)->stage, EXPIRY_3_DAYS);
	fingerprint[31] = 0;
	assert_null(expiry_told_find(&told, fingerprint));
	text_clear(&file);
}

static void
test_the_oldest_gives_way(void **state)
{
	struct expiry_told told = { .count = 0 }, again;
	struct text file = TEXT_UP_TO(MOST_TOLD_FILE);
	unsigned char fingerprint[FINGERPRINT_SIZE] = { 0 };

	(void)state;
	for (unsigned int i = 0; i < MOST_EXPIRY_ROWS + 10; i++) {
		fingerprint[0] = (unsigned char)(i >> 8);
		fingerprint[1] = (unsigned char)i;
		expiry_told_add(&told, fingerprint)->stage = EXPIRY_1_DAY;
	}
	assert_int_equal(told.count, MOST_EXPIRY_ROWS);
	assert_non_null(expiry_told_find(&told, fingerprint));
	memset(fingerprint, 0, sizeof fingerprint);
	assert_null(expiry_told_find(&told, fingerprint));
	/* All of them fit into the file. */
	expiry_told_write(&told, &file);
	assert_false(file.failed);
	expiry_told_read(&again, text_span(&file));
	assert_int_equal(again.count, MOST_EXPIRY_ROWS);
	text_clear(&file);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stages_by_days_left),
		cmocka_unit_test(test_each_stage_is_told_once),
		cmocka_unit_test(test_due_before_a_third_is_left),
		cmocka_unit_test(test_what_is_no_line_is_left_out),
		cmocka_unit_test(test_the_oldest_gives_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
