/*
 * Log lines in a file: their form, and that nobody can make two of one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/sink.h"

#define TIME_LENGTH (sizeof "2026-11-23T02:51:00.123456Z " - 1)

static char directory[] = "/tmp/valija-sink-XXXXXX";
static char name[64], aside[64];
static int directory_fd;

static char *
whole_file(const char *path)
{
	static char text[20000];
	FILE *file = fopen(path, "r");
	size_t n;

	assert_non_null(file);
	n = fread(text, 1, sizeof text - 1, file);
	text[n] = '\0';
	fclose(file);
	return text;
}

/* What one line becomes, behind the time. */
static const char *
written(enum log_level level, const char *line, size_t len)
{
	struct sink *k;
	char *text;

	unlink(name);
	k = sink_new(span_str(name), directory_fd);
	assert_non_null(k);
	sink_write(k, PROGRAM_SMTPD, 4711, level, span_of(line, len));
	sink_free(&k);
	text = whole_file(name);
	assert_true(
		strlen(text) > TIME_LENGTH && text[4] == '-' && text[10] == 'T' && text[26] == 'Z');
	return text + TIME_LENGTH;
}

#define WRITTEN(level, literal) written(level, literal, sizeof(literal) - 1)

static void
test_form(void **state)
{
	(void)state;
	assert_string_equal(
		WRITTEN(LOG_LEVEL_INFO, "login user=ana"), "smtpd[4711]: login user=ana\n");
	assert_string_equal(WRITTEN(LOG_LEVEL_NOTICE, "x"), "smtpd[4711]: x\n");
	assert_string_equal(WRITTEN(LOG_LEVEL_WARNING, "x"), "smtpd[4711]: warning: x\n");
	assert_string_equal(WRITTEN(LOG_LEVEL_ERROR, "x"), "smtpd[4711]: error: x\n");
	/* A level that does not exist is nothing to fall over. */
	assert_string_equal(WRITTEN((enum log_level)200, "x"), "smtpd[4711]: error: x\n");
	assert_string_equal(WRITTEN(LOG_LEVEL_INFO, ""), "smtpd[4711]: \n");
}

static void
test_hostile(void **state)
{
	(void)state;
	assert_string_equal(WRITTEN(LOG_LEVEL_INFO, "a\n2026 auth[1]: login"),
		"smtpd[4711]: a\\x0a2026 auth[1]: login\n");
	assert_string_equal(WRITTEN(LOG_LEVEL_INFO, "\r\x1b[2J\x7f%n%s"),
		"smtpd[4711]: \\x0d\\x1b[2J\\x7f%n%s\n");
	assert_string_equal(
		WRITTEN(LOG_LEVEL_INFO, "gr\xc3\xbc\xc3\x9f"), "smtpd[4711]: gr\xc3\xbc\xc3\x9f\n");
	assert_string_equal(WRITTEN(LOG_LEVEL_INFO, "\xff"), "smtpd[4711]: \\xff\n");
	assert_string_equal(WRITTEN(LOG_LEVEL_INFO, "a\0b"), "smtpd[4711]: a\\x00b\n");
}

static void
test_longest(void **state)
{
	char line[MOST_LOG_LINE];

	(void)state;
	memset(line, 1, sizeof line);
	/* Every byte becomes four, and all are there. */
	assert_int_equal(strlen(written(LOG_LEVEL_INFO, line, sizeof line)),
		strlen("smtpd[4711]: \n") + 4 * MOST_LOG_LINE);
}

static void
test_renamed(void **state)
{
	struct sink *k;

	(void)state;
	unlink(name);
	k = sink_new(span_str(name), directory_fd);
	sink_write(k, PROGRAM_LOG, 1, LOG_LEVEL_INFO, SPAN("one"));
	assert_int_equal(rename(name, aside), 0);
	sink_reopen(k);
	sink_write(k, PROGRAM_LOG, 1, LOG_LEVEL_INFO, SPAN("two"));
	assert_non_null(strstr(whole_file(aside), "one\n"));
	assert_non_null(strstr(whole_file(name), "two\n"));
	/* Without a signal too, within SINK_LOOK_SECONDS and one. */
	unlink(name);
	sleep(SINK_LOOK_SECONDS + 1);
	sink_write(k, PROGRAM_LOG, 1, LOG_LEVEL_INFO, SPAN("three"));
	assert_non_null(strstr(whole_file(name), "three\n"));
	sink_free(&k);
	unlink(aside);
}

static void
test_no_link(void **state)
{
	(void)state;
	unlink(name);
	assert_int_equal(symlink("/etc/passwd", name), 0);
	assert_null(sink_new(span_str(name), directory_fd));
	unlink(name);
}

static int
set_up(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(name, sizeof name, "%s/valija.log", directory);
	snprintf(aside, sizeof aside, "%s/valija.log.1", directory);
	directory_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return directory_fd < 0 ? -1 : 0;
}

static int
tear_down(void **state)
{
	(void)state;
	unlink(name);
	close(directory_fd);
	return rmdir(directory);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_form),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_renamed),
		cmocka_unit_test(test_no_link),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
