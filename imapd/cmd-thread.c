/*
 * cmd-thread - THREAD and UID THREAD (RFC 5256 section 3; the trees: thread.h).
 */
#include "imapd/searching.h"

#include "imapd/cache.h"
#include "imapd/thread.h"

#include <stdlib.h>

struct threads {
	struct searching searching;
	struct threader threader;
	uint64_t names;                  /* of the fields that it needs, in the mailbox's cache */
	bool finished, begun;
	/* Where the answer stands: a root, a node, and for each open parenthesis the node that
	 * comes behind it. */
	size_t root;
	uint32_t node;
	uint32_t *behind;
	size_t open, room;
};

static void
threads_release(struct command *c)
{
	struct threads *t = c->state;

	searching_clear(&t->searching);
	threader_clear(&t->threader);
	free(t->behind);
}

/* What the header of one that fits says. */
static bool
on_found(struct command *c, size_t number)
{
	struct threads *t = c->state;
	struct view *v = t->searching.view;
	struct change *learned = &t->searching.learned;
	uint32_t uid = view_uid(v, number);
	struct index_record r;
	struct span header;

	/* One that is gone, or unreadable, is left out: the log says so. */
	if (mail_facts(v->mailbox, uid, FACT_DATE, learned, &r) &&
		cache_lines(v->mailbox, uid, t->names, learned, &header))
		threader_add(&t->threader, (uint32_t)number, header, r.date);
	return true;
}

static bool
slice_over(const void *session)
{
	return session_slice_over(session);
}

/* --- the answer --- */

static void
open_parenthesis(struct command *c, struct threads *t, uint32_t node)
{
	if (t->open == t->room) {
		t->room = t->room == 0 ? 16 : 2 * t->room;
		t->behind = must_realloc(t->behind, t->room * sizeof(*t->behind));
	}
	text_add_byte(command_out(c), '(');
	t->behind[t->open++] = t->threader.nodes[node].next;
	t->node = node;
}

/* A node without children was told: what stands behind it, or the next root. */
static void
close_parentheses(struct command *c, struct threads *t)
{
	t->node = NO_NODE;
	while (t->open > 0 && t->node == NO_NODE) {
		uint32_t behind = t->behind[--t->open];

		text_add_byte(command_out(c), ')');
		if (behind != NO_NODE)
			open_parenthesis(c, t, behind);
	}
}

static void
tell_node(struct command *c, struct threads *t)
{
	struct text *out = command_out(c);
	const struct thread_node *n = &t->threader.nodes[t->node];

	if (n->message != 0)
		text_add_number(out, c->verb->when & BY_UID ?
			view_uid(c->session->view, n->message) : n->message);
	if (n->child == NO_NODE) {
		close_parentheses(c, t);
		return;
	}
	if (n->message != 0)
		text_add_byte(out, ' ');
	if (t->threader.nodes[n->child].next == NO_NODE)
		t->node = n->child;
	else
		open_parenthesis(c, t, n->child);
}

/* "* THREAD (2)(3 6 (4 23)(44 7 96))". False: `out` is full. */
static bool
tell(struct command *c, struct threads *t)
{
	struct text *out = command_out(c);

	if (!t->begun)
		text_add_str(out, t->threader.root_count > 0 ? "* THREAD " : "* THREAD");
	t->begun = true;
	for (;;) {
		if (session_full(c->session))
			return false;
		if (t->node == NO_NODE) {
			if (t->root == t->threader.root_count)
				break;
			open_parenthesis(c, t, t->threader.roots[t->root++]);
			t->behind[0] = NO_NODE;      /* roots stand in t->roots, not in a list */
		}
		tell_node(c, t);
	}
	text_add(out, SPAN("\r\n"));
	return true;
}

static enum progress
thread_step(struct command *c)
{
	struct threads *t = c->state;

	if (!t->finished) {
		if (!searching_walk(c, &t->searching, on_found) ||
			!threader_step(&t->threader, slice_over, c->session))
			return COMMAND_AGAIN;
		t->finished = true;
	}
	if (!tell(c, t))
		return COMMAND_AGAIN;
	return command_ok(c, NULL, "THREAD completed.");
}

/* --- the command --- */

static bool
take_algorithm(struct span *in, enum threading *kind)
{
	static const struct {
		const char *word;
		enum threading kind;
	} kinds[] = { { "REFERENCES", THREAD_REFERENCES }, { "REFS", THREAD_REFS },
		{ "ORDEREDSUBJECT", THREAD_ORDEREDSUBJECT } };
	struct span word;

	if (!imap_take_atom(in, &word))
		return false;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (span_equal_nocase(word, span_str(kinds[i].word))) {
			*kind = kinds[i].kind;
			return true;
		}
	}
	return false;
}

enum progress
cmd_thread(struct command *c)
{
	static const char *const fields[] = { "Date", "Subject", "Message-ID", "References",
		"In-Reply-To" };
	struct threads *t = arena_alloc(&c->arena, sizeof(*t));
	enum threading kind;

	if (!command_take_space(c))
		return COMMAND_DONE;
	if (!take_algorithm(&c->args, &kind))
		return command_bad(c, "REFERENCES, REFS or ORDEREDSUBJECT");
	if (!command_take_space(c))
		return COMMAND_DONE;
	searching_init(&t->searching, c->session->view);
	threader_init(&t->threader, kind, c->session->view->count);
	t->node = NO_NODE;
	c->state = t;
	c->release = threads_release;
	if (!searching_take_keys(c, &t->searching, true))
		return COMMAND_DONE;
	t->names = cache_names(c->session->view->mailbox, fields, sizeof(fields) / sizeof(fields[0]));
	c->step = thread_step;
	return thread_step(c);
}
