/*
 * sink - where log lines end.
 */
#include "master/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/text.h"
#include "master/log-setting.h"

/* After common/log.h, whose names begin alike. */
#include <syslog.h>

#define MOST_WRITTEN		 (4 * MOST_LOG_LINE + 128)
#define MOST_BATCH		 (4 * MOST_WRITTEN)
#define SYSLOG_SOCKET		 "/dev/log"
#define SYSLOG_WAIT_MICROSECONDS 200000 /* for a syslog daemon that is behind */

/* A line that waits, without its end. */
struct line {
	TAILQ_ENTRY(line) next;
	struct timespec at;
	bool waited; /* one flush over: it goes with the next */
	struct text text;
};

struct sink {
	enum log_target target;
	int directory;
	char *name; /* of the file, in directory */
	int fd;
	time_t looked;
	unsigned long lost; /* lines that could not be written */
	bool torn;	    /* the file ends within a line */
	TAILQ_HEAD(lines, line) lines; /* by their times */
	size_t line_count;
	time_t second;	     /* whose name is in second_name */
	char second_name[32];
};

static void
open_file(struct sink *k)
{
	if (k->fd >= 0)
		close(k->fd);
	k->fd = openat(k->directory, k->name,
		O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
		0600);
	k->looked = time(NULL);
}

/* A socket for syslog, connected to nobody: each line is sent to SYSLOG_SOCKET by name, so that
 * a syslog daemon may be started again, and this process needs no right to make sockets. */
static int
open_syslog(void)
{
	const struct timeval patience = { 0, SYSLOG_WAIT_MICROSECONDS };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	return fd;
}

struct sink *
sink_new(struct span target, int directory)
{
	struct sink *k = must_alloc(sizeof *k);

	k->target = log_setting_target(target);
	k->directory = directory;
	k->fd = -1;
	k->second = -1;
	TAILQ_INIT(&k->lines);
	switch (k->target) {
	case LOG_TO_FILE:
		k->name = must_copy(span_part(target, span_rindex(target, '/') + 1, target.len));
		open_file(k);
		if (k->fd < 0) {
			log_error(0, "log-not-opened", KEY_SPAN("file", target), KEY_ERRNO);
			sink_free(&k);
		}
		break;
	case LOG_TO_SYSLOG:
		k->fd = open_syslog();
		if (k->fd < 0) {
			log_error(0, "log-not-opened", KEY_STR("file", "syslog"), KEY_ERRNO);
			sink_free(&k);
		}
		break;
	case LOG_TO_STDERR:
		k->fd = STDERR_FILENO;
		break;
	case LOG_TO_NOWHERE:
		break;
	}
	return k;
}

void
sink_free(struct sink **k)
{
	if (*k)
		(void)sink_flush(*k, NULL);
	if (*k && (*k)->target != LOG_TO_STDERR && (*k)->fd >= 0)
		close((*k)->fd);
	if (*k)
		free((*k)->name);
	free(*k);
	*k = NULL;
}

void
sink_reopen(struct sink *k)
{
	(void)sink_flush(k, NULL);
	if (k->target == LOG_TO_FILE)
		open_file(k);
}

/* Was the file renamed or removed? Then the lines go into a new one. */
static void
look(struct sink *k)
{
	struct stat named, open_one;
	time_t now = time(NULL);

	if (k->fd >= 0 && now - k->looked < SINK_LOOK_SECONDS)
		return;
	k->looked = now;
	if (k->fd < 0 || fstat(k->fd, &open_one) < 0 ||
		fstatat(k->directory, k->name, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
		named.st_ino != open_one.st_ino || named.st_dev != open_one.st_dev)
		open_file(k);
}

static void
add_time(struct sink *k, const struct timespec *at, struct text *t)
{
	struct tm utc;

	if (at->tv_sec != k->second) {
		gmtime_r(&at->tv_sec, &utc);
		snprintf(k->second_name, sizeof k->second_name, "%04d-%02d-%02dT%02d:%02d:%02d",
			(utc.tm_year + 1900) % 10000, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour,
			utc.tm_min, utc.tm_sec);
		k->second = at->tv_sec;
	}
	text_printf(t, "%s.%06ldZ ", k->second_name, at->tv_nsec / 1000);
}

static const char *
level_word(enum log_level level)
{
	return level == LOG_LEVEL_WARNING ? "warning: " : level >= LOG_LEVEL_ERROR ? "error: " : "";
}

static bool
is_later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

static void
add_line(struct text *t, struct span line)
{
	bool utf8 = span_is_utf8(line);
	size_t i = 0;

	/* As a rule, all of it. */
	while (i < line.len && line.at[i] >= 0x20 && line.at[i] < 0x7f)
		i++;
	text_add(t, span_part(line, 0, i));
	for (; i < line.len; i++) {
		unsigned char c = line.at[i];

		if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8))
			text_printf(t, "\\x%02x", c);
		else
			text_add_byte(t, c);
	}
}

static int
syslog_level(enum log_level level)
{
	static const int levels[] = { LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING, LOG_ERR };

	return levels[level <= LOG_LEVEL_ERROR ? level : LOG_LEVEL_ERROR];
}

/* --- out --- */

/* Writes `lines` lines at once; the first of them says that `told` were lost before. */
static void
write_batch(struct sink *k, struct span batch, size_t lines, unsigned long told)
{
	static const struct sockaddr_un syslogd = { .sun_family = AF_UNIX,
		.sun_path = SYSLOG_SOCKET };
	size_t whole = lines;
	ssize_t wrote;

	do
		wrote = k->target == LOG_TO_SYSLOG
			? sendto(k->fd, batch.at, batch.len, MSG_NOSIGNAL,
				  (const struct sockaddr *)&syslogd, sizeof syslogd)
			: write(k->fd, batch.at, batch.len);
	while (wrote < 0 && errno == EINTR);
	/* A full disk: nobody can be told but by the next line that fits. */
	if (wrote != (ssize_t)batch.len) {
		whole = 0;
		for (ssize_t i = 0; i < wrote; i++)
			whole += batch.at[i] == '\n';
	}
	if (wrote > 0)
		k->torn = k->target == LOG_TO_FILE && batch.at[wrote - 1] != '\n';
	if (whole > 0)
		k->lost -= told;
	k->lost += lines - whole;
}

static void
line_free(struct sink *k, struct line *l)
{
	TAILQ_REMOVE(&k->lines, l, next);
	k->line_count--;
	text_clear(&l->text);
	free(l);
}

/* All that waits and is not to wait any longer. */
static void
write_lines(struct sink *k, const struct timespec *until)
{
	struct text batch = TEXT_UP_TO(MOST_BATCH);
	unsigned long told = 0;
	size_t lines = 0;
	struct line *l, *after;

	for (l = TAILQ_FIRST(&k->lines); l != NULL; l = after) {
		after = TAILQ_NEXT(l, next);
		if (until != NULL && !l->waited && is_later(&l->at, until)) {
			l->waited = true;
			continue;
		}
		if (lines == 0 && k->torn)
			text_add_byte(&batch, '\n');
		text_add(&batch, text_span(&l->text));
		if (lines == 0 && (told = k->lost) > 0)
			text_printf(&batch, " lines-lost-before=%lu", told);
		if (k->target != LOG_TO_SYSLOG)
			text_add_byte(&batch, '\n');
		lines++;
		line_free(k, l);
		if (k->target != LOG_TO_SYSLOG && batch.len < MOST_BATCH - 2 * MOST_WRITTEN)
			continue;
		write_batch(k, text_span(&batch), lines, told);
		text_reset(&batch);
		lines = 0;
	}
	if (lines > 0)
		write_batch(k, text_span(&batch), lines, told);
	text_clear(&batch);
}

bool
sink_flush(struct sink *k, const struct timespec *until)
{
	if (k->target == LOG_TO_FILE && !TAILQ_EMPTY(&k->lines))
		look(k);
	write_lines(k, until);
	return !TAILQ_EMPTY(&k->lines);
}

/* --- in --- */

/* Behind all that were not said later. */
static void
keep(struct sink *k, struct line *l)
{
	struct line *before = TAILQ_LAST(&k->lines, lines);

	while (before != NULL && is_later(&before->at, &l->at))
		before = TAILQ_PREV(before, lines, next);
	if (before != NULL)
		TAILQ_INSERT_AFTER(&k->lines, before, l, next);
	else
		TAILQ_INSERT_HEAD(&k->lines, l, next);
	if (++k->line_count >= SINK_MOST_LINES)
		(void)sink_flush(k, NULL);
}

void
sink_write(struct sink *k, const struct timespec *at, enum program program, pid_t pid,
	enum log_level level, struct span line)
{
	struct line *l;

	if (k->target == LOG_TO_NOWHERE)
		return;
	l = must_alloc(sizeof *l);
	l->at = *at;
	l->text = TEXT_UP_TO(MOST_WRITTEN);
	/* RFC 3164 4.1.1: facility and severity in front; syslogd adds the time. */
	if (k->target == LOG_TO_SYSLOG)
		text_printf(&l->text, "<%d>valija: ", LOG_MAIL | syslog_level(level));
	else
		add_time(k, at, &l->text);
	text_printf(&l->text, "%s[%ld]: %s", program_name(program), (long)pid, level_word(level));
	add_line(&l->text, line);
	keep(k, l);
}
