/*
 * dispute - see dispute.h.
 */
#include "master/dispute.h"

#include <event2/event.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/text.h"

#define MOST_CLAIMS	256 /* more are not listened to: those that wait are settled within seconds */
#define ANSWER_SECONDS	4   /* for what the other says; it needs LOST_SECONDS of daemon.c */
#define MOST_REFUSALS	8   /* of one process in its life, before it is itself replaced */
/* Nobody finds its channel ended, and says so, sooner (LOST_SECONDS, less what clocks may differ by). */
#define AT_ONCE_MILLISECONDS 1500

struct claim {
	pid_t by, about;
	uint64_t at; /* milliseconds, monotonic */
};

struct disputes {
	struct supervisor *s;
	struct event *timer;
	size_t count;
	struct claim claims[MOST_CLAIMS]; /* the oldest first */
};

static struct process *
serving(struct supervisor *s, pid_t pid)
{
	struct process *p;

	TAILQ_FOREACH(p, &s->processes, next)
		if (p->pid == pid && p->state == PROCESS_SERVING)
			return p;
	return NULL;
}

static void
replace(struct process *p, const struct process *by, const char *why)
{
	log_error(0, "process-refused", KEY_STR("program", program_name(p->row->program)),
		KEY_NUM("index", p->index), KEY_NUM("pid", p->pid),
		KEY_STR("by", program_name(by->row->program)), KEY_NUM("by-index", by->index),
		KEY_STR("why", why));
	process_replace(p);
}

static void
claim_forget(struct disputes *d, size_t i)
{
	for (d->count--; i < d->count; i++)
		d->claims[i] = d->claims[i + 1];
}

static void
settle_later(struct disputes *d)
{
	static const struct timeval wait = { .tv_sec = 1 };

	if (d->count > 0)
		event_add(d->timer, &wait);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct disputes *d = arg;

	(void)fd;
	(void)what;
	while (d->count > 0 && process_milliseconds() - d->claims[0].at >= ANSWER_SECONDS * 1000) {
		struct process *by = serving(d->s, d->claims[0].by), *about = serving(d->s, d->claims[0].about);

		claim_forget(d, 0);
		/* Nobody but `by` says that anything is gone: it is believed as often as if it had refused somebody. */
		if (by && about && ++by->refusals > MOST_REFUSALS)
			replace(by, about, "it refuses too many");
		else if (by && about)
			replace(about, by, "it says nothing of the channel that is gone");
	}
	settle_later(d);
}

static struct disputes *
disputes_of(struct supervisor *s)
{
	if (!s->disputes) {
		s->disputes = must_alloc(sizeof *s->disputes);
		s->disputes->s = s;
		s->disputes->timer = evtimer_new(s->base, on_timer, s->disputes);
	}
	return s->disputes;
}

/* Both have spoken, `first` before `second`. */
static void
settle(struct process *first, struct process *second, bool at_once)
{
	if (at_once && wiring_more_exposed(first->row->program, second->row->program))
		replace(first, second, "each says that it refused the other");
	else if (++first->refusals > MOST_REFUSALS)
		replace(first, second, "it refuses too many");
	else
		replace(second, first, "what it said");
}

void
dispute_hear(struct process *p, struct process *other)
{
	struct disputes *d = disputes_of(p->s);

	for (size_t i = 0; i < d->count; i++) {
		const struct claim *c = &d->claims[i];
		bool at_once = process_milliseconds() - c->at < AT_ONCE_MILLISECONDS;

		if (c->by == p->pid && c->about == other->pid)
			return;
		if (c->by != other->pid || c->about != p->pid)
			continue;
		claim_forget(d, i);
		settle(other, p, at_once);
		return;
	}
	if (!d->timer || d->count == MOST_CLAIMS)
		return;
	d->claims[d->count++] = (struct claim){ p->pid, other->pid, process_milliseconds() };
	if (d->count == 1)
		settle_later(d);
}

void
dispute_end(struct supervisor *s)
{
	if (!s->disputes)
		return;
	if (s->disputes->timer)
		event_free(s->disputes->timer);
	free(s->disputes);
	s->disputes = NULL;
}
