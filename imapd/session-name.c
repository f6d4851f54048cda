/* session-name - names of mailboxes as a session spells them. A name "on the wire" (folder.h) is in modified UTF-7 and
 * has "/" between its levels. A session has the separator and the prefix of imap_separator and imap_prefix; a guest
 * has "user/OWNER" in front, and for INBOX that alone; and what was enabled (IMAP4rev2, UTF8=ACCEPT) makes it UTF-8.
 * Where "." is the separator, "^" stands for the dots of an owner's address. */
#include "imapd/session.h"

#include "imapd/folder.h"
#include "imapd/mutf7.h"
#include "imapd/quote.h"
#include "imapd/share.h"

#include <string.h>

#define MOST_SPELLED (4 * (MOST_FOLDER_NAME + MOST_ADDRESS))
#define OWNER_DOT '^'

char
session_separator(const struct session *s)
{
	return s->separator;
}

static struct span
prefix_of(const struct session *s)
{
	return session_is_guest(s) ? SPAN_NONE : span_str(s->prefix);
}

void
session_others_prefix(const struct session *s, struct text *out)
{
	text_add(out, SPAN(SHARED_NAMESPACE));
	text_add_byte(out, (unsigned char)session_separator(s));
}

/* "user/OWNER" in modified UTF-7, with the session's separator. */
static void
add_owner(const struct session *s, struct span owner, struct text *out)
{
	struct text wire = TEXT_UP_TO(4 * MOST_ADDRESS);
	char separator = session_separator(s);

	session_others_prefix(s, out);
	(void)mutf7_from_utf8(owner, &wire);
	for (size_t i = 0; i < wire.len; i++)
		text_add_byte(out, separator == '.' && wire.at[i] == '.' ? OWNER_DOT : wire.at[i]);
	text_clear(&wire);
}

/* In modified UTF-7. */
static void
spell(const struct session *s, struct span wire, struct text *out)
{
	char separator = session_separator(s);
	bool inbox = span_equal(wire, SPAN("INBOX"));

	if (session_is_guest(s)) {
		add_owner(s, span_str(s->account->user), out);
		if (inbox)
			return;
		text_add_byte(out, (unsigned char)separator);
	} else if (!inbox) {
		text_add(out, prefix_of(s));
	}
	for (size_t i = 0; i < wire.len; i++)
		text_add_byte(out, wire.at[i] == FOLDER_SEPARATOR ? (unsigned char)separator : wire.at[i]);
}

void
session_spell(const struct session *s, struct span wire, struct text *out)
{
	struct text spelled = TEXT_UP_TO(MOST_SPELLED);

	spell(s, wire, &spelled);
	if (!s->utf8 || !mutf7_to_utf8(text_span(&spelled), out))
		text_add(out, text_span(&spelled));
	text_clear(&spelled);
}

void
session_quote_name(const struct session *s, struct span spelled, struct text *out)
{
	if (s->utf8)
		quote_utf8(out, spelled);
	else
		quote_astring(out, spelled);
}

void
session_name_write(const struct session *s, struct span wire, struct text *out)
{
	struct text spelled = TEXT_UP_TO(MOST_SPELLED);

	session_spell(s, wire, &spelled);
	session_quote_name(s, text_span(&spelled), out);
	text_clear(&spelled);
}

void
session_folder_write(const struct session *s, const char *folder, struct text *out)
{
	struct text wire = TEXT_UP_TO(MOST_FOLDER_NAME);

	folder_name_write(folder, &wire);
	session_name_write(s, text_span(&wire), out);
	text_clear(&wire);
}

bool
session_spells_so(const struct session *s, const char *folder, struct span said)
{
	struct text wire = TEXT_UP_TO(MOST_FOLDER_NAME), spelled = TEXT_UP_TO(MOST_SPELLED);
	bool so;

	folder_name_write(folder, &wire);
	session_spell(s, text_span(&wire), &spelled);
	so = span_equal(text_span(&spelled), said);
	text_clear(&wire);
	text_clear(&spelled);
	return so;
}

void
session_tell_name(const struct session *s, const char *attribute, const char *folder, struct span said, bool always,
	struct text *out)
{
	bool so;

	if (!s->rev2)
		return;
	so = session_spells_so(s, folder, said);
	if (so && !always)
		return;
	text_printf(out, "* LIST (%s) \"%c\" ", attribute, session_separator(s));
	session_folder_write(s, folder, out);
	if (!so) {
		text_add(out, SPAN(" (\"OLDNAME\" ("));
		session_quote_name(s, said, out);
		text_add(out, SPAN("))"));
	}
	text_add(out, SPAN("\r\n"));
}

/* Takes what stands before all names of this session. False: this has something else there. */
static bool
take_front(const struct session *s, struct span *name, const char **why)
{
	struct text front = TEXT_UP_TO(MOST_SPELLED);
	struct span prefix = prefix_of(s), trunk;
	bool good;

	if (session_is_guest(s)) {
		add_owner(s, span_str(s->account->user), &front);
		*why = "that is no mailbox of this user";
		good = span_take_word(name, text_span(&front)) &&
			(name->len == 0 || span_take(name, (unsigned char)session_separator(s)));
		if (good && name->len == 0)
			*name = SPAN("INBOX");
		text_clear(&front);
		return good;
	}
	if (prefix.len == 0 || span_equal_nocase(*name, SPAN("INBOX")))
		return true;
	*why = "names of mailboxes begin with the prefix that NAMESPACE tells";
	/* INBOX in any case, also in front of others. */
	trunk = span_part(prefix, 0, prefix.len - 1);
	return span_equal_nocase(trunk, SPAN("INBOX")) ? span_take_word(name, prefix) :
		name->len > prefix.len && span_equal(span_part(*name, 0, prefix.len), prefix) &&
		span_take_word(name, prefix);
}

/* From modified UTF-7, the session's way, to the wire. */
static bool
unspell(const struct session *s, struct span name, char *folder, const char **why)
{
	struct text wire = TEXT_UP_TO(MOST_SPELLED);
	char separator = session_separator(s);
	bool good = take_front(s, &name, why);

	if (good && separator == FOLDER_SEPARATOR) {
		good = folder_of_name(name, folder, why);
	} else if (good) {
		*why = "a name cannot hold a slash";
		good = !span_has(name, FOLDER_SEPARATOR);
		for (size_t i = 0; i < name.len; i++)
			text_add_byte(&wire, name.at[i] == (unsigned char)separator ?
				FOLDER_SEPARATOR : name.at[i]);
		good = good && folder_of_name(text_span(&wire), folder, why);
	}
	text_clear(&wire);
	return good;
}

bool
session_folder_said(const struct session *s, struct span name, char *folder, const char **why)
{
	struct text wire = TEXT_UP_TO(MOST_SPELLED);
	bool good;

	if (!s->utf8) {
		good = unspell(s, name, folder, why);
	} else {
		*why = "the name is not UTF-8 without control characters, or too long";
		good = mutf7_from_utf8(name, &wire) && unspell(s, text_span(&wire), folder, why);
	}
	text_clear(&wire);
	return good;
}

bool
session_folder_of(const struct session *s, struct span name, char *folder, const char **why)
{
	if (!session_folder_said(s, name, folder, why))
		return false;
	folder_normalize(&s->account->store, folder);
	return true;
}

bool
session_name_owner(const struct session *s, struct span name, char *owner)
{
	unsigned char separator = (unsigned char)session_separator(s);
	struct text utf8 = TEXT_UP_TO(MOST_SPELLED), key = TEXT_UP_TO(MOST_ADDRESS);
	struct span part;
	bool good;

	if (!span_take_word(&name, SPAN(SHARED_NAMESPACE)) || !span_take(&name, separator))
		return false;
	if (!span_take_until(&name, separator, &part))
		part = name;
	/* Without "@" it is one of ours below a mailbox of that name. */
	if (!span_has(part, '@'))
		return false;
	if (s->utf8)
		text_add(&utf8, part);
	else if (!mutf7_to_utf8(part, &utf8))
		text_reset(&utf8);
	for (size_t i = 0; i < utf8.len; i++) {
		if (separator == '.' && utf8.at[i] == OWNER_DOT)
			utf8.at[i] = '.';
	}
	good = acl_identifier(text_span(&utf8), &key);
	/* Whatever it is, it is no name of ours: nobody is called "". */
	if (!good || !span_copy(text_span(&key), owner, MOST_ADDRESS + 1))
		owner[0] = '\0';
	text_clear(&utf8);
	text_clear(&key);
	return true;
}

void
session_foreign_name(const struct session *s, struct span name, struct text *out)
{
	struct text wire = TEXT_UP_TO(MOST_SPELLED);
	char separator = session_separator(s);
	unsigned int level = 0;

	if (!s->utf8 || !mutf7_from_utf8(name, &wire)) {
		text_reset(&wire);
		text_add(&wire, name);
	}
	for (size_t i = 0; i < wire.len; i++) {
		unsigned char c = wire.at[i];

		if (c == (unsigned char)separator) {
			text_add_byte(out, '/');
			level++;
		} else {
			text_add_byte(out, separator == '.' && level == 1 && c == OWNER_DOT ? '.' : c);
		}
	}
	text_clear(&wire);
}

void
session_foreign_write(const struct session *s, struct span foreign, struct text *out)
{
	struct text spelled = TEXT_UP_TO(MOST_SPELLED), utf8 = TEXT_UP_TO(MOST_SPELLED);
	char separator = session_separator(s);
	unsigned int level = 0;

	for (size_t i = 0; i < foreign.len; i++) {
		unsigned char c = foreign.at[i];

		level += c == '/';
		text_add_byte(&spelled, c == '/' ? (unsigned char)separator :
			separator == '.' && level == 1 && c == '.' ? OWNER_DOT : c);
	}
	if (s->utf8 && mutf7_to_utf8(text_span(&spelled), &utf8))
		text_add(out, text_span(&utf8));
	else
		text_add(out, text_span(&spelled));
	text_clear(&spelled);
	text_clear(&utf8);
}

bool
session_subscribed(const struct session *s, const struct folder_list *folders, struct span name)
{
	struct text wire = TEXT_UP_TO(MOST_SPELLED);
	bool found = false;

	session_foreign_name(s, name, &wire);
	for (size_t i = 0; i < folders->foreign_count && !found; i++)
		found = span_equal(folders->foreign[i], text_span(&wire));
	text_clear(&wire);
	return found;
}
