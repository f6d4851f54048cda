/*
 * hook - a program of the administrator's, run for each change of an address.
 */
#include "master/hook.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/text.h"
#include "master/netstate.h"
#include "master/outside.h"

/* One change that is to be told. */
struct change {
	TAILQ_ENTRY(change) next;
	char link[MOST_LINK_NAME], family[8];
	char old[MOST_ADDRESS_TEXT], new[MOST_ADDRESS_TEXT];
};

TAILQ_HEAD(change_list, change);

struct hook {
	struct change_list waiting;
	unsigned int count;
	pid_t pid; /* 0: none runs */
	int output;
	struct event *readable, *deadline;
	unsigned char said[HOOK_OUTPUT];
	size_t said_len;
	bool late;
};

static void run_next(struct supervisor *s);

static struct hook *
hook_of(struct supervisor *s)
{
	if (!s->hook) {
		s->hook = must_alloc(sizeof *s->hook);
		TAILQ_INIT(&s->hook->waiting);
		s->hook->output = -1;
	}
	return s->hook;
}

static void
listen_to(struct hook *h)
{
	unsigned char more[512];
	ssize_t got;

	while ((got = read(h->output, more, sizeof more)) > 0) {
		size_t room = sizeof h->said - h->said_len,
		       n = (size_t)got < room ? (size_t)got : room;

		memcpy(h->said + h->said_len, more, n);
		h->said_len += n;
	}
	if ((got == 0 || (errno != EAGAIN && errno != EINTR)) && h->readable)
		event_del(h->readable);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	listen_to(arg);
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct hook *h = arg;

	(void)fd;
	(void)what;
	h->late = true;
	outside_kill(h->pid);
}

static bool
start(struct supervisor *s, struct change *c)
{
	const struct settings *set = s->now.settings;
	struct hook *h = s->hook;
	struct timeval limit = { (time_t)set->address_hook_seconds, 0 };
	char *hostname = must_copy(set->hostname);
	const char *const environment[] = { "VALIJA_HOSTNAME", hostname, "VALIJA_INTERFACE", c->link,
		"VALIJA_FAMILY", c->family, "VALIJA_OLD", c->old, "VALIJA_NEW", c->new, NULL };
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0) {
		log_error(0, "hook-not-run", KEY_ERRNO);
		free(hostname);
		return false;
	}
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	h->said_len = 0;
	h->late = false;
	h->pid = outside_run(s,
		&(struct outside){ .path = set->address_hook, .user = set->address_hook_user,
			.environment = environment, .input = -1, .output = ends[1], .errors = -1 },
		"hook-not-run");
	close(ends[1]);
	free(hostname);
	if (h->pid < 0) {
		close(ends[0]);
		h->pid = 0;
		return false;
	}
	h->output = ends[0];
	h->readable = event_new(s->base, h->output, EV_READ | EV_PERSIST, on_readable, h);
	h->deadline = evtimer_new(s->base, on_deadline, h);
	event_add(h->readable, NULL);
	event_add(h->deadline, &limit);
	return true;
}

static void
change_forget(struct hook *h, struct change *c)
{
	TAILQ_REMOVE(&h->waiting, c, next);
	h->count--;
	free(c);
}

static void
run_next(struct supervisor *s)
{
	struct hook *h = s->hook;
	struct change *c;

	while (h->pid == 0 && (c = TAILQ_FIRST(&h->waiting))) {
		if (s->now.settings && s->now.settings->address_hook.len)
			start(s, c);
		change_forget(h, c);
	}
}

void
hook_address(struct supervisor *s, const char *link, const char *family, const char *old,
	const char *new)
{
	struct hook *h = hook_of(s);
	struct change *c;

	if (s->phase == PHASE_STOPPING || !s->now.settings->address_hook.len)
		return;
	TAILQ_FOREACH(c, &h->waiting, next)
		if (strcmp(c->link, link) == 0 && strcmp(c->family, family) == 0)
			break;
	if (!c) {
		if (h->count == MOST_HOOKS_WAITING) {
			log_error(0, "hook-not-run", KEY_STR("interface", link),
				KEY_STR("reason", "too many changes wait for it"));
			return;
		}
		c = must_alloc(sizeof *c);
		span_copy(span_str(link), c->link, sizeof c->link);
		span_copy(span_str(family), c->family, sizeof c->family);
		span_copy(span_str(old), c->old, sizeof c->old);
		TAILQ_INSERT_TAIL(&h->waiting, c, next);
		h->count++;
	}
	span_copy(span_str(new), c->new, sizeof c->new);
	run_next(s);
}

/* Lets go of everything that belongs to one run. */
static void
run_over(struct hook *h)
{
	event_free(h->readable);
	event_free(h->deadline);
	close(h->output);
	h->readable = h->deadline = NULL;
	h->output = -1;
	h->pid = 0;
}

bool
hook_ended(struct supervisor *s, pid_t pid, int status)
{
	struct hook *h = s->hook;
	bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	if (!h || pid != h->pid || pid == 0)
		return false;
	listen_to(h);
	while (h->said_len && h->said[h->said_len - 1] == '\n')
		h->said_len--;
	log_event(good ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, 0, good ? "hook-done" : "hook-failed",
		KEY_SPAN("hook", s->now.settings->address_hook), KEY_NUM("pid", pid),
		KEY_NUM(WIFSIGNALED(status) ? "signal" : "status",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)),
		KEY_STR("reason", h->late ? "it took longer than address_hook_seconds" : ""),
		KEY_SPAN("said", span_of(h->said, h->said_len)));
	run_over(h);
	run_next(s);
	return true;
}

void
hook_close(struct supervisor *s)
{
	struct hook *h = s->hook;

	if (!h)
		return;
	while (!TAILQ_EMPTY(&h->waiting))
		change_forget(h, TAILQ_FIRST(&h->waiting));
	if (h->pid > 0) {
		outside_kill(h->pid);
		run_over(h);
	}
	free(h);
	s->hook = NULL;
}
