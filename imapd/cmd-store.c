/* cmd-store - STORE and UID STORE (RFC 3501 6.4.6), UNCHANGEDSINCE (RFC 7162 3.1.3). */
#include "imapd/acl.h"
#include "imapd/condstore.h"
#include "imapd/flags.h"

#include <string.h>

struct store_flags {
	struct message_set messages;
	enum change_mode mode;
	bool silent;
	struct flag_list flags;
	bool some_gone;
	bool conditional;
	uint64_t unchanged_since;
	struct number_ranges failed;  /* UIDs of messages that changed since */
};

static bool
store_arguments(struct command *c, struct store_flags *st)
{
	const char *wrong;
	struct span word;

	if (!command_take_messages(c, &st->messages) || !command_take_space(c) ||
		!condstore_take_unchanged(c, &st->conditional, &st->unchanged_since))
		return false;
	st->mode = span_take(&c->args, '+') ? CHANGE_ADD :
		span_take(&c->args, '-') ? CHANGE_REMOVE : CHANGE_REPLACE;
	if (!imap_take_atom(&c->args, &word) ||
		(!span_equal_nocase(word, SPAN("FLAGS")) && !span_equal_nocase(word,
		SPAN("FLAGS.SILENT"))))
		return command_bad(c, "FLAGS, +FLAGS or -FLAGS, with or without .SILENT"), false;
	st->silent = word.len > 5;
	if (!command_take_space(c))
		return false;
	if (!flag_list_take(&c->args, &c->arena, true, &st->flags, &wrong))
		return command_bad(c, wrong), false;
	return command_no_more(c);
}

/* The keywords as numbers; what is only taken away need not exist. False: too many, and none of them was made. */
static bool
store_keywords(struct store_flags *st, struct index *ix, struct keyword_bits *bits)
{
	memset(bits, 0, sizeof(*bits));
	if (st->mode != CHANGE_REMOVE && !keywords_fit(&ix->keywords, st->flags.keywords, st->flags.keyword_count))
		return false;
	for (size_t i = 0; i < st->flags.keyword_count; i++) {
		int number = index_keyword(ix, st->flags.keywords[i], st->mode != CHANGE_REMOVE);

		if (number != NO_KEYWORD)
			bits->word[number / 64] |= (uint64_t)1 << (number % 64);
		else if (st->mode != CHANGE_REMOVE)
			return false;
	}
	return true;
}

static bool
would_change(const struct index *ix, const struct index_record *r, const struct store_flags *st,
	const struct keyword_bits *bits)
{
	struct keyword_bits has = keywords_bits(&ix->keywords, r->keywords);
	bool flags_change, keywords_change = false;

	if (st->mode == CHANGE_REPLACE)
		flags_change = r->flags != st->flags.system;
	else
		flags_change = (st->mode == CHANGE_ADD ? ~r->flags : r->flags) & st->flags.system;
	for (size_t i = 0; i < MOST_KEYWORDS / 64; i++) {
		if (st->mode == CHANGE_REPLACE)
			keywords_change |= has.word[i] != bits->word[i];
		else
			keywords_change |= ((st->mode == CHANGE_ADD ?
			~has.word[i] : has.word[i]) & bits->word[i]) != 0;
	}
	return flags_change || keywords_change;
}

/* One change for all messages that it concerns. */
static int
store_all(struct command *c, struct store_flags *st, const struct keyword_bits *bits)
{
	struct view *v = c->session->view;
	struct index *ix = &v->mailbox->index;
	struct message_set walk = st->messages;
	struct number_ranges uids = { NULL, 0, 0 };
	uint64_t before = ix->modseq;
	struct change change;
	size_t number;
	int result;

	while ((number = messages_next(&walk, v)) != 0) {
		size_t at = index_find(ix, view_uid(v, number));

		if (at == NO_RECORD)
			st->some_gone = !st->messages.uid;
		else if (st->conditional && ix->records[at].modseq > st->unchanged_since)
			number_ranges_add(&st->failed, ix->records[at].uid);
		else if (would_change(ix, &ix->records[at], st, bits))
			number_ranges_add(&uids, ix->records[at].uid);
	}
	change_init(&change);
	if (uids.count > 0)
		change_flags(&change, st->mode, st->flags.system, bits, &uids);
	result = mailbox_commit(v->mailbox, &change);
	change_clear(&change);
	number_ranges_clear(&uids);
	if (result == 0)
		view_told_own(v, before);
	return result;
}

/* "* 3 FETCH (UID 5 FLAGS (\Seen) MODSEQ (12))"; with .SILENT no FLAGS (RFC 7162 3.1.3, 3.2.4). */
static void
tell_stored(struct command *c, const struct store_flags *st, size_t number,
	const struct index_record *r)
{
	struct text *out = command_out(c);

	view_fetch_begin(c->session->view, number, (c->verb->when & BY_UID) || c->session->condstore, out);
	if (!st->silent)
		view_flags_write(c->session->view, number, r, out);
	if (!st->silent && c->session->condstore)
		text_add_byte(out, ' ');
	if (c->session->condstore)
		view_modseq_write(r, out);
	text_add(out, SPAN(")\r\n"));
}

/* MODIFIED names the messages that were left alone: numbers, or UIDs in UID STORE. */
static enum progress
answer_modified(struct command *c, const struct store_flags *st)
{
	const struct view *v = c->session->view;
	const struct number_set failed = { st->failed.at, st->failed.count };
	struct message_set walk = { .set = failed, .uid = true };
	struct number_ranges told = { NULL, 0, 0 };
	struct text code = TEXT_UP_TO(MOST_OUT / 2);
	size_t number;

	while ((number = messages_next(&walk, v)) != 0)
		number_ranges_add(&told, c->verb->when & BY_UID ?
			view_uid(v, number) : (uint32_t)number);
	text_add(&code, SPAN("MODIFIED "));
	number_ranges_write(&told, &code);
	if (st->some_gone)
		(void)command_no(c, text_str(&code), "Some of the messages are no more.");
	else
		(void)command_ok(c, text_str(&code), "Some of the messages changed since.");
	number_ranges_clear(&told);
	text_clear(&code);
	return COMMAND_DONE;
}

/* RFC 4314 section 4: of the flags those that the session may change are changed; none of them, or setting all flags
 * anew without all rights, is refused. False: answered. */
static bool
within_rights(struct command *c, struct store_flags *st)
{
	const struct view *v = c->session->view;
	uint8_t may = view_may_change(v);
	bool keywords = v->rights & RIGHT_WRITE;

	if (may == FLAG_SYSTEM && keywords)
		return true;
	if (st->mode == CHANGE_REPLACE || ((st->flags.system & may) == 0 &&
		!(keywords && st->flags.keyword_count > 0)))
		return command_no(c, "NOPERM", "You may not change these flags here."), false;
	st->flags.system &= may;
	if (!keywords)
		st->flags.keyword_count = 0;
	return true;
}

static void
store_release(struct command *c)
{
	struct store_flags *st = c->state;

	number_ranges_clear(&st->failed);
}

static enum progress
store_step(struct command *c)
{
	struct store_flags *st = c->state;
	struct view *v = c->session->view;
	const struct index *ix = &v->mailbox->index;
	const struct number_set failed = { st->failed.at, st->failed.count };
	bool tells = !st->silent || c->session->condstore;
	size_t number;

	while (tells && !session_full(c->session) && (number = messages_next(&st->messages,
		v)) != 0) {
		size_t at = index_find(ix, view_uid(v, number));

		if (at != NO_RECORD && !number_set_has(&failed, ix->records[at].uid))
			tell_stored(c, st, number, &ix->records[at]);
	}
	if (tells && session_full(c->session))
		return COMMAND_AGAIN;
	account_housekeep(c->session->account);
	if (st->failed.count > 0)
		return answer_modified(c, st);
	if (st->some_gone)
		return command_no(c, "EXPUNGEISSUED", "Some of the messages are no more.");
	return command_ok(c, NULL, "STORE completed.");
}

enum progress
cmd_store(struct command *c)
{
	struct store_flags *st = arena_alloc(&c->arena, sizeof(*st));
	struct view *v = c->session->view;
	struct keyword_bits bits;

	c->state = st;
	c->release = store_release;
	if (!store_arguments(c, st))
		return COMMAND_DONE;
	if (st->conditional)
		condstore_enable(c->session);
	if (v->read_only)
		return command_no(c, "READ-ONLY", "The mailbox is selected read-only.");
	if (!within_rights(c, st))
		return COMMAND_DONE;
	if (!store_keywords(st, &v->mailbox->index, &bits))
		return command_no(c, "LIMIT", "The mailbox has as many keywords as it can.");
	if (store_all(c, st, &bits) < 0)
		return command_failed(c, "store");
	c->step = store_step;
	if (v->keywords != v->mailbox->index.keywords.count)
		/* new keywords are named before they are used */
		view_all_flags_write(v, command_out(c));
	return store_step(c);
}
