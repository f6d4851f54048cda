/*
 * cmd-list - LIST and LSUB (RFC 3501 6.3.8, 6.3.9), LIST-EXTENDED (RFC 5258), SPECIAL-USE (RFC
 * 6154), CHILDREN (RFC 3348), LIST-STATUS (RFC 5819), LIST-MYRIGHTS (RFC 8440). Mailboxes of others follow one's own:
 * remote.h.
 */
#include "imapd/status.h"

#include "common/log.h"
#include "imapd/folder.h"
#include "imapd/list.h"
#include "imapd/mutf7.h"
#include "imapd/nfc.h"
#include "imapd/remote.h"
#include "imapd/share.h"

#include <errno.h>
#include <string.h>

#define MOST_PATTERNS 100
#define MOST_PATTERN 1000

struct listing {
	struct span reference;
	struct span patterns[MOST_PATTERNS];   /* reference and pattern joined */
	size_t pattern_count;
	bool extended;                         /* any of RFC 5258 was used */
	bool select_subscribed, select_special, recursive;
	bool return_subscribed, return_special, return_children, return_status, return_rights;
	struct status_items status_items;
	struct status status;                  /* of the entry that was told last */
	bool lsub;
	struct folder_list folders;
	struct text spelled;                   /* the name that is looked at, as the session spells it */
	bool read;
	size_t hidden, at, foreign_at;
	struct remote_list others;
	struct remote_subscribed asked;
	bool asking;
};

static void
list_release(struct command *c)
{
	struct listing *l = c->state;

	status_end(&l->status);
	text_clear(&l->spelled);
	remote_list_clear(c->session, &l->others);
	if (l->read)
		folder_list_clear(&l->folders);
}

/* --- arguments --- */

struct option {
	const char *word;
	size_t offset;
};

enum { SUBSCRIBED, REMOTE, RECURSIVEMATCH, SPECIAL_USE, CHILDREN, STATUS, MYRIGHTS, OPTIONS };

/* "(" word *(SP word) ")" of these; sets the flags. STATUS has items of its own. */
static bool
take_options(struct command *c, const struct option *options, bool flags[OPTIONS])
{
	struct listing *l = c->state;
	struct span word;
	bool first = true;

	if (!span_take(&c->args, '('))
		return false;
	while (!span_take(&c->args, ')')) {
		const struct option *o = options;

		if ((!first && !imap_take_space(&c->args)) || !imap_take_atom(&c->args, &word))
			return false;
		first = false;
		while (o->word != NULL && !span_equal_nocase(word, span_str(o->word)))
			o++;
		if (o->word == NULL)
			return false;
		flags[o->offset] = true;
		if (o->offset == STATUS && (!imap_take_space(&c->args) ||
			!status_take_items(&c->args, &l->status_items)))
			return false;
	}
	return true;
}

static bool
take_selection(struct command *c, struct listing *l)
{
	static const struct option options[] = { { "SUBSCRIBED", SUBSCRIBED }, { "REMOTE", REMOTE },
		{ "RECURSIVEMATCH", RECURSIVEMATCH }, { "SPECIAL-USE", SPECIAL_USE }, { NULL, 0 } };
	bool set[OPTIONS] = { false };

	if (!take_options(c, options, set))
		return command_bad(c,
			"SUBSCRIBED, REMOTE, RECURSIVEMATCH, SPECIAL-USE as selection options"),
			false;
	/* RFC 5258 3.1: RECURSIVEMATCH needs something to match recursively. */
	if (set[RECURSIVEMATCH] && !set[SUBSCRIBED] && !set[SPECIAL_USE])
		return command_bad(c, "another selection option beside RECURSIVEMATCH"), false;
	l->select_subscribed = set[SUBSCRIBED];
	l->select_special = set[SPECIAL_USE];
	l->recursive = set[RECURSIVEMATCH];
	l->return_subscribed = set[SUBSCRIBED];
	l->extended = true;
	return command_take_space(c);
}

static bool
take_return(struct command *c, struct listing *l)
{
	static const struct option options[] = { { "SUBSCRIBED", SUBSCRIBED },
		{ "CHILDREN", CHILDREN },
		{ "SPECIAL-USE", SPECIAL_USE }, { "STATUS", STATUS }, { "MYRIGHTS", MYRIGHTS },
		{ NULL, 0 } };
	bool set[OPTIONS] = { false };

	l->asked.returns = c->args;
	if (c->args.len == 0)
		return true;
	if (!span_take_word(&c->args, SPAN(" RETURN ")) || !take_options(c, options, set))
		return command_bad(c,
			"RETURN and SUBSCRIBED, CHILDREN, SPECIAL-USE, MYRIGHTS, STATUS (items) in "
			"parentheses"), false;
	l->return_subscribed |= set[SUBSCRIBED];
	l->return_children |= set[CHILDREN];
	l->return_special |= set[SPECIAL_USE];
	l->return_status = set[STATUS];
	l->return_rights = set[MYRIGHTS];
	l->extended = true;
	return true;
}

/* A pattern in NFC as well, which new names are in: folder_normalize. */
static void
add_normalized(struct command *c, struct listing *l, struct span pattern)
{
	struct text utf8 = TEXT_UP_TO(2 * MOST_PATTERN), form = TEXT_UP_TO(2 * MOST_PATTERN),
		spelled = TEXT_UP_TO(2 * MOST_PATTERN);
	bool wide = c->session->utf8;

	if (wide)
		text_add(&utf8, pattern);
	if (l->pattern_count < MOST_PATTERNS && (wide || (span_has(pattern, '&') && mutf7_to_utf8(pattern, &utf8))) &&
		nfc_add(&form, text_span(&utf8)) && !span_equal(text_span(&utf8), text_span(&form)) &&
		(wide || mutf7_from_utf8(text_span(&form), &spelled)))
		l->patterns[l->pattern_count++] = arena_copy(&c->arena, wide ? text_span(&form) : text_span(&spelled));
	text_clear(&utf8);
	text_clear(&form);
	text_clear(&spelled);
}

/* RFC 3501 6.3.8: the reference is put before the pattern. "inbox" is INBOX there too. */
static bool
take_pattern(struct command *c, struct listing *l)
{
	struct text joined = TEXT_UP_TO(MOST_PATTERN);
	struct span pattern;

	if (l->pattern_count == MOST_PATTERNS || !imap_take_pattern(&c->args, &c->arena, &pattern))
		return false;
	text_add(&joined, l->reference);
	text_add(&joined, pattern);
	if (!joined.failed)     /* what is longer matches no name that can be */
		l->patterns[l->pattern_count++] = arena_copy(&c->arena, text_span(&joined));
	if (!joined.failed)
		add_normalized(c, l, text_span(&joined));
	text_clear(&joined);
	return true;
}

static bool
take_patterns(struct command *c, struct listing *l)
{
	if (l->lsub || !span_take(&c->args, '('))
		return take_pattern(c, l);
	l->extended = true;
	do {
		if (!take_pattern(c, l))
			return false;
	} while (imap_take_space(&c->args));
	return span_take(&c->args, ')');
}

static bool
list_arguments(struct command *c, struct listing *l)
{
	if (!command_take_space(c))
		return false;
	if (!l->lsub && c->args.len > 0 && c->args.at[0] == '(' && !take_selection(c, l))
		return false;
	if (!imap_take_astring(&c->args, &c->arena, &l->reference))
		return command_bad(c, "a reference name"), false;
	if (!command_take_space(c))
		return false;
	if (!take_patterns(c, l))
		return command_bad(c, "a pattern for names of mailboxes"), false;
	if (!l->lsub && !take_return(c, l))
		return false;
	return command_no_more(c);
}

/* --- answers --- */

/* Patterns are in the session's spelling, and so are the names that they are held against: l->spelled. */
static bool
matches(const struct session *s, const struct listing *l)
{
	for (size_t i = 0; i < l->pattern_count; i++) {
		if (list_match(l->patterns[i], text_span(&l->spelled), session_separator(s)))
			return true;
	}
	return false;
}

static void
add_attribute(struct text *out, bool *first, const char *attribute)
{
	if (!*first)
		text_add_byte(out, ' ');
	*first = false;
	text_add_str(out, attribute);
}

static void
write_entry(struct session *s, const struct listing *l, const struct folder_entry *e, bool noselect,
	bool childinfo)
{
	struct text *out = &s->out;
	bool first = true;
	/* With the prefix "INBOX." all others are below it. */
	bool trunk = l->folders.count > 1 && span_equal(e->name, SPAN("INBOX")) &&
		!session_is_guest(s) && span_starts_nocase(span_str(s->prefix), SPAN("INBOX"));

	text_add_str(out, l->lsub ? "* LSUB (" : "* LIST (");
	if (noselect)
		add_attribute(out, &first, l->extended && !l->lsub ?
			"\\NonExistent" : "\\Noselect");
	if (!l->lsub)
		add_attribute(out, &first, e->children || trunk ? "\\HasChildren" : "\\HasNoChildren");
	if (!l->lsub && l->return_subscribed && e->subscribed)
		add_attribute(out, &first, "\\Subscribed");
	if (!l->lsub && e->use != NULL)
		add_attribute(out, &first, e->use);
	text_add(out, SPAN(") \""));
	text_add_byte(out, (unsigned char)session_separator(s));
	text_add(out, SPAN("\" "));
	session_quote_name(s, text_span(&l->spelled), out);
	if (childinfo)
		text_add(out, SPAN(" (\"CHILDINFO\" (\"SUBSCRIBED\"))"));
	text_add(out, SPAN("\r\n"));
}

static const struct folder_entry *
find_entry(const struct folder_list *list, const char *folder)
{
	struct text name = TEXT_UP_TO(MOST_FOLDER_NAME);
	const struct folder_entry *found = NULL;

	folder_name_write(folder, &name);
	for (size_t i = 0; i < list->count && found == NULL; i++) {
		if (span_equal(list->entries[i].name, text_span(&name)))
			found = &list->entries[i];
	}
	text_clear(&name);
	return found;
}

bool
list_is_subscribed(const struct folder_list *list, const char *folder)
{
	const struct folder_entry *e = find_entry(list, folder);

	return e != NULL && e->subscribed;
}

void
list_tell(const struct session *s, const struct folder_list *list, const char *folder, const char *old,
	struct text *out)
{
	const struct folder_entry *e = find_entry(list, folder);
	bool first = true;

	text_add(out, SPAN("* LIST ("));
	if (e == NULL || !e->exists)
		add_attribute(out, &first, "\\NonExistent");
	if (e != NULL)
		add_attribute(out, &first, e->children ? "\\HasChildren" : "\\HasNoChildren");
	if (e != NULL && e->subscribed)
		add_attribute(out, &first, "\\Subscribed");
	if (e != NULL && e->use != NULL)
		add_attribute(out, &first, e->use);
	text_printf(out, ") \"%c\" ", session_separator(s));
	session_folder_write(s, folder, out);
	if (old != NULL) {               /* RFC 5465 5.4 */
		text_add(out, SPAN(" (\"OLDNAME\" ("));
		session_folder_write(s, old, out);
		text_add(out, SPAN("))"));
	}
	text_add(out, SPAN("\r\n"));
}

/* RFC 5258 section 3.5: what matches only recursively is told when something subscribed below it is not told itself; and
 * a level that is no mailbox, when a mailbox below it is not told. */
static bool
has_untold_below(struct session *s, struct listing *l, const struct folder_entry *e, bool subscribed)
{
	const struct folder_entry *end = l->folders.entries + l->folders.count, *below;
	bool inbox = span_equal(e->name, SPAN("INBOX")), untold = false;

	for (below = e + 1; below < end && !untold; below++) {
		if (!folder_name_is_below(below->name, e->name)) {
			if (!inbox)
				break;
			continue;        /* INBOX stands first, what is below it where the alphabet puts it */
		}
		if (subscribed ? !below->subscribed : !below->exists)
			continue;
		text_reset(&l->spelled);
		session_spell(s, below->name, &l->spelled);
		untold = !matches(s, l);
	}
	text_reset(&l->spelled);
	session_spell(s, e->name, &l->spelled);
	return untold;
}

/* RFC 3501 6.3.9: with "%" in LSUB, the parent of what is subscribed is told, \Noselect. */
static bool
tells_parents(const struct listing *l)
{
	return l->lsub ? l->pattern_count > 0 && span_has(l->patterns[0], '%') : l->recursive && l->select_subscribed;
}

/* True when the entry was told for its own sake, and can be selected: then STATUS may follow. */
static bool
list_entry(struct session *s, struct listing *l, const struct folder_entry *e)
{
	bool wanted = true, below;

	text_reset(&l->spelled);
	session_spell(s, e->name, &l->spelled);
	if (!matches(s, l))
		return false;
	if (l->lsub) {
		below = e->subscribed_below && !e->subscribed && tells_parents(l);
		if (e->subscribed || below)
			write_entry(s, l, e, below, false);
		return false;
	}
	if (l->select_subscribed)
		wanted = wanted && e->subscribed;
	if (l->select_special)
		wanted = wanted && e->use != NULL;
	below = l->recursive && l->select_subscribed && e->subscribed_below;
	if (!wanted && (!below || !has_untold_below(s, l, e, true)))
		return false;
	if (!e->exists && !e->children && !e->subscribed && !below)
		return false;
	/* RFC 5258 section 3 has no other reason than these for a name that does not exist. RFC 3501 6.3.4 has: it was
	 * deleted, with something below it. */
	if (l->extended && !e->exists && !l->select_subscribed && !has_untold_below(s, l, e, false))
		return false;
	write_entry(s, l, e, !e->exists, below);
	/* RFC 5819 section 2: not for what is told only because of what is below it. */
	return wanted && e->exists;
}

/* Of another user's: does it match? */
static bool
foreign_matches(const struct session *s, struct listing *l, struct span foreign)
{
	text_reset(&l->spelled);
	session_foreign_write(s, foreign, &l->spelled);
	return matches(s, l);
}

/* Is this level above the subscribed foreign[at] told otherwise, or not to be told? */
static bool
is_told_otherwise(const struct session *s, struct listing *l, size_t at, struct span parent)
{
	const struct folder_list *list = &l->folders;
	bool untold = l->lsub;

	for (size_t i = 0; i < list->count; i++) {
		const struct folder_entry *e = &list->entries[i];

		if (span_equal(e->name, parent) && (e->subscribed || e->subscribed_below))
			return true;
	}
	for (size_t i = 0; i < list->foreign_count; i++) {
		if (span_equal(list->foreign[i], parent) || (i < at && folder_name_is_below(list->foreign[i], parent)))
			return true;
		untold = untold || (folder_name_is_below(list->foreign[i], parent) && !foreign_matches(s, l, list->foreign[i]));
	}
	return !untold;
}

/* Of a subscribed mailbox of another user only its name is known here. */
static void
list_foreign_name(struct session *s, struct listing *l, size_t at, bool exists)
{
	const struct folder_entry subscribed = { .subscribed = true };

	if (foreign_matches(s, l, l->folders.foreign[at]))
		write_entry(s, l, &subscribed, !exists, false);
}

static void
list_foreign_parents(struct session *s, struct listing *l, size_t at)
{
	const struct folder_entry above = { .children = true };
	struct span foreign = l->folders.foreign[at];

	for (size_t i = 1; i < foreign.len && tells_parents(l); i++) {
		struct span parent = span_part(foreign, 0, i);

		if (foreign.at[i] == '/' && foreign_matches(s, l, parent) && !is_told_otherwise(s, l, at, parent) &&
			foreign_matches(s, l, parent))
			write_entry(s, l, &above, true, !l->lsub);
	}
}

static bool
is_foreign_wanted(struct command *c, struct span foreign)
{
	return foreign_matches(c->session, c->state, foreign);
}

/* Those of one's own list that are other users', told by these. False: more is to come; *waits: from them. */
static bool
list_subscribed_foreign(struct command *c, struct listing *l, bool *waits)
{
	struct session *s = c->session;
	struct remote_subscribed *r = &l->asked;

	*waits = false;
	r->folders = &l->folders;
	while (l->foreign_at < l->folders.foreign_count) {
		if (session_full(s) || session_slice_over(s))
			return false;
		if (!l->asking) {
			l->asking = remote_subscribed_begin(c, r, l->foreign_at, is_foreign_wanted);
			for (size_t i = r->from; i < r->to; i++)
				list_foreign_parents(s, l, i);
		} else if (!remote_subscribed_step(c, r, waits)) {
			return false;
		} else {
			l->asking = false;
		}
		if (l->asking)
			continue;
		for (; l->foreign_at < r->to; l->foreign_at++) {
			if (!r->said[l->foreign_at - r->from])
				list_foreign_name(s, l, l->foreign_at, r->unknown);
		}
	}
	return true;
}

/* What a guest may not know of is not there for him. False: the slice is over; each folder has a file to be read. */
static bool
hide_from_guest(const struct session *s, struct listing *l)
{
	char folder[MOST_FOLDER_NAME + 1];
	const char *why;

	if (!session_is_guest(s) || l->at > 0)
		return true;
	for (; l->hidden < l->folders.count; l->hidden++) {
		struct folder_entry *e = &l->folders.entries[l->hidden];

		if (session_slice_over(s))
			return false;
		e->use = NULL;
		e->subscribed = e->subscribed_below = false;
		e->exists = e->exists && folder_of_name(e->name, folder, &why) &&
			(session_rights(s, folder) & RIGHT_LOOKUP);
	}
	folder_list_mark(&l->folders);
	/* "user/OWNER", which is his INBOX, has all others below it: also where it may not be seen itself, "%" finds what is
	 * below by it. */
	for (size_t i = 1; i < l->folders.count; i++)
		l->folders.entries[0].children |= l->folders.entries[i].exists;
	return true;
}

/* Could a pattern match what begins with "user/"? */
static bool
asks_for_others(const struct session *s, const struct listing *l)
{
	struct text front = TEXT_UP_TO(20);
	bool any = false;

	session_others_prefix(s, &front);
	for (size_t i = 0; i < l->pattern_count && !any; i++) {
		struct span p = l->patterns[i];
		size_t wild = span_index(p, '*'), percent = span_index(p, '%');

		p.len = wild < percent ? wild : percent;
		any = p.len < front.len ? span_starts_nocase(text_span(&front), p) :
			span_starts_nocase(p, text_span(&front));
	}
	text_clear(&front);
	return any && !session_is_guest(s) && !l->lsub && !l->select_subscribed && !l->select_special;
}

/* Could a pattern match anything that is below a first level? */
static bool
asks_for_more_levels(const struct session *s, const struct listing *l)
{
	for (size_t i = 0; i < l->pattern_count; i++) {
		if (span_has(l->patterns[i], '*') || span_has(l->patterns[i], (unsigned char)session_separator(s)))
			return true;
	}
	return false;
}

/* RFC 3501 6.3.8: "%" tells the level above the mailboxes of others, when somebody shares any, so that who goes down level
 * by level finds them. */
static void
list_others_level(struct session *s, struct listing *l)
{
	const struct folder_entry above = { .children = true };
	bool wanted = false, own = false;

	text_reset(&l->spelled);
	text_add(&l->spelled, SPAN(SHARED_NAMESPACE));
	for (size_t i = 0; i < l->pattern_count; i++)
		wanted |= !span_has(l->patterns[i], '*') &&
			list_match(l->patterns[i], text_span(&l->spelled), session_separator(s));
	for (size_t i = 0; i < l->folders.count && wanted; i++)
		own |= span_equal(l->folders.entries[i].name, text_span(&l->spelled));
	if (wanted && !own)
		write_entry(s, l, &above, true, false);
}

/* A mailbox that cannot be opened has no STATUS (RFC 5819 section 2). */
static void
begin_status(struct command *c, struct listing *l, struct span name)
{
	char folder[MOST_FOLDER_NAME + 1];
	const char *why;

	if (!folder_of_name(name, folder, &why) ||
		!(session_rights(c->session, folder) & RIGHT_READ))
		return;
	if (status_begin(&l->status, c->session, folder, &l->status_items) < 0 && errno != ENOENT)
		log_warning(c->session->id, "no-status", KEY_STR("folder", folder), KEY_ERRNO);
}

static enum progress
list_step(struct command *c)
{
	struct listing *l = c->state;
	bool waits;

	if (!hide_from_guest(c->session, l))
		return COMMAND_AGAIN;
	for (;;) {
		char folder[MOST_FOLDER_NAME + 1];
		const struct folder_entry *e;
		const char *why;
		bool told;

		if (session_full(c->session) || session_slice_over(c->session))
			return COMMAND_AGAIN;
		if (l->status.mailbox != NULL) {
			if (status_step(&l->status, c->session))
				status_end(&l->status);
			continue;
		}
		if (l->at == l->folders.count)
			break;
		e = &l->folders.entries[l->at++];
		told = list_entry(c->session, l, e);
		if (told && l->return_rights && folder_of_name(e->name, folder, &why))
			myrights_write(c->session, folder);
		if (told && l->return_status)
			begin_status(c, l, e->name);
	}
	while (l->lsub && l->foreign_at < l->folders.foreign_count) {
		if (session_full(c->session) || session_slice_over(c->session))
			return COMMAND_AGAIN;
		list_foreign_parents(c->session, l, l->foreign_at);
		list_foreign_name(c->session, l, l->foreign_at++, true);
	}
	if (l->select_subscribed && !l->select_special && !list_subscribed_foreign(c, l, &waits))
		return waits ? COMMAND_WAITS : COMMAND_AGAIN;
	l->others.folders = l->return_subscribed ? &l->folders : NULL;
	l->others.only_whether = !asks_for_more_levels(c->session, l);
	if (asks_for_others(c->session, l) && !remote_list_step(c, &l->others, &waits))
		return waits ? COMMAND_WAITS : COMMAND_AGAIN;
	if (l->others.owners.len > 0)
		list_others_level(c->session, l);
	return command_ok(c, NULL, l->lsub ? "LSUB completed." : "LIST completed.");
}

/* LIST "" "": the separator, and the root of the reference. */
static bool
asks_for_separator(const struct listing *l)
{
	return !l->lsub && !l->extended && l->pattern_count > 0 &&
		l->patterns[0].len == l->reference.len;
}

static enum progress
list(struct command *c, bool lsub)
{
	struct listing *l = arena_alloc(&c->arena, sizeof(*l));

	c->state = l;
	c->release = list_release;
	l->lsub = lsub;
	l->spelled = TEXT_UP_TO(MOST_LISTED_NAME);
	if (!list_arguments(c, l))
		return COMMAND_DONE;
	if (asks_for_separator(l)) {
		text_printf(command_out(c), "* LIST (\\Noselect) \"%c\" \"\"\r\n",
			session_separator(c->session));
		return command_ok(c, NULL, "LIST completed.");
	}
	if (folder_list_read(&c->session->account->store, lsub || l->select_subscribed,
		&l->folders) < 0)
		return command_failed(c, "list");
	l->read = true;
	c->step = list_step;
	return list_step(c);
}

enum progress
cmd_list(struct command *c)
{
	return list(c, false);
}

enum progress
cmd_lsub(struct command *c)
{
	return list(c, true);
}
