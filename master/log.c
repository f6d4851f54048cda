/*
 * log - hears the lines of all programs and writes each where the setting log says.
 *   inherits    from master: settings, the directory of the log file, and the reading end of
 *               every program's log channel (log_source), with the name, index and pid that
 *               master knows to be at the other end. master keeps a duplicate of each, so that
 *               what was said while this process was away is still there for the next one.
 *   keeps       nothing: _log, the log directory, the system calls of log_room
 *   may be lied to by    everyone, in the text of a line. Nobody can speak in another's name:
 *               name and pid come from master, time from here, and a line cannot begin a new one.
 *   while it is away     lines wait in the channels, and then with who says them; what is more is counted there
 *
 * What was said lately is read in one round, brought into the order in which it was said (the kernel
 * knows when) and written at once. While much is said, this process then sleeps a moment: each line would
 * wake it otherwise, at the price, in both processes, of several lines.
 */
#include <errno.h>
#include <event2/event.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "common/daemon.h"
#include "common/log.h"
#include "common/text.h"
#include "master/sink.h"

/* The sleep between two rounds, while there are so many lines, or more, in so long a time. */
#define PAUSE_NANOSECONDS  2000000
#define BUSY_LINES	   20
#define BUSY_NANOSECONDS   20000000
/* After a round of so many there is none: somebody's socket would be full before it is over. */
#define HURRIED_LINES 64

/* Somebody whose lines we hear. */
struct source {
	LIST_ENTRY(source) next;
	enum program program;
	pid_t pid;
	struct channel *channel;
};

struct log {
	struct daemon daemon;
	struct sink *sink;
	struct event *reopen;
	struct event *round; /* pending while lines wait */
	struct timespec round_began;
	uint64_t round_lines;
	struct timespec span_began; /* BUSY_NANOSECONDS, one after the other */
	uint64_t span_lines;
	bool busy; /* by the span before this one */
	LIST_HEAD(, source) sources;
	uint32_t source_count;
	uint64_t lines;
};

/* clang-format off */
/* Files to append to; for syslog, sending on a socket that was made before. */
static const int log_calls[] = {
	SCMP_SYS(openat), SCMP_SYS(newfstatat), SCMP_SYS(fstat), SCMP_SYS(lseek), SCMP_SYS(fcntl),
	SCMP_SYS(sendto), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
	-1,
};

/* clang-format on */
static const struct room log_room = {
	.name = "log",
	.files = true,
	.syscalls = log_calls,
};

/* The round is over in the next turn of the event loop, behind what can be heard by then. */
static void
round_begin(struct log *log)
{
	static const struct timeval at_once = { 0, 0 };

	clock_gettime(CLOCK_REALTIME, &log->round_began);
	(void)evtimer_add(log->round, &at_once);
}

static void
on_log_line(
	void *me, struct channel *from, uint64_t id, const struct msg_log_line *m, const int *fd)
{
	struct log *log = me;
	const struct source *source = channel_tag(from);
	const struct timespec at = channel_said_at(from);

	(void)id;
	(void)fd;
	log->lines++;
	log->round_lines++;
	if (evtimer_pending(log->round, NULL) == 0)
		round_begin(log);
	sink_write(log->sink, &at, source->program, source->pid, (enum log_level)m->level, m->line);
}

/* Is much said these days? A clock that is set only begins a new span. */
static void
note_round(struct log *log)
{
	int64_t seconds = log->round_began.tv_sec - log->span_began.tv_sec,
		nanoseconds = log->round_began.tv_nsec - log->span_began.tv_nsec;

	log->span_lines += log->round_lines;
	if (seconds >= 0 && seconds < 2 && seconds * 1000000000 + nanoseconds < BUSY_NANOSECONDS)
		return;
	/* A line after a silence is no crowd. */
	log->busy = seconds >= 0 && seconds < 2 &&
		seconds * 1000000000 + nanoseconds < 2 * BUSY_NANOSECONDS && log->span_lines >= BUSY_LINES;
	log->span_began = log->round_began;
	log->span_lines = 0;
}

/* All channels that had something to say have been heard. */
static void
on_round_over(evutil_socket_t fd, short what, void *arg)
{
	static const struct timespec pause = { 0, PAUSE_NANOSECONDS };
	struct log *log = arg;

	(void)fd;
	(void)what;
	if (sink_flush(log->sink, &log->round_began))
		round_begin(log);
	note_round(log);
	if (log->busy && log->round_lines < HURRIED_LINES)
		nanosleep(&pause, NULL);
	log->round_lines = 0;
}

static void
source_gone(void *me, struct channel *from)
{
	struct log *log = me;
	struct source *source = channel_tag(from);

	LIST_REMOVE(source, next);
	log->source_count--;
	free(source);
}

static const struct hearing from_sources = {
	.gone = source_gone,
	.on_log_line = on_log_line,
};

static void
on_log_source(
	void *me, struct channel *from, uint64_t id, const struct msg_log_source *m, const int *fd)
{
	struct log *log = me;
	struct source *source;

	(void)from;
	(void)id;
	if (m->program >= PROGRAM_COUNT) {
		close(fd[0]);
		return;
	}
	source = must_alloc(sizeof *source);
	source->program = m->program;
	source->pid = (pid_t)m->pid;
	source->channel = channel_new(log->daemon.base, fd[0], PROGRAM_LOG, source->program,
		m->index, &from_sources, log);
	channel_set_tag(source->channel, source);
	channel_ask_times(source->channel);
	LIST_INSERT_HEAD(&log->sources, source, next);
	log->source_count++;
}

static void
on_reopen(evutil_socket_t signal, short what, void *arg)
{
	struct log *log = arg;

	(void)signal;
	(void)what;
	sink_reopen(log->sink);
}

static bool
prepare(void *me)
{
	struct log *log = me;
	struct daemon *d = &log->daemon;

	log->sink = sink_new(d->settings->log, d->directory[DIRECTORY_LOG]);
	if (!log->sink)
		return false;
	if (d->directory[DIRECTORY_LOG] >= 0)
		d->paths[d->path_count++] =
			(struct room_path){ .directory = d->directory[DIRECTORY_LOG],
				.below = ".",
				.rights = ROOM_READ | ROOM_WRITE | ROOM_MAKE };
	log->round = evtimer_new(d->base, on_round_over, log);
	/* For those who rotate by signal; a renamed file is noticed anyway. */
	log->reopen = evsignal_new(d->base, SIGUSR1, on_reopen, log);
	return log->round && log->reopen && event_add(log->reopen, NULL) == 0;
}

/* Another target takes another process: master sees to it (offer.c). */
static void
settings_changed(void *me, const struct settings *old)
{
	struct log *log = me;

	if (old)
		sink_reopen(log->sink);
}

/* Everyone who is stopped before us has said its last by now; we write what is still in the
 * channels. */
static void
leave(void *me, unsigned int seconds)
{
	struct log *log = me;
	struct source *source, *after;

	(void)seconds;
	for (source = LIST_FIRST(&log->sources); source; source = after) {
		after = LIST_NEXT(source, next);
		channel_drain(source->channel);
	}
	(void)sink_flush(log->sink, NULL);
	daemon_exit(&log->daemon);
}

static void
load(void *me, uint32_t *connections, uint64_t *served)
{
	const struct log *log = me;

	*connections = log->source_count;
	*served = log->lines;
}

static const struct hearing from_master = {
	.on_log_source = on_log_source,
};

static const struct daemon_kind kind = {
	.program = PROGRAM_LOG,
	.room = &log_room,
	.prepare = prepare,
	.settings_changed = settings_changed,
	.leave = leave,
	.load = load,
	.control = &from_master,
};

int
main(void)
{
	static struct log log;

	LIST_INIT(&log.sources);
	return daemon_run(&log.daemon, &kind, &log);
}
