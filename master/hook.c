/*
 * hook - a program of the administrator's, run for each change of an address.
 */
#include "master/hook.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

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
	bool runs; /* one at a time */
};

static void run_next(struct supervisor *s);

static struct hook *
hook_of(struct supervisor *s)
{
	if (!s->hook) {
		s->hook = must_alloc(sizeof *s->hook);
		TAILQ_INIT(&s->hook->waiting);
	}
	return s->hook;
}

static void
ended(struct supervisor *s, const struct outside_end *e)
{
	bool good = WIFEXITED(e->status) && WEXITSTATUS(e->status) == 0;
	struct span said = e->said;

	while (said.len && said.at[said.len - 1] == '\n')
		said.len--;
	log_event(good ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, 0, good ? "hook-done" : "hook-failed",
		KEY_SPAN("hook", s->now.settings->address_hook), KEY_NUM("pid", e->pid),
		KEY_NUM(WIFSIGNALED(e->status) ? "signal" : "status",
			WIFSIGNALED(e->status) ? WTERMSIG(e->status) : WEXITSTATUS(e->status)),
		KEY_STR("reason", e->late ? "it took longer than address_hook_seconds" : ""), KEY_SPAN("said", said));
	s->hook->runs = false;
	run_next(s);
}

/* What goes wrong is logged, and the change is not told. */
static void
start(struct supervisor *s, const struct change *c)
{
	const struct settings *set = s->now.settings;
	char *hostname = must_copy(set->hostname);
	const char *const environment[] = { "VALIJA_HOSTNAME", hostname, "VALIJA_INTERFACE", c->link,
		"VALIJA_FAMILY", c->family, "VALIJA_OLD", c->old, "VALIJA_NEW", c->new, NULL };

	s->hook->runs = outside_begin(s,
		&(struct outside_run){ .what = { .path = set->address_hook, .user = set->address_hook_user,
					       .environment = environment, .input = -1, .output = -1, .errors = -1 },
			.event = "hook-not-run", .seconds = (unsigned int)set->address_hook_seconds,
			.hear = HOOK_OUTPUT, .ended = ended });
	free(hostname);
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

	while (!h->runs && (c = TAILQ_FIRST(&h->waiting))) {
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

void
hook_close(struct supervisor *s)
{
	struct hook *h = s->hook;

	if (!h)
		return;
	while (!TAILQ_EMPTY(&h->waiting))
		change_forget(h, TAILQ_FIRST(&h->waiting));
	free(h);
	s->hook = NULL;
}
