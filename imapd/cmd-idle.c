/* cmd-idle - IDLE (RFC 2177): news come as they happen, until the client says DONE; and, with NOTIFY (RFC 5465), between
 * two commands too. */
#include "imapd/account.h"
#include "imapd/command.h"
#include "imapd/context.h"
#include "imapd/notify.h"

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
	account_housekeep(c->session->account);      /* what inotify does not watch is looked at by and by */
	return COMMAND_WAITS;
}

bool
session_is_idle(const struct session *s)
{
	return s->command != NULL && s->command->on_line == idle_line &&
		s->command->wants == WANTS_LINE;
}

bool
session_is_told(const struct session *s)
{
	return s->view == NULL || s->view->telling == TELL_NOTHING;
}

/* News of the selected mailbox. False: `out` is full. */
static bool
push_selected(struct session *s, bool idle)
{
	struct mailbox *m = s->view->mailbox;
	bool expunges = idle || (s->notify != NULL && !s->notify->delayed);
	bool uids = s->rev2 || (s->notify != NULL && (s->notify->selected & EVENT_FLAG_CHANGE));      /* RFC 9051 7.5.2 */

	if ((m->check_cur || m->check_new || m->gone) && mailbox_refresh(m) < 0 && m->gone) {
		session_bye(s, "The selected mailbox is no more.");
		return false;
	}
	if (view_has_news(s->view, expunges) && !guest_may_stay(s))
		return false;
	if (!view_has_news(s->view, expunges) || view_tell(s->view, expunges, uids, &s->out,
		s->sent + OUT_FULL))
		return true;
	s->wants_room = true;
	return false;
}

/* UIDs from `from` on that the view knows and the session did not bring itself. */
static void
new_uids(const struct view *v, uint32_t from, struct number_ranges *uids)
{
	for (size_t n = view_number_from(v, from); n <= v->count; n++) {
		uint32_t uid = view_uid(v, n);

		if (uid < v->own_from || uid > v->own_to)
			number_ranges_add(uids, uid);
	}
}

/* RFC 5465 5.2 and section 7: what is asked for of new messages. */
static void
fetch_new(struct session *s)
{
	struct number_ranges uids = { NULL, 0, 0 };
	struct view *v = s->view;
	struct span items;

	if (v->notify_from != 0 && v->notify_from < v->uidnext) {
		new_uids(v, v->notify_from, &uids);
		v->notify_from = v->uidnext;
		items = s->notify->items;
	}
	if (uids.count > 0 || contexts_take_fetch(v, &items, &uids))
		command_fetch_inside(s, &uids, items);
	number_ranges_clear(&uids);
}

void
session_push_news(struct session *s)
{
	bool idle = session_is_idle(s), between = s->command == NULL;

	if (s->dead || s->closing || session_full(s) || (!idle && !between))
		return;
	if (s->view != NULL && (idle || s->notify != NULL || !session_is_told(s)) &&
		!push_selected(s, idle))
		return;
	notify_tell(s);
	if (s->view != NULL)
		fetch_new(s);
}
