/*
 * log - one event, one line: the word first, then key=value.
 *
 *   log_info(session, "login", KEY_STR("service", "imap"), KEY_SPAN("user", user));
 *   -> login session=2F0G... service=imap user="ana@example.org"
 *
 * Values are quoted when they hold anything but letters, digits and -._@:+/[]; control bytes,
 * quotes, backslashes and bytes that are not UTF-8 are escaped as \xNN. Put the client's address
 * before any text that the client chose. Never a secret. A line is cut at MOST_LOG_LINE.
 *
 * Lines travel by the log channel (descriptor LOG_FD) to the log process, which adds time, program
 * and pid from its own knowledge of who is at the other end. Without that channel (commands, tests)
 * they go to stderr. Logging never blocks: what the channel has no room for waits here, up to
 * MOST_LOG_WAITING octets of all lines together; what is more is dropped and counted, and the count
 * is logged when there is room again.
 */
#ifndef VALIJA_LOG_H
#define VALIJA_LOG_H

#include "span.h"

#define MOST_LOG_LINE 2048
#define MOST_LOG_WAITING (512 * 1024)

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_NOTICE, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

struct log_field {
	const char *key;     /* NULL ends the list */
	enum { LOG_SPAN, LOG_NUMBER, LOG_ID } kind;
	struct span span;
	int64_t number;
};

#define KEY_SPAN(key, value) { (key), LOG_SPAN, (value), 0 }
#define KEY_STR(key, value)  { (key), LOG_SPAN, span_str(value), 0 }
#define KEY_NUM(key, value)  { (key), LOG_NUMBER, SPAN_NONE, (int64_t)(value) }
#define KEY_ID(key, value)   { (key), LOG_ID, SPAN_NONE, (int64_t)(value) }   /* left out when 0 */
#define KEY_ERRNO            { "error", LOG_SPAN, span_str(strerror(errno)), 0 }

/* `session` is 0 where there is none. */
#define log_event(level, session, word, ...) \
	log_write(level, session, word, (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(,) { NULL, LOG_SPAN, SPAN_NONE, 0 } })
#define log_debug(session, ...)   log_event(LOG_LEVEL_DEBUG, session, __VA_ARGS__)
#define log_info(session, ...)    log_event(LOG_LEVEL_INFO, session, __VA_ARGS__)
#define log_notice(session, ...)  log_event(LOG_LEVEL_NOTICE, session, __VA_ARGS__)
#define log_warning(session, ...) log_event(LOG_LEVEL_WARNING, session, __VA_ARGS__)
#define log_error(session, ...)   log_event(LOG_LEVEL_ERROR, session, __VA_ARGS__)

/* Names the program for lines that go to stderr; `fd` is the log channel or -1. What waits is forgotten, and
 * who hears of it: in a child both are the parent's. */
void log_open(const char *program, int fd);
/* Calls on_waiting(me) whenever lines begin to wait; who hears it calls log_flush a moment later, and
 * again until it returns true. Without it they wait for the next line. */
void log_on_waiting(void (*on_waiting)(void *me), void *me);
/* Sends what waits, as far as there is room, without blocking; whether nothing waits any more. */
bool log_flush(void);
void log_threshold(enum log_level least);
void log_write(enum log_level level, uint64_t session, const char *word, const struct log_field *fields);

#endif
