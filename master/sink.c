/*
 * sink - where log lines end.
 */
#include "master/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
#define SYSLOG_SOCKET		 "/dev/log"
#define SYSLOG_WAIT_MICROSECONDS 200000 /* for a syslog daemon that is behind */

struct sink {
	enum log_target target;
	int directory;
	char *name; /* of the file, in directory */
	int fd;
	time_t looked;
	unsigned long lost; /* lines that could not be written */
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
add_time(struct text *t)
{
	struct timespec now;
	struct tm utc;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	text_printf(t, "%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ ", utc.tm_year + 1900, utc.tm_mon + 1,
		utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, now.tv_nsec / 1000);
}

static const char *
level_word(enum log_level level)
{
	return level == LOG_LEVEL_WARNING ? "warning: " : level >= LOG_LEVEL_ERROR ? "error: " : "";
}

static void
add_line(struct text *t, struct span line)
{
	bool utf8 = span_is_utf8(line);

	for (size_t i = 0; i < line.len; i++) {
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

static void
write_line(struct sink *k, struct span line)
{
	static const struct sockaddr_un syslogd = { .sun_family = AF_UNIX,
		.sun_path = SYSLOG_SOCKET };
	ssize_t wrote;

	do
		wrote = k->target == LOG_TO_SYSLOG
			? sendto(k->fd, line.at, line.len, MSG_NOSIGNAL,
				  (const struct sockaddr *)&syslogd, sizeof syslogd)
			: write(k->fd, line.at, line.len);
	while (wrote < 0 && errno == EINTR);
	/* A full disk: nobody can be told but by the next line that fits. */
	if (wrote != (ssize_t)line.len)
		k->lost++;
}

void
sink_write(struct sink *k, enum program program, pid_t pid, enum log_level level, struct span line)
{
	struct text t = TEXT_UP_TO(MOST_WRITTEN);
	unsigned long lost = k->lost;

	if (k->target == LOG_TO_FILE)
		look(k);
	/* RFC 3164 4.1.1: facility and severity in front; syslogd adds the time. */
	if (k->target == LOG_TO_SYSLOG)
		text_printf(&t, "<%d>valija: ", LOG_MAIL | syslog_level(level));
	else
		add_time(&t);
	text_printf(&t, "%s[%ld]: %s", program_name(program), (long)pid, level_word(level));
	add_line(&t, line);
	if (lost)
		text_printf(&t, " lines-lost-before=%lu", lost);
	if (k->fd >= 0) {
		if (k->target != LOG_TO_SYSLOG)
			text_add_byte(&t, '\n');
		write_line(k, text_span(&t));
		if (lost && k->lost == lost)
			k->lost = 0;
	}
	text_clear(&t);
}
