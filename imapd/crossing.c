/* crossing - see crossing.h. The arguments, the way from step to step, and the answer. */
#include "imapd/crossing.h"

#include "imapd/folder.h"
#include "imapd/notify.h"
#include "imapd/quote.h"
#include "imapd/remote.h"
#include "imapd/share.h"

#include <errno.h>
#include <string.h>

static void
crossing_release(struct command *c)
{
	struct crossing *x = c->state;

	if (x->append.to != NULL)
		append_release(c);
	change_clear(&x->learned);
	text_clear(&x->found);
	text_clear(&x->front);
	text_clear(&x->code);
	number_ranges_clear(&x->uids);
	link_free(&c->session->link);
	x->to = NULL;
}

static enum progress
crossing_step(struct command *c)
{
	struct crossing *x = c->state;
	enum progress progress = COMMAND_AGAIN;

	while (x->work(c, x, &progress)) {
		if (session_full(c->session) || session_slice_over(c->session))
			return COMMAND_AGAIN;
	}
	return progress;
}

/* --- answers --- */

enum progress
crossing_pass_answer(struct command *c, struct span line)
{
	if (span_starts_nocase(line, SPAN("BAD")))
		c->session->errors++;
	text_reset(&c->answer);
	text_add(&c->answer, line);
	return COMMAND_DONE;
}

enum progress
crossing_lost_source(struct command *c, struct crossing *x)
{
	struct session *s = c->session;

	remote_unselect(s);
	x->from = NULL;
	if (x->part == PASSING) {    /* the client can be told nothing in the middle of a response */
		session_end(s, "the process of another user broke off");
		return COMMAND_DONE;
	}
	session_bye(s, x->committed ?
		"[UNAVAILABLE] The selected mailbox is out of reach; all is copied, and may be there still." :
		"[UNAVAILABLE] The selected mailbox is out of reach; nothing was copied.");
	return x->refused ? COMMAND_DONE : command_no(c, "UNAVAILABLE", "The selected mailbox is out of reach.");
}

enum progress
crossing_lost_target(struct command *c, struct crossing *x, bool maybe_done)
{
	bool unknown = link_is_unknown(x->to);

	link_free(&c->session->link);
	x->to = NULL;
	if (unknown)
		return command_no(c, "NONEXISTENT", "There is no such mailbox.");
	return command_no(c, "UNAVAILABLE", maybe_done ?
		"The target is out of reach now; they may have been copied." :
		"The target is out of reach now; nothing was copied.");
}

bool
crossing_answer(struct command *c, struct crossing *x, enum progress *progress)
{
	const char *code = x->moves ? x->highest : text_str(&x->code);

	*progress = command_ok(c, code[0] == '\0' ? NULL : code,
		x->moves ? "MOVE completed." : "COPY completed.");
	return false;
}

bool
crossing_committed(struct command *c, struct crossing *x, enum progress *progress)
{
	x->committed = true;
	if (!x->moves)
		return crossing_answer(c, x, progress);
	c->must_end = true;
	/* The copies are durable before the others go: a crash doubles, never loses. */
	if (x->append.to != NULL && mailbox_durable(x->append.to) < 0)
		return *progress = command_failed(c, "move"), false;
	if (x->code.len > 0) {       /* RFC 6851 4.3: before the EXPUNGEs */
		text_add(command_out(c), SPAN("* OK ["));
		text_add(command_out(c), text_span(&x->code));
		text_add(command_out(c), SPAN("] Moved.\r\n"));
	}
	x->work = crossing_remove;
	return true;
}

/* --- arguments --- */

/* Of another's mailbox its owner's process knows the messages. False: answered. */
static bool
take_set(struct command *c, struct crossing *x)
{
	struct number_set set;
	const unsigned char *at;

	x->by_uid = c->verb->when & BY_UID;
	if (x->from == NULL) {
		if (!command_take_messages(c, &x->messages))
			return false;
		x->by_uid = x->messages.uid;
		return true;
	}
	if (!command_take_space(c))
		return false;
	at = c->args.at;
	if (span_take(&c->args, '$'))
		x->by_uid = true;
	else if (!number_set_take(&c->args, &c->arena, &set))
		return command_bad(c, "a set of message numbers"), false;
	x->set = span_of(at, (size_t)(c->args.at - at));
	return true;
}

/* One's own mailbox. False: answered. */
static bool
open_own(struct command *c, struct append *append)
{
	char folder[MOST_FOLDER_NAME + 1];

	if (!command_take_folder(c, folder) || !command_no_more(c) || !command_may(c, folder, RIGHT_INSERT))
		return false;
	append->to = mailbox_open(&c->session->account->store, folder);
	if (append->to == NULL && errno == ENOENT)
		return command_no(c, "TRYCREATE", "There is no such mailbox."), false;
	if (append->to == NULL)
		return command_failed(c, "copy"), false;
	append->rights = session_rights(c->session, folder);
	append->empty_too = true;
	change_init(&append->change);
	return true;
}

/* What is said first to the process of another: the one command that copies all. False: answered. */
static bool
open_others(struct command *c, struct crossing *x, struct span owner)
{
	struct text line = TEXT_UP_TO(SIZE_MAX / 2);
	struct session *s = c->session;
	struct span name;

	if (!command_take_space(c))
		return false;
	if (!imap_take_astring(&c->args, &c->arena, &name))
		return command_bad(c, "the name of a mailbox"), false;
	if (!command_no_more(c))
		return false;
	x->to = s->link = link_new(s, owner);
	x->enabling = remote_say_enabled(s, x->to);
	text_add(&line, SPAN("~a XAPPEND "));
	session_quote_name(s, name, &line);
	link_say(x->to, text_span(&line));
	text_clear(&line);
	return true;
}

bool
crossing_takes(struct command *c, bool moves, enum progress *progress)
{
	char owner[MOST_ADDRESS + 1] = "";
	struct session *s = c->session;
	struct crossing *x;
	bool others;

	if (!remote_crosses(c, owner, &others))
		return false;
	*progress = COMMAND_DONE;
	x = arena_alloc(&c->arena, sizeof(*x));
	x->moves = moves;
	x->from = s->selected;
	x->found = TEXT_UP_TO(MOST_CROSSING * sizeof(struct crossing_found));
	x->front = TEXT_UP_TO(MOST_CROSSING_FRONT);
	x->code = TEXT_UP_TO(MOST_OUT / 2);
	change_init(&x->learned);
	if (!take_set(c, x))
		return true;
	if (moves && s->view != NULL && s->view->read_only)
		return *progress = command_no(c, "READ-ONLY", "The mailbox is selected read-only."), true;
	c->state = x;
	c->release = crossing_release;
	if (!(others ? open_others(c, x, span_str(owner)) : open_own(c, &x->append)))
		return true;
	x->work = crossing_find;
	c->step = crossing_step;
	*progress = crossing_step(c);
	return true;
}
