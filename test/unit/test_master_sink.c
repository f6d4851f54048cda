/*
 * Log lines in a file: their form, and that nobody can make two of one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "master/sink.h"

#define TIME_LENGTH (sizeof "2026-11-23T02:51:00.123456Z " - 1)

static char directory[] = "/tmp/valija-sink-XXXXXX";
static char name[64], aside[64];
static int directory_fd;

/* 2026-11-23T12:00:00.000042Z, and microseconds later. */
static const struct timespec noon = { 1795435200, 42000 };

static struct timespec
later(long microseconds)
{
	return (struct timespec){ noon.tv_sec, noon.tv_nsec + 1000 * microseconds };
}

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
	sink_write(k, &noon, PROGRAM_SMTPD, 4711, level, span_of(line, len));
	sink_free(&k);
	text = whole_file(name);
	assert_memory_equal(text, "2026-11-23T12:00:00.000042Z ", TIME_LENGTH);
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
	sink_write(k, &noon, PROGRAM_LOG, 1, LOG_LEVEL_INFO, SPAN("one"));
	assert_int_equal(rename(name, aside), 0);
	sink_reopen(k);
	sink_write(k, &noon, PROGRAM_LOG, 1, LOG_LEVEL_INFO, SPAN("two"));
	assert_false(sink_flush(k, NULL));
	assert_non_null(strstr(whole_file(aside), "one\n"));
	assert_non_null(strstr(whole_file(name), "two\n"));
	/* Without a signal too, within SINK_LOOK_SECONDS and one. */
	unlink(name);
	sleep(SINK_LOOK_SECONDS + 1);
	sink_write(k, &noon, PROGRAM_LOG, 1, LOG_LEVEL_INFO, SPAN("three"));
	assert_false(sink_flush(k, NULL));
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

static void
say(struct sink *k, long microseconds, const char *line)
{
	const struct timespec at = later(microseconds);

	sink_write(k, &at, PROGRAM_LOG, 1, LOG_LEVEL_INFO, span_str(line));
}

/* The words of the file's lines, with blanks between. */
static const char *
words(void)
{
	static char all[20000];
	char *text = whole_file(name);
	size_t n = 0;

	all[0] = '\0';
	for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
		n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", n > 0 ? " " : "",
			strlen(line) > TIME_LENGTH + 8 ? line + TIME_LENGTH + 8 : line);
	return all;
}

/* As they were said, not as they were read; and what is younger than the round, in the next. */
static void
test_order(void **state)
{
	const struct timespec until = later(5);
	struct sink *k;

	(void)state;
	unlink(name);
	k = sink_new(span_str(name), directory_fd);
	say(k, 3, "c");
	say(k, 1, "a");
	say(k, 9, "i");
	say(k, 3, "d");
	say(k, 7, "h");
	say(k, 2, "b");
	assert_string_equal(words(), "");
	assert_true(sink_flush(k, &until));
	assert_string_equal(words(), "a b c d");
	say(k, 6, "g");
	/* What has waited once waits no longer, whatever the clocks say. */
	say(k, 8, "later");
	assert_true(sink_flush(k, &until));
	assert_string_equal(words(), "a b c d h i");
	assert_false(sink_flush(k, NULL));
	assert_string_equal(words(), "a b c d h i g later");
	assert_false(sink_flush(k, NULL));
	sink_free(&k);
}

/* Of many lines nothing is kept for long. */
static void
test_many(void **state)
{
	struct sink *k;
	char *text;
	size_t lines = 0;

	(void)state;
	unlink(name);
	k = sink_new(span_str(name), directory_fd);
	for (long i = 0; i < SINK_MOST_LINES - 1; i++)
		say(k, i, "m");
	assert_string_equal(words(), "");
	say(k, SINK_MOST_LINES, "m");
	text = whole_file(name);
	for (size_t i = 0; text[i] != '\0'; i++)
		lines += text[i] == '\n';
	/* As many as whole_file has room for. */
	assert_true(lines > 400);
	sink_free(&k);
}

/* A disk that is full in the middle of a line: the next that fits begins a line, and says how many are gone. */
static void
test_full(void **state)
{
	const size_t a_line = TIME_LENGTH + strlen("log[1]: a\n");
	struct rlimit before, low;
	struct sink *k;

	(void)state;
	unlink(name);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	low = before;
	low.rlim_cur = 2 * a_line + 5;
	k = sink_new(span_str(name), directory_fd);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	for (long i = 0; i < 5; i++)
		say(k, i, "a");
	(void)sink_flush(k, NULL);
	say(k, 6, "b");
	(void)sink_flush(k, NULL);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	say(k, 7, "c");
	say(k, 8, "d");
	(void)sink_flush(k, NULL);
	say(k, 9, "e");
	sink_free(&k);
	assert_string_equal(words(), "a a 2026- c lines-lost-before=4 d e");
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
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
