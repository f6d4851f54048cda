/*
 * cmd-sort - SORT and UID SORT (RFC 5256 section 3; ESORT: RFC 5267; the answer: result.h).
 */
#include "imapd/condstore.h"

#include "imapd/charset.h"
#include "imapd/result.h"
#include "imapd/search.h"
#include "imapd/sort.h"

struct sorting {
	struct search search;
	struct sort_criteria criteria;
	struct sorter *sorter;
	struct change learned;
	size_t number;                   /* the next to be looked at */
	struct result result;
	size_t told;                     /* how many of the sorted are in the result */
};

static void
sort_release(struct command *c)
{
	struct sorting *s = c->state;

	search_clear(&s->search);
	sorter_free(&s->sorter);
	change_clear(&s->learned);
	result_clear(&s->result);
}

static bool
slice_over(const void *session)
{
	return session_slice_over(session);
}

/* The first half: what fits, and what the criteria need of it. False: the slice is over. */
static bool
gather(struct command *c, struct sorting *s)
{
	struct view *v = c->session->view;
	bool over = false;

	for (; s->number <= v->count && !over; s->number++) {
		if (search_fits(&s->search, v, s->number, &s->learned))
			sorter_add(s->sorter, v, s->number, &s->learned);
		over = session_slice_over(c->session);
	}
	if (s->learned.records.len > 0) {
		s->learned.lazy = true;
		(void)mailbox_commit(v->mailbox, &s->learned);
	}
	return !over;
}

static uint64_t
modseq_of(const struct view *v, size_t number)
{
	size_t at = index_find(&v->mailbox->index, view_uid(v, number));

	return at == NO_RECORD ? 0 : v->mailbox->index.records[at].modseq;
}

static enum progress
sort_step(struct command *c)
{
	struct sorting *s = c->state;

	if (!gather(c, s) || !sorter_step(s->sorter, slice_over, c->session))
		return COMMAND_AGAIN;
	for (; s->told < sorter_count(s->sorter); s->told++) {
		uint32_t number = sorter_number(s->sorter, s->told);

		result_add(c, &s->result, number, s->result.modseq ?
			modseq_of(c->session->view, number) : 0);
	}
	if (!result_write(c, &s->result, "SORT"))
		return COMMAND_AGAIN;
	result_save(c, &s->result);
	return command_ok(c, NULL, "SORT completed.");
}

enum progress
cmd_sort(struct command *c)
{
	struct sorting *s = arena_alloc(&c->arena, sizeof(*s));
	const char *expected;

	if (!command_take_space(c))
		return COMMAND_DONE;
	change_init(&s->learned);
	s->number = 1;
	c->state = s;
	c->release = sort_release;
	if (!result_take_return(c, &s->result))
		return command_bad(c, RETURN_EXPECTED);
	if (!sort_take_criteria(&c->args, &s->criteria))
		return command_bad(c, "sort criteria in parentheses, such as (REVERSE DATE)");
	if (!command_take_space(c))
		return COMMAND_DONE;
	s->sorter = sorter_new(&s->criteria);
	switch (search_take_in_charset(&s->search, &c->args, &c->arena, c->session->view,
		&expected)) {
	case SEARCH_SYNTAX:
		return command_bad(c, expected);
	case SEARCH_CHARSET:
		result_save(c, &s->result);
		return command_no(c, "BADCHARSET " CHARSET_LIST, "The charset is not known here.");
	case SEARCH_FINE:
	default:
		break;
	}
	if (!command_no_more(c))
		return COMMAND_DONE;
	s->result.modseq = s->search.modseq;
	if (s->search.modseq)
		condstore_enable(c->session);
	c->step = sort_step;
	return sort_step(c);
}
