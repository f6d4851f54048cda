/* context - see context.h. */
#include "imapd/context.h"

#include <stdlib.h>
#include <string.h>

struct context *
context_new(struct view *v, struct span tag, bool uid)
{
	struct context *x;
	size_t i = 0;

	while (i < MOST_CONTEXTS && v->contexts[i] != NULL)
		i++;
	if (i == MOST_CONTEXTS || tag.len > MOST_CONTEXT_TAG)
		return NULL;
	x = v->contexts[i] = must_alloc(sizeof(*x));
	x->mark = (uint8_t)(VIEW_CONTEXT << i);
	x->tag = arena_copy(&x->arena, tag);
	x->uid = uid;
	x->modseq = v->mailbox->index.modseq;
	for (size_t k = 0; k < v->count; k++)
		v->marks[k] &= (uint8_t)~x->mark;
	return x;
}

struct context *
context_find(const struct view *v, struct span tag)
{
	for (size_t i = 0; i < MOST_CONTEXTS; i++) {
		if (v->contexts[i] != NULL && span_equal(v->contexts[i]->tag, tag))
			return v->contexts[i];
	}
	return NULL;
}

void
context_end(struct view *v, struct context *x)
{
	for (size_t i = 0; i < MOST_CONTEXTS; i++) {
		if (v->contexts[i] == x)
			v->contexts[i] = NULL;
	}
	search_clear(&x->search);
	sorter_free(&x->sorter);
	number_ranges_clear(&x->fetch);
	arena_clear(&x->arena);
	free(x);
}

void
contexts_clear(struct view *v)
{
	for (size_t i = 0; i < MOST_CONTEXTS; i++) {
		if (v->contexts[i] != NULL)
			context_end(v, v->contexts[i]);
	}
}

bool
contexts_have_news(const struct view *v)
{
	for (size_t i = 0; i < MOST_CONTEXTS; i++) {
		if (v->contexts[i] != NULL && v->contexts[i]->active &&
			v->contexts[i]->modseq != v->mailbox->index.modseq)
			return true;
	}
	return false;
}

/* --- telling --- */

/* What is told of one context in one response: pairs of a place and a set. */
struct told {
	struct context *context;
	bool by_uid;
	uint32_t uidvalidity;
	struct text pairs;
	struct number_ranges set;    /* of the last pair */
	size_t place;                /* its place; 0 in mailbox order */
};

static void
flush_pair(struct told *t)
{
	if (t->set.count == 0)
		return;
	text_add_str(&t->pairs, t->pairs.len > 0 ? " " : "");
	text_add_number(&t->pairs, t->place);
	text_add_byte(&t->pairs, ' ');
	number_ranges_write(&t->set, &t->pairs);
	number_ranges_clear(&t->set);
}

static void
tell_one(struct told *t, size_t place, uint32_t number)
{
	if (place != t->place)
		flush_pair(t);
	t->place = place;
	number_ranges_add(&t->set, number);
}

static void
write_told(struct told *t, const char *word, struct text *out)
{
	flush_pair(t);
	if (t->pairs.len > 0) {
		text_add(out, SPAN("* ESEARCH (TAG \""));
		text_add(out, t->context->tag);
		text_add_byte(out, '"');
		if (t->context->correlators.len > 0) {       /* RFC 7377 2.1 */
			text_add(out, SPAN(" MAILBOX "));
			text_add(out, t->context->correlators);
			text_add(out, SPAN(" UIDVALIDITY "));
			text_add_number(out, t->uidvalidity);
		}
		text_add_str(out, t->by_uid ? ") UID " : ") ");
		text_add_str(out, word);
		text_add(out, SPAN(" ("));
		text_add(out, text_span(&t->pairs));
		text_add(out, SPAN(")\r\n"));
	}
	text_clear(&t->pairs);
}

static struct told
told_begin(const struct view *v, struct context *x)
{
	return (struct told){ .context = x, .by_uid = x->uid || v->uid_only,     /* that may have come later (RFC 9586 3) */
		.uidvalidity = v->mailbox->index.uidvalidity, .pairs = TEXT_UP_TO(SIZE_MAX / 2) };
}

static uint32_t
told_number(const struct told *t, const struct view *v, size_t i)
{
	return t->by_uid ? v->uids[i] : (uint32_t)i + 1;
}

/* In the order of the sort: each is removed where it stands when those before it are gone. */
struct removal {
	struct view *view;
	struct told *told;
};

static void
tell_removal(void *me, size_t place, uint32_t uid)
{
	struct removal *r = me;
	size_t number = view_number(r->view, uid);

	tell_one(r->told, place, r->told->by_uid ? uid : (uint32_t)number);
}

static bool
is_leaving(void *me, uint32_t uid)
{
	struct removal *r = me;
	size_t number = view_number(r->view, uid);

	return number == 0 || (r->view->marks[number - 1] & VIEW_LEAVING);
}

static bool
is_out(void *me, uint32_t uid)
{
	struct removal *r = me;
	size_t number = view_number(r->view, uid);

	return number == 0 || !(r->view->marks[number - 1] & r->told->context->mark);
}

void
contexts_tell_leaving(struct view *v, struct text *out)
{
	for (size_t k = 0; k < MOST_CONTEXTS; k++) {
		struct context *x = v->contexts[k];
		struct told t;

		if (x == NULL || !x->active)
			continue;
		t = told_begin(v, x);
		if (x->sorter != NULL)
			sorter_remove(x->sorter, is_leaving, tell_removal,
				&(struct removal){ v, &t });
		for (size_t i = 0; i < v->count && x->sorter == NULL; i++) {
			if ((v->marks[i] & VIEW_LEAVING) && (v->marks[i] & x->mark))
				tell_one(&t, 0, told_number(&t, v, i));
		}
		write_told(&t, "REMOVEFROM", out);
	}
}

/* What changed of a slice of messages, for one context: numbers of those that came into its result; those that left
 * it lose its mark. */
struct looked {
	struct number_ranges came;
	struct told added, removed;
	bool any_left;
	struct change learned;
};

static void
look_at(struct view *v, size_t i, struct context *x, struct looked *l)
{
	bool was = v->marks[i] & x->mark, is = search_fits(&x->search, v, i + 1, &l->learned);

	if (was == is || index_find(&v->mailbox->index, v->uids[i]) == NO_RECORD)
		return;
	if (is) {
		v->marks[i] |= x->mark;
		number_ranges_add(&l->came, (uint32_t)i + 1);
		return;
	}
	v->marks[i] &= (uint8_t)~x->mark;
	l->any_left = true;
	if (x->sorter == NULL)
		tell_one(&l->removed, 0, told_number(&l->removed, v, i));
}

static void
add(struct view *v, uint32_t number, struct context *x, struct looked *l)
{
	uint32_t uid = view_uid(v, number);
	size_t place = 0;

	if (x->sorter != NULL) {
		place = sorter_insert(x->sorter, v, number, &l->learned) + 1;
		flush_pair(&l->added);      /* each for itself: places move with each */
	}
	tell_one(&l->added, place, told_number(&l->added, v, number - 1));
	if (x->items.at != NULL && uid >= v->fetch_from && (uid < v->own_from || uid > v->own_to))
		number_ranges_add(&x->fetch, uid);
}

static void
look_at_some(struct view *v, size_t from, size_t to, struct context *x, struct text *out)
{
	const struct index *ix = &v->mailbox->index;
	struct looked l = { .added = told_begin(v, x), .removed = told_begin(v, x) };
	size_t record = from < to ? index_from(ix, v->uids[from]) : 0;

	change_init(&l.learned);
	for (size_t i = from; i < to; i++) {
		while (record < ix->count && ix->records[record].uid < v->uids[i])
			record++;
		if (record == ix->count || ix->records[record].uid != v->uids[i] ||
			ix->records[record].modseq <= x->modseq)
			continue;
		look_at(v, i, x, &l);
		record = index_from(ix, v->uids[i]);     /* reading a message may move records */
	}
	/* What left first: the places of what came count without it. */
	if (l.any_left && x->sorter != NULL)
		sorter_remove(x->sorter, is_out, tell_removal, &(struct removal){ v, &l.removed });
	for (size_t i = 0; i < l.came.count; i++) {
		for (uint32_t n = l.came.at[i].from; n <= l.came.at[i].to; n++)
			add(v, n, x, &l);
	}
	write_told(&l.removed, "REMOVEFROM", out);
	write_told(&l.added, "ADDTO", out);
	number_ranges_clear(&l.came);
	if (l.learned.records.len > 0) {
		l.learned.lazy = true;
		(void)mailbox_commit(v->mailbox, &l.learned);
	}
	change_clear(&l.learned);
}

/* Does the context have to look at what changed up to `modseq`? */
static bool
is_behind(const struct context *x, uint64_t modseq)
{
	return x != NULL && x->active && x->modseq < modseq;
}

/* Behind the next LOOKED_AT_A_TIME messages that changed after `since`, from `from` on. Both are in ascending order of
 * UID. */
static size_t
end_of_slice(const struct view *v, size_t from, uint64_t since)
{
	const struct index *ix = &v->mailbox->index;
	size_t record = from < v->count ? index_from(ix, v->uids[from]) : 0, changed = 0, i = from;

	for (; i < v->count && changed < LOOKED_AT_A_TIME; i++) {
		while (record < ix->count && ix->records[record].uid < v->uids[i])
			record++;
		changed += record < ix->count && ix->records[record].modseq > since;
	}
	return i;
}

bool
contexts_tell_changed(struct view *v, size_t *at, uint64_t modseq, struct text *out, size_t full)
{
	uint64_t since = UINT64_MAX;
	size_t to;

	for (size_t k = 0; k < MOST_CONTEXTS; k++) {
		if (is_behind(v->contexts[k], modseq) && v->contexts[k]->modseq < since)
			since = v->contexts[k]->modseq;
	}
	if (since < UINT64_MAX && out->len >= full)
		return false;
	to = since < UINT64_MAX ? end_of_slice(v, *at, since) : v->count;
	for (size_t k = 0; k < MOST_CONTEXTS && since < UINT64_MAX; k++) {
		struct context *x = v->contexts[k];

		if (!is_behind(x, modseq))
			continue;
		look_at_some(v, *at, to, x, out);
		if (to == v->count)
			x->modseq = modseq;
	}
	*at = to;
	if (to < v->count)
		return false;
	v->fetch_from = v->uidnext;
	return true;
}

bool
contexts_take_fetch(struct view *v, struct span *items, struct number_ranges *uids)
{
	for (size_t k = 0; k < MOST_CONTEXTS; k++) {
		struct context *x = v->contexts[k];

		if (x == NULL || x->fetch.count == 0)
			continue;
		*items = x->items;
		*uids = x->fetch;
		x->fetch = (struct number_ranges){ NULL, 0, 0 };
		return true;
	}
	return false;
}
