/*
 * cmd-search - SEARCH and UID SEARCH (RFC 3501 6.4.4), CANCELUPDATE (RFC 5267 4.3.5). The answer: result.h.
 */
#include "imapd/searching.h"

static void
search_release(struct command *c)
{
	searching_clear(c->state);
}

static bool
on_found(struct command *c, size_t number)
{
	struct searching *s = c->state;

	result_add(&s->result, number, searching_modseq(s, number));
	return !result_is_settled(&s->result);
}

static enum progress
search_step(struct command *c)
{
	struct searching *s = c->state;

	if (!searching_walk(c, s, on_found) || !result_write(c, &s->result, "SEARCH"))
		return COMMAND_AGAIN;
	searching_end(c, s, NULL);
	return command_ok(c, NULL, "SEARCH completed.");
}

enum progress
cmd_search(struct command *c)
{
	struct searching *s = arena_alloc(&c->arena, sizeof(*s));

	if (!command_take_space(c))
		return COMMAND_DONE;
	searching_init(s, c->session->view);
	s->result.uid = c->verb->when & BY_UID;
	c->state = s;
	c->release = search_release;
	if (!searching_take_return(c, s) || !searching_take_keys(c, s, false))
		return COMMAND_DONE;
	c->step = search_step;
	return search_step(c);
}

enum progress
cmd_cancelupdate(struct command *c)
{
	struct view *v = c->session->view;
	struct context *named[MOST_CONTEXTS], *x;
	struct span tag;
	size_t count = 0;

	do {
		if (!command_take_space(c))
			return COMMAND_DONE;
		if (!imap_take_quoted(&c->args, &c->arena, &tag))
			return command_bad(c, "tags of searches, as quoted strings");
		x = context_find(v, tag);
		if (x == NULL)
			return command_no(c, "NONEXISTENT", "There is no such search with UPDATE.");
		if (count == MOST_CONTEXTS)
			return command_bad(c, "each tag once");
		named[count++] = x;
	} while (c->args.len > 0);
	for (size_t i = 0; i < count; i++) {
		bool before = false;

		for (size_t k = 0; k < i; k++)
			before |= named[k] == named[i];
		if (!before)
			context_end(v, named[i]);
	}
	return command_ok(c, NULL, "No further updates.");
}
