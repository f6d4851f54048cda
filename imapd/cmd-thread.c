/*
 * cmd-thread - THREAD and UID THREAD (RFC 5256 section 3; the trees: thread.h).
 */
#include "imapd/condstore.h"

#include "imapd/cache.h"
#include "imapd/charset.h"
#include "imapd/search.h"
#include "imapd/thread.h"

#include <stdlib.h>

struct threads {
	struct search search;
	struct threader threader;
	struct change learned;
	size_t number;                   /* the next to be looked at */
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

	search_clear(&t->search);
	threader_clear(&t->threader);
	change_clear(&t->learned);
	free(t->behind);
}

static void
add_message(struct command *c, struct threads *t, size_t number)
{
	struct view *v = c->session->view;
	uint32_t uid = view_uid(v, number);
	static const char *const fields[] = { "Date", "Subject", "Message-ID", "References",
		"In-Reply-To" };
	struct index_record r;
	struct span header;

	if (!mail_facts(v->mailbox, uid, FACT_DATE, &t->learned, &r) ||
		!cache_lines(v->mailbox, uid, fields, sizeof(fields) / sizeof(fields[0]),
		&t->learned, &header))
		return;         /* gone, or unreadable: the log says so */
	threader_add(&t->threader, (uint32_t)number, header, r.date);
}

/* What fits, and what its header says. False: the slice is over. */
static bool
gather(struct command *c, struct threads *t)
{
	struct view *v = c->session->view;
	bool over = false;

	for (; t->number <= v->count && !over; t->number++) {
		if (search_fits(&t->search, v, t->number, &t->learned))
			add_message(c, t, t->number);
		over = session_slice_over(c->session);
	}
	if (t->learned.records.len > 0) {
		t->learned.lazy = true;
		(void)mailbox_commit(v->mailbox, &t->learned);
	}
	return !over;
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
		if (!gather(c, t))
			return COMMAND_AGAIN;
		threader_finish(&t->threader);
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
	struct threads *t = arena_alloc(&c->arena, sizeof(*t));
	const char *expected;
	enum threading kind;

	if (!command_take_space(c))
		return COMMAND_DONE;
	if (!take_algorithm(&c->args, &kind))
		return command_bad(c, "REFERENCES, REFS or ORDEREDSUBJECT");
	if (!command_take_space(c))
		return COMMAND_DONE;
	change_init(&t->learned);
	threader_init(&t->threader, kind);
	t->number = 1;
	t->node = NO_NODE;
	c->state = t;
	c->release = threads_release;
	switch (search_take_in_charset(&t->search, &c->args, &c->arena, c->session->view,
		&expected)) {
	case SEARCH_SYNTAX:
		return command_bad(c, expected);
	case SEARCH_CHARSET:
		return command_no(c, "BADCHARSET " CHARSET_LIST, "The charset is not known here.");
	case SEARCH_FINE:
	default:
		break;
	}
	if (!command_no_more(c))
		return COMMAND_DONE;
	if (t->search.modseq)
		condstore_enable(c->session);
	c->step = thread_step;
	return thread_step(c);
}
