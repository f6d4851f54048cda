/* cmd-idle - IDLE (RFC 2177): news come as they happen, until the client says DONE. */
#include "imapd/command.h"

static enum progress
idle_line(struct command *c, struct span line)
{
	if (!span_equal_nocase(line, SPAN("DONE")))
		return command_bad(c, "DONE");
	return command_ok(c, NULL, "IDLE completed.");
}

enum progress
cmd_idle(struct command *c)
{
	if (!command_no_more(c))
		return COMMAND_DONE;
	mail_cache_clear(&c->session->mail);
	text_add(command_out(c), SPAN("+ idling\r\n"));
	c->wants = WANTS_LINE;
	c->on_line = idle_line;
	return COMMAND_WAITS;
}

bool
session_is_idle(const struct session *s)
{
	return s->command != NULL && s->command->on_line == idle_line &&
		s->command->wants == WANTS_LINE;
}

void
session_push_news(struct session *s)
{
	struct mailbox *m;

	if (s->view == NULL || s->dead || s->closing || !session_is_idle(s) || session_full(s))
		return;
	m = s->view->mailbox;
	if ((m->check_cur || m->check_new || m->gone) && mailbox_refresh(m) < 0 && m->gone) {
		session_bye(s, "The selected mailbox is no more.");
		return;
	}
	if (view_has_news(s->view, true) && !view_tell(s->view, true, false, &s->out,
		s->sent + OUT_FULL))
		s->wants_room = true;
}
