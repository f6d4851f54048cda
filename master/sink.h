/*
 * sink - where log lines end: syslog, the standard error output, or a file.
 */
#ifndef VALIJA_SINK_H
#define VALIJA_SINK_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/log.h"
#include "common/program.h"

#define SINK_LOOK_SECONDS 1 /* how often a file is looked at: was it renamed away? */

struct sink;

/* Opens it for `target` (a value of the setting log). `directory` is where the file is, for a
 * file. NULL, logged, when it cannot be opened. */
struct sink *sink_new(struct span target, int directory);
void sink_free(struct sink **k);
/* Writes one line that `program` with `pid` said:
 *
 *     2026-11-23T02:51:00.123456Z smtpd[4711]: word key=value ...
 *     2026-11-23T02:51:00.123456Z auth[4710]: warning: word key=value ...
 *
 * Levels from warning up stand before the line. Bytes that are not printable ASCII or UTF-8
 * beyond it are escaped once more as \xNN: whoever speaks here may be an enemy, and must not
 * begin a new line. */
void sink_write(
	struct sink *k, enum program program, pid_t pid, enum log_level level, struct span line);
/* Opens the file anew: logrotate was here. */
void sink_reopen(struct sink *k);

#endif
