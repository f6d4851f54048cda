/* thread - see thread.h. From headers to links; the trees are thread-tree.c. The steps' numbers are those of RFC 5256
 * section 3, REFERENCES. */
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
threader_init(struct threader *t, enum threading kind, size_t most)
{
	*t = (struct threader){ .kind = kind, .texts = TEXT_UP_TO(UINT32_MAX), .adopts = NO_NODE };
	/* At once, so that they are not moved in one piece later; nothing is there before it is needed. */
	t->bucket_count = LEAST_BUCKETS;
	while (t->bucket_count < 2 * most)
		t->bucket_count *= 2;
	t->buckets = must_alloc(t->bucket_count * sizeof(*t->buckets));
}

void
threader_clear(struct threader *t)
{
	free(t->nodes);
	free(t->buckets);
	free(t->roots);
	free(t->messages);
	free(t->by_subject);
	free(t->hashes);
	radix_clear(&t->radix);
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

struct span
thread_subject(const struct threader *t, uint32_t node)
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

uint32_t
thread_node_new(struct threader *t)
{
	if (t->count == t->room) {
		t->room = t->room == 0 ? 64 : 2 * t->room;
		t->nodes = must_realloc(t->nodes, t->room * sizeof(*t->nodes));
	}
	t->nodes[t->count] = (struct thread_node){ .parent = NO_NODE, .child = NO_NODE,
		.next = NO_NODE, .arrival = INT64_MIN };
	return (uint32_t)t->count++;
}

static size_t
bucket_of(const struct threader *t, struct span id, uint32_t hash)
{
	size_t mask = t->bucket_count - 1, i = hash & mask;

	while (t->buckets[i] != 0 && (t->nodes[t->buckets[i] - 1].id_hash != hash ||
		!span_equal(id_of(t, t->buckets[i] - 1), id)))
		i = (i + 1) & mask;
	return i;
}

static void
grow_buckets(struct threader *t)
{
	uint32_t *old = t->buckets;
	size_t many = t->bucket_count;

	t->bucket_count = 2 * many;
	t->buckets = must_alloc(t->bucket_count * sizeof(*t->buckets));
	for (size_t i = 0; i < many; i++) {
		if (old[i] != 0)
			t->buckets[bucket_of(t, id_of(t, old[i] - 1), t->nodes[old[i] - 1].id_hash)] = old[i];
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
	if (t->buckets[bucket] != 0)
		return t->buckets[bucket] - 1;
	node = thread_node_new(t);
	keep(t, id, &t->nodes[node].id_at, &t->nodes[node].id_len);
	t->nodes[node].id_hash = hash;
	if (t->nodes[node].id_len > 0) {
		t->buckets[bucket] = node + 1;
		t->used++;
	}
	return node;
}

static void
link_nodes(struct threader *t, uint32_t parent, uint32_t child)
{
	t->nodes[child].parent = parent;
	t->nodes[parent].child = child;           /* until threader_step: a mark, no list */
}

/* The top of the tree that a node is in; NO_NODE: more than *steps above it. */
static uint32_t
top_of(const struct threader *t, uint32_t node, unsigned int *steps)
{
	while (t->nodes[node].parent != NO_NODE) {
		if ((*steps)-- == 0) {
			*steps = 0;
			return NO_NODE;
		}
		node = t->nodes[node].parent;
	}
	return node;
}

/* May `parent` be put above `child`, or would that make a loop? */
static bool
may_be_above(const struct threader *t, uint32_t parent, uint32_t child)
{
	if (parent == child)
		return false;
	if (t->nodes[child].child == NO_NODE)     /* here only: has it ever been a parent? */
		return true;
	for (int i = 0; i < MOST_THREAD_DEPTH; i++) {
		parent = t->nodes[parent].parent;
		if (parent == NO_NODE)
			return true;
		if (parent == child)
			return false;
	}
	return false;
}

/* --- step 1: from a header to links --- */

/* The ids of References as they come: each is the parent of the next. */
struct chain {
	uint32_t last;           /* NO_NODE: none was there yet */
	uint32_t top;            /* of the tree that it is in; NO_NODE: not known */
	unsigned int steps;      /* that may still be gone to know it */
};

/* Step 1 A: the next id. What has no parent gets the one before it, unless that is below it: then it is the top of that
 * tree. */
static void
chain_add(struct threader *t, struct chain *chain, uint32_t node)
{
	bool is_top = t->nodes[node].parent == NO_NODE;

	if (chain->last == node)
		return;
	if (chain->last == NO_NODE || !is_top) {
		chain->top = is_top ? node : NO_NODE;
	} else if (t->nodes[node].child == NO_NODE) {
		link_nodes(t, chain->last, node);     /* nothing is below it */
	} else {
		if (chain->top == NO_NODE)
			chain->top = top_of(t, chain->last, &chain->steps);
		if (chain->top == NO_NODE || chain->top == node)
			chain->top = node;
		else
			link_nodes(t, chain->last, node);
	}
	chain->last = node;
}

/* The node that the message answers, or NO_NODE. */
static uint32_t
link_references(struct threader *t, struct span header)
{
	struct chain chain = { .last = NO_NODE, .top = NO_NODE, .steps = MOST_THREAD_DEPTH };
	struct text id = TEXT_UP_TO(MOST_MESSAGE_ID);
	struct span value;
	size_t many = 0;

	if (header_find(header, SPAN("References"), &value)) {
		value = span_part(value, 0, MOST_FIELD_VALUE);
		for (; many < MOST_REFERENCES && message_id_take(&value, &id); many++)
			chain_add(t, &chain, node_of_id(t, text_span(&id)));
	}
	if (many == 0 && header_find(header, SPAN("In-Reply-To"), &value)) {
		value = span_part(value, 0, MOST_FIELD_VALUE);
		if (message_id_take(&value, &id))
			chain.last = node_of_id(t, text_span(&id));
	}
	text_clear(&id);
	return chain.last;
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
	return node == NO_NODE ? thread_node_new(t) : node;
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
		node = thread_node_new(t);
	} else {
		parent = link_references(t, header);
		node = own_node(t, header);
	}
	if (t->message_count == t->message_room) {
		t->message_room = t->message_room == 0 ? 64 : 2 * t->message_room;
		t->messages = must_realloc(t->messages, t->message_room * sizeof(*t->messages));
	}
	t->messages[t->message_count++] = node;
	t->nodes[node].message = message;
	t->nodes[node].arrival = arrival;
	t->nodes[node].date = sort_sent_date(header, arrival);
	if (t->kind != THREAD_REFS)
		keep_subject(t, node, header);
	/* Step 1 B: what its own references say counts more than what others said of it. */
	if (parent != NO_NODE && parent != t->nodes[node].parent && may_be_above(t, parent, node))
		link_nodes(t, parent, node);
}
