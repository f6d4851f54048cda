/* log-later - see log-later.h. */
#include "log-later.h"

#include "log.h"

#include <event2/event.h>
#include <poll.h>

#define FIRST_MILLISECONDS   2
#define LONGEST_MILLISECONDS 512
#define END_MILLISECONDS     200

static struct {
	struct event *timer;
	int milliseconds;
} later;

static void
arm(void)
{
	struct timeval in = { 0, later.milliseconds * 1000 };

	(void)evtimer_add(later.timer, &in);
}

static void
on_waiting(void *me)
{
	(void)me;
	later.milliseconds = FIRST_MILLISECONDS;
	arm();
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	if (log_flush())
		return;
	if (later.milliseconds < LONGEST_MILLISECONDS)
		later.milliseconds *= 2;
	arm();
}

void
log_later_begin(struct event_base *base)
{
	if ((later.timer = evtimer_new(base, on_timer, NULL)) != NULL)
		log_on_waiting(on_waiting, NULL);
}

void
log_later_end(void)
{
	for (int waited = 0; !log_flush() && waited < END_MILLISECONDS; waited += 2)
		(void)poll(NULL, 0, 2);
}
