/*
 * cmd-append - the arguments of APPEND (RFC 3501 6.3.11; RFC 4466 2.2) and of REPLACE and UID REPLACE (RFC 8508):
 * several messages (MULTIAPPEND, RFC 3502), binary ones (RFC 3516), such in UTF-8 (RFC 6855), and such that are
 * put together of pieces (CATENATE, RFC 4469). What comes of them: append.h.
 *
 * The command comes as lines that literals join. Each line is read when it is there; struct append knows where it
 * ended: behind a message, within CATENATE (...), or within UTF8 (...).
 */
#include "imapd/acl.h"
#include "imapd/append.h"

#include "imapd/date.h"
#include "imapd/folder.h"
#include "imapd/share.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define MESSAGE_EXPECTED "[flags] [date-time] and a message as a literal, or CATENATE (...)"
#define PIECE_EXPECTED "TEXT and a literal, or URL and a string, in CATENATE (...)"

/* What stands at the end of a line: a literal that is yet to come. */
struct announced {
	bool there;
	uint64_t size;
};

static bool append_another(struct command *c, struct span line, uint64_t size);
static enum progress append_line(struct command *c, struct span line);

/* --- literals --- */

static void
on_message(struct command *c, struct span bytes)
{
	append_octets(c->state, bytes);
}

static void
on_url(struct command *c, struct span bytes)
{
	struct append *append = c->state;

	text_add(&append->url, bytes);
}

/* A literal of octets comes, of `size` or (literal8) of any kind. False: answered. */
static bool
octets_come(struct command *c, struct append *append, uint64_t size, bool eight)
{
	struct arrival *a = append->last;
	uint64_t most = c->session->account->daemon.settings->message_size_bytes;

	if (size > most || a->size > most - size)
		return command_no(c, "TOOBIG", "The message is larger than this server takes."),
			false;
	append->announced += size;
	if (append_has_room(c, append, append->announced) < 0)
		return command_failed(c, "append"), false;
	a->eight |= eight;
	append->behind = true;
	c->wants = WANTS_LITERAL;
	c->on_literal = on_message;
	return true;
}

/* Takes "{n}" or, where it may be a literal8, "~{n}" at the end of the line. */
static bool
take_octets(struct span *in, const struct announced *announced, bool *eight)
{
	struct span rest = *in;
	uint64_t size;

	*eight = span_take(&rest, '~');
	if (!announced->there || !imap_take_announcement(&rest, &size))
		return false;
	*in = rest;
	return true;
}

/* --- CATENATE --- */

/* False: answered. */
static struct piece *
piece_new(struct command *c, struct append *append)
{
	struct arrival *a = append->last;
	struct piece *piece;

	if (++append->pieces > MOST_PIECES) {
		(void)command_no(c, "LIMIT", "Fewer pieces, please.");
		return NULL;
	}
	piece = arena_alloc(&c->arena, sizeof(*piece));
	*(a->last_piece == NULL ? &a->pieces : &a->last_piece->next) = piece;
	a->last_piece = piece;
	return piece;
}

/* RFC 4469 5: url-resp-text has no "]", "\" or control character. */
static void
refuse_url(struct command *c, struct span url)
{
	struct text code = TEXT_UP_TO(MOST_IMAP_URL + 10);
	bool tellable = url.len > 0 && span_is_printable(url) && !span_has(url, ']') &&
		!span_has(url, '\\');

	text_add(&code, SPAN("BADURL "));
	text_add(&code, tellable ? url : SPAN("?"));
	(void)command_no(c, code.failed ? "BADURL ?" : text_str(&code),
		"That is no URL of a message or of a part of one (RFC 5092).");
	text_clear(&code);
}

/* False: answered. */
static bool
add_url(struct command *c, struct append *append, struct span url)
{
	struct piece *piece = piece_new(c, append);

	if (piece == NULL)
		return false;
	if (session_is_guest(c->session))      /* what it names is looked up without asking for rights */
		return command_no(c, "NOPERM", "Not from mailboxes of another user."), false;
	piece->is_url = true;
	if (!imap_url_parse(url, &c->arena, &piece->url) || span_has(url, ']'))
		return refuse_url(c, url), false;
	append->last->any_url = true;
	append->behind = true;
	return true;
}

/* SP astring behind URL, or the announcement of one. False: answered; else c->wants may be set. */
static bool
take_url(struct command *c, struct append *append, struct span *in,
	const struct announced *announced)
{
	struct span url;
	uint64_t size;

	if (imap_take_astring(in, &c->arena, &url))
		return add_url(c, append, url);
	if (!announced->there || !imap_take_announcement(in, &size))
		return command_bad(c, PIECE_EXPECTED), false;
	if (size > MOST_IMAP_URL)
		return refuse_url(c, SPAN_NONE), false;
	append->url = TEXT_UP_TO(MOST_IMAP_URL);
	append->wants_url = true;
	c->wants = WANTS_LITERAL;
	c->on_literal = on_url;
	return true;
}

/* A cat-part, or the end of the list. False: answered. */
static bool
take_piece(struct command *c, struct append *append, struct span *in,
	const struct announced *announced)
{
	bool utf8 = false, eight;
	struct piece *piece;

	if (append->behind && span_take(in, ')')) {
		append->in_catenate = false;
		append_end(append);
		return true;
	}
	if (append->behind && !imap_take_space(in))
		return command_bad(c, "a space or a closing parenthesis behind a piece"), false;
	append->behind = false;
	if (span_take_word(in, SPAN("URL ")))
		return take_url(c, append, in, announced);
	if (c->session->utf8 && span_take_word(in, SPAN("UTF8 (")))     /* RFC 6855 section 4 */
		utf8 = append->in_utf8 = true;
	else if (!span_take_word(in, SPAN("TEXT ")))
		return command_bad(c, PIECE_EXPECTED), false;
	if (!take_octets(in, announced, &eight) || utf8 != eight)
		return command_bad(c, PIECE_EXPECTED), false;
	piece = piece_new(c, append);
	if (piece == NULL)
		return false;
	piece->octets = announced->size;
	return octets_come(c, append, announced->size, eight);
}

/* --- messages --- */

/* [flags SP] [date-time SP]. False: answered. */
static bool
take_message_options(struct command *c, struct span *in, struct arrival *a)
{
	struct date date;
	const char *wrong;

	a->date = time(NULL);
	if (in->len > 0 && in->at[0] == '(') {
		if (!flag_list_take(in, &c->arena, false, &a->flags, &wrong))
			return command_bad(c, wrong), false;
		if (!imap_take_space(in))
			return command_bad(c, "a space behind the flags"), false;
	}
	if (in->len > 0 && in->at[0] == '"') {
		if (!date_take_time(in, &date))
			return command_bad(c, "a date-time such as \"17-Jul-1996 02:44:25 -0700\""),
				false;
		if (!imap_take_space(in))
			return command_bad(c, "a space behind the date-time"), false;
		a->date = date.utc;
	}
	return true;
}

void
append_keep_rightful(const struct append *append, struct arrival *a)
{
	a->flags.system &= rights_flags(append->rights);
	if (!(append->rights & RIGHT_WRITE))
		a->flags.keyword_count = 0;
}

/* SP append-message, up to its literal or into its pieces. False: answered. */
static bool
take_message(struct command *c, struct append *append, struct span *in,
	const struct announced *announced)
{
	struct arrival *a = arena_alloc(&c->arena, sizeof(*a));
	bool catenate, utf8 = false, eight = false;

	a->fd = -1;
	append->behind = false;
	if (append->count >= (append->replaced != 0 ? 1 : MOST_APPENDED)) {
		if (append->replaced != 0)       /* RFC 8508 4.7 */
			return command_bad(c, "one message to replace another"), false;
		return command_no(c, "LIMIT", "Fewer messages at a time, please."), false;
	}
	if (!imap_take_space(in))
		return command_bad(c, append->count == 0 ? MESSAGE_EXPECTED :
			"nothing behind the message, or a space and another one"), false;
	if (!take_message_options(c, in, a))
		return false;
	append_keep_rightful(append, a);
	catenate = span_take_word(in, SPAN("CATENATE ("));
	if (!catenate && c->session->utf8)
		utf8 = span_take_word(in, SPAN("UTF8 ("));
	if (!catenate && (!take_octets(in, announced, &eight) || (utf8 && !eight)))
		return command_bad(c, MESSAGE_EXPECTED), false;
	if (!catenate && announced->size == 0 && !append->empty_too)
		return command_no(c, "CANNOT", "A message has at least one byte."), false;
	if (append_begin(append, a) < 0)
		return command_failed(c, "append"), false;
	append->in_catenate = catenate;
	append->in_utf8 = utf8;
	return catenate || octets_come(c, append, announced->size, eight);
}

/* The literal that came is behind us. False: answered. */
static bool
take_behind(struct command *c, struct append *append, struct span *in)
{
	struct text url = append->url;
	bool good = true;

	if (append->in_utf8) {
		append->in_utf8 = false;
		if (!span_take(in, ')'))
			return command_bad(c, "a closing parenthesis behind UTF8 (...)"), false;
	}
	if (append->wants_url) {
		append->wants_url = false;
		append->url = (struct text){ NULL, 0, 0, 0, false };
		good = add_url(c, append, arena_copy(&c->arena, text_span(&url)));
		text_clear(&url);
	} else if (!append->in_catenate) {
		append_end(append);
	}
	return good;
}

/* A line, or what stands in it behind the name of the mailbox. True: a literal comes (c->wants), or it was the end of
 * the command; false: answered. */
static bool
take_line(struct command *c, struct append *append, struct span line,
	const struct announced *announced)
{
	struct span in = arena_copy(&c->arena, line);      /* flags and URLs point into it */

	append->text += line.len;
	if (append->text > MOST_APPEND_TEXT)
		return command_no(c, "LIMIT", "Fewer messages at a time, please."), false;
	c->wants = WANTS_NOTHING;
	if (append->count > 0 && !take_behind(c, append, &in))
		return false;
	while (c->wants == WANTS_NOTHING && (append->in_catenate || in.len > 0 ||
		append->count == 0)) {
		if (!(append->in_catenate ? take_piece : take_message)(c, append, &in, announced))
			return false;
	}
	if (c->wants == WANTS_NOTHING && announced->there)
		return command_bad(c, MESSAGE_EXPECTED), false;
	return true;
}

static enum progress
append_line(struct command *c, struct span line)
{
	struct announced none = { false, 0 };

	if (!take_line(c, c->state, line, &none))
		return COMMAND_DONE;
	return append_all(c);
}

static bool
append_another(struct command *c, struct span line, uint64_t size)
{
	struct announced announced = { true, size };

	return take_line(c, c->state, line, &announced);
}

/* --- the beginning --- */

/* SP seq-number, or the UID: of a message that is there. False: answered. */
static bool
take_replaced(struct command *c, uint32_t *uid)
{
	const unsigned int rights = RIGHT_TRASH | RIGHT_EXPUNGE;
	const struct view *v = c->session->view;
	struct message_set set;
	bool saved = c->args.len > 1 && c->args.at[1] == '$';     /* a set, for all that is in it */
	size_t number;

	if (!command_take_messages(c, &set))
		return false;
	number = messages_next(&set, v);
	if (saved || set.set.count != 1 || set.set.at[0].from != set.set.at[0].to)
		return command_bad(c, "the number of one message"), false;
	if (number == 0)
		return command_no(c, "NONEXISTENT", "There is no such message."), false;
	if (v->read_only)
		return command_no(c, "READ-ONLY", "The mailbox is selected read-only."), false;
	if ((v->rights & rights) != rights)
		return command_no(c, "NOPERM", "You may not take messages away here."), false;
	*uid = view_uid(v, number);
	return true;
}

/* The mailbox that the message comes into. False: answered. */
static bool
open_target(struct command *c, struct append *append)
{
	char folder[MOST_FOLDER_NAME + 1];

	if (!command_take_folder(c, folder))
		return false;
	if (!command_may(c, folder, RIGHT_INSERT))
		return false;
	append->to = mailbox_open(&c->session->account->store, folder);
	if (append->to == NULL && errno == ENOENT)
		return command_no(c, "TRYCREATE", "There is no such mailbox."), false;
	if (append->to == NULL)
		return command_failed(c, "append"), false;
	append->rights = session_rights(c->session, folder);
	change_init(&append->change);
	c->state = append;
	c->release = append_release;
	c->on_line = append_line;
	c->on_announcement = append_another;
	return true;
}

/* [SP number] SP mailbox, and what of the command is there behind them. False: answered. */
static bool
begin(struct command *c, const struct announced *announced, bool replaces)
{
	struct append *append = arena_alloc(&c->arena, sizeof(*append));

	append->empty_too = c->verb->when & ONLY_GUESTS;
	if (replaces && c->session->view == NULL)     /* another's is selected, and no name says that it is meant */
		return command_bad(c, "the number of a message, and a mailbox"), false;
	return (!replaces || take_replaced(c, &append->replaced)) && open_target(c, append) &&
		take_line(c, append, c->args, announced);
}

/* Is the announced literal the name of the mailbox? Then nothing but the announcement stands behind
 * the verb (and the number). */
static bool
announces_name(struct span args, bool replaces)
{
	struct span number;
	uint64_t size;

	if (replaces && (!imap_take_space(&args) || !span_take_until(&args, ' ', &number)))
		return false;
	return (replaces || imap_take_space(&args)) && imap_take_announcement(&args, &size);
}

static bool
literal(struct command *c, uint64_t size, bool replaces)
{
	struct announced announced = { true, size };

	if (announces_name(c->args, replaces))
		return false;
	(void)begin(c, &announced, replaces);
	return true;
}

static enum progress
whole(struct command *c, bool replaces)
{
	struct announced none = { false, 0 };

	return begin(c, &none, replaces) ? append_all(c) : COMMAND_DONE;
}

bool
cmd_append_literal(struct command *c, uint64_t size)
{
	return literal(c, size, false);
}

bool
cmd_replace_literal(struct command *c, uint64_t size)
{
	return literal(c, size, true);
}

/* Reached when no literal followed: all pieces are URLs, or there is no message. */
enum progress
cmd_append(struct command *c)
{
	return whole(c, false);
}

enum progress
cmd_replace(struct command *c)
{
	return whole(c, true);
}
