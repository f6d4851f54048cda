/*
 * cmd-search - SEARCH and UID SEARCH (RFC 3501 6.4.4; the answer: result.h).
 */
#include "imapd/condstore.h"

#include "imapd/charset.h"
#include "imapd/result.h"
#include "imapd/search.h"

struct searching {
	struct search search;
	struct change learned;
	size_t number;                   /* the next to be looked at */
	struct result result;
};

static void
search_release(struct command *c)
{
	struct searching *s = c->state;

	search_clear(&s->search);
	change_clear(&s->learned);
	result_clear(&s->result);
}

static void
keep_learned(struct command *c, struct searching *s)
{
	if (s->learned.records.len == 0)
		return;
	s->learned.lazy = true;
	(void)mailbox_commit(c->session->view->mailbox, &s->learned);
}

static uint64_t
modseq_of(const struct view *v, size_t number)
{
	size_t at = index_find(&v->mailbox->index, view_uid(v, number));

	return at == NO_RECORD ? 0 : v->mailbox->index.records[at].modseq;
}

static enum progress
search_step(struct command *c)
{
	struct searching *s = c->state;
	struct view *v = c->session->view;

	for (; s->number <= v->count && !result_is_settled(&s->result); s->number++) {
		if (session_slice_over(c->session)) {
			keep_learned(c, s);
			return COMMAND_AGAIN;
		}
		if (search_fits(&s->search, v, s->number, &s->learned))
			result_add(c, &s->result, s->number, s->search.modseq ?
				modseq_of(v, s->number) : 0);
	}
	keep_learned(c, s);
	if (!result_write(c, &s->result, "SEARCH"))
		return COMMAND_AGAIN;
	result_save(c, &s->result);
	return command_ok(c, NULL, "SEARCH completed.");
}

enum progress
cmd_search(struct command *c)
{
	struct searching *s = arena_alloc(&c->arena, sizeof(*s));
	const char *expected;

	if (!command_take_space(c))
		return COMMAND_DONE;
	change_init(&s->learned);
	s->number = 1;
	c->state = s;
	c->release = search_release;
	if (!result_take_return(c, &s->result))
		return command_bad(c, RETURN_EXPECTED);
	switch (search_take(&s->search, &c->args, &c->arena, c->session->view, &expected)) {
	case SEARCH_SYNTAX:
		return command_bad(c, expected);
	case SEARCH_CHARSET:
		result_save(c, &s->result);    /* a NO empties what was saved (RFC 5182 2.1) */
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
	c->step = search_step;
	return search_step(c);
}
