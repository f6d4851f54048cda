/* cmd-store - STORE and UID STORE (RFC 3501 6.4.6). */
#include "imapd/command.h"
#include "imapd/flags.h"

#include <string.h>

struct store_flags {
	struct message_set messages;
	enum change_mode mode;
	bool silent;
	struct flag_list flags;
	bool some_gone;
};

static bool
store_arguments(struct command *c, struct store_flags *st)
{
	const char *wrong;
	struct span word;

	if (!command_take_messages(c, &st->messages) || !command_take_space(c))
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

/* The keywords as numbers; what is only taken away need not exist. False: too many. */
static bool
store_keywords(struct store_flags *st, struct index *ix, struct keyword_bits *bits)
{
	memset(bits, 0, sizeof(*bits));
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
			st->some_gone = true;
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

static enum progress
store_step(struct command *c)
{
	struct store_flags *st = c->state;
	struct view *v = c->session->view;
	const struct index *ix = &v->mailbox->index;
	struct text *out = command_out(c);
	size_t number;

	while (!st->silent && !session_full(c->session) && (number = messages_next(&st->messages,
		v)) != 0) {
		size_t at = index_find(ix, view_uid(v, number));

		if (at == NO_RECORD)
			continue;
		text_add(out, SPAN("* "));
		text_add_number(out, number);
		text_add(out, SPAN(" FETCH ("));
		if (c->verb->when & BY_UID) {
			text_add(out, SPAN("UID "));
			text_add_number(out, ix->records[at].uid);
			text_add_byte(out, ' ');
		}
		view_flags_write(v, number, &ix->records[at], out);
		text_add(out, SPAN(")\r\n"));
	}
	if (!st->silent && session_full(c->session))
		return COMMAND_AGAIN;
	account_housekeep(c->session->account);
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

	if (!store_arguments(c, st))
		return COMMAND_DONE;
	if (v->read_only)
		return command_no(c, "READ-ONLY", "The mailbox is selected read-only.");
	if (!store_keywords(st, &v->mailbox->index, &bits))
		return command_no(c, "LIMIT", "The mailbox has as many keywords as it can.");
	if (store_all(c, st, &bits) < 0)
		return command_failed(c, "store");
	c->state = st;
	c->step = store_step;
	if (v->keywords != v->mailbox->index.keywords.count)
		/* new keywords are named before they are used */
		view_all_flags_write(v, command_out(c));
	return store_step(c);
}
