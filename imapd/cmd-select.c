/* cmd-select - SELECT EXAMINE CLOSE UNSELECT EXPUNGE (RFC 3501 6.3.1, 6.3.2, 6.4.2, 6.4.3;
 * RFC 3691; RFC 4315; CONDSTORE: RFC 7162). */
#include "imapd/condstore.h"
#include "imapd/flags.h"
#include "imapd/folder.h"
#include "imapd/notify.h"
#include "imapd/qresync.h"
#include "imapd/remote.h"
#include "imapd/share.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

void
session_unselect(struct session *s)
{
	mail_cache_clear(&s->mail);
	view_close(&s->view);
	remote_unselect(s);
}

static void
add_number_line(struct text *out, const char *before, uint64_t n, const char *after)
{
	text_add_str(out, before);
	text_add_number(out, n);
	text_add_str(out, after);
}

static size_t
first_unseen(const struct view *v)
{
	const struct index *ix = &v->mailbox->index;

	for (size_t i = 0; i < ix->count; i++) {
		if (!(ix->records[i].flags & FLAG_SEEN))
			return view_number(v, ix->records[i].uid);
	}
	return 0;
}

static void
tell_selected(struct view *v, struct text *out)
{
	const struct index *ix = &v->mailbox->index;
	size_t unseen = first_unseen(v);

	view_all_flags_write(v, out);
	add_number_line(out, "* ", v->count, " EXISTS\r\n");
	if (!v->silent_recent)
		add_number_line(out, "* ", v->recent, " RECENT\r\n");
	if (unseen > 0 && !v->silent_recent && !v->uid_only)
		add_number_line(out, "* OK [UNSEEN ", unseen, "] First unseen.\r\n");
	add_number_line(out, "* OK [UIDVALIDITY ", ix->uidvalidity, "] UIDs valid.\r\n");
	add_number_line(out, "* OK [UIDNEXT ", ix->uidnext, "] Predicted next UID.\r\n");
	condstore_tell_highest(v, out);
	text_add(out, SPAN("* OK [MAILBOXID ("));           /* RFC 8474 4.2 */
	mailbox_id_write(ix, out);
	text_add(out, SPAN(")] Its id.\r\n"));
}

/* What changed while the client was away. */
static enum progress
select_step(struct command *c)
{
	if (!qresync_tell_changed(c->session, c->state))
		return COMMAND_AGAIN;
	return command_ok(c, c->session->view->read_only ? "READ-ONLY" : "READ-WRITE",
		c->verb->run == cmd_examine ? "EXAMINE completed." : "SELECT completed.");
}

static enum progress
open_selected(struct command *c, bool read_only)
{
	struct session *s = c->session;
	char folder[MOST_FOLDER_NAME + 1];
	struct qresync *q = arena_alloc(&c->arena, sizeof(*q));
	struct mailbox *m;
	bool condstore = s->condstore;
	unsigned int rights;

	if (!command_take_folder(c, folder) || !condstore_take_select(c, &condstore, q) ||
		!command_no_more(c))
		return COMMAND_DONE;
	/* What was selected is over, whether this works or not (RFC 3501 6.3.1). */
	command_unselect(c);
	s->condstore = condstore;
	if (!command_may(c, folder, RIGHT_READ))
		return COMMAND_DONE;
	rights = session_rights(s, folder);
	m = mailbox_open(&s->account->store, folder);
	if (m == NULL)
		return command_failed(c, "select");
	s->view = view_open(m, read_only || !(rights & RIGHTS_CHANGE));
	s->view->rights = rights;
	s->view->modseqs = condstore;
	s->view->silent_recent = s->rev2;
	s->view->vanishes = s->qresync;
	s->view->uid_only = s->uid_only;
	notify_mute(s);
	tell_selected(s->view, command_out(c));
	session_tell_name(s, "", folder, c->said, true, command_out(c));      /* RFC 9051 6.3.2 */
	c->told_nothing = true;
	qresync_tell_vanished(s, q);
	c->state = q;
	c->step = select_step;
	return select_step(c);
}

enum progress
cmd_select(struct command *c)
{
	return open_selected(c, false);
}

enum progress
cmd_examine(struct command *c)
{
	return open_selected(c, true);
}

/* The messages with \Deleted, among `only` if that is not NULL, that this session knows of. */
static void
find_deleted(const struct view *v, const struct number_set *only, struct number_ranges *uids)
{
	const struct index *ix = &v->mailbox->index;

	for (size_t i = 0; i < ix->count; i++) {
		const struct index_record *r = &ix->records[i];

		if ((r->flags & FLAG_DELETED) && (only == NULL || number_set_has(only, r->uid)) &&
			view_number(v, r->uid) > 0)
			number_ranges_add(uids, r->uid);
	}
}

/* EXPUNGE and CLOSE: a slice at a time, as a file has to go for each message. */
struct expunging {
	struct number_ranges uids;
	uint32_t from;
	int error;
	uint64_t before;         /* the mailbox's count of expunges */
};

static void
expunge_release(struct command *c)
{
	struct expunging *e = c->state;

	number_ranges_clear(&e->uids);
}

/* Notes what has to go, among `only` if that is not NULL. */
static struct expunging *
expunge_begin(struct command *c, const struct number_set *only)
{
	struct expunging *e = arena_alloc(&c->arena, sizeof(*e));
	const struct view *v = c->session->view;

	e->before = v->mailbox->index.expunges;
	if (!v->read_only && (v->rights & RIGHT_EXPUNGE))
		find_deleted(v, only, &e->uids);
	c->state = e;
	c->release = expunge_release;
	return e;
}

/* True: all is done. */
static bool
expunge_some(struct command *c, struct expunging *e)
{
	bool all = mailbox_expunge_some(c->session->view->mailbox, &e->uids, &e->from,
		EXPUNGED_AT_A_TIME, &e->error);

	if (!all)
		command_progress_below(c, &e->uids, e->from, 0);
	return all;
}

static enum progress
expunge_step(struct command *c)
{
	struct view *v = c->session->view;
	struct expunging *e = c->state;

	if (!expunge_some(c, e))
		return COMMAND_AGAIN;
	errno = e->error;
	if (e->error != 0)
		return command_failed(c, "expunge");
	c->tells_highest = v->vanishes && v->mailbox->index.expunges != e->before;
	return command_ok(c, NULL, "EXPUNGE completed.");
}

enum progress
cmd_expunge(struct command *c)
{
	struct view *v = c->session->view;
	struct message_set messages;
	bool by_uid = c->verb->when & BY_UID;

	if (by_uid && !command_take_messages(c, &messages))
		return COMMAND_DONE;
	if (!command_no_more(c))
		return COMMAND_DONE;
	if (v->read_only)
		return command_no(c, "READ-ONLY", "The mailbox is selected read-only.");
	if (!(v->rights & RIGHT_EXPUNGE))
		return command_no(c, "NOPERM", "You may not remove messages here.");
	(void)expunge_begin(c, by_uid ? &messages.set : NULL);
	c->step = expunge_step;
	return expunge_step(c);
}

/* XREMOVE [SP set]: messages that a member's MOVE has copied elsewhere go, whatever their flags (crossing.h). Without
 * a set: may they? */
enum progress
cmd_remove(struct command *c)
{
	const unsigned int rights = RIGHT_TRASH | RIGHT_EXPUNGE;
	struct view *v = c->session->view;
	struct message_set messages;
	struct expunging *e;
	size_t number;

	if (v->read_only)
		return command_no(c, "READ-ONLY", "The mailbox is selected read-only.");
	if ((v->rights & rights) != rights)
		return command_no(c, "NOPERM", "You may not take messages away here.");
	if (c->args.len == 0)
		return command_ok(c, NULL, "They may go.");
	if (!command_take_messages(c, &messages) || !command_no_more(c))
		return COMMAND_DONE;
	e = arena_alloc(&c->arena, sizeof(*e));
	e->before = v->mailbox->index.expunges;
	while ((number = messages_next(&messages, v)) != 0)
		number_ranges_add(&e->uids, view_uid(v, number));
	c->state = e;
	c->release = expunge_release;
	c->step = expunge_step;
	return expunge_step(c);
}

static enum progress
close_step(struct command *c)
{
	struct session *s = c->session;
	struct expunging *e = c->state;

	if (!expunge_some(c, e))
		return COMMAND_AGAIN;
	if (e->error != 0) {
		errno = e->error;
		(void)command_failed(c, "expunge");
		session_unselect(s);
		return COMMAND_DONE;
	}
	session_unselect(s);
	/* Never with HIGHESTMODSEQ: what vanished was not told (RFC 7162 3.2.8). */
	return command_ok(c, NULL, "CLOSE completed.");
}

enum progress
cmd_close(struct command *c)
{
	if (!command_no_more(c))
		return COMMAND_DONE;
	(void)expunge_begin(c, NULL);
	c->step = close_step;
	return close_step(c);
}

enum progress
cmd_unselect(struct command *c)
{
	if (!command_no_more(c))
		return COMMAND_DONE;
	session_unselect(c->session);
	return command_ok(c, NULL, "UNSELECT completed.");
}
