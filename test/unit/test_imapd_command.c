/* The words of commands, sequence sets, input cut into commands, names of files and folders,
 * patterns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "imapd/flags.h"
#include "imapd/folder.h"
#include "imapd/imap-input.h"
#include "imapd/imap-parse.h"
#include "imapd/number-set.h"

#include <stdlib.h>
#include <string.h>

#define ROWS(t) (sizeof(t) / sizeof((t)[0]))

/* --- words --- */

static void
test_astring(void **state)
{
	static const struct {
		const char *in;
		size_t len;              /* of `in`; 0: strlen */
		const char *taken;       /* NULL: refused */
		const char *rest;
	} rows[] = {
		{ "INBOX rest", 0, "INBOX", " rest" },
		{ "a]b", 0, "a]b", "" },
		{ "a%b", 0, "a", "%b" },
		{ "\"a b\"c", 0, "a b", "c" },
		{ "\"a\\\"\\\\b\"", 0, "a\"\\b", "" },
		{ "\"\"", 0, "", "" },
		{ "\"a\\b\"", 0, NULL, NULL },
		{ "\"a", 0, NULL, NULL },
		{ "\"a\0b\"", 5, NULL, NULL },
		{ "\"a\xff\"", 0, NULL, NULL },
		{ "\"a\r\n\"", 0, NULL, NULL },
		{ "{3}\r\nabcd", 0, "abc", "d" },
		{ "{3+}\r\na\xff" "cd", 0, "a\xff" "c", "d" },
		{ "{0}\r\n", 0, "", "" },
		{ "{4}\r\nabc", 0, NULL, NULL },
		{ "{3}\r\na\0b", 8, NULL, NULL },
		{ "{3}abc", 0, NULL, NULL },
		{ "{-1}\r\n", 0, NULL, NULL },
		{ "{99999999999999999999}\r\n", 0, NULL, NULL },
		{ "", 0, NULL, NULL },
		{ "(", 0, NULL, NULL },
		{ "\x80", 0, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		size_t len = rows[i].len > 0 ? rows[i].len : strlen(rows[i].in);
		/* In memory of its very size: a byte too many is seen by the sanitizers. */
		unsigned char *exact = malloc(len > 0 ? len : 1);
		struct span in = span_of(exact, len), taken;
		struct arena arena = { .blocks = NULL };

		memcpy(exact, rows[i].in, len);
		if (rows[i].taken == NULL) {
			assert_false(imap_take_astring(&in, &arena, &taken));
			assert_ptr_equal(in.at, exact);
			assert_int_equal(in.len, len);
		} else {
			assert_true(imap_take_astring(&in, &arena, &taken));
			assert_true(span_equal(taken, span_str(rows[i].taken)));
			assert_true(span_equal(in, span_str(rows[i].rest)));
		}
		arena_clear(&arena);
		free(exact);
	}
}

static void
test_number_sets(void **state)
{
	static const struct {
		const char *in;
		uint32_t star;
		const char *set;         /* resolved; NULL: refused */
	} rows[] = {
		{ "1", 9, "1" },
		{ "2,4:7,9,12:*", 15, "2,4:7,9,12:15" },
		{ "*", 9, "9" },
		{ "*:*", 9, "9" },
		{ "*:4,5:7", 10, "4:10" },
		{ "4294967295:*", 7, "7:4294967295" },
		{ "3:1,2", 9, "1:3" },
		{ "1,2,3,5", 9, "1:3,5" },
		{ "4294967295,4294967294", 9, "4294967294:4294967295" },
		{ "*", 0, "" },
		{ "1:*", 0, "" },
		{ "0", 9, NULL },
		{ "1:0", 9, NULL },
		{ "1:4294967296", 9, NULL },
		{ "18446744073709551617", 9, NULL },
		{ "1,", 9, NULL },
		{ ",1", 9, NULL },
		{ "1:", 9, NULL },
		{ "a", 9, NULL },
		{ "", 9, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct text shown = TEXT_UP_TO(1000);
		struct span in = span_str(rows[i].in);
		struct arena arena = { .blocks = NULL };
		struct number_ranges ranges;
		struct number_set set;

		if (rows[i].set == NULL) {
			assert_false(number_set_take(&in, &arena, &set));
		} else {
			assert_true(number_set_take(&in, &arena, &set));
			assert_int_equal(in.len, 0);
			number_set_resolve(&set, rows[i].star);
			ranges = (struct number_ranges){ set.at, set.count, set.count };
			number_ranges_write(&ranges, &shown);
			assert_string_equal(text_str(&shown), rows[i].set);
			for (size_t k = 0; k < set.count; k++) {
				assert_true(number_set_has(&set, set.at[k].from));
				assert_true(number_set_has(&set, set.at[k].to));
				assert_true(set.at[k].from == 1 ||
					!number_set_has(&set, set.at[k].from - 1));
			}
		}
		text_clear(&shown);
		arena_clear(&arena);
	}
}

static void
test_a_set_of_100000_elements_is_quick(void **state)
{
	struct text in = TEXT_UP_TO(1000000);
	struct arena arena = { .blocks = NULL };
	struct number_set set;
	struct span s;

	(void)state;
	for (int i = 0; i < 100000; i++)
		text_add_str(&in, i % 2 ? "7," : "9,");
	text_add_str(&in, "1");
	s = text_span(&in);
	assert_true(number_set_take(&s, &arena, &set));
	number_set_resolve(&set, 10);
	assert_int_equal(set.count, 3);
	arena_clear(&arena);
	text_clear(&in);
}

/* --- input --- */

static void
look(struct imap_input *in, enum input_result result, const char *command)
{
	assert_int_equal(imap_input_look(in), result);
	if (command != NULL)
		assert_true(span_equal(imap_input_command(in), span_str(command)));
}

static void
test_input_is_cut(void **state)
{
	struct imap_input in;

	(void)state;
	imap_input_init(&in, 100, 50);
	imap_input_add(&in, SPAN("a NOOP\r\nb LOGIN {3}\r\n"));
	look(&in, INPUT_COMMAND, "a NOOP");
	imap_input_next(&in);
	look(&in, INPUT_LITERAL, "b LOGIN {3}");
	assert_true(in.synchronizing && in.literal == 3 && imap_input_literal_fits(&in));
	imap_input_accept(&in);
	look(&in, INPUT_MORE, NULL);
	imap_input_add(&in, SPAN("x\ny {5+}\r\n"));
	look(&in, INPUT_LITERAL, NULL);
	assert_true(!in.synchronizing && in.literal == 5);
	imap_input_accept(&in);
	imap_input_add(&in, SPAN("12345\r\nc"));
	look(&in, INPUT_COMMAND, "b LOGIN {3}\r\nx\ny {5+}\r\n12345");
	imap_input_next(&in);
	look(&in, INPUT_MORE, NULL);
	imap_input_add(&in, SPAN(" D\n"));
	look(&in, INPUT_BARE_LF, "c D");
	imap_input_next(&in);
	assert_int_equal(imap_input_rest(&in).len, 0);
	imap_input_clear(&in);
}

static void
test_input_comes_byte_by_byte(void **state)
{
	static const char all[] = "a X {2}\r\n{}\r\nb Y\r\n";
	struct imap_input in;
	int commands = 0;

	(void)state;
	imap_input_init(&in, 100, 50);
	for (size_t i = 0; i < sizeof(all) - 1; i++) {
		enum input_result result;

		imap_input_add(&in, span_of(all + i, 1));
		while ((result = imap_input_look(&in)) != INPUT_MORE) {
			if (result == INPUT_LITERAL) {
				imap_input_accept(&in);
				continue;
			}
			assert_int_equal(result, INPUT_COMMAND);
			commands++;
			imap_input_next(&in);
		}
	}
	assert_int_equal(commands, 2);
	imap_input_clear(&in);
}

static void
test_input_limits(void **state)
{
	static const char *const too_big[] = { "{51}", "{4294967296}", "{18446744073709551615}",
		"{18446744073709551616}",
		"{99999999999999999999999999}", "{51+}" };
	struct imap_input in;
	char line[101];

	(void)state;
	for (size_t i = 0; i < ROWS(too_big); i++) {
		imap_input_init(&in, 100, 50);
		imap_input_add(&in, SPAN("a X "));
		imap_input_add(&in, span_str(too_big[i]));
		imap_input_add(&in, SPAN("\r\n"));
		look(&in, INPUT_LITERAL, NULL);
		assert_false(imap_input_literal_fits(&in));
		imap_input_clear(&in);
	}
	imap_input_init(&in, 100, 50);
	imap_input_add(&in, SPAN("a {30+}\r\n123456789012345678901234567890 {21+}\r\n"));
	look(&in, INPUT_LITERAL, NULL);
	imap_input_accept(&in);
	look(&in, INPUT_LITERAL, NULL);
	assert_false(imap_input_literal_fits(&in));     /* together they are 51 */
	imap_input_clear(&in);
	memset(line, 'x', sizeof(line));
	imap_input_init(&in, 100, 50);
	imap_input_add(&in, span_of(line, 100));
	look(&in, INPUT_MORE, NULL);
	imap_input_add(&in, span_of(line, 1));
	look(&in, INPUT_TOO_LONG, NULL);
	imap_input_clear(&in);
}

/* --- names of files --- */

static void
test_file_names(void **state)
{
	static const struct {
		const char *name, *base;
		uint8_t letters;
		uint32_t lower;
	} rows[] = {
		{ "1.a:2,", "1.a", 0, 0 },
		{ "1.a:2,FS", "1.a", LETTER_F | LETTER_S, 0 },
		{ "1.a:2,DFPRST", "1.a", LETTER_D | LETTER_F | LETTER_P | LETTER_R | LETTER_S |
		LETTER_T, 0 },
		{ "1.a:2,Sab", "1.a", LETTER_S, 3 },
		{ "1.a", "1.a", LETTER_BARE, 0 },
		{ "1.a:2,S?", "1.a:2,S?", LETTER_BARE, 0 },
		{ "1.a:1,S", "1.a:1,S", LETTER_BARE, 0 },
		{ "1.a:2", "1.a:2", LETTER_BARE, 0 },
	};
	char name[MAILDIR_MOST_NAME + 1];
	struct mail_name parts;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		mail_name_split(span_str(rows[i].name), &parts);
		assert_true(span_equal(parts.base, span_str(rows[i].base)));
		assert_int_equal(parts.letters, rows[i].letters);
		assert_int_equal(parts.lower, rows[i].lower);
		assert_true(mail_name_join(parts.base, parts.letters, parts.lower, name,
			sizeof(name)));
		assert_string_equal(name, rows[i].name);
	}
	mail_name_split(SPAN("1.a,S=12,W=13:2,S"), &parts);
	assert_true(parts.has_size && parts.size == 12 && parts.has_vsize && parts.vsize == 13);
	mail_name_split(SPAN("1.a,S=99999999999999999999:2,S"), &parts);
	assert_false(parts.has_size);
	mail_name_split(SPAN("1.a,S=12x"), &parts);
	assert_false(parts.has_size);
}

/* --- folders --- */

static void
test_folder_names(void **state)
{
	static const struct {
		const char *name, *folder;    /* NULL: refused */
	} rows[] = {
		{ "INBOX", "" }, { "inBox", "" }, { "Sent", ".Sent" }, { "a/b/c", ".a.b.c" },
			{ "Entw&APw-rfe", ".Entw&APw-rfe" },
		{ "INBOX/x", ".INBOX.x" }, { "curt", ".curt" }, { "a/cur", ".a.cur" },
		{ "", NULL }, { "a.b", NULL }, { "..", NULL }, { "../x", NULL }, { "a/../b", NULL },
		{ "/a", NULL }, { "a/", NULL },
		{ "a//b", NULL }, { "~root", NULL }, { "a/~b", NULL }, { "cur", NULL },
		{ "new/x", NULL }, { "tmp", NULL },
		{ "&AC4ALg-/x", NULL }, { "&AC8-", NULL }, { "&", NULL }, { "a\x01", NULL },
		{ "\xc3\xbc", NULL }, { "a\x7f", NULL },
	};
	char folder[MOST_FOLDER_NAME + 1];
	char longest[300];
	const char *why;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		why = NULL;
		if (rows[i].folder == NULL) {
			assert_false(folder_of_name(span_str(rows[i].name), folder, &why));
			assert_non_null(why);
		} else {
			struct text back = TEXT_UP_TO(1000);

			assert_true(folder_of_name(span_str(rows[i].name), folder, &why));
			assert_string_equal(folder, rows[i].folder);
			folder_name_write(folder, &back);
			assert_true(span_equal_nocase(text_span(&back), span_str(rows[i].name)));
			text_clear(&back);
		}
	}
	memset(longest, 'x', sizeof(longest));
	assert_true(folder_of_name(span_of(longest, MOST_FOLDER_NAME - 1), folder, &why));
	assert_false(folder_of_name(span_of(longest, MOST_FOLDER_NAME), folder, &why));
	assert_false(folder_of_name(span_of("a\0b", 3), folder, &why));
}

static void
test_patterns(void **state)
{
	static const struct {
		const char *pattern, *name;
		bool matches;
	} rows[] = {
		{ "*", "a/b", true }, { "%", "a/b", false }, { "%", "a", true },
			{ "%/%", "a/b", true }, { "a*", "a/b/c", true },
		{ "a%", "a/b", false }, { "a%c", "abc", true }, { "*c", "a/b/c", true },
		{ "%c", "a/b/c", false }, { "", "", true },
		{ "", "a", false }, { "a", "", false }, { "inbox", "INBOX", true },
		{ "InB%", "INBOX", true }, { "sent", "Sent", false },
		{ "a*b*c", "axxbyyc", true }, { "a*b*c", "axxbyy", false }, { "%%%", "abc", true },
		{ "**", "a/b", true },
		{ "a/*", "a", false }, { "*a*a*a*a*a*a*a*a*a*a*a*b",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++)
		assert_int_equal(list_match(span_str(rows[i].pattern), span_str(rows[i].name), '/'),
			rows[i].matches);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_astring),
		cmocka_unit_test(test_number_sets),
		cmocka_unit_test(test_a_set_of_100000_elements_is_quick),
		cmocka_unit_test(test_input_is_cut),
		cmocka_unit_test(test_input_comes_byte_by_byte),
		cmocka_unit_test(test_input_limits),
		cmocka_unit_test(test_file_names),
		cmocka_unit_test(test_folder_names),
		cmocka_unit_test(test_patterns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
