/*
 * cmd-sort - SORT and UID SORT (RFC 5256 section 3; ESORT and CONTEXT=SORT: RFC 5267; the answer: result.h).
 */
#include "imapd/searching.h"

#include "imapd/radix.h"
#include "imapd/sort.h"

struct sorting {
	struct searching searching;
	struct sort_criteria criteria;
	struct sorter *sorter;
	size_t told;                     /* how many of the sorted are in the result */
};

static void
sort_release(struct command *c)
{
	struct sorting *s = c->state;

	sorter_free(&s->sorter);
	searching_clear(&s->searching);
}

static bool
slice_over(const void *session)
{
	return session_slice_over(session);
}

/* What the criteria need of what fits. */
static bool
on_found(struct command *c, size_t number)
{
	struct sorting *s = c->state;

	sorter_add(s->sorter, s->searching.view, number, &s->searching.learned);
	return true;
}

static enum progress
sort_step(struct command *c)
{
	struct sorting *s = c->state;
	struct result *r = &s->searching.result;

	if (!searching_walk(c, &s->searching, on_found) ||
		!sorter_step(s->sorter, slice_over, c->session) ||
		!sorter_keep_order(s->sorter, s->searching.view, slice_over, c->session))
		return COMMAND_AGAIN;
	for (; s->told < sorter_count(s->sorter); s->told++) {
		uint32_t number = sorter_number(s->sorter, s->told);

		if (s->told % DONE_AT_A_TIME == DONE_AT_A_TIME - 1 && session_slice_over(c->session))
			return COMMAND_AGAIN;
		result_add(r, number, searching_modseq(&s->searching, number));
	}
	if (!result_write(c, r, "SORT"))
		return COMMAND_AGAIN;
	searching_end(c, &s->searching, &s->sorter);
	return command_ok(c, NULL, "SORT completed.");
}

enum progress
cmd_sort(struct command *c)
{
	struct sorting *s = arena_alloc(&c->arena, sizeof(*s));
	struct sort_criteria *criteria = &s->criteria;

	if (!command_take_space(c))
		return COMMAND_DONE;
	searching_init(&s->searching, c->session->view);
	s->searching.result.uid = c->verb->when & BY_UID;
	c->state = s;
	c->release = sort_release;
	if (!searching_take_return(c, &s->searching))
		return COMMAND_DONE;
	if (s->searching.context != NULL)        /* they live as long as its sorter */
		criteria = &s->searching.context->criteria;
	if (!sort_take_criteria(&c->args, criteria))
		return command_bad(c, "sort criteria in parentheses, such as (REVERSE DATE)");
	if (!command_take_space(c))
		return COMMAND_DONE;
	s->sorter = sorter_new(criteria);
	if (!searching_take_keys(c, &s->searching, true))
		return COMMAND_DONE;
	if (s->searching.context == NULL)
		sorter_use_order(s->sorter, s->searching.view->mailbox);
	c->step = sort_step;
	return sort_step(c);
}
