/* condstore - see condstore.h. */
#include "imapd/condstore.h"

#include "imapd/qresync.h"

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

/* select-param *(SP select-param) (RFC 4466 2.1). */
bool
condstore_take_select(struct command *c, bool *wanted, struct qresync *q)
{
	bool good = true;

	if (c->args.len == 0)
		return true;
	good = span_take_word(&c->args, SPAN(" ("));
	do {
		if (good && span_take_word(&c->args, SPAN("CONDSTORE")))
			*wanted = true;
		else
			good = good && !q->given && span_take_word(&c->args, SPAN("QRESYNC ")) &&
				qresync_take(&c->args, &c->arena, q);
	} while (good && imap_take_space(&c->args));
	if (!good || !span_take(&c->args, ')'))
		return command_bad(c, "nothing more, or (CONDSTORE), or (QRESYNC (uidvalidity "
			"modseq [uids]))"), false;
	if (q->match_given && c->session->uid_only)
		return command_uid_required(c), false;
	/* RFC 7162 3.2.5 */
	if (q->given && !c->session->qresync)
		return command_bad(c, "ENABLE QRESYNC before SELECT (QRESYNC ...)"), false;
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
