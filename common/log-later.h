/*
 * log-later - sends log lines that wait for room in the log channel, from an event loop.
 */
#ifndef VALIJA_LOG_LATER_H
#define VALIJA_LOG_LATER_H

struct event_base;

/* From now on, lines of this process that wait (log.h) are tried again by timer, the first time after
 * 2 ms, then ever more rarely, up to half a second, until they are gone. Called once in a process; base
 * stays the caller's and lives as long. Without memory for the timer lines wait for the next one. */
void log_later_begin(struct event_base *base);
/* At the end of a process: waits for room, 200 ms at most. Blocks. */
void log_later_end(void);

#endif
