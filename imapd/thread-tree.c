/*
 * thread-tree - from links to trees in order: threader_step (thread.h). The steps' numbers are those of RFC 5256 section 3,
 * REFERENCES.
 *
 * Each algorithm is a row of stages; a stage goes through messages, nodes or roots, and can be left behind any of them. So
 * a mailbox of any size holds up nobody.
 */
#include "imapd/thread.h"

#include "common/keyed-hash.h"

#include <stdlib.h>
#include <string.h>

#define LEAST_SUBJECTS 256
#define DATE_BYTES 12            /* what things are ordered by: a date, and a number */
#define LINKS_AT_A_TIME 512      /* that one thing of a stage follows before it is left, and gone on with */

struct stage {
	void (*before)(struct threader *t);
	size_t (*count)(const struct threader *t);             /* of how many things it is */
	bool (*each)(struct threader *t, size_t at);           /* false: there is more to do with this one */
	bool ordered;            /* then what `each` gave to the radix is put in order */
	void (*after)(struct threader *t);
};

static size_t
messages(const struct threader *t)
{
	return t->message_count;
}

static size_t
nodes(const struct threader *t)
{
	return t->count;
}

static size_t
roots(const struct threader *t)
{
	return t->root_count;
}

/* --- order --- */

static void
begin_messages(struct threader *t)
{
	t->roots = must_alloc((2 * t->count + 1) * sizeof(*t->roots));
	radix_begin(&t->radix, t->message_count, DATE_BYTES);
}

/* By date, then as the mailbox has them. */
static bool
date_node(struct threader *t, uint32_t node)
{
	struct radix_entry e = { .at = node };

	radix_put_i64(e.front, t->nodes[node].date);
	radix_put_u32(e.front + 8, t->nodes[node].message);
	radix_add(&t->radix, &e);
	return true;
}

static bool
date_message(struct threader *t, size_t at)
{
	return date_node(t, t->messages[at]);
}

static bool
take_message(struct threader *t, size_t at)
{
	t->messages[at] = t->radix.from[at].at;
	return true;
}

/* Does `a` come behind `b`? */
static bool
is_later(const struct threader *t, uint32_t a, uint32_t b)
{
	const struct thread_node *x = &t->nodes[a], *y = &t->nodes[b];

	return x->date != y->date ? x->date > y->date : x->message > y->message;
}

static void
end_order(struct threader *t)
{
	radix_clear(&t->radix);
}

/* --- steps 2 and 3: nodes that are no messages --- */

/* Its parent is the next message above, or what stands at the top. It is put higher and higher; what is no message and
 * stands on the way is, too, so that no way is long for many (path halving). */
static bool
lift_to_message(struct threader *t, size_t at)
{
	struct thread_node *n = &t->nodes[t->messages[at]];

	for (int i = 0; i < LINKS_AT_A_TIME; i++) {
		struct thread_node *up;

		if (n->parent == NO_NODE)
			return true;
		up = &t->nodes[n->parent];
		if (up->message != 0 || up->parent == NO_NODE)
			return true;
		if (t->nodes[up->parent].message == 0 && t->nodes[up->parent].parent != NO_NODE)
			up->parent = t->nodes[up->parent].parent;
		n->parent = up->parent;
	}
	return false;
}

/* --- lists of children, each by date, and roots: first the messages, by date, then those that are none --- */

static bool
forget_list(struct threader *t, size_t at)
{
	t->nodes[at].child = t->nodes[at].next = NO_NODE;
	return true;
}

/* From the last message on: each becomes the first. */
static bool
join_list(struct threader *t, size_t at)
{
	uint32_t node = t->messages[t->message_count - 1 - at];
	struct thread_node *n = &t->nodes[node];

	if (n->parent != NO_NODE) {
		n->next = t->nodes[n->parent].child;
		t->nodes[n->parent].child = node;
	}
	return true;
}

static void
forget_roots(struct threader *t)
{
	t->root_count = 0;
}

static bool
root_message(struct threader *t, size_t at)
{
	if (t->nodes[t->messages[at]].parent == NO_NODE)
		t->roots[t->root_count++] = t->messages[at];
	return true;
}

static void
end_root_messages(struct threader *t)
{
	t->root_messages = t->root_count;
}

static bool
root_other(struct threader *t, size_t at)
{
	const struct thread_node *n = &t->nodes[at];

	if (n->parent == NO_NODE && n->message == 0 && n->child != NO_NODE)
		t->roots[t->root_count++] = (uint32_t)at;
	return true;
}

/* Step 3, at the top: one child takes the place of a root that is no message. */
static bool
lift_only_child(struct threader *t, size_t at)
{
	struct thread_node *n = &t->nodes[t->roots[at]];

	if (n->message == 0 && t->nodes[n->child].next == NO_NODE) {
		t->nodes[n->child].parent = NO_NODE;
		t->roots[at] = n->child;
		n->child = NO_NODE;
	}
	return true;
}

/* --- step 4: roots by date --- */

/* A root that is no message has the date of its first child. Such roots, and what took their place, are few: they are
 * ordered apart, and put between the others. */
static size_t
other_roots(const struct threader *t)
{
	return t->root_count - t->root_messages;
}

static void
begin_other_roots(struct threader *t)
{
	t->few = other_roots(t);
	t->rest = t->root_messages;
	radix_begin(&t->radix, t->few, DATE_BYTES);
}

static bool
date_other_root(struct threader *t, size_t at)
{
	uint32_t root = t->roots[t->root_messages + at];

	if (t->nodes[root].message == 0)
		t->nodes[root].date = t->nodes[t->nodes[root].child].date;
	return date_node(t, root);
}

/* From the last on, into the room behind the messages. */
static bool
put_between(struct threader *t, size_t at)
{
	uint32_t apart;

	(void)at;
	if (t->few == 0)
		return true;     /* the rest stands where it should */
	apart = t->radix.from[t->few - 1].at;
	if (t->rest > 0 && is_later(t, t->roots[t->rest - 1], apart)) {
		t->rest--;
		t->roots[t->rest + t->few] = t->roots[t->rest];
	} else {
		t->few--;
		t->roots[t->rest + t->few] = apart;
	}
	return true;
}

/* --- step 5: what has the same subject belongs together --- */

/* The one whose subject counts for a root. */
static uint32_t
speaker(const struct threader *t, uint32_t root)
{
	return t->nodes[root].message == 0 ? t->nodes[root].child : root;
}

static struct span
root_subject(const struct threader *t, uint32_t root)
{
	return thread_subject(t, speaker(t, root));
}

/* Where a subject stands, or 0 where it would: roots, counted from 1, so that a table of any size costs nothing at once. */
static uint32_t *
subject_bucket(const struct threader *t, struct span subject, uint64_t hash)
{
	size_t i = hash & t->subject_mask;

	while (t->by_subject[i] != 0 && !span_equal(root_subject(t, t->by_subject[i] - 1), subject))
		i = (i + 1) & t->subject_mask;
	return &t->by_subject[i];
}

static void
begin_table(struct threader *t, size_t most)
{
	t->subject_mask = LEAST_SUBJECTS - 1;
	while (t->subject_mask + 1 < 2 * most)
		t->subject_mask = 2 * t->subject_mask + 1;
	t->by_subject = must_alloc((t->subject_mask + 1) * sizeof(*t->by_subject));
}

static void
begin_subjects(struct threader *t)
{
	begin_table(t, t->root_count);
	t->hashes = must_alloc((t->root_count + 1) * sizeof(*t->hashes));
}

/* Step 5 B: which root stands for a subject. */
static bool
note_subject(struct threader *t, size_t at)
{
	uint32_t root = t->roots[at], *there, stands;
	struct span subject = root_subject(t, root);

	if (subject.len == 0)
		return true;
	t->hashes[at] = keyed_hash(subject);
	there = subject_bucket(t, subject, t->hashes[at]);
	stands = *there == 0 ? root : *there - 1;
	if (stands == root || (t->nodes[stands].message != 0 && (t->nodes[root].message == 0 ||
		(t->nodes[speaker(t, stands)].reply && !t->nodes[speaker(t, root)].reply))))
		*there = root + 1;
	return true;
}

/* The children of a root that is no message go to t->adopts, which speaks for their subject. */
static bool
give_children(struct threader *t, struct thread_node *from)
{
	for (int i = 0; i < LINKS_AT_A_TIME && from->child != NO_NODE; i++) {
		t->nodes[from->child].parent = t->adopts;
		from->child = t->nodes[from->child].next;
	}
	if (from->child != NO_NODE)
		return false;
	t->adopts = NO_NODE;
	return true;
}

/* Step 5 C. Only parents change: lists are made anew afterwards. */
static bool
join_subject(struct threader *t, size_t at)
{
	uint32_t root = t->roots[at], *there, top;
	struct span subject;

	if (t->adopts != NO_NODE)
		return give_children(t, &t->nodes[root]);
	subject = root_subject(t, root);
	if (subject.len == 0)
		return true;
	there = subject_bucket(t, subject, t->hashes[at]);
	top = *there - 1;
	if (top == root)
		return true;
	if (t->nodes[root].message == 0) {
		t->adopts = top;
		return give_children(t, &t->nodes[root]);
	}
	if (t->nodes[top].message == 0 || (t->nodes[root].reply && !t->nodes[top].reply)) {
		t->nodes[root].parent = top;
	} else {
		uint32_t both = thread_node_new(t);     /* nodes move */

		t->nodes[both].child = top;      /* its speaker */
		t->nodes[root].parent = t->nodes[top].parent = both;
		*there = both + 1;
	}
	return true;
}

static void
end_subjects(struct threader *t)
{
	free(t->by_subject);
	free(t->hashes);
	t->by_subject = NULL;
	t->hashes = NULL;
}

/* ORDEREDSUBJECT: the first message by date has all others of its subject below it. */
static void
begin_groups(struct threader *t)
{
	begin_table(t, t->message_count);
}

static bool
group_message(struct threader *t, size_t at)
{
	struct span subject = thread_subject(t, t->messages[at]);
	uint32_t *there = subject_bucket(t, subject, keyed_hash(subject));

	if (*there == 0)
		*there = t->messages[at] + 1;
	else
		t->nodes[t->messages[at]].parent = *there - 1;
	return true;
}

/* --- REFS: a thread's date is that of the message that arrived last --- */

/* What it finds it leaves at the top: parents are needed for nothing else any more, and are put higher on the way. */
static bool
tell_top(struct threader *t, size_t at)
{
	struct thread_node *n = &t->nodes[t->messages[at]], *up;

	for (int i = 0; i < LINKS_AT_A_TIME; i++) {
		if (n->parent == NO_NODE)
			return true;
		up = &t->nodes[n->parent];
		if (up->parent == NO_NODE) {
			if (n->arrival > up->arrival)
				up->arrival = n->arrival;
			return true;
		}
		if (t->nodes[up->parent].parent != NO_NODE)
			up->parent = t->nodes[up->parent].parent;
		n->parent = up->parent;
	}
	return false;
}

static void
begin_newest(struct threader *t)
{
	radix_begin(&t->radix, t->root_count, DATE_BYTES);
}

static bool
date_newest(struct threader *t, size_t at)
{
	struct radix_entry e = { .at = t->roots[at] };

	radix_put_i64(e.front, t->nodes[e.at].arrival);
	radix_put_u32(e.front + 8, e.at);
	radix_add(&t->radix, &e);
	return true;
}

static bool
take_root(struct threader *t, size_t at)
{
	t->roots[at] = t->radix.from[at].at;
	return true;
}

/* --- the stages --- */

#define MESSAGES_BY_DATE \
	{ .before = begin_messages, .count = messages, .each = date_message, .ordered = true }, \
	{ .count = messages, .each = take_message, .after = end_order }
#define LISTS \
	{ .count = nodes, .each = forget_list }, \
	{ .count = messages, .each = join_list }, \
	{ .before = forget_roots, .count = messages, .each = root_message, .after = end_root_messages }, \
	{ .count = nodes, .each = root_other }
#define ROOTS_BY_DATE \
	{ .before = begin_other_roots, .count = other_roots, .each = date_other_root, .ordered = true }, \
	{ .count = roots, .each = put_between, .after = end_order }
#define THE_END { .count = NULL }

static const struct stage by_subject[] = {
	MESSAGES_BY_DATE,
	{ .before = begin_groups, .count = messages, .each = group_message, .after = end_subjects },
	LISTS, ROOTS_BY_DATE, THE_END
};

static const struct stage by_references[] = {
	MESSAGES_BY_DATE,
	{ .count = messages, .each = lift_to_message },
	LISTS,
	{ .count = roots, .each = lift_only_child },
	ROOTS_BY_DATE,
	{ .before = begin_subjects, .count = roots, .each = note_subject },
	{ .count = roots, .each = join_subject, .after = end_subjects },
	LISTS, ROOTS_BY_DATE, THE_END
};

static const struct stage by_refs[] = {
	MESSAGES_BY_DATE,
	{ .count = messages, .each = lift_to_message },
	LISTS,
	{ .count = roots, .each = lift_only_child },
	{ .count = messages, .each = tell_top },
	{ .before = begin_newest, .count = roots, .each = date_newest, .ordered = true },
	{ .count = roots, .each = take_root, .after = end_order },
	THE_END
};

/* False: the slice is over. */
static bool
stage_step(struct threader *t, const struct stage *stage, bool (*over)(const void *), const void *me)
{
	size_t count = stage->count(t);

	while (t->at < count) {
		for (size_t i = 0; i < DONE_AT_A_TIME && t->at < count; i++) {
			if (stage->each(t, t->at))
				t->at++;
			else
				i += LINKS_AT_A_TIME;
		}
		if (t->at < count && over(me))
			return false;
	}
	return !stage->ordered || radix_step(&t->radix, over, me);
}

bool
threader_step(struct threader *t, bool (*over)(const void *), const void *me)
{
	const struct stage *stages = t->kind == THREAD_ORDEREDSUBJECT ? by_subject :
		t->kind == THREAD_REFERENCES ? by_references : by_refs;

	for (; stages[t->stage].count != NULL; t->stage++) {
		const struct stage *stage = &stages[t->stage];

		if (!t->begun && stage->before != NULL)
			stage->before(t);
		t->begun = true;
		if (!stage_step(t, stage, over, me))
			return false;
		if (stage->after != NULL)
			stage->after(t);
		t->begun = false;
		t->at = 0;
	}
	return true;
}
