/* result - see result.h. */
#include "imapd/result.h"

#include "imapd/fetch.h"

/* --- arguments --- */

bool
partial_take(struct span *in, bool *back, uint32_t *from, uint32_t *to)
{
	struct span rest = *in;
	bool minus = span_take(&rest, '-');
	uint32_t a, b;

	if (!imap_take_number(&rest, &a) || a == 0 || !span_take(&rest, ':') ||
		span_take(&rest, '-') != minus || !imap_take_number(&rest, &b) || b == 0)
		return false;
	*back = minus;
	*from = a < b ? a : b;
	*to = a < b ? b : a;
	*in = rest;
	return true;
}

bool
partial_resolve(bool back, uint32_t from, uint32_t to, size_t count, size_t *first, size_t *last)
{
	if (from > count)
		return false;
	if ((size_t)to > count)
		to = (uint32_t)count;
	*first = back ? count - to + 1 : from;
	*last = back ? count - from + 1 : to;
	return true;
}

/* UPDATE [SP "(" items ")"] (RFC 5267 4.3, RFC 5465 section 7). */
static bool
take_update(struct command *c, struct result *r)
{
	struct span rest = c->args;

	r->update = true;
	if (imap_take_space(&rest) && rest.len > 0 && rest.at[0] == '(') {
		c->args = rest;
		return fetch_take_items(c, &r->items);
	}
	return true;
}

static bool
take_option(struct command *c, struct result *r)
{
	static const struct {
		const char *word;
		unsigned int what;
	} options[] = { { "MIN", RETURN_MIN }, { "MAX", RETURN_MAX }, { "COUNT", RETURN_COUNT },
		{ "ALL", RETURN_ALL }, { "SAVE", RETURN_SAVE }, { "PARTIAL", RETURN_PARTIAL },
		{ "CONTEXT", RETURN_CONTEXT }, { "UPDATE", RETURN_UPDATE } };
	size_t most = sizeof(options) / sizeof(options[0]), i = 0;
	struct span word;

	if (!imap_take_atom(&c->args, &word))
		return false;
	while (i < most && !span_equal_nocase(word, span_str(options[i].word)))
		i++;
	if (i == most)
		return false;
	if (options[i].what == RETURN_PARTIAL && ((r->returns & RETURN_PARTIAL) ||
		!imap_take_space(&c->args) || !partial_take(&c->args, &r->partial_back,
		&r->partial_from, &r->partial_to)))
		return false;
	if (options[i].what == RETURN_UPDATE && !take_update(c, r))
		return false;
	r->returns |= options[i].what;
	return true;
}

bool
result_take_return(struct command *c, struct result *r)
{
	if (!span_take_word(&c->args, SPAN("RETURN ("))) {
		r->extended = c->session->rev2;       /* RFC 9051 6.4.4: there is no other answer */
		r->returns = r->extended ? RETURN_ALL : 0;
		return true;
	}
	r->extended = true;
	for (bool first = true; !span_take(&c->args, ')'); first = false) {
		if ((!first && !imap_take_space(&c->args)) || !take_option(c, r))
			return false;
	}
	if (r->returns == 0)      /* RFC 4731 3.1: an empty list is ALL */
		r->returns = RETURN_ALL;
	/* RFC 9394 3.1: one of the two */
	if ((r->returns & RETURN_ALL) && (r->returns & RETURN_PARTIAL))
		return false;
	/* The two say nothing of what is told (RFC 5267 4.2, 4.3). */
	r->returns &= ~(RETURN_CONTEXT | RETURN_UPDATE);
	return imap_take_space(&c->args);
}

/* --- what was found --- */

/* SAVE and MODSEQ are about what MIN and MAX tell, when neither ALL nor COUNT is
 * there (RFC 5182 2.1, RFC 4731 3.2); PARTIAL limits them in the same way (RFC 9394 3.4). */
static bool
ends_only(const struct result *r)
{
	return (r->returns & (RETURN_MIN | RETURN_MAX | RETURN_PARTIAL)) &&
		!(r->returns & (RETURN_ALL | RETURN_COUNT));
}

bool
result_is_settled(const struct result *r)
{
	return r->extended && r->count > 0 && (r->returns & RETURN_MIN) &&
		!(r->returns & ~(RETURN_MIN | RETURN_SAVE));
}

static uint32_t
answer_number(const struct result *r, size_t number)
{
	return r->uid ? view_uid(r->view, number) : (uint32_t)number;
}

void
result_add(struct result *r, size_t number, uint64_t modseq)
{
	if (r->count++ == 0) {
		r->first = (uint32_t)number;
		r->first_modseq = modseq;
	}
	r->last = (uint32_t)number;
	r->last_modseq = modseq;
	if (modseq > r->highest)
		r->highest = modseq;
	if (!r->extended || (r->returns & (RETURN_ALL | RETURN_PARTIAL)))
		number_ranges_add(&r->found, answer_number(r, number));
	if ((r->returns & RETURN_SAVE) && (!ends_only(r) || (r->returns & RETURN_PARTIAL)))
		number_ranges_add(&r->saved, view_uid(r->view, number));
}

/* The things `first` to `last` (from 1) of what `from` holds, in its order. */
static void
cut_ranges(struct number_ranges *ranges, size_t first, size_t last)
{
	struct number_ranges kept = { NULL, 0, 0 };
	size_t before = 0;

	for (size_t i = 0; i < ranges->count && before < last; i++) {
		struct number_range range = ranges->at[i];
		size_t many = (size_t)(range.to - range.from) + 1;
		size_t from = first > before ? first - before : 1;
		size_t to = last - before < many ? last - before : many;

		for (; from <= to; from++)
			number_ranges_add(&kept, range.from + (uint32_t)(from - 1));
		before += many;
	}
	number_ranges_clear(ranges);
	*ranges = kept;
}

static void
cut_to_partial(const struct result *r, struct number_ranges *ranges)
{
	size_t first = 1, last = 0;

	(void)partial_resolve(r->partial_back, r->partial_from, r->partial_to, r->count, &first,
		&last);
	cut_ranges(ranges, first, last);
}

/* --- telling --- */

static void
add_item(struct text *out, const char *name, uint64_t n)
{
	text_add_str(out, name);
	text_add_number(out, n);
}

/* RFC 4731 3.2: the highest of what is told; with MIN or MAX alone, of these. */
static uint64_t
told_modseq(const struct result *r)
{
	uint64_t first = r->returns & RETURN_MIN ? r->first_modseq : 0;
	uint64_t last = r->returns & RETURN_MAX ? r->last_modseq : 0;

	if (!ends_only(r) || (r->returns & RETURN_PARTIAL))
		return r->highest;
	return first > last ? first : last;
}

/* "* ESEARCH (TAG "a") UID MIN 1 MAX 9 COUNT 3 ALL ", up to where the set begins. */
static void
begin_extended(struct command *c, struct result *r)
{
	struct text *out = command_out(c);

	text_add(out, SPAN("* ESEARCH (TAG \""));
	text_add(out, c->tag);
	text_add_byte(out, '"');
	if (r->mailbox.at != NULL) {         /* RFC 7377 2.1 */
		text_add(out, SPAN(" MAILBOX "));
		text_add(out, r->mailbox);
		add_item(out, " UIDVALIDITY ", r->view->mailbox->index.uidvalidity);
	}
	text_add_str(out, r->uid ? ") UID" : ")");
	/* RFC 4731 3.1: without any found, MIN, MAX and ALL are not told; COUNT is. */
	if ((r->returns & RETURN_MIN) && r->count > 0)
		add_item(out, " MIN ", answer_number(r, r->first));
	if ((r->returns & RETURN_MAX) && r->count > 0)
		add_item(out, " MAX ", answer_number(r, r->last));
	if (r->returns & RETURN_COUNT)
		add_item(out, " COUNT ", r->count);
	if (r->returns & RETURN_PARTIAL) {
		const char *sign = r->partial_back ? "-" : "";

		cut_to_partial(r, &r->found);
		text_printf(out, " PARTIAL (%s%u:%s%u ", sign, r->partial_from, sign,
			r->partial_to);
	} else if (r->found.count > 0) {
		text_add(out, SPAN(" ALL "));
	}
}

/* The set; without RETURN one number after the other. False: `out` is full. */
static bool
write_found(struct command *c, struct result *r)
{
	struct text *out = command_out(c);

	for (; r->written < r->found.count; r->written++) {
		struct number_range *range = &r->found.at[r->written];
		struct number_ranges one = { range, 1, 1 };

		while (!r->extended && range->from < range->to && !session_full(c->session))
			add_item(out, " ", range->from++);
		if (session_full(c->session))
			return false;
		if (!r->extended)
			text_add_byte(out, ' ');
		else if (r->written > 0)
			text_add_byte(out, ',');
		number_ranges_write(&one, out);
	}
	return true;
}

bool
result_write(struct command *c, struct result *r, const char *word)
{
	struct text *out = command_out(c);

	if (r->extended && r->returns == RETURN_SAVE)     /* RFC 5182 2.1: then nothing is told */
		return true;
	if (!r->begun && r->extended) {
		begin_extended(c, r);
	} else if (!r->begun) {
		text_add(out, SPAN("* "));
		text_add_str(out, word);
	}
	r->begun = true;
	if (!write_found(c, r))
		return false;
	if (r->returns & RETURN_PARTIAL)
		text_add_str(out, r->found.count == 0 ? "NIL)" : ")");
	if (r->modseq && r->count > 0) {
		add_item(out, r->extended ? " MODSEQ " : " (MODSEQ ", r->extended ? told_modseq(r) :
			r->highest);
		text_add_str(out, r->extended ? "" : ")");
	}
	text_add(out, SPAN("\r\n"));
	return true;
}

void
result_save(struct result *r)
{
	struct view *v = r->view;

	if (!(r->returns & RETURN_SAVE))
		return;
	if ((r->returns & RETURN_PARTIAL) && ends_only(r))
		cut_to_partial(r, &r->saved);
	if (ends_only(r) && r->count > 0) {
		if (r->returns & RETURN_MIN)
			number_ranges_add(&r->saved, view_uid(v, r->first));
		if (r->returns & RETURN_MAX)
			number_ranges_add(&r->saved, view_uid(v, r->last));
	}
	view_save(v, &r->saved);
}

void
result_clear(struct result *r)
{
	number_ranges_clear(&r->found);
	number_ranges_clear(&r->saved);
}
