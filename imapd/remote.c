/* remote - see remote.h. */
#include "imapd/remote.h"

#include "common/log.h"
#include "imapd/share.h"

#include <string.h>

struct remote {
	struct link *link;           /* the session's: selected, or its other one */
	bool enabling;               /* what we said first is being answered */
	bool plus;                   /* the client waits for a continuation request */
	bool over;                   /* the command is answered, but the client still says the rest of it */
};

/* --- links --- */

static void
add_extension(struct text *out, bool wanted, const char *name)
{
	if (wanted)
		text_add_str(out, name);
}

bool
remote_say_enabled(struct session *s, struct link *l)
{
	struct text out = TEXT_UP_TO(200);
	bool any = s->rev2 || s->utf8 || s->condstore || s->qresync || s->uid_only || s->annotations;

	if (any) {
		text_add(&out, SPAN("~ ENABLE"));
		add_extension(&out, s->condstore, " CONDSTORE");
		add_extension(&out, s->qresync, " QRESYNC");
		add_extension(&out, s->rev2, " IMAP4rev2");
		add_extension(&out, s->utf8, " UTF8=ACCEPT");
		add_extension(&out, s->uid_only, " UIDONLY");
		add_extension(&out, s->annotations, " METADATA");
		text_add(&out, SPAN("\r\n"));
		link_say(l, text_span(&out));
	}
	text_clear(&out);
	return any;
}

void
remote_unselect(struct session *s)
{
	link_free(&s->selected);
}

static void
remote_release(struct command *c)
{
	link_free(&c->session->link);
}

static bool
is_select(const struct command *c)
{
	return c->verb->run == cmd_select || c->verb->run == cmd_examine;
}

/* What the client still says of the command (c->wants) is to be heard all the same: it is no other command. */
static enum progress
lost(struct command *c)
{
	struct remote *r = c->state;
	struct session *s = c->session;
	enum wants wants = c->wants;

	if (link_is_within(r->link)) {
		session_end(s, "the process of another user broke off");
	} else if (r->link == s->selected) {
		remote_unselect(s);
		session_bye(s, "[UNAVAILABLE] The selected mailbox is out of reach.");
	}
	if (s->link != NULL && link_is_unknown(s->link))
		(void)command_no(c, "NONEXISTENT", "There is no such mailbox.");
	else
		(void)command_no(c, "UNAVAILABLE", "That mailbox is out of reach now.");
	c->wants = wants;
	return COMMAND_DONE;
}

/* The tagged answer is here. */
static enum progress
finished(struct command *c, struct span line)
{
	struct session *s = c->session;
	bool good = span_starts_nocase(line, SPAN("OK"));

	text_reset(&c->answer);
	text_add(&c->answer, line);
	if (good)
		s->errors = 0;
	if (good && is_select(c)) {
		s->selected = s->link;
		s->link = NULL;
	} else if (good && (c->verb->run == cmd_close || c->verb->run == cmd_unselect)) {
		remote_unselect(s);
	}
	return COMMAND_DONE;
}

static enum progress
remote_step(struct command *c)
{
	struct remote *r = c->state;
	struct session *s = c->session;
	struct span piece;

	while (!session_full(s) && !session_slice_over(s)) {
		switch (link_hear(r->link, r->enabling ? SPAN("~") : c->tag, &piece)) {
		case LINK_NOTHING:
			link_wait(r->link);
			return COMMAND_WAITS;
		case LINK_PLUS:
			if (!r->plus || r->enabling)
				break;
			r->plus = false;
			text_add(&s->out, piece);
			break;
		case LINK_PASS:
		case LINK_LINE:
			if (!r->enabling)
				text_add(&s->out, piece);
			break;
		case LINK_TAGGED:
			if (!r->enabling)
				return finished(c, piece);
			r->enabling = false;
			break;
		case LINK_OVER:
		default:
			return lost(c);
		}
	}
	return COMMAND_AGAIN;
}

/* --- literals and lines that follow --- */

static void
pass_literal(struct command *c, struct span octets)
{
	struct remote *r = c->state;

	if (!r->over)
		link_say(r->link, octets);
}

static void
pass_line(struct command *c, struct span line)
{
	pass_literal(c, line);
	pass_literal(c, SPAN("\r\n"));
}

static bool
remote_announcement(struct command *c, struct span line, uint64_t size)
{
	struct remote *r = c->state;

	(void)size;
	if (r->over && c->session->input.synchronizing)
		return false;            /* it hears the answer instead of "+" */
	r->plus = c->session->input.synchronizing;
	pass_line(c, line);
	c->wants = WANTS_LITERAL;
	return true;
}

static enum progress
remote_line(struct command *c, struct span line)
{
	struct remote *r = c->state;

	if (r->over)
		return COMMAND_DONE;
	pass_line(c, line);
	c->step = remote_step;
	return remote_step(c);
}

void
remote_pump(struct command *c)
{
	struct remote *r = c->state;
	struct session *s = c->session;
	enum progress progress = r->over ? COMMAND_WAITS : remote_step(c);

	if (progress == COMMAND_AGAIN && session_full(s))
		s->wants_room = true;
	else if (progress == COMMAND_AGAIN)
		session_take_turn(s);
	if (progress != COMMAND_DONE)
		return;
	r->over = true;
	/* Who waits for "+" hears this instead, and so does who idles. */
	if (r->plus || c->wants == WANTS_LINE) {
		c->wants = WANTS_NOTHING;
		c->telling = true;
	}
}

bool
remote_is_full(const struct command *c)
{
	const struct remote *r = c->state;

	return !r->over && link_is_full(r->link);
}

/* --- which commands --- */

/* Whose mailbox is it, by its name? False: ours. */
static bool
owner_of(const struct command *c, struct span name, char owner[MOST_ADDRESS + 1])
{
	return !session_is_guest(c->session) && session_name_owner(c->session, name, owner);
}

/* SP word, passed over: a set of messages. */
static bool
skip_word(struct span *in)
{
	if (!imap_take_space(in))
		return false;
	*in = span_part(*in, span_index(*in, ' '), SIZE_MAX);
	return true;
}

/* GETMETADATA may have options in front: SP "(" ... ")". */
static void
skip_options(struct span *in)
{
	struct span rest = *in, options;

	if (imap_take_space(&rest) && span_take(&rest, '(') && span_take_until(&rest, ')', &options))
		*in = rest;
}

/* Is the selected mailbox not of the same user as the target? */
static bool
crosses(const struct session *s, bool named, const char *owner)
{
	return named != (s->selected != NULL) ||
		(named && !span_equal(link_owner(s->selected), span_str(owner)));
}

/* ESEARCH: is it the selected mailbox alone that is searched (RFC 7377 2.2)? */
static bool
searches_selected(struct span in)
{
	return imap_take_space(&in) && (!span_starts_nocase(in, SPAN("IN (")) ||
		span_starts_nocase(in, SPAN("IN (selected)")));
}

/* The names of mailboxes in a command: all of one user, or none is another's; else *mixed. True with the owner. */
static bool
find_owner(struct command *c, char owner[MOST_ADDRESS + 1], bool *mixed)
{
	char other[MOST_ADDRESS + 1];
	struct span in = c->args, name;
	bool remote, second;

	*mixed = false;
	if ((c->verb->when & NAMES_TARGET) && !skip_word(&in))
		return false;
	if (c->verb->run == cmd_getmetadata)
		skip_options(&in);
	if (!imap_take_space(&in) || !imap_take_astring(&in, &c->arena, &name))
		return false;
	remote = owner_of(c, name, owner);
	if (c->verb->run == cmd_replace)
		*mixed = crosses(c->session, remote, owner);
	if (c->verb->run != cmd_rename)
		return remote;
	if (!imap_take_space(&in) || !imap_take_astring(&in, &c->arena, &name))
		return remote;
	second = owner_of(c, name, other);
	*mixed = remote != second || (remote && strcmp(owner, other) != 0);
	return remote || second;
}

static void
begin(struct command *c, struct link *l, bool fresh)
{
	struct remote *r = arena_alloc(&c->arena, sizeof(*r));

	r->link = l;
	r->enabling = fresh && remote_say_enabled(c->session, l);
	c->state = r;
	c->release = remote_release;
	c->step = remote_step;
	c->passed_on = true;
	link_say(l, text_span(&c->text));
	link_say(l, SPAN("\r\n"));
}

bool
remote_crosses(struct command *c, char *owner, bool *others)
{
	bool mixed;

	*others = find_owner(c, owner, &mixed);
	return crosses(c->session, *others, owner);
}

/* Where the command goes: NULL when it is ours, or answered (*answered). */
static struct link *
find_link(struct command *c, bool *fresh, bool *answered)
{
	struct session *s = c->session;
	char owner[MOST_ADDRESS + 1] = "";
	bool mixed = false, named = false;

	*fresh = *answered = false;
	if (c->verb->when & (BY_NAME | NAMES_TARGET))
		named = find_owner(c, owner, &mixed);
	if (!mixed && (c->verb->when & NAMES_TARGET) && crosses(s, named, owner))
		return NULL;     /* crossing.h; or no name is there (yet) */
	if (mixed) {
		*answered = true;
		(void)command_no(c, "CANNOT", "Not between the mailboxes of different users.");
		return NULL;
	}
	if ((c->verb->when & TO_SELECTED) || (c->verb->run == cmd_esearch && searches_selected(c->args)))
		return s->selected;
	if (!named)
		return NULL;
	if (is_select(c))
		command_unselect(c);
	if (s->selected != NULL && span_equal(link_owner(s->selected), span_str(owner)))
		return s->selected;
	*fresh = true;
	return s->link = link_new(s, span_str(owner));
}

bool
remote_takes(struct command *c)
{
	bool fresh, answered;
	struct link *l = find_link(c, &fresh, &answered);

	if (answered)
		c->telling = true;
	if (l == NULL)
		return answered;
	begin(c, l, fresh);
	if (c->verb->run == cmd_idle) {
		((struct remote *)c->state)->plus = true;
		c->wants = WANTS_LINE;
		c->on_line = remote_line;
	}
	session_take_turn(c->session);
	return true;
}

bool
remote_takes_literal(struct command *c, bool waits)
{
	bool fresh, answered;
	struct link *l = find_link(c, &fresh, &answered);

	if (l == NULL)
		return answered;
	begin(c, l, fresh);
	((struct remote *)c->state)->plus = waits;
	c->wants = WANTS_LITERAL;
	c->on_literal = pass_literal;
	c->on_line = remote_line;
	c->on_announcement = remote_announcement;
	return true;
}

/* --- LIST --- */

/* "* LIST (attributes) "/" name": with \Subscribed where the member's own list has the name. */
void
remote_pass_listed(struct command *c, const struct folder_list *folders, struct span line)
{
	struct span rest = line, part, name;
	bool subscribed = false;

	if (folders != NULL && span_take_word(&rest, SPAN("* LIST (")) &&
		span_take_until(&rest, ')', &part) && span_take_word(&rest, SPAN(" \"")) &&
		span_take_until(&rest, '"', &part) && imap_take_space(&rest) &&
		imap_take_astring(&rest, &c->arena, &name))
		subscribed = session_subscribed(c->session, folders, name);
	if (subscribed) {
		text_add(command_out(c), SPAN("* LIST (\\Subscribed "));
		line = span_part(line, sizeof("* LIST (") - 1, SIZE_MAX);
		if (line.at[0] == ')')   /* there is none beside it */
			c->session->out.len--;
	}
	text_add(command_out(c), line);
}

/* The next owner, and what he is asked. False: that was the last. */
static bool
next_owner(struct command *c, struct remote_list *r)
{
	struct span rest = span_part(text_span(&r->owners), r->at, SIZE_MAX), owner;
	struct session *s = c->session;

	if (!span_take_until(&rest, '\n', &owner))
		return false;
	r->at += owner.len + 1;
	s->link = link_new(s, owner);
	r->enabling = remote_say_enabled(s, s->link);
	link_say(s->link, SPAN("~l"));
	link_say(s->link, span_part(text_span(&c->text), c->tag.len, SIZE_MAX));
	link_say(s->link, SPAN("\r\n"));
	return true;
}

bool
remote_list_step(struct command *c, struct remote_list *r, bool *wait)
{
	struct session *s = c->session;
	struct span piece;

	*wait = false;
	if (!r->asked) {
		r->asked = true;
		r->owners = TEXT_UP_TO(MOST_SHARES);
		s->sharing = r;
		if (!send_shares_ask(s->account->daemon.master, s->id,
			&(struct msg_shares_ask){ .no_field = {} }, NULL))
			s->sharing = NULL;
	}
	*wait = s->sharing != NULL;
	while (s->sharing == NULL && !session_full(s) && !session_slice_over(s)) {
		if (s->link == NULL && (r->only_whether || !next_owner(c, r)))
			return true;
		switch (link_hear(s->link, r->enabling ? SPAN("~") : SPAN("~l"), &piece)) {
		case LINK_NOTHING:
			link_wait(s->link);
			*wait = true;
			return false;
		case LINK_PASS:
			text_add(&s->out, piece);
			break;
		case LINK_LINE:
			if (!r->enabling)
				remote_pass_listed(c, r->folders, piece);
			break;
		case LINK_PLUS:
			break;
		case LINK_TAGGED:
			if (r->enabling) {
				r->enabling = false;
				break;
			}
			/* fall through */
		case LINK_OVER:      /* who cannot be reached has nothing to show */
		default:
			if (link_is_within(s->link))
				return session_end(s, "the process of another user broke off"), true;
			link_free(&s->link);
			break;
		}
	}
	return false;
}

void
remote_list_clear(struct session *s, struct remote_list *r)
{
	link_free(&s->link);
	if (s->sharing == r)
		s->sharing = NULL;
	if (r->asked)
		text_clear(&r->owners);
}
