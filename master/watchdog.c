/*
 * watchdog - see watchdog.h. Time is monotonic: a machine that slept accuses nobody.
 */
#include "master/watchdog.h"

#include <event2/event.h>

#include "common/log.h"
#include "master/process.h"

#define ASKS_IN_A_LIMIT 4 /* so that what is owed is at most a quarter older than the limit */

static uint64_t
limit_milliseconds(const struct process *p)
{
	uint64_t limit = p->s->now.settings->hang_seconds * 1000;

	switch (p->row->program) {
	case PROGRAM_LOCAL:
	case PROGRAM_LOCAL_HOME:
	case PROGRAM_SPOOL:
	case PROGRAM_MILTER: /* waits for filters */
	case PROGRAM_IMAP:
		return limit * DISK_PATIENCE;
	default:
		return limit;
	}
}

static void
look_at(struct process *p, uint64_t now)
{
	if (p->state != PROCESS_SERVING || p->control == NULL)
		return;
	if (p->answer_owed == 0) {
		if (send_load_ask(p->control, 0, &(struct msg_load_ask){}, NULL))
			p->answer_owed = now;
		return;
	}
	if (now - p->answer_owed < limit_milliseconds(p))
		return;
	log_error(0, "process-hangs", KEY_STR("program", program_name(p->row->program)),
		KEY_NUM("index", p->index), KEY_NUM("pid", p->pid),
		KEY_NUM("silent_ms", now - p->answer_owed));
	p->answer_owed = 0;
	process_kill(p);
}

static void
tick_in(struct supervisor *s)
{
	uint64_t milliseconds = s->now.settings->hang_seconds * 1000 / ASKS_IN_A_LIMIT;
	struct timeval wait = { .tv_sec = (time_t)(milliseconds / 1000),
		.tv_usec = (suseconds_t)(milliseconds % 1000 * 1000) };

	event_add(s->watchdog, &wait);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	struct process *p;

	(void)fd;
	(void)what;
	TAILQ_FOREACH(p, &s->processes, next)
		look_at(p, process_milliseconds());
	tick_in(s);
}

void
watchdog_begin(struct supervisor *s)
{
	if (s->watchdog == NULL)
		s->watchdog = evtimer_new(s->base, on_tick, s);
	if (s->watchdog != NULL)
		tick_in(s);
}

void
watchdog_end(struct supervisor *s)
{
	if (s->watchdog != NULL)
		event_free(s->watchdog);
	s->watchdog = NULL;
}
