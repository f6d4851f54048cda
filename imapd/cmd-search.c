/*
 * cmd-search - SEARCH and UID SEARCH (RFC 3501 6.4.4), with RETURN (ESEARCH: RFC 4731) and the
 * saved result "$" (SEARCHRES: RFC 5182).
 */
#include "imapd/condstore.h"

#include "imapd/charset.h"
#include "imapd/search.h"

#define RETURN_MIN 1u
#define RETURN_MAX 2u
#define RETURN_COUNT 4u
#define RETURN_ALL 8u
#define RETURN_SAVE 16u

struct searching {
	struct search search;
	struct change learned;
	size_t number;
	bool began;
	bool extended;                   /* RETURN was said: the answer is ESEARCH */
	unsigned int returns;
	size_t first, last, count;       /* of what was found; first and last are numbers */
	uint64_t first_modseq, last_modseq, highest;
	struct number_ranges found;      /* as ALL tells it: numbers, or UIDs */
	struct number_ranges saved;      /* UIDs for "$" */
	size_t written;                  /* ranges of ALL */
	bool all_begun;
};

static void
search_release(struct command *c)
{
	struct searching *s = c->state;

	search_clear(&s->search);
	change_clear(&s->learned);
	number_ranges_clear(&s->found);
	number_ranges_clear(&s->saved);
}

/* [SP "RETURN" SP "(" options ")"], in front of everything else (RFC 4466 2.6.1). */
static bool
take_return(struct command *c, struct searching *s)
{
	static const struct {
		const char *word;
		unsigned int what;
	} options[] = { { "MIN", RETURN_MIN }, { "MAX", RETURN_MAX }, { "COUNT", RETURN_COUNT },
		{ "ALL", RETURN_ALL }, { "SAVE", RETURN_SAVE } };
	struct span word;
	size_t i, most = sizeof(options) / sizeof(options[0]);
	bool first = true;

	if (!span_take_word(&c->args, SPAN("RETURN (")))
		return true;
	s->extended = true;
	for (; !span_take(&c->args, ')'); first = false) {
		if ((!first && !imap_take_space(&c->args)) || !imap_take_atom(&c->args, &word))
			return false;
		for (i = 0; i < most && !span_equal_nocase(word, span_str(options[i].word)); i++)
			;
		if (i == most)
			return false;
		s->returns |= options[i].what;
	}
	if (s->returns == 0)      /* RFC 4731 3.1: an empty list is ALL */
		s->returns = RETURN_ALL;
	return imap_take_space(&c->args);
}

static void
keep_learned(struct command *c, struct searching *s)
{
	if (s->learned.records.len == 0)
		return;
	s->learned.lazy = true;
	(void)mailbox_commit(c->session->view->mailbox, &s->learned);
}

/* What the answer calls message `number`. */
static uint32_t
answer_number(const struct command *c, size_t number)
{
	return c->verb->when & BY_UID ? view_uid(c->session->view, number) : (uint32_t)number;
}

/* SAVE and MODSEQ are about what MIN and MAX tell, when neither ALL nor COUNT is
 * there (RFC 5182 2.1, RFC 4731 3.2). */
static bool
ends_only(const struct searching *s)
{
	return (s->returns & (RETURN_MIN | RETURN_MAX)) &&
		!(s->returns & (RETURN_ALL | RETURN_COUNT));
}

static uint64_t
modseq_of(const struct view *v, size_t number)
{
	size_t at = index_find(&v->mailbox->index, view_uid(v, number));

	return at == NO_RECORD ? 0 : v->mailbox->index.records[at].modseq;
}

static void
note_modseq(struct searching *s, uint64_t modseq)
{
	if (s->count == 1)
		s->first_modseq = modseq;
	s->last_modseq = modseq;
	if (modseq > s->highest)
		s->highest = modseq;
}

/* RFC 4731 3.2: the highest of what is told; with MIN or MAX alone, of these. */
static uint64_t
result_modseq(const struct searching *s)
{
	uint64_t first = s->returns & RETURN_MIN ? s->first_modseq : 0;
	uint64_t last = s->returns & RETURN_MAX ? s->last_modseq : 0;

	if (!ends_only(s))
		return s->highest;
	return first > last ? first : last;
}

static void
add_found(struct command *c, struct searching *s)
{
	struct text *out = command_out(c);

	if (s->count++ == 0)
		s->first = s->number;
	s->last = s->number;
	if (s->search.modseq)
		note_modseq(s, modseq_of(c->session->view, s->number));
	if (!s->extended) {
		text_add_byte(out, ' ');
		text_add_number(out, answer_number(c, s->number));
	}
	if (s->returns & RETURN_ALL)
		number_ranges_add(&s->found, answer_number(c, s->number));
	if ((s->returns & RETURN_SAVE) && !ends_only(s))
		number_ranges_add(&s->saved, view_uid(c->session->view, s->number));
}

static void
add_item(struct text *out, const char *name, uint64_t n)
{
	text_add_str(out, name);
	text_add_number(out, n);
}

/* "* ESEARCH (TAG "a") UID MIN 1 MAX 9 COUNT 3" and, range by range, ALL. False: `out` is full. */
static bool
write_extended(struct command *c, struct searching *s)
{
	struct text *out = command_out(c);

	if (s->returns == RETURN_SAVE)       /* RFC 5182 2.1: then nothing is told */
		return true;
	if (!s->all_begun) {
		text_add(out, SPAN("* ESEARCH (TAG \""));
		text_add(out, c->tag);
		text_add_str(out, c->verb->when & BY_UID ? "\") UID" : "\")");
		/* RFC 4731 3.1: without any found, MIN, MAX and ALL are not told; COUNT is. */
		if ((s->returns & RETURN_MIN) && s->count > 0)
			add_item(out, " MIN ", answer_number(c, s->first));
		if ((s->returns & RETURN_MAX) && s->count > 0)
			add_item(out, " MAX ", answer_number(c, s->last));
		if (s->returns & RETURN_COUNT)
			add_item(out, " COUNT ", s->count);
		if (s->found.count > 0)
			text_add(out, SPAN(" ALL "));
		s->all_begun = true;
	}
	for (; s->written < s->found.count; s->written++) {
		struct number_ranges one = { &s->found.at[s->written], 1, 1 };

		if (session_full(c->session))
			return false;
		if (s->written > 0)
			text_add_byte(out, ',');
		number_ranges_write(&one, out);
	}
	if (s->search.modseq && s->count > 0)
		add_item(out, " MODSEQ ", result_modseq(s));
	text_add(out, SPAN("\r\n"));
	return true;
}

/* RFC 7162 3.1.5: "* SEARCH 2 5 (MODSEQ 917162500)". */
static void
end_plain(struct command *c, struct searching *s)
{
	struct text *out = command_out(c);

	if (s->search.modseq && s->count > 0) {
		add_item(out, " (MODSEQ ", s->highest);
		text_add_byte(out, ')');
	}
	text_add(out, SPAN("\r\n"));
}

static void
save(struct view *v, struct searching *s)
{
	if (!(s->returns & RETURN_SAVE))
		return;
	if (ends_only(s) && s->count > 0) {
		if (s->returns & RETURN_MIN)
			number_ranges_add(&s->saved, view_uid(v, s->first));
		if ((s->returns & RETURN_MAX) && (s->last != s->first ||
			!(s->returns & RETURN_MIN)))
			number_ranges_add(&s->saved, view_uid(v, s->last));
	}
	view_save(v, &s->saved);
}

static enum progress
search_step(struct command *c)
{
	struct searching *s = c->state;
	struct view *v = c->session->view;
	bool min_only = s->extended && !(s->returns & ~(RETURN_MIN | RETURN_SAVE)) &&
		(s->returns & RETURN_MIN);

	if (!s->began && !s->extended)
		text_add(command_out(c), SPAN("* SEARCH"));
	s->began = true;
	for (; s->number <= v->count && !(min_only && s->count > 0); s->number++) {
		if (session_full(c->session) || session_slice_over(c->session)) {
			keep_learned(c, s);
			return COMMAND_AGAIN;
		}
		if (search_fits(&s->search, v, s->number, &s->learned))
			add_found(c, s);
	}
	keep_learned(c, s);
	if (!s->extended)
		end_plain(c, s);
	else if (!write_extended(c, s))
		return COMMAND_AGAIN;
	save(v, s);
	return command_ok(c, NULL, "SEARCH completed.");
}

enum progress
cmd_search(struct command *c)
{
	struct searching *s = arena_alloc(&c->arena, sizeof(*s));
	const char *expected;

	if (!command_take_space(c))
		return COMMAND_DONE;
	change_init(&s->learned);
	s->number = 1;
	c->state = s;
	c->release = search_release;
	if (!take_return(c, s))
		return command_bad(c,
			"MIN, MAX, COUNT, ALL, SAVE in parentheses behind RETURN, then keys");
	switch (search_take(&s->search, &c->args, &c->arena, c->session->view, &expected)) {
	case SEARCH_SYNTAX:
		return command_bad(c, expected);
	case SEARCH_CHARSET:
		save(c->session->view, s);     /* a NO empties what was saved (RFC 5182 2.1) */
		return command_no(c, "BADCHARSET " CHARSET_LIST, "The charset is not known here.");
	case SEARCH_FINE:
	default:
		break;
	}
	if (!command_no_more(c))
		return COMMAND_DONE;
	if (s->search.modseq)
		condstore_enable(c->session);
	c->step = search_step;
	return search_step(c);
}
