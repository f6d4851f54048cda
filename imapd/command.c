/* command - see command.h. How commands are cut from the input, run, and answered. */
#include "imapd/command.h"

#include "common/log.h"

#include "imapd/condstore.h"
#include "imapd/folder.h"
#include "imapd/remote.h"
#include "imapd/share.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of a refused literal that are read and dropped. */
#define MOST_SWALLOWED ((uint64_t)1024 * 1024 * 1024)

void
command_free(struct command **c)
{
	if (*c == NULL)
		return;
	if ((*c)->release != NULL)
		(*c)->release(*c);
	arena_clear(&(*c)->arena);
	text_wipe(&(*c)->text);
	text_clear(&(*c)->answer);
	free(*c);
	*c = NULL;
}

/* --- answers --- */

static enum progress
command_answer(struct command *c, const char *word, const char *code, const char *text)
{
	text_reset(&c->answer);
	text_add_str(&c->answer, word);
	if (code != NULL) {
		text_add(&c->answer, SPAN(" ["));
		text_add_str(&c->answer, code);
		text_add_byte(&c->answer, ']');
	}
	text_add_byte(&c->answer, ' ');
	text_add_str(&c->answer, text);
	c->wants = WANTS_NOTHING;
	return COMMAND_DONE;
}

static void
log_refused(struct command *c, const char *word, const char *code, const char *why)
{
	log_info(c->session->id, "refused", KEY_STR("verb", c->verb == NULL ? "?" : c->verb->word),
		KEY_STR("answer", word),
		KEY_STR("code", code), KEY_STR("why", why));
}

enum progress
command_ok(struct command *c, const char *code, const char *text)
{
	c->session->errors = 0;
	return command_answer(c, "OK", code, text);
}

enum progress
command_no(struct command *c, const char *code, const char *text)
{
	log_refused(c, "NO", code, text);
	return command_answer(c, "NO", code, text);
}

enum progress
command_bad(struct command *c, const char *expected)
{
	struct text why = TEXT_UP_TO(500);

	text_add(&why, SPAN("Expected "));
	text_add_str(&why, expected);
	text_add_byte(&why, '.');
	log_refused(c, "BAD", NULL, expected);
	c->session->errors++;
	(void)command_answer(c, "BAD", NULL, text_str(&why));
	text_clear(&why);
	return COMMAND_DONE;
}

enum progress
command_uid_required(struct command *c)
{
	log_refused(c, "BAD", "UIDREQUIRED", "message numbers with UIDONLY");
	c->session->errors++;
	return command_answer(c, "BAD", "UIDREQUIRED", "Message numbers cannot be used with UIDONLY.");
}

void
command_progress(struct command *c, uint64_t done, uint64_t all)
{
	int64_t now = session_clock();

	if (now - c->progress_at < PROGRESS_MICROSECONDS)
		return;
	c->progress_at = now;
	text_add(command_out(c), SPAN("* OK [INPROGRESS (\""));
	text_add(command_out(c), c->tag);
	if (all > 0)
		text_printf(command_out(c), "\" %" PRIu64 " %" PRIu64 ")] Still at work.\r\n", done, all);
	else
		text_add(command_out(c), SPAN("\" NIL NIL)] Still at work.\r\n"));
}

void
command_unselect(struct command *c)
{
	struct session *s = c->session;

	if (s->view != NULL || s->selected != NULL)
		text_add(command_out(c), SPAN("* OK [CLOSED] The mailbox before is closed.\r\n"));
	session_unselect(s);
}

void
command_progress_below(struct command *c, const struct number_ranges *uids, uint32_t from,
	uint64_t before)
{
	uint64_t done = before, all = before;

	for (size_t i = 0; i < uids->count; i++) {
		struct number_range r = uids->at[i];
		uint64_t count = (uint64_t)(r.to - r.from) + 1;

		all += count;
		done += r.to < from ? count : r.from < from ? from - r.from : 0;
	}
	command_progress(c, done, all);
}

enum progress
command_failed(struct command *c, const char *what)
{
	int error = errno;

	switch (error) {
	case ENOENT:
	case ENOTDIR:
	case ELOOP:      /* what is no directory of its own is no folder */
		return command_no(c, "NONEXISTENT", "There is no such mailbox.");
	case EEXIST:
	case ENOTEMPTY:
		return command_no(c, "ALREADYEXISTS", "There is such a mailbox already.");
	case ENAMETOOLONG:
		return command_no(c, "CANNOT", "The name is too long.");
	case EINVAL:
		return command_no(c, "CANNOT", "That cannot be.");
	case EDQUOT:     /* ours (usage.c), or the file system's */
		return command_no(c, "OVERQUOTA", "That is more than this user may keep.");
	case ENOSPC:
		log_error(c->session->id, "no-space", KEY_STR("what", what), KEY_ERRNO);
		return command_no(c, "UNAVAILABLE", "There is no space left.");
	case EACCES:
	case EPERM:
	case EROFS:
		log_error(c->session->id, "no-right", KEY_STR("what", what), KEY_ERRNO);
		return command_no(c, "NOPERM", "The server has no right to do this.");
	default:
		log_error(c->session->id, "failed", KEY_STR("what", what), KEY_ERRNO);
		return command_no(c, "SERVERBUG",
			"The server could not do this; its log says why.");
	}
}

/* --- arguments --- */

bool
command_no_more(struct command *c)
{
	if (c->args.len == 0)
		return true;
	(void)command_bad(c, "nothing more behind the arguments");
	return false;
}

bool
command_take_space(struct command *c)
{
	if (imap_take_space(&c->args))
		return true;
	(void)command_bad(c, c->args.len == 0 ? "another argument" : "one space between arguments");
	return false;
}

bool
command_take_folder(struct command *c, char folder[MOST_FOLDER_NAME + 1])
{
	struct span name;
	const char *why;

	if (!command_take_space(c))
		return false;
	if (!imap_take_astring(&c->args, &c->arena, &name)) {
		(void)command_bad(c, "the name of a mailbox");
		return false;
	}
	c->said = name;
	if (session_folder_of(c->session, name, folder, &why))
		return true;
	(void)command_no(c, "CANNOT", why);
	return false;
}

bool
command_may(struct command *c, const char *folder, unsigned int rights)
{
	unsigned int has = session_rights(c->session, folder);

	if ((has & rights) == rights)
		return true;
	if (has & RIGHT_LOOKUP)
		(void)command_no(c, "NOPERM", "You may not do this with that mailbox.");
	else
		(void)command_no(c, "NONEXISTENT", "There is no such mailbox.");
	return false;
}

bool
command_take_messages(struct command *c, struct message_set *messages)
{
	const struct view *v = c->session->view;

	*messages = (struct message_set){ .uid = c->verb->when & BY_UID };
	if (!command_take_space(c))
		return false;
	if (span_take(&c->args, '$')) {
		view_saved(v, &c->arena, &messages->set);
		messages->uid = true;
		return true;
	}
	if (!number_set_take(&c->args, &c->arena, &messages->set)) {
		(void)command_bad(c, "a set of message numbers");
		return false;
	}
	for (size_t i = 0; i < messages->set.count; i++)
		messages->star |= messages->set.at[i].from == NUMBER_STAR ||
			messages->set.at[i].to == NUMBER_STAR;
	if (messages->uid) {
		number_set_resolve(&messages->set, v->count == 0 ? 0 : v->uids[v->count - 1]);
		return true;
	}
	/* RFC 3501 section 9, seq-number: BAD for a number above the count, "*" in an empty mailbox
	 * included. */
	number_set_resolve(&messages->set, (uint32_t)v->count);
	if (messages->set.count > 0 && number_set_largest(&messages->set) <= v->count)
		return true;
	(void)command_bad(c, "message numbers that the mailbox has");
	return false;
}

size_t
messages_next(struct message_set *messages, const struct view *v)
{
	while (messages->range < messages->set.count) {
		struct number_range r = messages->set.at[messages->range];
		size_t first = messages->uid ? view_number_from(v, r.from) : r.from;

		messages->number = messages->number < first ? first : messages->number + 1;
		if (messages->number <= v->count &&
			(messages->uid ? view_uid(v,
			messages->number) <= r.to : messages->number <= r.to))
			return messages->number;
		/* Ranges ascend: the next one begins behind this. */
		messages->number--;
		messages->range++;
	}
	return 0;
}

uint64_t
messages_about(const struct message_set *messages, const struct view *v)
{
	uint64_t all = 0;

	for (size_t i = 0; i < messages->set.count; i++)
		all += (uint64_t)(messages->set.at[i].to - messages->set.at[i].from) + 1;
	return all < v->count ? all : v->count;
}

/* --- from the input to a command --- */

static struct command *
command_new(struct session *s, struct span line)
{
	struct command *c = must_alloc(sizeof(*c));

	c->session = s;
	c->text = TEXT_UP_TO(SIZE_MAX / 2);
	c->answer = TEXT_UP_TO(MOST_OUT);
	c->arena.wide = s->utf8;
	text_add(&c->text, line);
	c->args = text_span(&c->text);
	c->progress_at = session_clock();
	s->commands++;
	return c;
}

bool
guest_may_stay(struct session *s)
{
	if (!session_is_guest(s) || s->view == NULL)
		return true;
	s->view->rights = session_rights(s, s->view->mailbox->folder);
	if (s->view->rights & RIGHT_READ)
		return true;
	session_bye(s, "You may not read this mailbox any more.");
	return false;
}

/* Tag, verb, state. False: answered. */
static bool
command_begin(struct command *c)
{
	const struct session *s = c->session;
	uint32_t state = s->view == NULL && s->selected == NULL ? WHEN_LOGGED_IN : WHEN_SELECTED;

	if (!imap_take_tag(&c->args, &c->tag) || !imap_take_space(&c->args)) {
		c->tag = SPAN("*");
		return command_bad(c, "a tag, a space and a command"), false;
	}
	c->verb = verb_take(&c->args);
	if (c->verb == NULL || ((c->verb->when & ONLY_GUESTS) && !session_is_guest(s)))
		return command_bad(c, "a command of IMAP4rev1 or of an extension in CAPABILITY"),
			false;
	if (!(c->verb->when & state))
		return command_bad(c, "a selected mailbox for this command"), false;
	if ((c->verb->when & TAKES_NUMBERS) && s->uid_only)
		return command_uid_required(c), false;
	if (session_is_guest(s) && !(c->verb->when & FOR_GUESTS))
		return command_no(c, "NOPERM", "That is for the owner of the mailbox."), false;
	if (s->selected != NULL && !(c->verb->when & (WHEN_LOGGED_IN | TO_SELECTED)))
		return command_no(c, "CANNOT", "Not in a mailbox of another user."), false;
	if (!guest_may_stay(c->session))
		return command_no(c, "NOPERM", "You may not read this mailbox any more."), false;
	return true;
}

/* RFC 7162 section 3.2: as long as it may not be told what vanished, the client must not believe that it has all up to
 * the numbers that it hears; once it may, it hears so. */
static void
tell_how_far(struct view *v, struct text *out)
{
	bool pending = v->vanishes && v->mailbox->index.expunges != v->expunges;

	if (pending)
		text_printf(out, "* OK [HIGHESTMODSEQ %" PRIu64 "] What vanished since is told later.\r\n", v->settled);
	else if (v->behind)
		condstore_tell_highest(v, out);
	v->behind = pending;
}

/* RFC 5530: messages are gone that FETCH, STORE and SEARCH must not tell of; the next NOOP does. */
static bool
keeps_back_expunges(const struct command *c)
{
	const struct view *v = c->session->view;

	return c->verb != NULL && (c->verb->when & KEEPS_NUMBERS) && !(c->verb->when & BY_UID) && !c->told_nothing &&
		v != NULL && !v->mute_messages && v->mailbox->index.expunges != v->expunges;
}

static void
write_answer(struct command *c)
{
	struct session *s = c->session;
	struct span answer = text_span(&c->answer);

	if (s->view != NULL && !c->told_nothing)
		tell_how_far(s->view, &s->out);
	text_add(&s->out, c->tag);
	text_add_byte(&s->out, ' ');
	if (c->tells_highest && s->view != NULL && span_take_word(&answer, SPAN("OK ")))
		text_printf(&s->out, "OK [HIGHESTMODSEQ %" PRIu64 "] ", s->view->modseq);
	else if (keeps_back_expunges(c) && !span_starts_nocase(answer, SPAN("OK [")) && span_take_word(&answer, SPAN("OK ")))
		text_add(&s->out, SPAN("OK [EXPUNGEISSUED] "));
	text_add(&s->out, answer);
	text_add(&s->out, SPAN("\r\n"));
	if (c->verb != NULL && (c->verb->when & ENDS_SESSION) && s->command == c && !s->closing &&
		span_starts_nocase(text_span(&c->answer), SPAN("OK "))) {
		s->closing = true;
		s->why = "logged out";
		session_take_turn(s);
	}
}

/* A client that only makes mistakes does not speak IMAP. */
static bool
too_many_errors(struct session *s)
{
	if (s->errors < MOST_ERRORS)
		return false;
	session_bye(s, "Too many errors.");
	return true;
}

static void
swallow_literal(struct command *c, struct span bytes)
{
	(void)c;
	(void)bytes;
}

static enum progress
swallow_line(struct command *c, struct span line)
{
	(void)c;
	(void)line;
	return COMMAND_DONE;
}

static bool
swallow_another(struct command *c, struct span line, uint64_t size)
{
	(void)c;
	(void)line;
	(void)size;
	return false;
}

/* The answer stands; the literal of a client that does not wait for "+" comes all the same, and the
 * rest of its line. It is thrown away, as far as that is bearable (RFC 7888 section 4). */
static void
swallow(struct command *c, uint64_t size)
{
	struct session *s = c->session;

	if (size > MOST_SWALLOWED) {
		write_answer(c);
		session_bye(s, "[TOOBIG] The literal is too large to be skipped.");
		if (s->command == c)
			s->command = NULL;
		command_free(&c);
		return;
	}
	s->command = c;
	c->literal_left = size;
	c->wants = WANTS_LITERAL;
	c->on_literal = swallow_literal;
	c->on_line = swallow_line;
	c->on_announcement = swallow_another;
}

/* A literal at the end of what is there: APPEND takes its message as it comes; others are gathered.
 * True: something was done. */
static bool
on_announcement(struct session *s)
{
	struct command *c = command_new(s, imap_input_command(&s->input));
	uint64_t size = s->input.literal;
	bool waits = s->input.synchronizing, own;

	if (!command_begin(c)) {
		/* Answered below. */
	} else if (c->verb->literal != NULL) {
		own = remote_takes_literal(c, waits) || c->verb->literal(c, size);
		if (own && c->answer.len == 0) {
			imap_input_next(&s->input);
			c->literal_left = size;
			s->command = c;
			if (waits && !c->passed_on)
				text_add(&s->out, SPAN("+ Ready for the message.\r\n"));
			return true;
		}
	}
	if (c->answer.len == 0 && imap_input_literal_fits(&s->input)) {
		imap_input_accept(&s->input);
		if (waits)
			text_add(&s->out, SPAN("+ Ready for the literal.\r\n"));
		s->commands--;
		command_free(&c);
		return true;
	}
	if (c->answer.len == 0)
		(void)command_bad(c, "a smaller literal");
	imap_input_next(&s->input);
	if (!waits) {
		swallow(c, size);
	} else {
		s->command = c;
		c->telling = true;
	}
	return true;
}

/* True: a command, or a piece of one, was dealt with. */
static bool
next_command(struct session *s)
{
	struct command *c;

	switch (imap_input_look(&s->input)) {
	case INPUT_MORE:
		s->starved = true;
		return false;
	case INPUT_LITERAL:
		return on_announcement(s);
	case INPUT_TOO_LONG:
		log_info(s->id, "refused", KEY_STR("why", "line too long"),
			KEY_NUM("most", s->input.most_line));
		session_bye(s, "[TOOBIG] The line is too long.");
		return false;
	case INPUT_BARE_LF:
		c = command_new(s, imap_input_command(&s->input));
		if (command_begin(c))
			(void)command_bad(c, "CR LF at the end of a line, not LF alone");
		break;
	case INPUT_COMMAND:
	default:
		c = command_new(s, imap_input_command(&s->input));
		break;
	}
	imap_input_next(&s->input);
	s->command = c;
	if (c->answer.len > 0 || !command_begin(c) ||
		(!remote_takes(c) && c->verb->run(c) == COMMAND_DONE))
		c->telling = true;
	return true;
}

/* --- running --- */

/* Another literal behind one: taken, or refused with the command. */
static bool
another_literal(struct command *c)
{
	struct session *s = c->session;
	uint64_t size = s->input.literal;
	bool waits = s->input.synchronizing;
	bool taken = c->on_announcement(c, imap_input_command(&s->input), size);

	imap_input_next(&s->input);
	c->literal_left = size;
	if (taken && waits && !c->passed_on)
		text_add(&s->out, SPAN("+ Ready for the literal.\r\n"));
	if (!taken && waits)
		c->telling = true;
	else if (!taken)
		swallow(c, size);
	return true;
}

/* The literal and the lines that a command asked for. True: something was done. */
static bool
feed(struct command *c)
{
	struct session *s = c->session;
	struct span bytes;

	if (c->wants == WANTS_LITERAL) {
		bytes = span_part(imap_input_rest(&s->input), 0, c->literal_left < SIZE_MAX ?
			(size_t)c->literal_left : SIZE_MAX);
		s->starved = bytes.len == 0 && c->literal_left > 0;
		if (s->starved || (c->passed_on && remote_is_full(c)))
			return false;
		c->on_literal(c, bytes);
		c->literal_left -= bytes.len;
		imap_input_drop(&s->input, bytes.len);
		if (c->literal_left == 0)
			c->wants = WANTS_LINE;
		return true;
	}
	switch (imap_input_look(&s->input)) {
	case INPUT_MORE:
		s->starved = true;
		return false;
	case INPUT_COMMAND:
		bytes = imap_input_command(&s->input);
		c->wants = WANTS_NOTHING;
		c->telling = c->on_line(c, bytes) == COMMAND_DONE;
		imap_input_next(&s->input);
		return true;
	case INPUT_LITERAL:
		if (c->on_announcement != NULL)
			return another_literal(c);
		/* fall through */
	default:
		/* Inside IDLE no literal may follow, and nowhere a bare LF or 64 KiB: there is no
		 * going on. */
		log_info(s->id, "refused", KEY_STR("why", "continuation is no line"));
		session_bye(s, "That is not what the command waits for.");
		return false;
	}
}

/* Ends a command: news of the mailbox, then the answer. True when all was said. */
static bool
tell_view(struct command *c, bool expunges, bool by_uid)
{
	struct session *s = c->session;
	struct view *v = s->view;
	bool mute_messages = v->mute_messages, mute_flags = v->mute_flags, all;

	if (c->verb != NULL && (c->verb->when & EXPUNGES))
		v->mute_messages = v->mute_flags = false;
	all = view_tell(v, expunges, by_uid || s->rev2, &s->out, s->sent + OUT_FULL);      /* RFC 9051 7.5.2 */
	v->mute_messages = mute_messages;
	v->mute_flags = mute_flags;
	return all;
}

static bool
finish(struct command *c)
{
	struct session *s = c->session;
	bool by_uid = c->verb != NULL && (c->verb->when & BY_UID);
	bool expunges = c->verb == NULL || !(c->verb->when & KEEPS_NUMBERS) || by_uid;

	if (s->view != NULL && !c->told_nothing) {
		if (mailbox_refresh(s->view->mailbox) < 0 && s->view->mailbox->gone) {
			write_answer(c);
			session_bye(s, "The selected mailbox is no more.");
			return true;
		}
		if (!tell_view(c, expunges, by_uid)) {
			s->wants_room = true;
			return false;
		}
		if (s->view->mailbox->index.names_pending)
			account_housekeep(s->account);
	}
	write_answer(c);
	return true;
}

/* Goes on with the running command. True: it ended, or came nearer to its end. */
static bool
run_command(struct session *s)
{
	struct command *c = s->command;

	if (c->telling && c->inside) {
		command_free(&s->command);
		s->command = s->waiting;
		s->waiting = NULL;
		return true;
	}
	if (c->telling) {
		if (!finish(c))
			return false;
		command_free(&s->command);
		return true;
	}
	if (c->wants != WANTS_NOTHING && c->passed_on) {
		remote_pump(c);
		if (c->telling)
			return true;
	}
	if (c->wants != WANTS_NOTHING)
		return feed(c);
	switch (c->step(c)) {
	case COMMAND_DONE:
		c->telling = true;
		return true;
	case COMMAND_AGAIN:
		if (session_full(s))
			s->wants_room = true;
		else
			session_take_turn(s);
		return false;
	default:
		return false;
	}
}

bool
session_must_end(const struct session *s)
{
	return s->dead && s->command != NULL && s->command->must_end && !s->command->telling;
}

void
session_end_command(struct session *s)
{
	struct command *c = s->command;

	s->slice_end = session_clock() + SLICE_MICROSECONDS;
	text_reset(&s->out);
	s->sent = 0;
	switch (c->step(c)) {
	case COMMAND_DONE:
		c->telling = true;       /* buried at the end of this round */
		break;
	case COMMAND_AGAIN:
		session_take_turn(s);
		break;
	default:
		break;
	}
}

void
command_fetch_inside(struct session *s, const struct number_ranges *uids, struct span items)
{
	struct text line = TEXT_UP_TO(SIZE_MAX / 2);
	struct command *c;

	text_add(&line, SPAN("UID FETCH "));
	number_ranges_write(uids, &line);
	text_add_byte(&line, ' ');
	text_add(&line, items);
	c = command_new(s, text_span(&line));
	text_clear(&line);
	s->commands--;
	c->inside = true;
	c->tag = SPAN("*");
	c->verb = verb_take(&c->args);
	s->waiting = s->command;
	s->command = c;
	c->telling = c->verb->run(c) == COMMAND_DONE;
	session_take_turn(s);
}

void
session_go_on(struct session *s)
{
	s->starved = false;
	while (!s->dead && !s->closing && !too_many_errors(s)) {
		if (s->out.failed) {
			log_error(s->id, "answer-too-large", KEY_NUM("most", MOST_OUT));
			session_end(s, "an answer was too large");
			return;
		}
		if (session_full(s)) {
			s->wants_room = true;
			return;
		}
		if (s->command == NULL && (s->notify != NULL || s->annotated.len > 0 || !session_is_told(s))) {
			session_push_news(s);
			if (!session_is_told(s))
				return;
		}
		if (!(s->command != NULL ? run_command(s) : next_command(s)))
			return;
		if (session_slice_over(s)) {
			session_take_turn(s);
			return;
		}
	}
}
