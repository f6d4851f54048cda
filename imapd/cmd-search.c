/* cmd-search - SEARCH and UID SEARCH (RFC 3501 6.4.4). */
#include "imapd/command.h"

#include "imapd/charset.h"
#include "imapd/search.h"

struct searching {
	struct search search;
	struct change learned;
	size_t number;
	bool began;
};

static void
search_release(struct command *c)
{
	struct searching *s = c->state;

	search_clear(&s->search);
	change_clear(&s->learned);
}

static void
keep_learned(struct command *c, struct searching *s)
{
	if (s->learned.records.len == 0)
		return;
	s->learned.lazy = true;
	(void)mailbox_commit(c->session->view->mailbox, &s->learned);
}

static enum progress
search_step(struct command *c)
{
	struct searching *s = c->state;
	const struct view *v = c->session->view;
	struct text *out = command_out(c);
	bool uid = c->verb->when & BY_UID;

	if (!s->began)
		text_add(out, SPAN("* SEARCH"));
	s->began = true;
	for (; s->number <= v->count; s->number++) {
		if (session_full(c->session) || session_slice_over(c->session)) {
			keep_learned(c, s);
			return COMMAND_AGAIN;
		}
		if (!search_fits(&s->search, v, s->number, &s->learned))
			continue;
		text_add_byte(out, ' ');
		text_add_number(out, uid ? view_uid(v, s->number) : s->number);
	}
	text_add(out, SPAN("\r\n"));
	keep_learned(c, s);
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
	switch (search_take(&s->search, &c->args, &c->arena, c->session->view, &expected)) {
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
	c->step = search_step;
	return search_step(c);
}
