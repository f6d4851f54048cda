/* searching - see searching.h. */
#include "imapd/searching.h"

#include "imapd/charset.h"
#include "imapd/condstore.h"

void
searching_init(struct searching *s, struct view *view)
{
	s->search = &s->own;
	s->view = s->result.view = view;
	s->number = 1;
	change_init(&s->learned);
}

void
searching_clear(struct searching *s)
{
	if (s->context != NULL && !s->context->active)
		context_end(s->view, s->context);
	search_clear(&s->own);
	change_clear(&s->learned);
	result_clear(&s->result);
}

bool
searching_take_return(struct command *c, struct searching *s)
{
	if (!result_take_return(c, &s->result))
		return command_bad(c, RETURN_EXPECTED), false;
	return !s->result.update || searching_begin_update(c, s);
}

bool
searching_begin_update(struct command *c, struct searching *s)
{
	/* RFC 5267 4.3 */
	if (context_find(s->view, c->tag) != NULL)
		return command_bad(c, "another tag: this one is that of a search with UPDATE"), false;
	s->context = context_new(s->view, c->tag, s->result.uid);
	s->refused = s->context == NULL;
	if (s->context != NULL)
		s->context->correlators = arena_copy(&s->context->arena, s->result.mailbox);
	if (s->context != NULL && s->result.items.at != NULL)
		s->context->items = arena_copy(&s->context->arena, s->result.items);
	return true;
}

/* RFC 9586 section 3: UIDs only. */
static bool
names_numbers(struct command *c, const struct searching *s)
{
	if (!c->session->uid_only || !s->search->numbers)
		return false;
	(void)command_uid_required(c);
	return true;
}

bool
searching_take_keys(struct command *c, struct searching *s, bool in_charset)
{
	struct context *x = s->context;
	struct arena *arena = x != NULL ? &x->arena : s->arena != NULL ? s->arena : &c->arena;
	const char *expected;
	enum search_wrong wrong;

	if (x != NULL) {         /* it outlives the command */
		s->search = &x->search;
		x->arena.wide = c->arena.wide;
		c->args = arena_copy(arena, c->args);
	}
	if (!in_charset && c->session->utf8 && !c->session->rev2 && span_starts_nocase(c->args, SPAN("CHARSET ")))
		return command_bad(c, "no CHARSET after ENABLE UTF8=ACCEPT (RFC 6855 section 3)"), false;
	wrong = (in_charset ? search_take_in_charset : search_take)(s->search, &c->args, arena,
		s->view, &expected);
	if (wrong == SEARCH_SYNTAX)
		return command_bad(c, expected), false;
	if (wrong == SEARCH_CHARSET) {
		result_save(&s->result);    /* a NO empties what was saved (RFC 5182 2.1) */
		return command_no(c, "BADCHARSET " CHARSET_LIST,
			"The charset is not known here."), false;
	}
	if (names_numbers(c, s) || !command_no_more(c))
		return false;
	s->result.modseq = s->search->modseq;
	if (s->search->modseq)
		condstore_enable(c->session);
	return true;
}

uint64_t
searching_modseq(const struct searching *s, size_t number)
{
	const struct index *ix = &s->view->mailbox->index;
	size_t at = s->result.modseq ? index_find(ix, view_uid(s->view, number)) : NO_RECORD;

	return at == NO_RECORD ? 0 : ix->records[at].modseq;
}

static void
keep_learned(struct searching *s)
{
	if (s->learned.records.len == 0)
		return;
	s->learned.lazy = true;
	(void)mailbox_commit(s->view->mailbox, &s->learned);
}

bool
searching_walk(struct command *c, struct searching *s,
	bool (*found)(struct command *c, size_t number))
{
	struct view *v = s->view;

	for (; s->number <= v->count; s->number++) {
		if (session_slice_over(c->session)) {
			keep_learned(s);
			command_progress(c, s->number - 1, s->one_of_many ? 0 : v->count);
			return false;
		}
		if (!search_fits(s->search, v, s->number, &s->learned))
			continue;
		if (s->context != NULL)
			v->marks[s->number - 1] |= s->context->mark;
		if (!found(c, s->number) && s->context == NULL)
			break;
	}
	s->number = v->count + 1;
	keep_learned(s);
	return true;
}

void
searching_end(struct command *c, struct searching *s, struct sorter **sorter)
{
	struct context *x = s->context;

	result_save(&s->result);
	if (x != NULL && sorter != NULL) {
		if (sorter_count(*sorter) > MOST_SORTED_CONTEXT) {
			context_end(s->view, x);
			x = s->context = NULL;
			s->refused = true;
		} else {
			sorter_keep(*sorter, s->view);
			x->sorter = *sorter;
			*sorter = NULL;
		}
	}
	if (x != NULL)
		x->active = true;
	if (!s->refused)
		return;
	text_add(command_out(c), SPAN("* NO [NOUPDATE \""));        /* RFC 5267 4.3.1 */
	text_add(command_out(c), c->tag);
	text_add(command_out(c), SPAN("\"] Too many contexts, or too large.\r\n"));
}
