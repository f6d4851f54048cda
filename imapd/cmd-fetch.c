/*
 * cmd-fetch - FETCH and UID FETCH (RFC 3501 6.4.5, 7.4.2), MODSEQ and CHANGEDSINCE (RFC 7162),
 * PARTIAL (RFC 9394), BINARY (RFC 3516).
 *
 * A machine that stops and goes on at any message, item and byte of a body, so that no more than
 * OUT_FULL waits for a client however much it asks for.
 */
#include "imapd/condstore.h"

#include "common/log.h"
#include "imapd/bodystructure.h"
#include "imapd/cache.h"
#include "imapd/date.h"
#include "imapd/envelope.h"
#include "imapd/fetch.h"
#include "imapd/flags.h"
#include "imapd/preview.h"
#include "imapd/qresync.h"
#include "imapd/quote.h"
#include "imapd/result.h"
#include "imapd/section.h"
#include "imapd/transfer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MOST_FETCH_ITEMS 100
#define BODY_PIECE (64 * 1024)

enum item_kind {
	ITEM_FLAGS, ITEM_UID, ITEM_DATE, ITEM_SIZE, ITEM_MODSEQ, ITEM_SAVED, ITEM_EMAIL, ITEM_THREAD,
	/* from here on the message itself is needed */
	ITEM_ENVELOPE, ITEM_STRUCTURE,
		ITEM_BODY_STRUCTURE, ITEM_PREVIEW, ITEM_SECTION, ITEM_BINARY, ITEM_BINARY_SIZE,
};

struct item {
	enum item_kind kind;
	/* what the response calls a section that was not asked for as BODY[] */
	const char *name;
	struct section section;
};

struct fetch {
	struct message_set messages;
	struct item items[MOST_FETCH_ITEMS];
	size_t count;
	bool sets_seen, reads;       /* \Seen is set; the message itself is needed */
	/* All that is needed of it can be in the cache: these. */
	bool by_cache;
	unsigned int cache_items;
	uint64_t cache_names;
	unsigned int facts;
	uint64_t changed_since;      /* 0: all messages */
	bool vanished;               /* what vanished since then is told too (qresync.h) */
	bool partial, partial_back;  /* only some of the set, by place (RFC 9394) */
	uint32_t partial_from, partial_to;
	size_t skip, left;           /* how many more of the set are passed over, and taken up */
	/* Where it stands: a message, its item, the bytes of a section that are not yet out. */
	size_t number, item, done;
	bool in_message, in_body, flags_told, modseq_told, uid_told, new_flags;
	struct index_record record;
	struct cached cached;        /* into `kept` */
	struct text kept;
	struct span body;
	bool binary;                 /* its bytes go out as they are, NUL too (literal8) */
	struct text store;
	struct change learned;
	bool was_away;               /* a slice ended since the last message began */
	bool some_gone, some_unreadable, some_undecodable;
};

/* --- arguments --- */

static const struct {
	const char *word;
	enum item_kind kind;
	enum section_kind section;
	bool seen;
} words[] = {
	{ "FLAGS",         ITEM_FLAGS,          SECTION_WHOLE,  false },
	{ "UID",           ITEM_UID,            SECTION_WHOLE,  false },
	{ "INTERNALDATE",  ITEM_DATE,           SECTION_WHOLE,  false },
	{ "RFC822.SIZE",   ITEM_SIZE,           SECTION_WHOLE,  false },
	{ "MODSEQ",        ITEM_MODSEQ,         SECTION_WHOLE,  false },
	{ "SAVEDATE",      ITEM_SAVED,          SECTION_WHOLE,  false },
	{ "EMAILID",       ITEM_EMAIL,          SECTION_WHOLE,  false },
	{ "THREADID",      ITEM_THREAD,         SECTION_WHOLE,  false },
	{ "ENVELOPE",      ITEM_ENVELOPE,       SECTION_WHOLE,  false },
	{ "PREVIEW",       ITEM_PREVIEW,        SECTION_WHOLE,  false },
	{ "BODYSTRUCTURE", ITEM_BODY_STRUCTURE, SECTION_WHOLE,  false },
	{ "BODY",          ITEM_STRUCTURE,      SECTION_WHOLE,  false },
	{ "RFC822",        ITEM_SECTION,        SECTION_WHOLE,  true },
	{ "RFC822.HEADER", ITEM_SECTION,        SECTION_HEADER, false },
	{ "RFC822.TEXT",   ITEM_SECTION,        SECTION_TEXT,   true },
};
#define WORDS (sizeof(words) / sizeof(words[0]))

static struct item *
add_item(struct fetch *f, enum item_kind kind)
{
	struct item *item;

	for (size_t i = 0; kind < ITEM_SECTION && i < f->count; i++) {
		if (f->items[i].kind == kind)
			return &f->items[i];
	}
	if (f->count == MOST_FETCH_ITEMS)
		return NULL;
	item = &f->items[f->count++];
	item->kind = kind;
	item->name = NULL;
	f->reads |= kind >= ITEM_ENVELOPE;
	if (kind == ITEM_DATE)
		f->facts |= FACT_DATE;
	if (kind == ITEM_SIZE)
		f->facts |= FACT_SIZE;
	if (kind == ITEM_SAVED)
		f->facts |= FACT_SAVED;
	if (kind == ITEM_THREAD)
		f->facts |= FACT_THREAD;
	return item;
}

/* RFC 3516 4.2, RFC 9051 6.4.5: BINARY is about parts, BINARY.SIZE about all of one. */
static bool
fits_binary(const struct section *section, enum item_kind kind)
{
	return kind == ITEM_SECTION || (section->kind == SECTION_WHOLE &&
		(kind == ITEM_BINARY || !section->partial));
}

/* BODY[...], BINARY[...] and the like; `word` is the atom before the bracket. */
static bool
take_section(struct command *c, struct fetch *f, struct span word, const char **wrong)
{
	static const struct {
		const char *word;
		enum item_kind kind;
		bool peek;
	} bodies[] = { { "BODY", ITEM_SECTION, false }, { "BODY.PEEK", ITEM_SECTION, true },
		{ "BINARY", ITEM_BINARY, false }, { "BINARY.PEEK", ITEM_BINARY, true },
		{ "BINARY.SIZE", ITEM_BINARY_SIZE, true } };
	size_t i = 0, most = sizeof(bodies) / sizeof(bodies[0]);
	struct section section;
	struct item *item;

	while (i < most && !span_equal_nocase(word, span_str(bodies[i].word)))
		i++;
	*wrong = "BODY, BODY.PEEK, BINARY, BINARY.PEEK or BINARY.SIZE before a bracket";
	if (i == most || !section_take(&c->args, &section, wrong))
		return false;
	if (!fits_binary(&section, bodies[i].kind)) {
		section_clear(&section);
		*wrong = "the number of a part for BINARY, and no <> behind BINARY.SIZE[]";
		return false;
	}
	item = add_item(f, bodies[i].kind);
	if (item == NULL) {
		section_clear(&section);
		*wrong = "fewer items";
		return false;
	}
	item->section = section;
	f->sets_seen |= !bodies[i].peek;
	return true;
}

static bool
take_item(struct command *c, struct fetch *f, const char **wrong)
{
	struct item *item;
	struct span word;

	*wrong = "an item such as FLAGS, ENVELOPE or BODY.PEEK[]";
	if (!imap_take_atom(&c->args, &word))
		return false;
	/* "[" may stand in an atom: the section begins there. */
	for (size_t i = 0; i < word.len; i++) {
		if (word.at[i] == '[') {
			c->args = span_of(word.at + i,
				(size_t)(c->args.at + c->args.len - (word.at + i)));
			return take_section(c, f, span_part(word, 0, i), wrong);
		}
	}
	for (size_t i = 0; i < WORDS; i++) {
		if (!span_equal_nocase(word, span_str(words[i].word)))
			continue;
		item = add_item(f, words[i].kind);
		if (item == NULL) {
			*wrong = "fewer items";
			return false;
		}
		if (words[i].kind == ITEM_SECTION) {
			section_init(&item->section, words[i].section);
			item->name = words[i].word;
		}
		f->sets_seen |= words[i].seen;
		/* RFC 8970 3.1: LAZY spares us what is dear; a preview is not. */
		if (words[i].kind == ITEM_PREVIEW)
			(void)span_take_word(&c->args, SPAN(" (LAZY)"));
		return true;
	}
	return false;
}

/* ALL, FAST and FULL stand alone, without parentheses (RFC 3501 6.4.5). */
static bool
take_macro(struct command *c, struct fetch *f)
{
	struct span rest = c->args, word;

	if (!imap_take_atom(&rest, &word))
		return false;
	if (!span_equal_nocase(word, SPAN("ALL")) && !span_equal_nocase(word, SPAN("FAST")) &&
		!span_equal_nocase(word, SPAN("FULL")))
		return false;
	(void)add_item(f, ITEM_FLAGS);
	(void)add_item(f, ITEM_DATE);
	(void)add_item(f, ITEM_SIZE);
	if (word.len != 4 || span_equal_nocase(word, SPAN("FULL")))
		(void)add_item(f, ITEM_ENVELOPE);
	if (span_equal_nocase(word, SPAN("FULL")))
		(void)add_item(f, ITEM_STRUCTURE);
	c->args = rest;
	return true;
}

static bool
take_items(struct command *c, struct fetch *f)
{
	const char *wrong = "a closing parenthesis behind the items";

	if (take_macro(c, f))
		return true;
	if (span_take(&c->args, '(')) {
		do {
			if (!take_item(c, f, &wrong))
				return command_bad(c, wrong), false;
		} while (imap_take_space(&c->args));
		if (!span_take(&c->args, ')'))
			return command_bad(c, "a closing parenthesis behind the items"), false;
	} else if (!take_item(c, f, &wrong)) {
		return command_bad(c, wrong), false;
	}
	return true;
}

/* One of [SP "(" CHANGEDSINCE SP n / PARTIAL SP range ... ")"] (RFC 4466 2.4). */
static bool
take_modifier(struct command *c, struct fetch *f)
{
	struct span word;

	if (!imap_take_atom(&c->args, &word))
		return false;
	if (span_equal_nocase(word, SPAN("VANISHED")) && (c->verb->when & BY_UID) &&
		c->session->qresync && !f->vanished)
		return f->vanished = true;
	if (!imap_take_space(&c->args))
		return false;
	if (span_equal_nocase(word, SPAN("CHANGEDSINCE")))
		return f->changed_since == 0 && imap_take_modseq(&c->args, &f->changed_since) &&
			f->changed_since > 0;
	if (span_equal_nocase(word, SPAN("PARTIAL")) && (c->verb->when & BY_UID) && !f->partial) {
		f->partial = true;
		return partial_take(&c->args, &f->partial_back, &f->partial_from, &f->partial_to);
	}
	return false;
}

static bool
take_modifiers(struct command *c, struct fetch *f)
{
	bool ok = true;

	if (c->args.len == 0)
		return true;
	if (span_take_word(&c->args, SPAN(" ("))) {
		do {
			ok = take_modifier(c, f);
		} while (ok && imap_take_space(&c->args));
		/* RFC 7162 3.2.6: VANISHED goes with CHANGEDSINCE only. */
		if (ok && span_take(&c->args, ')') && (!f->vanished || f->changed_since > 0))
			return true;
	}
	return command_bad(c, "nothing more behind the items, or (CHANGEDSINCE number [VANISHED]), or, with "
		"UID FETCH, (PARTIAL range)"), false;
}

/* Which of the messages in the set are meant: known once they are counted. The others do not come
 * back into it, whatever CHANGEDSINCE says of those that are (RFC 9394 3.3). */
static void
settle_partial(struct command *c, struct fetch *f)
{
	struct message_set counting = f->messages;
	size_t count = 0, first, last;

	f->left = SIZE_MAX;
	if (!f->partial)
		return;
	while (messages_next(&counting, c->session->view) != 0)
		count++;
	f->left = 0;
	if (partial_resolve(f->partial_back, f->partial_from, f->partial_to, count, &first, &last)) {
		f->skip = first - 1;
		f->left = last - first + 1;
	}
}

/* False: this section is of no fields, or of such as cannot be kept. */
static bool
section_by_cache(struct command *c, struct fetch *f, const struct section *section)
{
	if (section->kind != SECTION_FIELDS || section->number_count > 0)
		return false;
	for (size_t i = 0; i < section->field_count; i++) {
		uint64_t name = cache_name(c->session->view->mailbox, section->fields[i]);

		if (name == 0)
			return false;
		f->cache_names |= name;
	}
	return true;
}

/* Can all that is asked of the messages' content come from the cache? */
static bool
all_by_cache(struct command *c, struct fetch *f)
{
	bool all = f->reads;

	for (size_t i = 0; all && i < f->count; i++) {
		switch (f->items[i].kind) {
		case ITEM_ENVELOPE:
			f->cache_items |= CACHE_HAS(CACHE_ENVELOPE);
			break;
		case ITEM_STRUCTURE:
			f->cache_items |= CACHE_HAS(CACHE_BODY);
			break;
		case ITEM_BODY_STRUCTURE:
			f->cache_items |= CACHE_HAS(CACHE_STRUCTURE);
			break;
		case ITEM_PREVIEW:
			f->cache_items |= CACHE_HAS(CACHE_PREVIEW);
			break;
		default:
			all = f->items[i].kind < ITEM_ENVELOPE ||
				(f->items[i].kind == ITEM_SECTION &&
				section_by_cache(c, f, &f->items[i].section));
			break;
		}
	}
	return all;
}

/* Of the UIDs that were named; "*" goes up to all that were ever given. */
static void
tell_vanished(struct command *c, const struct fetch *f)
{
	const struct view *v = c->session->view;
	struct number_set named = { arena_alloc(&c->arena,
		(f->messages.set.count + 1) * sizeof(struct number_range)), 0 };

	if (!f->vanished)
		return;
	for (size_t i = 0; i < f->messages.set.count; i++)
		named.at[named.count++] = f->messages.set.at[i];
	if (f->messages.star)
		named.at[named.count++] = (struct number_range){ v->count == 0 ? 1 :
			view_uid(v, v->count), UINT32_MAX };
	number_set_resolve(&named, UINT32_MAX);
	vanished_earlier_write(v, f->changed_since, &named, command_out(c));
}

static bool
fetch_arguments(struct command *c, struct fetch *f)
{
	if (!command_take_messages(c, &f->messages) || !command_take_space(c))
		return false;
	if ((c->verb->when & BY_UID) && !c->session->uid_only)     /* in every response (RFC 3501 6.4.8) */
		(void)add_item(f, ITEM_UID);
	if (!take_items(c, f) || !take_modifiers(c, f) || !command_no_more(c))
		return false;
	settle_partial(c, f);
	tell_vanished(c, f);
	if (f->changed_since > 0 && add_item(f, ITEM_MODSEQ) == NULL)  /* RFC 7162 3.1.4.1 */
		return command_bad(c, "fewer items"), false;
	for (size_t i = 0; i < f->count; i++) {
		if (f->items[i].kind == ITEM_MODSEQ)
			condstore_enable(c->session);
	}
	f->by_cache = all_by_cache(c, f);
	return true;
}

static void
clear_items(struct fetch *f)
{
	for (size_t i = 0; i < f->count; i++) {
		if (f->items[i].kind >= ITEM_SECTION)
			section_clear(&f->items[i].section);
	}
}

bool
fetch_take_items(struct command *c, struct span *items)
{
	struct fetch *f = must_alloc(sizeof(*f));
	const unsigned char *at = c->args.at;
	const char *wrong;
	bool good = span_take(&c->args, '(');

	do {
		good = good && take_item(c, f, &wrong);
	} while (good && imap_take_space(&c->args));
	good = good && span_take(&c->args, ')');
	*items = span_of(at, (size_t)(c->args.at - at));
	clear_items(f);
	free(f);
	return good;
}

static void
fetch_release(struct command *c)
{
	struct fetch *f = c->state;

	clear_items(f);
	text_clear(&f->store);
	text_clear(&f->kept);
	change_clear(&f->learned);
}

/* --- answers --- */

/* What was learned on the way is kept in the index: it need not survive a crash. */
static void
keep_learned(struct command *c, struct fetch *f)
{
	if (f->learned.records.len == 0)
		return;
	f->learned.lazy = true;
	(void)mailbox_commit(c->session->view->mailbox, &f->learned);
}

/* BODY[] and its like set \Seen; the response then has FLAGS too (RFC 3501 6.4.5). */
static void
set_seen(struct command *c, struct fetch *f)
{
	struct view *v = c->session->view;
	struct number_ranges one = { NULL, 0, 0 };
	uint64_t before = v->mailbox->index.modseq;
	struct change change;

	if (!f->sets_seen || !(view_may_change(v) & FLAG_SEEN) || (f->record.flags & FLAG_SEEN))
		return;
	number_ranges_add(&one, f->record.uid);
	change_init(&change);
	change_flags(&change, CHANGE_ADD, FLAG_SEEN, NULL, &one);
	if (mailbox_commit(v->mailbox, &change) == 0) {
		f->record.flags |= FLAG_SEEN;
		f->record.modseq = v->mailbox->index.modseq;
		f->new_flags = true;
		view_told_own(v, before);
	}
	change_clear(&change);
	number_ranges_clear(&one);
}

/* What the cache said is valid until somebody asks it again: copied. */
static void
keep_cached(struct fetch *f)
{
	struct span *parts[CACHE_ITEMS + 1];
	size_t len, at = 0;

	for (size_t i = 0; i < CACHE_ITEMS; i++)
		parts[i] = &f->cached.item[i];
	parts[CACHE_ITEMS] = &f->cached.header;
	text_reset(&f->kept);
	for (size_t i = 0; i <= CACHE_ITEMS; i++)
		text_add(&f->kept, *parts[i]);
	for (size_t i = 0; i <= CACHE_ITEMS; i++) {
		len = parts[i]->len;
		*parts[i] = span_part(text_span(&f->kept), at, len);
		at += len;
	}
}

/* The content that is needed, from the cache or from the message. False: gone, or unreadable. */
static bool
load_content(struct command *c, struct fetch *f, uint32_t uid)
{
	struct session *s = c->session;
	struct mailbox *m = s->view->mailbox;

	if (!f->reads)
		return true;
	if (!f->by_cache)
		return mail_cached(&s->mail, m, uid, &f->learned) != NULL;
	if (!cache_get(m, uid, f->cache_items, f->cache_names, &f->learned, &f->cached))
		return false;
	keep_cached(f);
	return true;
}

/* Takes up message f->number, unless it is not there, cannot be read, or is not wanted. */
static void
begin_message(struct command *c, struct fetch *f)
{
	struct session *s = c->session;
	struct mailbox *m = s->view->mailbox;
	uint32_t uid = view_uid(s->view, f->number);
	size_t at;

	f->new_flags = f->flags_told = f->modseq_told = f->uid_told = false;
	if (f->changed_since > 0) {
		at = index_find(&m->index, uid);
		if (at != NO_RECORD && m->index.records[at].modseq <= f->changed_since)
			return;
	}
	if (!load_content(c, f, uid) ||
		!mail_facts(m, uid, f->facts, &f->learned, &f->record)) {
		if (index_find(&m->index, uid) == NO_RECORD) {
			f->some_gone = true;
		} else {
			f->some_unreadable = true;
			log_error(s->id, "message-unreadable", KEY_STR("folder", m->folder),
				KEY_NUM("uid", uid), KEY_ERRNO);
		}
		return;
	}
	if (f->reads && !f->by_cache && (f->facts & FACT_SIZE))
		f->record.vsize = s->mail.mail.bytes.len;    /* whatever a name may claim */
	at = index_find(&m->index, uid);
	if (at == NO_RECORD) {
		f->some_gone = true;
		return;
	}
	f->record.modseq = m->index.records[at].modseq;
	f->record.flags = m->index.records[at].flags;
	f->record.keywords = m->index.records[at].keywords;
	set_seen(c, f);
	view_fetch_begin(s->view, f->number, false, &s->out);
	f->item = 0;
	f->in_message = true;
}

static void
begin_section(struct command *c, struct fetch *f, const struct item *item)
{
	struct text *out = command_out(c);
	struct mail *mail = &c->session->mail.mail;
	const struct mime *mime = section_needs_mime(&item->section) ? mail_mime(mail) : NULL;
	struct span bytes = f->by_cache ? f->cached.header : mail->bytes;

	if (item->name != NULL) {
		text_add_str(out, item->name);
	} else {
		text_add(out, SPAN("BODY"));
		section_write(&item->section, out);
	}
	text_add_byte(out, ' ');
	if (!section_find(&item->section, bytes, mime, &f->store, &f->body)) {
		text_add(out, SPAN("NIL"));
		return;
	}
	text_add_byte(out, '{');
	text_add_number(out, f->body.len);
	text_add(out, SPAN("}\r\n"));
	f->in_body = f->body.len > 0;
	f->binary = false;
}

/* What a part is when its transfer encoding is undone. False: that cannot be done. */
static bool
decode_part(struct mail *mail, const struct section *section, struct text *store, struct span *body,
	bool *there)
{
	const struct mime *mime = mail_mime(mail);
	const struct part *part = section->number_count == 0 ? NULL :
		mime_part(mime, section->numbers, section->number_count);
	struct transfer_stream stream;
	enum transfer kind;

	*there = section->number_count == 0 || part != NULL;
	*body = section->number_count == 0 ? mail->bytes : SPAN_NONE;
	if (part == NULL)
		return true;
	*body = mime_body(mime, part);
	kind = transfer_of(part->encoding);
	if (kind == TRANSFER_UNKNOWN)
		return false;
	if (kind == TRANSFER_IDENTITY || part->kind != PART_LEAF)
		return true;
	text_clear(store);
	*store = TEXT_UP_TO(body->len + 2 * MOST_HELD_BLANKS);
	transfer_begin(&stream, kind);
	transfer_feed(&stream, *body, store);
	transfer_end(&stream, store);
	*body = text_span(store);
	return !stream.broken && !store->failed;
}

/* RFC 3516 4.3: NIL for a part that is not there; one that cannot be decoded is NIL too, and the
 * command ends with NO [UNKNOWN-CTE]. What holds NUL is a literal8. */
static void
begin_binary(struct command *c, struct fetch *f, const struct item *item)
{
	struct text *out = command_out(c);
	bool there, good = decode_part(&c->session->mail.mail, &item->section, &f->store, &f->body,
		&there);

	text_add_str(out, item->kind == ITEM_BINARY ? "BINARY" : "BINARY.SIZE");
	section_write(&item->section, out);
	text_add_byte(out, ' ');
	f->some_undecodable |= !good;
	if (item->kind == ITEM_BINARY_SIZE) {
		text_add_number(out, good && there ? f->body.len : 0);
		return;
	}
	if (!good || !there) {
		text_add(out, SPAN("NIL"));
		return;
	}
	if (item->section.partial)
		f->body = span_part(f->body, item->section.from, item->section.most);
	f->binary = span_has(f->body, '\0');
	text_printf(out, "%s{%zu}\r\n", f->binary ? "~" : "", f->body.len);
	f->in_body = f->body.len > 0;
}

/* Some more of a section's bytes. NUL cannot stand even in a literal: it goes out as 0x80. */
static void
send_body(struct command *c, struct fetch *f)
{
	struct text *out = command_out(c);
	struct span piece = span_part(f->body, 0, BODY_PIECE);
	size_t at = out->len;

	text_add(out, piece);
	if (!out->failed && !f->binary)
		quote_mend_nul(out->at + at, piece.len);
	f->body = span_part(f->body, piece.len, SIZE_MAX);
	f->in_body = f->body.len > 0;
}

static void
write_preview(struct command *c, struct fetch *f)
{
	struct text made = TEXT_UP_TO(4 * MOST_PREVIEW_CHARACTERS);
	struct span preview = f->cached.item[CACHE_PREVIEW];

	if (!f->by_cache) {
		preview_write(mail_mime(&c->session->mail.mail), &made);
		preview = text_span(&made);
	}
	text_add(command_out(c), SPAN("PREVIEW "));
	if (c->session->utf8 && preview.len > 0)
		quote_utf8_string(command_out(c), preview);
	else
		quote_string(command_out(c), preview.len > 0 ? preview : SPAN(""));
	text_clear(&made);
}

static void
send_item(struct command *c, struct fetch *f, const struct item *item)
{
	struct text *out = command_out(c);
	struct mail *mail = &c->session->mail.mail;

	switch (item->kind) {
	case ITEM_FLAGS:
		view_flags_write(c->session->view, f->number, &f->record, out);
		f->flags_told = true;
		break;
	case ITEM_UID:
		text_add(out, SPAN("UID "));
		text_add_number(out, f->record.uid);
		f->uid_told = true;
		break;
	case ITEM_DATE:
		text_add(out, SPAN("INTERNALDATE "));
		date_add_time(out, f->record.date, 0);
		break;
	case ITEM_SIZE:
		text_add(out, SPAN("RFC822.SIZE "));
		text_add_number(out, f->record.vsize);
		break;
	case ITEM_MODSEQ:
		view_modseq_write(&f->record, out);
		f->modseq_told = true;
		break;
	case ITEM_SAVED:
		text_add(out, SPAN("SAVEDATE "));
		date_add_time(out, f->record.saved, 0);
		break;
	case ITEM_EMAIL:
		text_add(out, SPAN("EMAILID ("));
		email_id_write(&f->record, out);
		text_add_byte(out, ')');
		break;
	case ITEM_THREAD:
		text_add_str(out, f->record.thread == 0 ? "THREADID NIL" : "THREADID (");
		if (f->record.thread != 0) {
			thread_id_write(&f->record, out);
			text_add_byte(out, ')');
		}
		break;
	case ITEM_ENVELOPE:
		text_add(out, SPAN("ENVELOPE "));
		if (f->by_cache)
			text_add(out, f->cached.item[CACHE_ENVELOPE]);
		else
			envelope_write(mail->header, out);
		break;
	case ITEM_STRUCTURE:
	case ITEM_BODY_STRUCTURE:
		text_add_str(out, item->kind == ITEM_STRUCTURE ? "BODY " : "BODYSTRUCTURE ");
		if (f->by_cache)
			text_add(out, f->cached.item[item->kind == ITEM_STRUCTURE ?
				CACHE_BODY : CACHE_STRUCTURE]);
		else
			bodystructure_write(mail_mime(mail), item->kind == ITEM_BODY_STRUCTURE, out);
		break;
	case ITEM_PREVIEW:
		write_preview(c, f);
		break;
	case ITEM_BINARY:
	case ITEM_BINARY_SIZE:
		begin_binary(c, f, item);
		break;
	case ITEM_SECTION:
	default:
		begin_section(c, f, item);
		break;
	}
}

static void
end_message(struct command *c, struct fetch *f)
{
	struct text *out = command_out(c);

	if (f->new_flags && !f->flags_told) {
		text_add_byte(out, ' ');
		view_flags_write(c->session->view, f->number, &f->record, out);
	}
	if (f->new_flags && c->session->condstore && !f->modseq_told) {
		text_add_byte(out, ' ');
		view_modseq_write(&f->record, out);
	}
	if (f->new_flags && c->session->condstore && !f->uid_told && !c->session->uid_only)
		text_printf(out, " UID %" PRIu32, f->record.uid);        /* RFC 7162 3.2.4 */
	text_add(out, SPAN(")\r\n"));
	f->in_message = false;
}

static enum progress
fetch_finish(struct command *c, struct fetch *f)
{
	keep_learned(c, f);
	if (f->sets_seen)
		account_housekeep(c->session->account);
	if (f->some_unreadable)
		return command_no(c, "SERVERBUG",
			"Some of the messages could not be read; the log says why.");
	if (f->some_undecodable)
		return command_no(c, "UNKNOWN-CTE",
			"A part's transfer encoding is unknown, or what it encodes is broken.");
	if (f->some_gone && !f->messages.uid)
		return command_no(c, "EXPUNGEISSUED", "Some of the messages are no more.");
	return command_ok(c, NULL, "FETCH completed.");
}

/* Of a message whose octets are announced already, the rest cannot be had (mapping.h): nothing that may be said now would
 * be true. */
static enum progress
break_off(struct command *c, struct fetch *f)
{
	log_error(c->session->id, "message-unreadable", KEY_STR("folder", c->session->view->mailbox->folder),
		KEY_NUM("uid", f->record.uid), KEY_ERRNO);
	session_end(c->session, "a message could not be read to its end");
	return command_no(c, "SERVERBUG", "A message could not be read; the log says why.");
}

static enum progress
fetch_step(struct command *c)
{
	struct fetch *f = c->state;
	struct session *s = c->session;

	for (;;) {
		if (session_full(s) || session_slice_over(s)) {
			keep_learned(c, f);
			f->was_away = true;
			return COMMAND_AGAIN;
		}
		if (f->in_body) {
			send_body(c, f);
			if (!f->by_cache && mail_is_damaged(&s->mail.mail))
				return break_off(c, f);
		} else if (f->in_message && f->item < f->count) {
			if (f->item > 0)
				text_add_byte(&s->out, ' ');
			send_item(c, f, &f->items[f->item++]);
			if (!f->by_cache && f->reads && mail_is_damaged(&s->mail.mail))
				return break_off(c, f);
		} else if (f->in_message) {
			end_message(c, f);
		} else {
			f->number = f->left == 0 ? 0 : messages_next(&f->messages, s->view);
			if (f->number == 0)
				return fetch_finish(c, f);
			if (f->was_away && !c->inside)
				command_progress(c, f->done, messages_about(&f->messages, s->view));
			f->was_away = false;
			f->done++;
			if (f->skip > 0) {
				f->skip--;
			} else {
				f->left--;
				begin_message(c, f);
			}
		}
	}
}

enum progress
cmd_fetch(struct command *c)
{
	struct fetch *f = arena_alloc(&c->arena, sizeof(*f));

	c->state = f;
	c->release = fetch_release;
	f->store = TEXT_UP_TO(0);
	f->kept = TEXT_UP_TO(SIZE_MAX / 2);
	change_init(&f->learned);
	if (!fetch_arguments(c, f))
		return COMMAND_DONE;
	c->step = fetch_step;
	return fetch_step(c);
}
