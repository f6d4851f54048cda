/* requeue - see requeue.h. */
#include "requeue.h"

#include "pipe_name.h"

#include "common/message.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* One place that a recipient leads to now. */
struct again {
	const struct envelope_recipient *was;
	struct resolved to;                /* owned */
};

struct requeue {
	struct queued_file file;
	struct again *at;
	uint32_t count, room;
	void *seen;                        /* tree of addresses: who has it, or gets it */
};

static int
compare(const void *a, const void *b)
{
	return strcasecmp(a, b);
}

/* False: it is there already. */
static bool
note(struct requeue *r, struct span address)
{
	char *key = must_copy(address);
	void **node = tsearch(key, &r->seen, compare);

	if (node == NULL)
		abort();
	if (*node == (void *)key)
		return true;
	free(key);
	return false;
}

static void
add(struct requeue *r, const struct envelope_recipient *was, struct resolved *to)
{
	/* Commands and files of one alias have its address all. */
	if (to->leads == LEADS_DISCARD ||
		!note(r, span_str(to->home != NULL && pipe_name_is(span_str(to->home)) ? to->home : to->address))) {
		resolved_clear(to);
		return;
	}
	if (r->count == r->room) {
		r->room = r->room == 0 ? 8 : r->room * 2;
		r->at = must_realloc(r->at, r->room * sizeof(*r->at));
	}
	r->at[r->count++] = (struct again){ was, *to };
}

/* What leads nowhere any more stays as it is: its sender will hear why at the next try. */
static void
keep(struct requeue *r, const struct envelope_recipient *was)
{
	struct resolved same = { .leads = LEADS_ELSEWHERE, .address = must_copy(was->address),
		.home = must_copy(was->home), .uid = was->uid, .gid = was->gid,
		.sender = was->sender.len > 0 ? must_copy(was->sender) : NULL };

	add(r, was, &same);
}

static bool
is_done(const struct envelope_recipient *r)
{
	return r->told.outcome == DONE;
}

struct requeue *
requeue_make(struct queue *q, uint64_t id, const char **why)
{
	struct requeue *r = must_alloc(sizeof(*r));
	const struct envelope *e = &r->file.envelope;
	struct resolution to;
	bool waits = false;

	if (queued_read(q, id, &r->file) < 0) {
		*why = "its envelope cannot be read";
		free(r);
		return NULL;
	}
	for (uint32_t i = 0; i < e->count; i++)
		if (is_done(&e->recipient[i]))
			note(r, e->recipient[i].address);
	resolution_init(&to);
	for (uint32_t i = 0; i < e->count && !waits; i++) {
		const struct envelope_recipient *was = &e->recipient[i];

		if (is_done(was))
			continue;
		resolve(&q->resolver, q->daemon.settings, was->given.len > 0 ? was->given : was->address, true,
			true, &to);
		waits = to.waits;
		for (uint32_t n = 0; n < to.count; n++)
			add(r, was, &to.at[n]);
		if (to.count == 0)
			keep(r, was);
		to.count = 0;
	}
	resolution_clear(&to);
	if (!waits && r->count > 0)
		return r;
	*why = waits ? "it is not known yet where all of its recipients lead: ask again"
		     : "nobody is left who has not got it";
	requeue_free(&r);
	return NULL;
}

void
requeue_free(struct requeue **at)
{
	struct requeue *r = *at;

	if (r == NULL)
		return;
	for (uint32_t i = 0; i < r->count; i++)
		resolved_clear(&r->at[i].to);
	free(r->at);
	tdestroy(r->seen, free);
	queued_file_clear(&r->file);
	free(r);
	*at = NULL;
}

uint32_t
requeue_count(const struct requeue *r)
{
	return r->count;
}

static void
say_recipient(struct conversation *c, const struct again *a, uint32_t number)
{
	struct span given = a->was->given.len > 0 ? a->was->given : a->was->address,
		    address = span_str(a->to.address);

	send_spool_recipient(c->worker->channel, c->id,
		&(struct msg_spool_recipient){ .number = number,
			.address = address,
			.home = span_str(a->to.home),
			.uid = a->to.uid,
			.gid = a->to.gid,
			.notify = a->was->notify,
			.orcpt = a->was->orcpt,
			.given = span_equal_nocase(address, given) ? SPAN_NONE : given,
			.sender = span_str(a->to.sender) },
		NULL);
}

bool
requeue_feed(struct conversation *c, const struct requeue *r)
{
	const struct envelope *e = &r->file.envelope;

	if (c->cursor == 0) {
		send_spool_renew(c->worker->channel, c->id, &(struct msg_spool_renew){ }, NULL);
		c->cursor++;
		return false;
	}
	if (c->cursor <= r->count) {
		say_recipient(c, &r->at[c->cursor - 1], c->cursor - 1);
		c->cursor++;
		return false;
	}
	send_spool(c->worker->channel, c->id,
		&(struct msg_spool){ .size = e->size,
			.digest = e->digest,
			.session = e->session,
			.service = e->service,
			.sender = e->sender,
			.login = e->login,
			.body = e->body,
			.utf8 = e->utf8,
			WISHES_FIELDS(e->wishes),
			.hold = e->held,
			.hold_reason = e->hold_reason,
			.top = e->top,
			.arrived = e->arrived },
		NULL);
	return true;
}
