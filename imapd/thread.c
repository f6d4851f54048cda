/* thread - see thread.h. The steps' numbers are those of RFC 5256 section 3, REFERENCES. */
#include "imapd/thread.h"

#include "imapd/header.h"
#include "common/keyed-hash.h"
#include "imapd/message-id.h"
#include "imapd/sort.h"
#include "imapd/subject.h"

#include <stdlib.h>
#include <string.h>

#define LEAST_BUCKETS 256

void
threader_init(struct threader *t, enum threading kind)
{
	*t = (struct threader){ .kind = kind, .texts = TEXT_UP_TO(UINT32_MAX) };
}

void
threader_clear(struct threader *t)
{
	free(t->nodes);
	free(t->buckets);
	free(t->roots);
	text_clear(&t->texts);
	*t = (struct threader){ .nodes = NULL };
}

/* --- nodes, and their ids --- */

static struct span
text_at(const struct threader *t, uint32_t at, uint32_t len)
{
	return len == 0 ? SPAN_NONE : span_of(t->texts.at + at, len);
}

static struct span
id_of(const struct threader *t, uint32_t node)
{
	return text_at(t, t->nodes[node].id_at, t->nodes[node].id_len);
}

static struct span
subject_of(const struct threader *t, uint32_t node)
{
	return text_at(t, t->nodes[node].subject_at, t->nodes[node].subject_len);
}

/* Keeps a copy. Past 4 GiB nothing is kept: *len is 0. */
static void
keep(struct threader *t, struct span s, uint32_t *at, uint32_t *len)
{
	*at = (uint32_t)t->texts.len;
	text_add(&t->texts, s);
	*len = t->texts.failed ? 0 : (uint32_t)s.len;
}

static uint32_t
node_new(struct threader *t)
{
	if (t->count == t->room) {
		t->room = t->room == 0 ? 64 : 2 * t->room;
		t->nodes = must_realloc(t->nodes, t->room * sizeof(*t->nodes));
	}
	t->nodes[t->count] = (struct thread_node){ .parent = NO_NODE, .child = NO_NODE,
		.next = NO_NODE };
	return (uint32_t)t->count++;
}

static size_t
bucket_of(const struct threader *t, struct span id, uint32_t hash)
{
	size_t mask = t->bucket_count - 1, i = hash & mask;

	while (t->buckets[i] != NO_NODE && (t->nodes[t->buckets[i]].id_hash != hash ||
		!span_equal(id_of(t, t->buckets[i]), id)))
		i = (i + 1) & mask;
	return i;
}

static void
grow_buckets(struct threader *t)
{
	uint32_t *old = t->buckets;
	size_t many = t->bucket_count;

	t->bucket_count = many == 0 ? LEAST_BUCKETS : 2 * many;
	t->buckets = must_alloc(t->bucket_count * sizeof(*t->buckets));
	memset(t->buckets, 0xff, t->bucket_count * sizeof(*t->buckets));
	for (size_t i = 0; i < many; i++) {
		if (old[i] != NO_NODE)
			t->buckets[bucket_of(t, id_of(t, old[i]), t->nodes[old[i]].id_hash)] = old[i];
	}
	free(old);
}

/* The node of an id; made when there is none. */
static uint32_t
node_of_id(struct threader *t, struct span id)
{
	uint32_t hash = (uint32_t)keyed_hash(id), node;
	size_t bucket;

	if (2 * (t->used + 1) > t->bucket_count)
		grow_buckets(t);
	bucket = bucket_of(t, id, hash);
	if (t->buckets[bucket] != NO_NODE)
		return t->buckets[bucket];
	node = node_new(t);
	keep(t, id, &t->nodes[node].id_at, &t->nodes[node].id_len);
	t->nodes[node].id_hash = hash;
	if (t->nodes[node].id_len > 0) {
		t->buckets[bucket] = node;
		t->used++;
	}
	return node;
}

/* Would `parent` above `child` make a loop? Too far to see counts as one. */
static bool
would_loop(const struct threader *t, uint32_t parent, uint32_t child)
{
	if (parent == child)
		return true;
	if (t->nodes[child].child == NO_NODE)     /* here only: has it ever been a parent? */
		return false;
	for (int i = 0; i < MOST_THREAD_DEPTH; i++) {
		if (parent == NO_NODE)
			return false;
		if (parent == child)
			return true;
		parent = t->nodes[parent].parent;
	}
	return true;
}

static void
link_nodes(struct threader *t, uint32_t parent, uint32_t child)
{
	if (would_loop(t, parent, child))
		return;
	t->nodes[child].parent = parent;
	t->nodes[parent].child = child;           /* until threader_finish: a mark, no list */
}

/* --- step 1: from a header to links --- */

/* Step 1 A: each id is the parent of the next, unless that has one. Returns the last, or NO_NODE. */
static uint32_t
link_references(struct threader *t, struct span header)
{
	struct text id = TEXT_UP_TO(MOST_MESSAGE_ID);
	uint32_t before = NO_NODE, node;
	struct span value;
	size_t many = 0;

	if (header_find(header, SPAN("References"), &value)) {
		value = span_part(value, 0, MOST_FIELD_VALUE);
		for (; many < MOST_REFERENCES && message_id_take(&value, &id); many++) {
			node = node_of_id(t, text_span(&id));
			if (before != NO_NODE && t->nodes[node].parent == NO_NODE)
				link_nodes(t, before, node);
			before = node;
		}
	}
	if (many == 0 && header_find(header, SPAN("In-Reply-To"), &value)) {
		value = span_part(value, 0, MOST_FIELD_VALUE);
		if (message_id_take(&value, &id))
			before = node_of_id(t, text_span(&id));
	}
	text_clear(&id);
	return before;
}

/* Its own id's node; a node apart when it has none, or another message has the same. */
static uint32_t
own_node(struct threader *t, struct span header)
{
	struct text id = TEXT_UP_TO(MOST_MESSAGE_ID);
	uint32_t node = NO_NODE;
	struct span value;

	if (header_find(header, SPAN("Message-ID"), &value) && message_id_take(&value, &id)) {
		node = node_of_id(t, text_span(&id));
		if (t->nodes[node].message != 0)
			node = NO_NODE;
	}
	text_clear(&id);
	return node == NO_NODE ? node_new(t) : node;
}

static void
keep_subject(struct threader *t, uint32_t node, struct span header)
{
	struct text base = TEXT_UP_TO(64 * MOST_SUBJECT);
	struct span value;
	uint32_t len;

	if (header_find(header, SPAN("Subject"), &value)) {
		t->nodes[node].reply = subject_base(value, &base);
		keep(t, span_part(text_span(&base), 0, MOST_SORT_TEXT), &t->nodes[node].subject_at,
			&len);
		t->nodes[node].subject_len = (uint16_t)len;
	}
	text_clear(&base);
}

void
threader_add(struct threader *t, uint32_t message, struct span header, int64_t arrival)
{
	uint32_t node, parent = NO_NODE;

	if (t->kind == THREAD_ORDEREDSUBJECT) {
		node = node_new(t);
	} else {
		parent = link_references(t, header);
		node = own_node(t, header);
	}
	t->nodes[node].message = message;
	t->nodes[node].arrival = arrival;
	t->nodes[node].date = sort_sent_date(header, arrival);
	if (t->kind != THREAD_REFS)
		keep_subject(t, node, header);
	/* Step 1 B: what its own references say counts more than what others said of it. */
	if (parent != NO_NODE && parent != t->nodes[node].parent && !would_loop(t, parent, node))
		link_nodes(t, parent, node);
}

/* --- steps 2 to 6 --- */

/* By date, then as the mailbox has them. */
static int
by_date(const void *a, const void *b, void *nodes)
{
	const struct thread_node *x = (const struct thread_node *)nodes + *(const uint32_t *)a;
	const struct thread_node *y = (const struct thread_node *)nodes + *(const uint32_t *)b;

	if (x->date != y->date)
		return x->date < y->date ? -1 : 1;
	return (x->message > y->message) - (x->message < y->message);
}

/* The nodes that are messages, by date. */
static uint32_t *
messages_by_date(const struct threader *t, size_t *many)
{
	uint32_t *order = must_alloc((t->count + 1) * sizeof(*order));

	*many = 0;
	for (size_t i = 0; i < t->count; i++) {
		if (t->nodes[i].message != 0)
			order[(*many)++] = (uint32_t)i;
	}
	qsort_r(order, *many, sizeof(*order), by_date, t->nodes);
	return order;
}

/* Step 3: a node that is no message gives its children to its parent; at the top it stays. Each way
 * up is walked once: what was found is written into the nodes on it. */
static uint32_t
real_parent(struct threader *t, uint32_t node)
{
	uint32_t up = t->nodes[node].parent, found;

	while (up != NO_NODE && t->nodes[up].message == 0 && t->nodes[up].parent != NO_NODE)
		up = t->nodes[up].parent;
	found = up;
	for (up = t->nodes[node].parent; up != found;) {
		uint32_t above = t->nodes[up].parent;

		t->nodes[up].parent = found;
		up = above;
	}
	return found;
}

/* Lists of children, each by date: `order` is. Nodes without a parent become roots: first the messages,
 * by date, then those that are none. */
static void
make_lists(struct threader *t, const uint32_t *order, size_t many)
{
	for (size_t i = 0; i < t->count; i++)
		t->nodes[i].child = t->nodes[i].next = NO_NODE;
	t->root_count = 0;
	for (size_t i = many; i-- > 0;) {       /* from the last on: each becomes the first */
		struct thread_node *n = &t->nodes[order[i]];

		if (n->parent == NO_NODE)
			continue;
		n->next = t->nodes[n->parent].child;
		t->nodes[n->parent].child = order[i];
	}
	for (size_t i = 0; i < many; i++) {
		if (t->nodes[order[i]].parent == NO_NODE)
			t->roots[t->root_count++] = order[i];
	}
	t->root_messages = t->root_count;
	for (size_t i = 0; i < t->count; i++) {
		struct thread_node *n = &t->nodes[i];

		if (n->parent == NO_NODE && n->message == 0 && n->child != NO_NODE)
			t->roots[t->root_count++] = (uint32_t)i;
	}
}

/* Step 3, at the top: one child takes the place of a root that is no message. */
static void
lift_only_children(struct threader *t)
{
	for (size_t i = 0; i < t->root_count; i++) {
		struct thread_node *n = &t->nodes[t->roots[i]];

		if (n->message == 0 && t->nodes[n->child].next == NO_NODE) {
			t->nodes[n->child].parent = NO_NODE;
			t->roots[i] = n->child;
			n->child = NO_NODE;
		}
	}
}

/* Step 4: a root that is no message has the date of its first child. Such roots, and what took their
 * place, are few: they are sorted apart, and put between the others. */
static void
order_roots(struct threader *t)
{
	size_t from = t->root_messages, few = t->root_count - from, to = t->root_count;
	uint32_t *apart = must_alloc((few + 1) * sizeof(*apart));

	for (size_t i = 0; i < few; i++) {
		struct thread_node *n = &t->nodes[apart[i] = t->roots[from + i]];

		if (n->message == 0)
			n->date = t->nodes[n->child].date;
	}
	qsort_r(apart, few, sizeof(*apart), by_date, t->nodes);
	while (few > 0) {            /* from the last on, into the room behind the messages */
		bool message = from > 0 && by_date(&t->roots[from - 1], &apart[few - 1], t->nodes) > 0;

		t->roots[--to] = message ? t->roots[--from] : apart[--few];
	}
	free(apart);
}

/* --- step 5: what has the same subject belongs together --- */

/* The one whose subject counts for a root. */
static uint32_t
speaker(const struct threader *t, uint32_t root)
{
	return t->nodes[root].message == 0 ? t->nodes[root].child : root;
}

struct subjects {
	uint32_t *buckets;       /* roots */
	size_t mask;
};

static uint32_t *
subject_bucket(const struct threader *t, const struct subjects *s, struct span subject, uint64_t hash)
{
	size_t i = hash & s->mask;

	while (s->buckets[i] != NO_NODE &&
		!span_equal(subject_of(t, speaker(t, s->buckets[i])), subject))
		i = (i + 1) & s->mask;
	return &s->buckets[i];
}

/* Step 5 B: which root stands for a subject. */
static void
note_subject(const struct threader *t, const struct subjects *s, uint32_t root, uint64_t *hash)
{
	struct span subject = subject_of(t, speaker(t, root));
	uint32_t *there;

	if (subject.len == 0)
		return;
	*hash = keyed_hash(subject);
	there = subject_bucket(t, s, subject, *hash);
	if (*there == NO_NODE || (t->nodes[*there].message != 0 && (t->nodes[root].message == 0 ||
		(t->nodes[speaker(t, *there)].reply && !t->nodes[speaker(t, root)].reply))))
		*there = root;
}

static void
give_children(struct threader *t, uint32_t from, uint32_t to)
{
	for (uint32_t child = t->nodes[from].child; child != NO_NODE;
		child = t->nodes[child].next)
		t->nodes[child].parent = to;
}

/* Step 5 C. Only parents change: lists are made anew afterwards. */
static void
join_subject(struct threader *t, const struct subjects *s, uint32_t root, uint64_t hash)
{
	struct span subject = subject_of(t, speaker(t, root));
	uint32_t *there, top;

	if (subject.len == 0)
		return;
	there = subject_bucket(t, s, subject, hash);
	top = *there;
	if (top == root)
		return;
	if (t->nodes[root].message == 0) {
		give_children(t, root, top);
	} else if (t->nodes[top].message == 0 || (t->nodes[root].reply && !t->nodes[top].reply)) {
		t->nodes[root].parent = top;
	} else {
		uint32_t both = node_new(t);     /* nodes move */

		t->nodes[both].child = top;      /* its speaker */
		t->nodes[root].parent = t->nodes[top].parent = both;
		*there = both;
	}
}

static void
join_subjects(struct threader *t)
{
	struct subjects s = { .mask = LEAST_BUCKETS - 1 };
	uint64_t *hashes = must_alloc((t->root_count + 1) * sizeof(*hashes));

	while (s.mask + 1 < 2 * t->root_count)
		s.mask = 2 * s.mask + 1;
	s.buckets = must_alloc((s.mask + 1) * sizeof(*s.buckets));
	memset(s.buckets, 0xff, (s.mask + 1) * sizeof(*s.buckets));
	for (size_t i = 0; i < t->root_count; i++)
		note_subject(t, &s, t->roots[i], &hashes[i]);
	for (size_t i = 0; i < t->root_count; i++)
		join_subject(t, &s, t->roots[i], hashes[i]);
	free(hashes);
	free(s.buckets);
}

/* ORDEREDSUBJECT: the first message by date has all others of its subject below it. */
static void
group_subjects(struct threader *t, const uint32_t *order, size_t many)
{
	struct subjects s = { .mask = LEAST_BUCKETS - 1 };

	while (s.mask + 1 < 2 * many)
		s.mask = 2 * s.mask + 1;
	s.buckets = must_alloc((s.mask + 1) * sizeof(*s.buckets));
	memset(s.buckets, 0xff, (s.mask + 1) * sizeof(*s.buckets));
	for (size_t i = 0; i < many; i++) {
		struct span subject = subject_of(t, order[i]);
		uint32_t *there = subject_bucket(t, &s, subject, keyed_hash(subject));

		if (*there == NO_NODE)
			*there = order[i];
		else
			t->nodes[order[i]].parent = *there;
	}
	free(s.buckets);
}

/* REFS: a thread's date is that of the message that arrived last. */
static int
by_newest(const void *a, const void *b, void *newest)
{
	const int64_t *dates = newest;
	int64_t x = dates[*(const uint32_t *)a], y = dates[*(const uint32_t *)b];

	if (x != y)
		return x < y ? -1 : 1;
	return (*(const uint32_t *)a > *(const uint32_t *)b) -
		(*(const uint32_t *)a < *(const uint32_t *)b);
}

static void
order_roots_by_newest(struct threader *t, const uint32_t *order, size_t many)
{
	int64_t *newest = must_alloc((t->count + 1) * sizeof(*newest));
	uint32_t *root = must_alloc((t->count + 1) * sizeof(*root));

	for (size_t i = 0; i < t->count; i++) {
		newest[i] = INT64_MIN;
		root[i] = t->nodes[i].parent == NO_NODE ? (uint32_t)i : NO_NODE;
	}
	for (size_t i = 0; i < many; i++) {
		uint32_t top = order[i], at;

		while (root[top] == NO_NODE)
			top = t->nodes[top].parent;
		top = root[top];
		for (at = order[i]; root[at] == NO_NODE; at = t->nodes[at].parent)
			root[at] = top;
		if (t->nodes[order[i]].arrival > newest[top])
			newest[top] = t->nodes[order[i]].arrival;
	}
	qsort_r(t->roots, t->root_count, sizeof(*t->roots), by_newest, newest);
	free(root);
	free(newest);
}

void
threader_finish(struct threader *t)
{
	size_t many;
	uint32_t *order = messages_by_date(t, &many);

	t->roots = must_alloc((2 * t->count + 1) * sizeof(*t->roots));
	if (t->kind == THREAD_ORDEREDSUBJECT) {
		group_subjects(t, order, many);
		make_lists(t, order, many);
		order_roots(t);
		free(order);
		return;
	}
	for (size_t i = 0; i < many; i++)
		t->nodes[order[i]].parent = real_parent(t, order[i]);
	make_lists(t, order, many);
	lift_only_children(t);
	if (t->kind == THREAD_REFS) {
		order_roots_by_newest(t, order, many);
	} else {
		order_roots(t);
		join_subjects(t);
		make_lists(t, order, many);
		order_roots(t);
	}
	free(order);
}
