/* cmd-metadata - GETMETADATA and SETMETADATA (RFC 5464); see metadata.h. A member (share.h) has the shared entries of a
 * mailbox that he may use, and no private ones. */
#include "imapd/command.h"
#include "imapd/metadata.h"
#include "imapd/notify.h"
#include "imapd/quote.h"
#include "imapd/share.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct asked {
	bool server;                     /* the name was "" */
	char folder[MOST_FOLDER_NAME + 1];
	struct metadata metadata;
	struct span name;                /* of the mailbox, as it was said */
	uint32_t most;                   /* MAXSIZE; 0: none was said */
	uint32_t depth;                  /* below an entry: 0, 1, or UINT32_MAX for all */
	struct span names[MOST_METADATA_ENTRIES], values[MOST_METADATA_ENTRIES];
	size_t count;
	uint64_t longest;                /* of the values that MAXSIZE left out */
};

static void
asked_release(struct command *c)
{
	struct asked *a = c->state;

	metadata_clear(&a->metadata);
}

/* RFC 5464 section 3.2: "/private/" or "/shared/", parts of ASCII without "*", "%" and controls, none
 * empty. */
static bool
is_entry_name(struct span name)
{
	unsigned char before = 0;

	if (name.len > MOST_METADATA_NAME || (!span_starts_nocase(name, SPAN("/private/")) &&
		!span_starts_nocase(name, SPAN("/shared/"))))
		return false;
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = name.at[i];

		if (c < 0x20 || c >= 0x7f || c == '*' || c == '%' || (c == '/' && before == '/'))
			return false;
		before = c;
	}
	return before != '/';
}

static bool
take_mailbox(struct command *c, struct asked *a)
{
	const char *why;

	if (!imap_take_astring(&c->args, &c->arena, &a->name))
		return command_bad(c, "the name of a mailbox, or \"\""), false;
	a->server = a->name.len == 0;
	if (!a->server && !session_folder_of(c->session, a->name, a->folder, &why))
		return command_no(c, "CANNOT", why), false;
	return true;
}

/* RFC 5464 section 3.3: "l", and one of "r", "s", "w", "i", "p". Of the server: nobody but whose view of it this is. */
static bool
may_annotate(struct command *c, const struct asked *a)
{
	const unsigned int any = RIGHT_READ | RIGHT_SEEN | RIGHT_WRITE | RIGHT_INSERT | RIGHT_POST;

	if (a->server && session_is_guest(c->session))
		return command_no(c, "NOPERM", "That is for the owner of the mailbox."), false;
	if (a->server || (session_rights(c->session, a->folder) & any))
		return a->server || command_may(c, a->folder, RIGHT_LOOKUP);
	return command_may(c, a->folder, RIGHT_LOOKUP | RIGHT_READ);
}

static bool
is_private(struct span entry)
{
	return span_starts_nocase(entry, SPAN("/private"));
}

static bool
read_metadata(struct command *c, struct asked *a)
{
	if (metadata_read(&c->session->account->store, a->server ? NULL : a->folder,
		&a->metadata) == 0)
		return true;
	return command_failed(c, "metadata"), false;
}

static struct asked *
asked_new(struct command *c)
{
	struct asked *a = arena_alloc(&c->arena, sizeof(*a));

	a->metadata.content = TEXT_UP_TO(0);
	c->state = a;
	c->release = asked_release;
	return a;
}

/* --- the special use --- */

/* RFC 6154 section 4: the entry says what LIST says, also of a mailbox that has its use by its name; "" is kept for one that
 * has been told to have none. False: answered. */
static bool
join_special_use(struct command *c, struct asked *a)
{
	const struct metadata_entry *e = metadata_find(&a->metadata, SPAN(METADATA_SPECIAL_USE));
	const char *use = NULL;

	if (a->server || session_is_guest(c->session) || (e != NULL && e->value.len > 0))
		return true;
	if (e == NULL && folder_use(&c->session->account->store, a->folder, &use) < 0)
		return command_failed(c, "metadata"), false;
	(void)metadata_set(&a->metadata, SPAN(METADATA_SPECIAL_USE), use == NULL ? SPAN_NONE : span_str(use));
	return true;
}

/* --- GETMETADATA --- */

static bool
take_option(struct command *c, struct asked *a)
{
	if (span_take_word(&c->args, SPAN("MAXSIZE ")))
		return imap_take_number(&c->args, &a->most) && a->most > 0;
	if (!span_take_word(&c->args, SPAN("DEPTH ")))
		return false;
	if (span_take_word(&c->args, SPAN("infinity"))) {
		a->depth = UINT32_MAX;
		return true;
	}
	return imap_take_number(&c->args, &a->depth) && a->depth <= 1;
}

/* "(" option *(SP option) ")" SP, which the examples of RFC 5464 have before the name and its
 * grammar too; some clients send it behind: both are taken. */
static bool
take_options(struct command *c, struct asked *a)
{
	struct span rest = c->args;

	if (!span_take(&rest, '(') || (!span_starts_nocase(rest, SPAN("MAXSIZE")) &&
		!span_starts_nocase(rest, SPAN("DEPTH"))))
		return true;
	c->args = rest;
	do {
		if (!take_option(c, a))
			return command_bad(c, "MAXSIZE number, DEPTH 0, 1 or infinity"), false;
	} while (imap_take_space(&c->args));
	if (!span_take(&c->args, ')'))
		return command_bad(c, "a closing parenthesis behind the options"), false;
	return command_take_space(c);
}

/* All that is private, or shared: what is below these can be asked for. */
static bool
is_root(struct span name)
{
	return span_equal_nocase(name, SPAN("/private")) || span_equal_nocase(name, SPAN("/shared"));
}

static bool
take_name(struct command *c, struct asked *a, bool or_root)
{
	struct span name;

	if (a->count == MOST_METADATA_ENTRIES || !imap_take_astring(&c->args, &c->arena, &name) ||
		!(is_entry_name(name) || (or_root && is_root(name))))
		return command_bad(c, "names of entries below /private/ or /shared/"), false;
	a->names[a->count++] = name;
	return true;
}

static bool
take_names(struct command *c, struct asked *a)
{
	if (!span_take(&c->args, '('))
		return take_name(c, a, true);
	do {
		if (!take_name(c, a, true))
			return false;
	} while (imap_take_space(&c->args));
	if (!span_take(&c->args, ')'))
		return command_bad(c, "a closing parenthesis behind the entries"), false;
	return true;
}

/* Is entry `name` the one that was asked for, or below it as far as DEPTH goes? */
static bool
is_wanted(const struct asked *a, struct span wanted, struct span name)
{
	struct span below;

	if (span_equal_nocase(name, wanted))
		return true;
	if (a->depth == 0 || !span_starts_nocase(name, wanted))
		return false;
	below = span_part(name, wanted.len, name.len);
	return span_take(&below, '/') && (a->depth > 1 || !span_has(below, '/'));
}

static bool
asks_for_special_use(const struct asked *a)
{
	bool wanted = false;

	for (size_t k = 0; k < a->count && !wanted; k++)
		wanted = is_wanted(a, a->names[k], SPAN(METADATA_SPECIAL_USE));
	return wanted;
}

static void
write_value(struct text *out, struct span value)
{
	if (span_has(value, '\0')) {
		text_printf(out, "~{%zu}\r\n", value.len);      /* literal8 */
		text_add(out, value);
	} else {
		quote_string(out, value);
	}
}

/* "name " of an entry, in the one response for all. */
static void
begin_entry(struct text *out, const struct asked *a, struct span name, bool *first)
{
	if (*first) {
		text_add(out, SPAN("* METADATA "));
		quote_utf8(out, a->name);
		text_add(out, SPAN(" ("));
	} else {
		text_add_byte(out, ' ');
	}
	*first = false;
	quote_astring(out, name);
	text_add_byte(out, ' ');
}

/* What was asked for by its name and has no value: NIL is what says so, and what clients of other servers hear. A guest has
 * no private ones. */
static void
write_missing(struct text *out, const struct asked *a, bool guest, bool *first)
{
	for (size_t k = 0; k < a->count; k++) {
		bool hidden = guest && is_private(a->names[k]), there = is_root(a->names[k]);

		for (size_t i = 0; i < a->metadata.count && !there && !hidden; i++)
			there = span_equal_nocase(a->metadata.at[i].name, a->names[k]);
		if (there)
			continue;
		begin_entry(out, a, a->names[k], first);
		text_add(out, SPAN("NIL"));
	}
}

static void
write_entries(struct command *c, struct asked *a)
{
	struct text *out = command_out(c);
	bool first = true;

	for (size_t i = 0; i < a->metadata.count; i++) {
		const struct metadata_entry *e = &a->metadata.at[i];
		bool wanted = false;

		if (session_is_guest(c->session) && is_private(e->name))
			continue;
		for (size_t k = 0; k < a->count && !wanted; k++)
			wanted = is_wanted(a, a->names[k], e->name);
		if (!wanted)
			continue;
		if (a->most > 0 && e->value.len > a->most) {
			a->longest = e->value.len > a->longest ? e->value.len : a->longest;
			continue;
		}
		begin_entry(out, a, e->name, &first);
		write_value(out, e->value);
	}
	if (a->depth == 0)
		write_missing(out, a, session_is_guest(c->session), &first);
	if (!first)
		text_add(out, SPAN(")\r\n"));
}

enum progress
cmd_getmetadata(struct command *c)
{
	struct asked *a = asked_new(c);
	char code[64];

	if (!command_take_space(c) || !take_options(c, a) || !take_mailbox(c, a) ||
		!command_take_space(c) || !take_options(c, a) || !take_names(c, a) ||
		!command_no_more(c) || !may_annotate(c, a) || !read_metadata(c, a) ||
		(asks_for_special_use(a) && !join_special_use(c, a)))
		return COMMAND_DONE;
	write_entries(c, a);
	snprintf(code, sizeof(code), "METADATA LONGENTRIES %llu", (unsigned long long)a->longest);
	return command_ok(c, a->longest > 0 ? code : NULL, "GETMETADATA completed.");
}

/* --- SETMETADATA --- */

/* A value: nstring, or a literal8 (which imap_take_literal8 takes). */
static bool
take_pair(struct command *c, struct asked *a)
{
	struct span *value = &a->values[a->count];

	if (!take_name(c, a, false))
		return false;
	if (!command_take_space(c))
		return false;
	if (!imap_take_literal8(&c->args, value) &&
		!imap_take_nstring(&c->args, &c->arena, value))
		return command_bad(c, "a string or NIL as value"), false;
	return true;
}

static bool
take_pairs(struct command *c, struct asked *a)
{
	if (!span_take(&c->args, '('))
		return command_bad(c, "entries and values in parentheses"), false;
	do {
		if (!take_pair(c, a))
			return false;
	} while (imap_take_space(&c->args));
	if (!span_take(&c->args, ')'))
		return command_bad(c, "a closing parenthesis behind entries and values"), false;
	return true;
}

/* RFC 6154 section 5: a special use is one that there is, or none. */
static bool
may_be_set(struct command *c, const struct asked *a, size_t i)
{
	if (session_is_guest(c->session) && is_private(a->names[i]))
		return command_no(c, "METADATA NOPRIVATE", "Private entries are the owner's here."), false;
	if (span_equal_nocase(a->names[i], SPAN("/shared/admin")) && a->server)
		return command_no(c, "NOPERM", "The administrator sets this."), false;
	if (span_equal_nocase(a->names[i], SPAN(METADATA_SPECIAL_USE)) && a->values[i].at != NULL &&
		folder_use_of(a->values[i]) == NULL)
		return command_no(c, "USEATTR", "There is no such special use."), false;
	return true;
}

/* RFC 7162 section 3.2: an annotation of a mailbox is a change of it, for those who ask what changed. Counted first: a
 * change too many does no harm, and an annotation that was refused must not be there. */
static int
count_as_change(struct command *c, const char *folder)
{
	struct session *s = c->session;
	struct mailbox *m = mailbox_open(&s->account->store, folder);
	struct change change;
	int result;

	if (m == NULL)
		return -1;
	change_init(&change);
	change_state(&change, m->index.uidnext, m->index.modseq + 1, m->index.recent_from);
	result = session_commit_own(s, m, &change);
	change_clear(&change);
	mailbox_release(&m);
	return result;
}

/* From "Sent", which has its use by its name, too (RFC 6154 section 5.4): that is kept as an empty entry. */
static bool
takes_use_away(const struct asked *a, size_t i)
{
	return !a->server && a->values[i].at == NULL && span_equal_nocase(a->names[i], SPAN(METADATA_SPECIAL_USE)) &&
		folder_names_use(a->folder);
}

enum progress
cmd_setmetadata(struct command *c)
{
	struct asked *a = asked_new(c);
	char code[64];

	if (!command_take_space(c) || !take_mailbox(c, a) || !command_take_space(c) ||
		!take_pairs(c, a) || !command_no_more(c) || !may_annotate(c, a) || !read_metadata(c, a))
		return COMMAND_DONE;
	for (size_t i = 0; i < a->count; i++) {
		if (!may_be_set(c, a, i))
			return COMMAND_DONE;
		if (a->values[i].at != NULL && a->values[i].len > MOST_METADATA_VALUE) {
			snprintf(code, sizeof(code), "METADATA MAXSIZE %d", MOST_METADATA_VALUE);
			return command_no(c, code, "The value is too long.");
		}
		if (takes_use_away(a, i))
			a->values[i] = SPAN("");
		if (!metadata_set(&a->metadata, a->names[i], a->values[i]))
			return command_no(c, "METADATA TOOMANY", "There are too many entries.");
	}
	if (!a->server && count_as_change(c, a->folder) < 0)
		return command_failed(c, "metadata");
	if (metadata_write(&c->session->account->store, a->server ? NULL : a->folder,
		&a->metadata) < 0)
		return errno == EFBIG ? command_no(c, "METADATA TOOMANY",
			"The entries are too long together.") : command_failed(c, "metadata");
	for (size_t i = 0; i < a->count; i++)
		notify_metadata(c->session, a->server ? NULL : a->folder, a->names[i]);
	return command_ok(c, NULL, "SETMETADATA completed.");
}
