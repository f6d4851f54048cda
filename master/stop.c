/*
 * stop - ready at the start, in order at the end.
 */
#include "master/stop.h"

#include <event2/event.h>
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#include <config.h>

#include "common/log.h"
#include "master/control.h"
#include "master/listener.h"
#include "master/notify.h"
#include "master/offer.h"
#include "master/process.h"

/* In the background, the terminal is let go only now: until here it shows why a start fails. */
static void
let_go_of_terminal(struct supervisor *s)
{
	if (s->ready < 0)
		return;
	if (write(s->ready, "1", 1) != 1)
		log_warning(0, "starter-gone");
	close(s->ready);
	s->ready = -1;
	dup2(s->null, STDIN_FILENO);
	dup2(s->null, STDOUT_FILENO);
	dup2(s->null, STDERR_FILENO);
}

void
stop_started(struct supervisor *s)
{
	if (s->phase != PHASE_STARTING || !process_all_serving(s))
		return;
	s->phase = PHASE_RUNNING;
	log_notice(0, "started", KEY_STR("version", VALIJA_VERSION),
		KEY_NUM("generation", s->now.number),
		KEY_SPAN("hostname", s->now.settings->hostname), KEY_NUM("root", s->root));
	let_go_of_terminal(s);
	notify_ready(s);
}

void
stop_failed_start(struct supervisor *s, const char *program)
{
	fprintf(stderr, "valija: %s died %d times while starting; the log says why (%.*s)\n",
		program, MOST_FAILED_STARTS, SPAN_ARG(s->now.settings->log));
	log_error(0, "not-started", KEY_STR("program", program));
	stop_begin(s, EX_SOFTWARE);
}

static void
stage_begin(struct supervisor *s)
{
	unsigned int seconds = s->stopping == STAGE_FRONT
		? (unsigned int)s->now.settings->stop_seconds
		: STAGE_SECONDS;
	struct process *p, *after;

	for (p = TAILQ_FIRST(&s->processes); p; p = after) {
		after = TAILQ_NEXT(p, next);
		if (p->row->stage == s->stopping)
			process_leave(p, seconds);
	}
}

static bool
stage_is_over(const struct supervisor *s)
{
	const struct process *p;

	TAILQ_FOREACH(p, &s->processes, next)
		if (p->row->stage == s->stopping)
			return false;
	return true;
}

void
stop_begin(struct supervisor *s, int exit_code)
{
	if (s->phase == PHASE_STOPPING)
		return;
	log_notice(0, "stopping", KEY_NUM("status", exit_code));
	s->phase = PHASE_STOPPING;
	s->exit_code = exit_code;
	notify_stopping();
	offer_cancel(s);
	listener_close_all(s);
	s->stopping = STAGE_FRONT;
	stage_begin(s);
	stop_settle(s);
}

void
stop_settle(struct supervisor *s)
{
	if (s->phase != PHASE_STOPPING)
		return;
	while (s->stopping < STAGE_COUNT && stage_is_over(s)) {
		s->stopping++;
		if (s->stopping == STAGE_LOG)
			log_notice(0, "stopped");
		if (s->stopping < STAGE_COUNT)
			stage_begin(s);
	}
	if (s->stopping == STAGE_COUNT)
		event_base_loopbreak(s->base);
}
