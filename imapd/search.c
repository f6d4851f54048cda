/* search - see search.h. Parsing here, deciding in search-fits.c. */
#include "imapd/search.h"

#include "imapd/cache.h"
#include "imapd/charset.h"
#include "imapd/date.h"
#include "imapd/flags.h"
#include "imapd/imap-parse.h"

#include <stdlib.h>
#include <time.h>

enum { COST_RECORD, COST_FACTS, COST_HEADER, COST_BODY, COSTS };

enum argument { NO_ARGUMENT, KEYWORD, DAY, SIZE, STRING, FIELD_AND_STRING, SET, MODSEQ, INTERVAL, OBJECT_ID };

static const struct {
	const char *word;
	enum key_kind kind;
	int cost;
	enum argument argument;
	uint8_t flags, wanted;
	const char *field;
} keys[] = {
	{ "ALL",        KEY_ALL,         COST_RECORD, NO_ARGUMENT,      0, 0, NULL },
	{ "ANSWERED",   KEY_FLAGS,       COST_RECORD, NO_ARGUMENT,      FLAG_ANSWERED,
	FLAG_ANSWERED, NULL },
	{ "UNANSWERED", KEY_FLAGS,       COST_RECORD, NO_ARGUMENT,      FLAG_ANSWERED, 0, NULL },
	{ "DELETED",    KEY_FLAGS,       COST_RECORD, NO_ARGUMENT,      FLAG_DELETED, FLAG_DELETED,
	NULL },
	{ "UNDELETED",  KEY_FLAGS,       COST_RECORD, NO_ARGUMENT,      FLAG_DELETED, 0, NULL },
	{ "DRAFT",      KEY_FLAGS,       COST_RECORD, NO_ARGUMENT,      FLAG_DRAFT, FLAG_DRAFT,
	NULL },
	{ "UNDRAFT",    KEY_FLAGS,       COST_RECORD, NO_ARGUMENT,      FLAG_DRAFT, 0, NULL },
	{ "FLAGGED",    KEY_FLAGS,       COST_RECORD, NO_ARGUMENT,      FLAG_FLAGGED, FLAG_FLAGGED,
	NULL },
	{ "UNFLAGGED",  KEY_FLAGS,       COST_RECORD, NO_ARGUMENT,      FLAG_FLAGGED, 0, NULL },
	{ "SEEN",       KEY_FLAGS,       COST_RECORD, NO_ARGUMENT,      FLAG_SEEN, FLAG_SEEN,
	NULL },
	{ "UNSEEN",     KEY_FLAGS,       COST_RECORD, NO_ARGUMENT,      FLAG_SEEN, 0, NULL },
	{ "RECENT",     KEY_RECENT,      COST_RECORD, NO_ARGUMENT,      0, 1, NULL },
	{ "OLD",        KEY_RECENT,      COST_RECORD, NO_ARGUMENT,      0, 0, NULL },
	/* NEW is RECENT UNSEEN: flags are looked at too */
	{ "NEW",        KEY_RECENT,      COST_RECORD, NO_ARGUMENT,      FLAG_SEEN, 1, NULL },
	{ "KEYWORD",    KEY_KEYWORD,     COST_RECORD, KEYWORD,          0, 1, NULL },
	{ "UNKEYWORD",  KEY_KEYWORD,     COST_RECORD, KEYWORD,          0, 0, NULL },
	{ "MODSEQ",     KEY_MODSEQ,      COST_RECORD, MODSEQ,           0, 0, NULL },
	{ "UID",        KEY_UIDS,        COST_RECORD, SET,              0, 0, NULL },
	{ "BEFORE",     KEY_DAY_BEFORE,  COST_FACTS,  DAY,              0, 0, NULL },
	{ "ON",         KEY_DAY_ON,      COST_FACTS,  DAY,              0, 0, NULL },
	{ "SINCE",      KEY_DAY_SINCE,   COST_FACTS,  DAY,              0, 0, NULL },
	{ "OLDER",      KEY_OLDER,       COST_FACTS,  INTERVAL,         0, 0, NULL },
	{ "YOUNGER",    KEY_YOUNGER,     COST_FACTS,  INTERVAL,         0, 0, NULL },
	{ "SAVEDATESUPPORTED", KEY_ALL,  COST_RECORD, NO_ARGUMENT,      0, 0, NULL },
	{ "SAVEDBEFORE", KEY_SAVED_BEFORE, COST_FACTS, DAY,             0, 0, NULL },
	{ "SAVEDON",    KEY_SAVED_ON,    COST_FACTS,  DAY,              0, 0, NULL },
	{ "SAVEDSINCE", KEY_SAVED_SINCE, COST_FACTS,  DAY,              0, 0, NULL },
	{ "EMAILID",    KEY_EMAIL,       COST_RECORD, OBJECT_ID,        0, 0, NULL },
	{ "THREADID",   KEY_THREAD,      COST_FACTS,  OBJECT_ID,        0, 0, NULL },
	{ "LARGER",     KEY_LARGER,      COST_FACTS,  SIZE,             0, 0, NULL },
	{ "SMALLER",    KEY_SMALLER,     COST_FACTS,  SIZE,             0, 0, NULL },
	{ "SENTBEFORE", KEY_SENT_BEFORE, COST_HEADER, DAY,              0, 0, NULL },
	{ "SENTON",     KEY_SENT_ON,     COST_HEADER, DAY,              0, 0, NULL },
	{ "SENTSINCE",  KEY_SENT_SINCE,  COST_HEADER, DAY,              0, 0, NULL },
	{ "BCC",        KEY_FIELD,       COST_HEADER, STRING,           0, 0, "Bcc" },
	{ "CC",         KEY_FIELD,       COST_HEADER, STRING,           0, 0, "Cc" },
	{ "FROM",       KEY_FIELD,       COST_HEADER, STRING,           0, 0, "From" },
	{ "SUBJECT",    KEY_FIELD,       COST_HEADER, STRING,           0, 0, "Subject" },
	{ "TO",         KEY_FIELD,       COST_HEADER, STRING,           0, 0, "To" },
	{ "HEADER",     KEY_FIELD,       COST_HEADER, FIELD_AND_STRING, 0, 0, NULL },
	{ "BODY",       KEY_BODY,        COST_BODY,   STRING,           0, 0, NULL },
	{ "TEXT",       KEY_TEXT,        COST_BODY,   STRING,           0, 0, NULL },
};

struct parser {
	struct search *search;
	struct span in;
	struct arena *arena;
	const struct view *view;
	struct span charset;
	const char *expected;
	bool bad_charset;
};

static struct search_key *
key_new(struct parser *p, enum key_kind kind)
{
	struct search_key *key = arena_alloc(p->arena, sizeof(*key));

	key->kind = kind;
	return key;
}

/* Children stand in order of cost, so that a cheap one decides before a message is opened. last: of each cost, since a
 * command may have ten thousand of them. */
static void
add_child(struct search_key *parent, struct search_key *child, struct search_key *last[COSTS])
{
	struct search_key **at = &parent->children;

	for (int cost = 0; cost <= child->cost; cost++)
		if (last[cost] != NULL)
			at = &last[cost]->next;
	child->next = *at;
	*at = child;
	last[child->cost] = child;
	if (child->cost > parent->cost)
		parent->cost = child->cost;
}

static bool
wrong(struct parser *p, const char *expected)
{
	p->expected = expected;
	return false;
}

static bool
take_needle(struct parser *p, struct search_key *key)
{
	struct span string;

	if (!imap_take_space(&p->in) || !imap_take_astring(&p->in, p->arena, &string))
		return wrong(p, "a string to search for");
	if (!needle_init(&key->needle, string, p->charset, &p->bad_charset))
		return wrong(p, "a shorter string");
	if (p->search->needle_count == p->search->needle_room) {
		p->search->needle_room = p->search->needle_room == 0 ?
			8 : 2 * p->search->needle_room;
		p->search->needles = must_realloc(p->search->needles,
			p->search->needle_room * sizeof(struct search_key *));
	}
	p->search->needles[p->search->needle_count++] = key;
	return true;
}

static void
resolve_uids(struct parser *p, struct search_key *key)
{
	const struct view *v = p->view;

	number_set_resolve(&key->set, v->count == 0 ? 0 : v->uids[v->count - 1]);
}

/* Message numbers are those of now (RFC 5267 4.3): they become UIDs. Those above the count are of no message. */
static void
resolve_numbers(struct parser *p, struct search_key *key)
{
	const struct view *v = p->view;
	size_t kept = 0;

	number_set_resolve(&key->set, (uint32_t)v->count);
	for (size_t i = 0; i < key->set.count; i++) {
		struct number_range r = key->set.at[i];

		if (r.from > v->count)
			break;
		if (r.to > v->count)
			r.to = (uint32_t)v->count;
		key->set.at[kept++] = (struct number_range){ view_uid(v, r.from), view_uid(v, r.to) };
	}
	key->set.count = kept;
	p->search->numbers = true;
}

/* "$": what was saved (RFC 5182). As an atom, "$x" is a word. */
static bool
take_saved(struct parser *p, struct search_key *key)
{
	struct span rest = p->in, word;

	if (!imap_take_atom(&rest, &word) || !span_equal(word, SPAN("$")))
		return false;
	p->in = rest;
	key->kind = KEY_UIDS;
	view_saved(p->view, p->arena, &key->set);
	return true;
}

/* MODSEQ [SP entry-name SP entry-type] SP n (RFC 7162 3.1.5). Ours count for all of a message, as
 * they may: the entry is only checked. */
static bool
take_modseq(struct parser *p, struct search_key *key)
{
	struct span entry, type;

	if (!imap_take_space(&p->in))
		return false;
	if (imap_take_quoted(&p->in, p->arena, &entry)) {
		if (!span_starts_nocase(entry, SPAN("/flags/")) ||
			!imap_take_space(&p->in) || !imap_take_atom(&p->in, &type) ||
			(!span_equal_nocase(type, SPAN("priv")) &&
			!span_equal_nocase(type, SPAN("shared")) &&
			!span_equal_nocase(type, SPAN("all"))) || !imap_take_space(&p->in))
			return false;
	}
	p->search->modseq = true;
	return imap_take_modseq(&p->in, &key->modseq);
}

/* RFC 5032: seconds before now; nz-number. */
static bool
take_interval(struct parser *p, struct search_key *key)
{
	uint32_t seconds;

	if (!imap_take_space(&p->in) || !imap_take_number(&p->in, &seconds) || seconds == 0)
		return false;
	key->moment = (int64_t)time(NULL) - seconds;
	return true;
}

static bool
take_argument(struct parser *p, struct search_key *key, enum argument argument)
{
	switch (argument) {
	case NO_ARGUMENT:
		return true;
	case KEYWORD:
		return (imap_take_space(&p->in) && imap_take_atom(&p->in, &key->name)) ||
			wrong(p, "a keyword");
	case DAY:
		return (imap_take_space(&p->in) && date_take_day(&p->in, &key->day)) ||
			wrong(p, "a date such as 1-Feb-1994");
	case SIZE:
		return (imap_take_space(&p->in) && span_take_number(&p->in, INT64_MAX, &key->size)) ||
			wrong(p, "a size in octets");
	case INTERVAL:
		return take_interval(p, key) || wrong(p, "a number of seconds, not 0");
	case MODSEQ:
		return take_modseq(p, key) ||
			wrong(p, "a modification sequence, with or without entry and type");
	case OBJECT_ID:
		/* One that is not of our form is of no message. */
		return (imap_take_space(&p->in) && imap_take_astring(&p->in, p->arena, &key->name)) ||
			wrong(p, "an object id");
	case SET:
		if (!imap_take_space(&p->in))
			return wrong(p, "a set of UIDs");
		if (take_saved(p, key))
			return true;
		if (!number_set_take(&p->in, p->arena, &key->set))
			return wrong(p, "a set of UIDs");
		resolve_uids(p, key);
		return true;
	case FIELD_AND_STRING:
		if (!imap_take_space(&p->in) || !imap_take_astring(&p->in, p->arena, &key->name))
			return wrong(p, "the name of a header field");
		return take_needle(p, key);
	case STRING:
	default:
		return take_needle(p, key);
	}
}

static struct search_key *take_key(struct parser *p, int depth);

/* NOT key; OR key key. */
static struct search_key *
take_operator(struct parser *p, enum key_kind kind, int depth)
{
	struct search_key *key = key_new(p, kind), *child, *last[COSTS] = { NULL };

	for (int i = 0; i < (kind == KEY_OR ? 2 : 1); i++) {
		if (!imap_take_space(&p->in))
			return wrong(p, "a search key"), NULL;
		child = take_key(p, depth + 1);
		if (child == NULL)
			return NULL;
		add_child(key, child, last);
	}
	return key;
}

/* "(" key *(SP key) ")", or keys up to the end of the command (depth 0). */
static struct search_key *
take_list(struct parser *p, int depth)
{
	struct search_key *list = key_new(p, KEY_AND), *child, *last[COSTS] = { NULL };

	do {
		child = take_key(p, depth + 1);
		if (child == NULL)
			return NULL;
		add_child(list, child, last);
	} while (imap_take_space(&p->in));
	if (depth > 0 && !span_take(&p->in, ')'))
		return wrong(p, "a closing parenthesis behind search keys"), NULL;
	return list;
}

/* What a key says of a field can be answered from the cache. */
static void
note_field(struct parser *p, struct search_key *key)
{
	if (key->kind == KEY_FIELD)
		key->field = cache_name(p->view->mailbox, key->name);
	else if (key->cost == COST_HEADER)
		key->field = cache_name(p->view->mailbox, SPAN("Date"));
	p->search->cache_names |= key->field;
}

static struct search_key *
take_word(struct parser *p)
{
	struct search_key *key;
	struct span word;

	if (!imap_take_atom(&p->in, &word))
		return wrong(p, "a search key"), NULL;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (!span_equal_nocase(word, span_str(keys[i].word)))
			continue;
		key = key_new(p, keys[i].kind);
		key->cost = keys[i].cost;
		key->flags = keys[i].flags;
		key->wanted = keys[i].wanted;
		key->yes = keys[i].wanted != 0;
		key->name = span_str(keys[i].field);
		if (!take_argument(p, key, keys[i].argument))
			return NULL;
		note_field(p, key);
		return key;
	}
	return wrong(p, "a search key of RFC 3501"), NULL;
}

static struct search_key *
take_key(struct parser *p, int depth)
{
	struct search_key *key;

	if (depth > MOST_IMAP_NESTING)
		return wrong(p, "fewer search keys within each other"), NULL;
	if (span_take(&p->in, '('))
		return take_list(p, depth);
	if (p->in.len > 0 && ((p->in.at[0] >= '0' && p->in.at[0] <= '9') || p->in.at[0] == '*')) {
		key = key_new(p, KEY_UIDS);
		if (!number_set_take(&p->in, p->arena, &key->set))
			return wrong(p, "a set of message numbers"), NULL;
		resolve_numbers(p, key);
		return key;
	}
	key = key_new(p, KEY_UIDS);
	if (take_saved(p, key))
		return key;
	/* "NOT" and "OR" end with the space behind them: "NOTE" is something else. */
	if (span_starts_nocase(p->in, SPAN("NOT ")) && span_take_word(&p->in, SPAN("NOT")))
		return take_operator(p, KEY_NOT, depth);
	if (span_starts_nocase(p->in, SPAN("OR ")) && span_take_word(&p->in, SPAN("OR")))
		return take_operator(p, KEY_OR, depth);
	return take_word(p);
}

/* The charset's name, if one was said, and keys to the end. */
static enum search_wrong
take_keys(struct parser *p, struct span *in, const char **expected)
{
	if (p->charset.len > 0 && charset_find(p->charset) == NULL)
		return SEARCH_CHARSET;
	p->search->root = take_list(p, 0);
	if (p->search->root == NULL)
		*expected = p->expected;
	if (p->bad_charset)
		return SEARCH_CHARSET;
	if (p->search->root == NULL)
		return SEARCH_SYNTAX;
	*in = p->in;
	return SEARCH_FINE;
}

static enum search_wrong
take_charset_and_keys(struct parser *p, struct span *in, const char **expected)
{
	if (!imap_take_astring(&p->in, p->arena, &p->charset) || !imap_take_space(&p->in)) {
		*expected = "the name of a charset, and search keys";
		return SEARCH_SYNTAX;
	}
	return take_keys(p, in, expected);
}

enum search_wrong
search_take(struct search *search, struct span *in, struct arena *arena, const struct view *view,
	const char **expected)
{
	struct parser p = { .search = search, .in = *in, .arena = arena, .view = view };

	*search = (struct search){ .arena = arena };
	*expected = "a search key";
	if (span_take_word(&p.in, SPAN("CHARSET ")))
		return take_charset_and_keys(&p, in, expected);
	return take_keys(&p, in, expected);
}

enum search_wrong
search_take_in_charset(struct search *search, struct span *in, struct arena *arena,
	const struct view *view, const char **expected)
{
	struct parser p = { .search = search, .in = *in, .arena = arena, .view = view };

	*search = (struct search){ .arena = arena };
	return take_charset_and_keys(&p, in, expected);
}

void
search_clear(struct search *search)
{
	for (size_t i = 0; i < search->needle_count; i++)
		needle_clear(&search->needles[i]->needle);
	free(search->needles);
	*search = (struct search){ .root = NULL };
}
