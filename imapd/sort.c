/*
 * sort - see sort.h. In two steps, both stable, both able to stop anywhere: the fronts of the values are put in order
 * byte for byte, the last first (a radix sort); then a merge sort from the bottom up does what is left. Most often that
 * is nothing, and it sees so by looking once at each message and the next.
 *
 * Where the first criterion is a text, and its order is on disk (order.h), ranks stand in the place of texts, and no header
 * is read. What came since is put between them: twice a rank, so that there is room, and by its text among its like.
 */
#include "imapd/sort.h"

#include "common/log.h"
#include "imapd/cache.h"
#include "imapd/date.h"
#include "imapd/encoded-word.h"
#include "imapd/envelope.h"
#include "imapd/fold.h"
#include "imapd/header.h"
#include "imapd/imap-parse.h"
#include "imapd/order.h"
#include "imapd/radix.h"
#include "imapd/subject.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MERGED_AT_A_TIME 256     /* messages, between two looks at the clock */
#define LEAST_FOR_FRONTS 200     /* fewer messages are merged at once */

/* New messages that are put between those of an order that is on disk: of more, and one in a thousand, it is quicker to
 * read the header of each message once than those of a dozen for each of them. */
#define MOST_PLACED 64u
#define WORTH_KEEPING 8u         /* so many of them make it be written anew */

/* Compared by front, then by text. */
struct value {
	uint64_t front;                  /* a number, or the first eight bytes of the text, or twice a rank */
	uint32_t at, len;                /* of a text, in sorter.texts */
};

struct sorter {
	const struct sort_criteria *criteria;
	size_t count, room;
	uint64_t names;                  /* of the fields that the criteria need, in the mailbox's cache */
	bool named;
	uint32_t *numbers;               /* of the messages, as they were added */
	struct value *values;             /* criteria->count of each */
	struct text texts;
	struct text folded;              /* the last one, whole */
	uint32_t *order;                 /* when all are merged: places in `numbers` */
	/* What is ordered: the front of the first value of each, so that most comparisons look nowhere else,
	 * and its place in `numbers`. */
	struct radix radix;
	size_t made, looked;             /* entries; those that stand right before the next one */
	/* The merge, from radix.from into radix.into, runs of `width`. */
	size_t width, left, right, to;   /* heads of the two runs; where the smaller one goes */
	size_t left_end, right_end;
	size_t live;                     /* sorter_keep: how many of `order` count */

	/* sorter_use_order; NULL: none is used, or kept. */
	struct mailbox *mailbox;
	struct order *known;             /* the one that is on disk, if there is any */
	size_t placed;                   /* messages that it does not know */
	bool doubtful;                   /* the text of some could not be had: what comes of it is not kept */
	struct text probe;
	uint32_t *kept, rank;            /* what sorter_keep_order writes: UIDs, ranks; the last of these */
	size_t ranked;                   /* how far it has come */
};

/* --- criteria --- */

static const struct {
	const char *word;
	bool header;
	unsigned int facts;
	const char *order;               /* of a text: where its order is kept (ORDER_FILES) */
} words[] = {
	[SORT_ARRIVAL] =     { "ARRIVAL",     false, FACT_DATE, NULL },
	[SORT_CC] =          { "CC",          true,  0,         "order-cc" },
	[SORT_DATE] =        { "DATE",        true,  FACT_DATE, NULL },
	[SORT_DISPLAYFROM] = { "DISPLAYFROM", true,  0,         "order-displayfrom" },
	[SORT_DISPLAYTO] =   { "DISPLAYTO",   true,  0,         "order-displayto" },
	[SORT_FROM] =        { "FROM",        true,  0,         "order-from" },
	[SORT_SIZE] =        { "SIZE",        false, FACT_SIZE, NULL },
	[SORT_SUBJECT] =     { "SUBJECT",     true,  0,         "order-subject" },
	[SORT_TO] =          { "TO",          true,  0,         "order-to" },
};
#define WORDS (sizeof(words) / sizeof(words[0]))

static bool
take_criterion(struct span *in, struct sort_criteria *criteria)
{
	struct span word;
	bool reverse;
	size_t i = 0;

	if (criteria->count == MOST_SORT_CRITERIA || !imap_take_atom(in, &word))
		return false;
	reverse = span_equal_nocase(word, SPAN("REVERSE"));
	if (reverse && (!imap_take_space(in) || !imap_take_atom(in, &word)))
		return false;
	while (i < WORDS && !span_equal_nocase(word, span_str(words[i].word)))
		i++;
	if (i == WORDS)
		return false;
	criteria->at[criteria->count].by = (enum sort_by)i;
	criteria->at[criteria->count++].reverse = reverse;
	criteria->headers += words[i].header;
	criteria->facts |= words[i].facts;
	return true;
}

bool
sort_take_criteria(struct span *in, struct sort_criteria *criteria)
{
	struct span rest = *in;

	*criteria = (struct sort_criteria){ .count = 0 };
	if (!span_take(&rest, '('))
		return false;
	do {
		if (!take_criterion(&rest, criteria))
			return false;
	} while (imap_take_space(&rest));
	if (!span_take(&rest, ')'))
		return false;
	*in = rest;
	return true;
}

/* --- values --- */

int64_t
sort_sent_date(struct span header, int64_t arrival)
{
	struct span value;
	struct date date;

	return header_find(header, SPAN("Date"), &value) && date_parse(value, &date) ? date.utc :
		arrival;
}

/* RFC 5957: the name that a reader sees of the first address; without one, local@domain. */
static void
add_display(const struct address_item *item, struct text *to)
{
	struct text plain = TEXT_UP_TO(4 * MOST_SORT_TEXT);

	if (item->has_name && item->name.len > 0) {
		encoded_word_decode(span_part(text_span(&item->name), 0, 4 * MOST_SORT_TEXT), &plain);
	} else {
		text_add(&plain, span_part(text_span(&item->local), 0, MOST_SORT_TEXT));
		text_add_byte(&plain, '@');
		text_add(&plain, span_part(text_span(&item->domain), 0, MOST_SORT_TEXT));
	}
	fold_add(to, text_span(&plain));
	text_clear(&plain);
}

/* The first address of a field: its local part, or a group's name. */
static void
add_first_address(struct span header, struct span field, bool display, struct text *to)
{
	struct address_reader reader;
	struct address_item item;
	struct span value, local;

	if (!header_find(header, field, &value))
		return;
	if (!display && address_plain_local(value, &local)) {
		fold_add(to, span_part(local, 0, MOST_SORT_TEXT));
		return;
	}
	address_item_init(&item);
	address_reader_init(&reader, value);
	if (address_next(&reader, &item)) {
		if (display)
			add_display(&item, to);
		else
			fold_add(to, span_part(text_span(item.kind == ADDRESS_MAILBOX ? &item.local :
				&item.name), 0, MOST_SORT_TEXT));
	}
	address_item_clear(&item);
}

static void
add_text_of(enum sort_by by, struct span header, struct text *to)
{
	struct span value;

	switch (by) {
	case SORT_SUBJECT:
		if (header_find(header, SPAN("Subject"), &value))
			(void)subject_base(value, to);
		break;
	case SORT_CC:
		add_first_address(header, SPAN("Cc"), false, to);
		break;
	case SORT_TO:
	case SORT_DISPLAYTO:
		add_first_address(header, SPAN("To"), by == SORT_DISPLAYTO, to);
		break;
	default:
		add_first_address(header, SPAN("From"), by == SORT_DISPLAYFROM, to);
		break;
	}
}

/* U+FFFD, which stands where bytes meant nothing. */
#define REPLACEMENT "\xef\xbf\xbd"

/* As a number that is smaller where the text comes first; zeros fill it up. */
static uint64_t
front_of(struct span text)
{
	uint64_t front = 0;

	if (text.len >= 8)
		memcpy(&front, text.at, 8);
	else if (text.len > 0)
		memcpy(&front, text.at, text.len);
	return be64toh(front);
}

static struct value
number_value(int64_t number)
{
	return (struct value){ .front = (uint64_t)number ^ (uint64_t)1 << 63 };
}

/* What is broken in its charset comes after all others (RFC 5255 4.6): no UTF-8 begins with 0xff. */
static struct span
text_of(enum sort_by by, struct span header, struct text *folded)
{
	struct span text;

	text_reset(folded);
	text_add_byte(folded, 0xff);
	add_text_of(by, header, folded);
	text = span_part(text_span(folded), 1, MOST_SORT_TEXT);
	return span_find(text, SPAN(REPLACEMENT)) == text.len ? text :
		span_part(text_span(folded), 0, MOST_SORT_TEXT);
}

static struct value
value_of(struct sorter *s, enum sort_by by, struct span header, const struct index_record *r)
{
	struct value v = { .front = 0 };
	struct span text;

	switch (by) {
	case SORT_ARRIVAL:
		return number_value(r->date == UNKNOWN_DATE ? 0 : r->date);
	case SORT_DATE:
		return number_value(sort_sent_date(header, r->date == UNKNOWN_DATE ? 0 : r->date));
	case SORT_SIZE:
		return number_value(r->vsize == UNKNOWN_SIZE ? 0 : (int64_t)r->vsize);
	default:
		text = text_of(by, header, &s->folded);
		v.at = (uint32_t)s->texts.len;
		text_add(&s->texts, text);
		if (s->texts.failed)     /* 4 GiB of texts: the rest counts as empty */
			text = SPAN_NONE;
		v.len = (uint32_t)text.len;
		v.front = front_of(text);
		return v;
	}
}

/* --- an order that is on disk --- */

void
sorter_use_order(struct sorter *s, struct mailbox *m)
{
	const struct index *ix = &m->index;
	size_t behind, most = MOST_PLACED + ix->count / 1000;

	/* Where another criterion needs the header, nothing is won. */
	if (words[s->criteria->at[0].by].order == NULL || s->criteria->headers > 1 || ix->count < LEAST_ORDERED)
		return;
	s->mailbox = m;
	s->known = order_read(ix, words[s->criteria->at[0].by].order);
	if (s->known == NULL)
		return;
	behind = order_highest(s->known) == UINT32_MAX ? ix->count : index_from(ix, order_highest(s->known) + 1);
	if (ix->count - behind > most || behind > order_count(s->known) + most)
		order_free(&s->known);           /* it knows too few of them */
}

/* Of a message, whose text is to be put between those that are known. */
struct placing {
	struct sorter *sorter;
	struct span text;
	struct change *learned;
};

/* The text against that of a message that the order knows. */
static int
compare_known(void *me, uint32_t uid, bool *gone)
{
	struct placing *p = me;
	struct sorter *s = p->sorter;
	struct span header;

	if (index_find(&s->mailbox->index, uid) == NO_RECORD) {
		*gone = true;
		return 0;
	}
	if (!cache_lines(s->mailbox, uid, s->names, p->learned, &header)) {
		*gone = s->doubtful = true;
		return 0;
	}
	return span_compare(p->text, text_of(s->criteria->at[0].by, header, &s->probe));
}

/* The first value of the message that is added: its rank, or its place between ranks. */
static void
rank_first(struct sorter *s, uint32_t rank, struct value *v, struct change *learned)
{
	struct placing p = { s, span_part(text_span(&s->texts), v->at, v->len), learned };
	uint32_t place = 2 * rank;

	if (rank == 0) {
		s->placed++;
		place = order_place(s->known, compare_known, &p);
	}
	if (place % 2 == 0)
		v->len = 0;              /* it is the text of its rank */
	v->front = (uint64_t)place << 32;
}

/* --- gathering --- */

struct sorter *
sorter_new(const struct sort_criteria *criteria)
{
	struct sorter *s = must_alloc(sizeof(*s));

	s->criteria = criteria;
	s->texts = TEXT_UP_TO(UINT32_MAX);
	s->folded = s->probe = TEXT_UP_TO(64 * MOST_SUBJECT);
	return s;
}

void
sorter_free(struct sorter **sp)
{
	struct sorter *s = *sp;

	if (s == NULL)
		return;
	free(s->numbers);
	free(s->values);
	free(s->order);
	radix_clear(&s->radix);
	text_clear(&s->texts);
	text_clear(&s->folded);
	text_clear(&s->probe);
	order_free(&s->known);
	free(s->kept);
	free(s);
	*sp = NULL;
}

static void
grow(struct sorter *s)
{
	if (s->count < s->room)
		return;
	s->room = s->room == 0 ? 64 : 2 * s->room;
	s->numbers = must_realloc(s->numbers, s->room * sizeof(*s->numbers));
	s->values = must_realloc(s->values, s->room * s->criteria->count * sizeof(*s->values));
}

void
sorter_add(struct sorter *s, const struct view *view, size_t number, struct change *learned)
{
	struct mailbox *m = view->mailbox;
	uint32_t uid = view_uid(view, number);
	static const char *const fields[] = { "Date", "From", "To", "Cc", "Subject" };
	struct index_record r = { .date = UNKNOWN_DATE, .vsize = UNKNOWN_SIZE };
	struct span header = SPAN_NONE;
	uint32_t rank = s->known != NULL ? order_rank(s->known, uid) : 0;
	bool reads = s->criteria->headers > 0 && rank == 0;
	struct value *values;

	if (s->criteria->facts != 0)
		(void)mail_facts(m, uid, s->criteria->facts, learned, &r);
	if (reads && !s->named) {
		s->names = cache_names(m, fields, sizeof(fields) / sizeof(fields[0]));
		s->named = true;
	}
	if (reads && !cache_lines(m, uid, s->names, learned, &header))
		s->doubtful = true;
	grow(s);
	s->numbers[s->count] = (uint32_t)number;
	values = &s->values[s->count * s->criteria->count];
	for (size_t i = 0; i < s->criteria->count; i++)
		values[i] = value_of(s, s->criteria->at[i].by, header, &r);
	if (s->known != NULL)
		rank_first(s, rank, &values[0], learned);
	s->count++;
}

/* --- ordering --- */

static bool
is_number(enum sort_by by)
{
	return by == SORT_ARRIVAL || by == SORT_DATE || by == SORT_SIZE;
}

/* By the criterion `i`, as if it were not reversed. */
static int
compare_by(const struct sorter *s, size_t i, uint32_t a, uint32_t b)
{
	size_t many = s->criteria->count;
	const struct value *x = &s->values[a * many + i], *y = &s->values[b * many + i];

	if (x->front != y->front)
		return x->front < y->front ? -1 : 1;
	return span_compare(span_part(text_span(&s->texts), x->at, x->len),
		span_part(text_span(&s->texts), y->at, y->len));
}

static int
compare(const struct sorter *s, uint32_t a, uint32_t b)
{
	for (size_t i = 0; i < s->criteria->count; i++) {
		int order = compare_by(s, i, a, b);

		if (order != 0)
			return s->criteria->at[i].reverse ? -order : order;
	}
	return 0;
}

/* How many bytes of an entry's front count. */
static unsigned int
front_bytes(const struct sorter *s)
{
	return s->known != NULL ? 4 : is_number(s->criteria->at[0].by) ? 8 : FRONT_BYTES;
}

/* Where two entries differ, their messages differ the same way; where they do not, compare() tells. */
static struct radix_entry
entry_of(const struct sorter *s, uint32_t at)
{
	const struct value *v = &s->values[at * s->criteria->count];
	struct radix_entry e = { .at = at };
	uint64_t front = htobe64(v->front);

	if (s->known != NULL || is_number(s->criteria->at[0].by))
		memcpy(e.front, &front, sizeof(front));
	else if (v->len > 0)
		memcpy(e.front, s->texts.at + v->at, v->len < FRONT_BYTES ? v->len : FRONT_BYTES);
	for (size_t i = 0; s->criteria->at[0].reverse && i < s->radix.width; i++)
		e.front[i] ^= 0xff;
	return e;
}

/* False: the slice is over. */
static bool
entries_step(struct sorter *s, bool (*over)(const void *), const void *me)
{
	if (s->radix.from == NULL)
		radix_begin(&s->radix, s->count, front_bytes(s));
	while (s->made < s->count) {
		for (size_t end = some_more(s->made, s->count); s->made < end; s->made++) {
			struct radix_entry e = entry_of(s, (uint32_t)s->made);

			radix_add(&s->radix, &e);
		}
		if (s->made < s->count && over(me))
			return false;
	}
	return true;
}

static void
merge_end(struct sorter *s)
{
	s->order = must_alloc((s->count + 1) * sizeof(*s->order));
	for (size_t i = 0; i < s->count; i++)
		s->order[i] = s->radix.from[i].at;
	radix_clear(&s->radix);
}

/* The two runs at `to` begin. */
static void
begin_runs(struct sorter *s)
{
	s->left = s->to;
	s->left_end = s->count - s->left < s->width ? s->count : s->left + s->width;
	s->right = s->left_end;
	s->right_end = s->count - s->right < s->width ? s->count : s->right + s->width;
}

/* All runs of this width are merged: twice as wide. */
static void
widen(struct sorter *s)
{
	radix_swap(&s->radix);
	s->width *= 2;
	s->to = s->left = s->left_end = s->right = s->right_end = 0;
}

/* Does the head of the right run go first? Equal ones stay in their order. */
static bool
right_first(const struct sorter *s, const struct radix_entry *left, const struct radix_entry *right)
{
	int order = radix_compare(right, left);

	return order < 0 || (order == 0 && compare(s, right->at, left->at) < 0);
}

/* Is anything left to merge? Then `width` is 1, else more than there are. False: the slice is over. */
static bool
look_through(struct sorter *s, bool (*over)(const void *), const void *me)
{
	size_t last = s->count - (s->count > 0);

	while (s->looked < last) {
		for (size_t end = some_more(s->looked, last); s->looked < end; s->looked++) {
			if (!right_first(s, &s->radix.from[s->looked], &s->radix.from[s->looked + 1]))
				continue;
			s->width = 1;
			return true;
		}
		if (s->looked < last && over(me))
			return false;
	}
	s->width = s->count + 1;
	return true;
}

bool
sorter_step(struct sorter *s, bool (*over)(const void *), const void *me)
{
	if (s->order != NULL)
		return true;
	if (!entries_step(s, over, me) ||
		(s->count >= LEAST_FOR_FRONTS && !radix_step(&s->radix, over, me)) ||
		(s->width == 0 && !look_through(s, over, me)))
		return false;
	while (s->width < s->count) {
		for (int i = 0; i < MERGED_AT_A_TIME && s->to < s->count; i++) {
			bool right;

			if (s->left == s->left_end && s->right == s->right_end)
				begin_runs(s);
			right = s->left == s->left_end || (s->right < s->right_end &&
				right_first(s, &s->radix.from[s->left], &s->radix.from[s->right]));
			s->radix.into[s->to++] = s->radix.from[right ? s->right++ : s->left++];
		}
		if (s->to == s->count)
			widen(s);
		if (s->width < s->count && over(me))
			return false;
	}
	merge_end(s);
	return true;
}

size_t
sorter_count(const struct sorter *s)
{
	return s->count;
}

uint32_t
sorter_number(const struct sorter *s, size_t at)
{
	return s->numbers[s->order[at]];
}

/* --- an order that will be on disk --- */

static bool
is_worth_keeping(const struct sorter *s)
{
	return s->mailbox != NULL && !s->mailbox->gone && !s->doubtful && !s->texts.failed &&
		s->count == s->mailbox->index.count && s->count >= LEAST_ORDERED &&
		(s->known == NULL || s->placed >= WORTH_KEEPING || order_count(s->known) / 2 > s->count);
}

/* The rank of what is at place `at` of the order, not reversed, counted from 0. */
static void
rank_next(struct sorter *s, size_t at)
{
	bool reverse = s->criteria->at[0].reverse;
	uint32_t this = s->order[reverse ? s->count - 1 - at : at];
	uint32_t last = at == 0 ? this : s->order[reverse ? s->count - at : at - 1];

	if (at == 0 || compare_by(s, 0, last, this) != 0)
		s->rank++;
	s->kept[s->count + this] = s->rank;
}

bool
sorter_keep_order(struct sorter *s, const struct view *view, bool (*over)(const void *), const void *me)
{
	if (s->kept == NULL && !is_worth_keeping(s))
		s->mailbox = NULL;
	if (s->mailbox == NULL)
		return true;
	if (s->kept == NULL)
		s->kept = must_alloc(2 * s->count * sizeof(*s->kept));
	while (s->ranked < s->count) {
		for (size_t end = some_more(s->ranked, s->count); s->ranked < end; s->ranked++) {
			s->kept[s->ranked] = view_uid(view, s->numbers[s->ranked]);
			rank_next(s, s->ranked);
		}
		if (s->ranked < s->count && over(me))
			return false;
	}
	if (order_write(&s->mailbox->index, words[s->criteria->at[0].by].order, s->kept, s->count) < 0)
		log_warning(0, "order-not-written", KEY_STR("folder", s->mailbox->folder), KEY_ERRNO);
	s->mailbox = NULL;
	return true;
}

/* --- kept up to date --- */

void
sorter_keep(struct sorter *s, const struct view *view)
{
	for (size_t i = 0; i < s->count; i++)
		s->numbers[i] = view_uid(view, s->numbers[i]);
	text_clear(&s->folded);
	s->live = s->count;
}

/* What was removed still has its values: they go when they are the most. */
static void
forget_removed(struct sorter *s)
{
	size_t many = s->criteria->count;
	struct text texts = TEXT_UP_TO(UINT32_MAX);
	uint32_t *numbers;
	struct value *values;

	if (s->count < 2 * s->live + 1000)
		return;
	s->room = s->live + 64;
	numbers = must_alloc(s->room * sizeof(*numbers));
	values = must_alloc(s->room * many * sizeof(*values));
	for (size_t i = 0; i < s->live; i++) {
		uint32_t at = s->order[i];

		numbers[i] = s->numbers[at];
		for (size_t k = 0; k < many; k++) {
			struct value *v = &values[i * many + k];

			*v = s->values[at * many + k];
			if (is_number(s->criteria->at[k].by))
				continue;
			v->at = (uint32_t)texts.len;
			text_add(&texts, span_part(text_span(&s->texts),
				s->values[at * many + k].at, v->len));
		}
		s->order[i] = (uint32_t)i;
	}
	free(s->numbers);
	free(s->values);
	text_clear(&s->texts);
	s->numbers = numbers;
	s->values = values;
	s->texts = texts;
	s->count = s->live;
}

size_t
sorter_insert(struct sorter *s, const struct view *view, size_t number, struct change *learned)
{
	size_t low = 0, high, new;

	forget_removed(s);
	new = s->count;
	high = s->live;
	sorter_add(s, view, number, learned);
	s->numbers[new] = view_uid(view, number);
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		uint32_t there = s->order[middle];
		int order = compare(s, there, (uint32_t)new);

		/* What is equal stands in mailbox order. */
		if (order < 0 || (order == 0 && s->numbers[there] < s->numbers[new]))
			low = middle + 1;
		else
			high = middle;
	}
	s->order = must_realloc(s->order, (s->live + 1) * sizeof(*s->order));
	memmove(s->order + low + 1, s->order + low, (s->live - low) * sizeof(*s->order));
	s->order[low] = (uint32_t)new;
	s->live++;
	return low;
}

void
sorter_remove(struct sorter *s, bool (*leaves)(void *me, uint32_t uid),
	void (*removed)(void *me, size_t place, uint32_t uid), void *me)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->live; i++) {
		uint32_t uid = s->numbers[s->order[i]];

		if (leaves(me, uid))
			removed(me, kept + 1, uid);
		else
			s->order[kept++] = s->order[i];
	}
	s->live = kept;
}
