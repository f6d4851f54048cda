/*
 * sink - where log lines end: syslog, the standard error output, or a file.
 */
#ifndef VALIJA_SINK_H
#define VALIJA_SINK_H

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include "common/log.h"
#include "common/program.h"

#define SINK_MOST_LINES	  512
#define SINK_LOOK_SECONDS 1 /* how often a file is looked at: was it renamed away? */

struct sink;

/* Opens it for `target` (a value of the setting log). `directory` is where the file is, for a
 * file. NULL, logged, when it cannot be opened. */
struct sink *sink_new(struct span target, int directory);
/* Writes what waits, and closes. */
void sink_free(struct sink **k);
/* Keeps one line that `program` with `pid` said at `at` (of CLOCK_REALTIME), until the next sink_flush:
 *
 *     2026-11-23T02:51:00.123456Z smtpd[4711]: word key=value ...
 *     2026-11-23T02:51:00.123456Z auth[4710]: warning: word key=value ...
 *
 * Levels from warning up stand before the line. Bytes that are not printable ASCII or UTF-8
 * beyond it are escaped once more as \xNN: whoever speaks here may be an enemy, and must not
 * begin a new line. Of SINK_MOST_LINES all are written at once. */
void sink_write(struct sink *k, const struct timespec *at, enum program program, pid_t pid,
	enum log_level level, struct span line);
/* Writes in the order of their times what was said by `until` (NULL: all). What is younger waits for
 * the next call, and no longer: of the lines of several programs, which are read one after the other, one
 * may be under way that was said before it. Returns whether something waits. What cannot be written is
 * lost, and counted in the next line that can. */
bool sink_flush(struct sink *k, const struct timespec *until);
/* Opens the file anew: logrotate was here. */
void sink_reopen(struct sink *k);

#endif
