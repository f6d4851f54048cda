/* condstore - see condstore.h. */
#include "imapd/condstore.h"

void
condstore_enable(struct session *s)
{
	if (s->condstore)
		return;
	s->condstore = true;
	if (s->view == NULL)
		return;
	s->view->modseqs = true;
	condstore_tell_highest(s->view, &s->out);
}

void
condstore_tell_highest(const struct view *v, struct text *out)
{
	text_add(out, SPAN("* OK [HIGHESTMODSEQ "));
	text_add_number(out, v->modseq);
	text_add(out, SPAN("] Highest.\r\n"));
}

bool
condstore_take_select(struct command *c, bool *wanted)
{
	if (c->args.len == 0)
		return true;
	if (!span_take_word(&c->args, SPAN(" (CONDSTORE)")))
		return command_bad(c, "nothing more, or (CONDSTORE)"), false;
	*wanted = true;
	return true;
}

bool
condstore_take_unchanged(struct command *c, bool *given, uint64_t *since)
{
	*given = span_take(&c->args, '(');
	if (!*given)
		return true;
	/* mod-sequence-valzer: 0 fits no message (RFC 7162 3.1.3) */
	if (!span_take_word(&c->args, SPAN("UNCHANGEDSINCE ")) ||
		!imap_take_modseq(&c->args, since) || !span_take(&c->args, ')'))
		return command_bad(c, "(UNCHANGEDSINCE number)"), false;
	return command_take_space(c);
}
