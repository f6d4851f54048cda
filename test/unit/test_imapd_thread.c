/* THREAD's trees: whatever References say, each message stands in them once, and all is in order. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "expect.h"

#include "imapd/thread.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

/* --- what must hold --- */

static void
check_order(const struct threader *t, uint32_t before, uint32_t after)
{
	const struct thread_node *x = &t->nodes[before], *y = &t->nodes[after];

	assert_true(x->date < y->date || (x->date == y->date && x->message <= y->message));
}

/* A list of siblings and all below it, without recursion: depth has no limit. */
static void
check_below(const struct threader *t, uint32_t root, unsigned char *seen)
{
	uint32_t *open = calloc(t->count + 1, sizeof(*open));
	size_t many = 0;

	open[many++] = root;
	while (many > 0) {
		uint32_t node = open[--many], before = NO_NODE;

		assert_true(node < t->count && !seen[node]);
		seen[node] = 1;
		assert_true(t->nodes[node].message != 0 || t->nodes[node].child != NO_NODE);
		for (uint32_t c = t->nodes[node].child; c != NO_NODE; c = t->nodes[c].next) {
			if (t->kind != THREAD_REFS)      /* which needs them for something else */
				assert_int_equal(t->nodes[c].parent, node);
			assert_int_not_equal(t->nodes[c].message, 0);
			if (before != NO_NODE)
				check_order(t, before, c);
			before = c;
			open[many++] = c;
			assert_true(many <= t->count);
		}
	}
	free(open);
}

/* Ordered by date, but for REFS; dates of roots are those of their first messages. */
static void
check(const struct threader *t, uint32_t messages)
{
	unsigned char *seen = calloc(t->count + 1, 1);
	uint32_t found = 0;

	for (size_t i = 0; i < t->root_count; i++) {
		const struct thread_node *root = &t->nodes[t->roots[i]];

		assert_int_equal(root->parent, NO_NODE);
		if (root->message == 0)
			assert_int_not_equal(t->nodes[root->child].next, NO_NODE);
		if (i > 0 && t->kind != THREAD_REFS)
			check_order(t, t->roots[i - 1], t->roots[i]);
		check_below(t, t->roots[i], seen);
	}
	for (size_t i = 0; i < t->count; i++)
		found += seen[i] && t->nodes[i].message != 0;
	assert_int_equal(found, messages);
	free(seen);
}

/* --- mail --- */

struct mailbox_of_headers {
	struct threader t;
	uint32_t messages;
};

static void
add(struct mailbox_of_headers *m, unsigned int minute, const char *fields)
{
	char header[300];
	struct text all = TEXT_UP_TO(MOST_EXPECTED);

	snprintf(header, sizeof(header), "Date: Tue, 14 Jan 2020 10:%02u:00 +0000\r\n", minute % 60);
	text_add_str(&all, header);
	text_add_str(&all, fields);
	text_add_str(&all, "\r\n");
	threader_add(&m->t, ++m->messages, text_span(&all), 1000 + minute);
	text_clear(&all);
}

/* A slice is over at each look at the clock. */
static bool
at_once(const void *looks)
{
	++*(size_t *)(uintptr_t)looks;
	return true;
}

/* Makes the trees; how many slices it took. */
static size_t
finish(struct threader *t)
{
	size_t looks = 0, slices = 1;

	for (; !threader_step(t, at_once, &looks); slices++)
		assert_int_equal(looks, slices);
	return slices;
}

static void
tell(const struct threader *t, uint32_t node, struct text *out)
{
	if (t->nodes[node].message != 0)
		text_printf(out, "%" PRIu32, t->nodes[node].message);
	for (uint32_t c = t->nodes[node].child; c != NO_NODE; c = t->nodes[c].next) {
		text_add_byte(out, '(');
		tell(t, c, out);
		text_add_byte(out, ')');
	}
}

static void
expect_threads(struct mailbox_of_headers *m, const char *expected)
{
	struct text out = TEXT_UP_TO(MOST_EXPECTED);

	(void)finish(&m->t);
	check(&m->t, m->messages);
	for (size_t i = 0; i < m->t.root_count; i++) {
		text_add_byte(&out, '(');
		tell(&m->t, m->t.roots[i], &out);
		text_add_byte(&out, ')');
	}
	expect_text("threads", text_span(&out), expected);
	text_clear(&out);
	threader_clear(&m->t);
}

static struct mailbox_of_headers
begin(enum threading kind)
{
	struct mailbox_of_headers m = { .messages = 0 };

	threader_init(&m.t, kind, 10);
	return m;
}

/* Roots that are messages, roots that nobody has seen, and only children of such, between each other. */
static void
test_order_of_roots(void **state)
{
	struct mailbox_of_headers m = begin(THREAD_REFERENCES);

	(void)state;
	add(&m, 50, "Message-ID: <a@x>\r\nSubject: a\r\n");                            /* 1 */
	add(&m, 30, "Message-ID: <b@x>\r\nReferences: <lost@x>\r\nSubject: b\r\n");      /* 2, 3: of <lost@x> */
	add(&m, 40, "Message-ID: <c@x>\r\nReferences: <lost@x>\r\nSubject: c\r\n");
	add(&m, 35, "Message-ID: <d@x>\r\nReferences: <gone@x>\r\nSubject: d\r\n");      /* an only child */
	add(&m, 10, "Message-ID: <e@x>\r\nSubject: e\r\n");
	add(&m, 35, "Message-ID: <f@x>\r\nSubject: f\r\n");                            /* as 4, and later there */
	add(&m, 5, "Message-ID: <g@x>\r\nReferences: <a@x>\r\nSubject: g\r\n");          /* below a later one */
	expect_threads(&m, "(5)((2)(3))(4)(6)(1(7))");

	m = begin(THREAD_REFS);      /* by what arrived last, which is what `minute` says here, too */
	add(&m, 50, "Message-ID: <a@x>\r\n");
	add(&m, 30, "Message-ID: <b@x>\r\nReferences: <lost@x>\r\n");
	add(&m, 55, "Message-ID: <c@x>\r\nReferences: <lost@x>\r\n");
	add(&m, 10, "Message-ID: <e@x>\r\n");
	expect_threads(&m, "(4)(1)((2)(3))");

	m = begin(THREAD_ORDEREDSUBJECT);
	add(&m, 50, "Subject: one\r\n");
	add(&m, 40, "Subject: two\r\n");
	add(&m, 30, "Subject: Re: one\r\n");
	add(&m, 20, "Subject: three\r\n");
	expect_threads(&m, "(4)(3(1))(2)");
}

static void
test_cycles_and_duplicates(void **state)
{
	struct mailbox_of_headers m = begin(THREAD_REFERENCES);

	(void)state;
	add(&m, 1, "Message-ID: <a@x>\r\nReferences: <a@x>\r\nSubject: a\r\n");          /* itself */
	add(&m, 2, "Message-ID: <b@x>\r\nReferences: <c@x>\r\nSubject: b\r\n");          /* each other */
	add(&m, 3, "Message-ID: <c@x>\r\nReferences: <b@x>\r\nSubject: c\r\n");
	add(&m, 4, "Message-ID: <d@x>\r\nReferences: <e@x> <f@x> <e@x>\r\nSubject: d\r\n");  /* there and back */
	add(&m, 5, "Message-ID: <e@x>\r\nReferences: <d@x>\r\nSubject: e\r\n");
	add(&m, 6, "Message-ID: <a@x>\r\nReferences: <b@x>\r\nSubject: f\r\n");          /* an id once more */
	add(&m, 7, "Message-ID: <a@x>\r\nSubject: g\r\n");
	add(&m, 8, "Message-ID: <>\r\nReferences: <> <> x < <y\r\nSubject: h\r\n");
	(void)finish(&m.t);
	check(&m.t, 8);
	threader_clear(&m.t);
}

/* Ten thousand below each other, told from the top and from the bottom. */
static void
test_deep(void **state)
{
	(void)state;
	for (int upwards = 0; upwards < 2; upwards++) {
		struct mailbox_of_headers m = begin(THREAD_REFERENCES);
		char fields[200];

		for (unsigned int i = 0; i < 2 * MOST_THREAD_DEPTH; i++) {
			unsigned int n = upwards ? 2 * MOST_THREAD_DEPTH - i : i;

			snprintf(fields, sizeof(fields), "Message-ID: <%u@x>\r\nReferences: <%u@x>\r\n", n + 1, n);
			add(&m, i, fields);
		}
		/* What has children itself stays a thread of its own: a loop is looked for only so far up. */
		add(&m, 1, "Message-ID: <b@x>\r\nReferences: <a@x>\r\n");
		snprintf(fields, sizeof(fields), "Message-ID: <a@x>\r\nReferences: <%u@x>\r\n", 2 * MOST_THREAD_DEPTH);
		add(&m, 2, fields);
		(void)finish(&m.t);
		check(&m.t, 2 * MOST_THREAD_DEPTH + 2);
		assert_int_equal(m.t.root_count, 2);
		threader_clear(&m.t);
	}
}

/* One message that names more than is looked at. */
static void
test_many_references(void **state)
{
	struct mailbox_of_headers m = begin(THREAD_REFERENCES);
	struct text fields = TEXT_UP_TO(MOST_EXPECTED);

	(void)state;
	text_add_str(&fields, "Message-ID: <m@x>\r\nReferences:");
	for (unsigned int i = 0; i < 10000; i++)
		text_printf(&fields, " <%u@x>", i);
	text_add_str(&fields, "\r\n");
	add(&m, 1, text_str(&fields));
	assert_true(m.t.count <= MOST_REFERENCES + 1);
	add(&m, 2, "Message-ID: <n@x>\r\nReferences: <7@x>\r\n");
	expect_threads(&m, "((1)(2))");
	text_clear(&fields);
}

/* Few ids and few subjects, so that everything meets everything. */
static void
test_any_mail(void **state)
{
	static const enum threading kinds[] = { THREAD_ORDEREDSUBJECT, THREAD_REFERENCES, THREAD_REFS };

	(void)state;
	srandom(11);
	for (int round = 0; round < 3000; round++) {
		struct mailbox_of_headers m = begin(kinds[round % 3]);
		unsigned int messages = 1 + (unsigned int)random() % 12;
		char fields[300];

		for (unsigned int i = 0; i < messages; i++) {
			int len = snprintf(fields, sizeof(fields), "Message-ID: <%ld@x>\r\nSubject: %s%ld\r\nReferences:",
				random() % 9, random() % 2 ? "Re: " : "", random() % 3);

			for (long k = random() % 5; k > 0; k--)
				len += snprintf(fields + len, sizeof(fields) - (size_t)len, " <%ld@x>", random() % 9);
			snprintf(fields + len, sizeof(fields) - (size_t)len, "\r\n");
			add(&m, (unsigned int)random() % 4, fields);
		}
		(void)finish(&m.t);
		check(&m.t, messages);
		threader_clear(&m.t);
	}
}

/* Trees of many messages are made in many slices, none of which is longer because one way up is. */
static void
test_slices(void **state)
{
	const unsigned int messages = 5000, links = 100000;
	struct mailbox_of_headers m = begin(THREAD_REFERENCES);
	struct text fields = TEXT_UP_TO(MOST_EXPECTED);

	(void)state;
	for (unsigned int i = 0; i < messages; i++) {
		text_reset(&fields);
		text_printf(&fields, "Message-ID: <%u@x>\r\nSubject: about %u\r\nReferences: <%u@x>\r\n", i, i % 50, i / 3);
		add(&m, i, text_str(&fields));
	}
	/* By date and back, lists twice over messages and nodes, subjects: a dozen times over all of them. */
	assert_true(finish(&m.t) > 10 * (messages / DONE_AT_A_TIME));
	check(&m.t, messages);
	threader_clear(&m.t);

	/* One message, far below ids that nobody has seen. */
	m = begin(THREAD_REFERENCES);
	for (unsigned int i = 0; i < links / MOST_REFERENCES; i++) {
		text_reset(&fields);
		text_add_str(&fields, "References:");
		for (unsigned int k = 0; k < MOST_REFERENCES; k++)
			text_printf(&fields, " <%u@x>", i * (MOST_REFERENCES - 1) + k);
		text_add_str(&fields, "\r\n");
		add(&m, i, text_str(&fields));
	}
	assert_true(m.t.count > links - 200);
	assert_true(finish(&m.t) > links / 4 / DONE_AT_A_TIME);
	check(&m.t, links / MOST_REFERENCES);
	threader_clear(&m.t);
	text_clear(&fields);
}

static double
cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A message whose references lead from the end of a long way to the top of some tree, and back, again and again, costs about
 * what one costs whose references lead nowhere. */
static void
test_loops_are_looked_for_so_long(void **state)
{
	struct mailbox_of_headers m = begin(THREAD_REFERENCES);
	struct text fields = TEXT_UP_TO(MOST_EXPECTED);
	const unsigned int deep = MOST_THREAD_DEPTH - 10;
	double took[2];

	(void)state;
	for (unsigned int i = 0; i < deep; i++) {
		text_reset(&fields);
		text_printf(&fields, "Message-ID: <%u@x>\r\nReferences: <%u@x>\r\n", i + 1, i);
		add(&m, i, text_str(&fields));
	}
	for (int hostile = 0; hostile < 2; hostile++) {
		took[hostile] = 0;
		for (unsigned int n = 0; n < 10; n++) {
			text_reset(&fields);
			text_add_str(&fields, "References:");
			for (unsigned int k = 0; k < MOST_REFERENCES / 2; k++)     /* <0@x> is the top above them */
				text_printf(&fields, hostile ? " <%u@x> <0@x>" : " <%u@y> <0@y>", deep - k);
			text_add_str(&fields, "\r\n");
			took[hostile] -= cpu_seconds();
			threader_add(&m.t, ++m.messages, text_span(&fields), n);
			took[hostile] += cpu_seconds();
		}
	}
	assert_true(took[1] < 20 * took[0]);
	(void)finish(&m.t);
	check(&m.t, deep + 20);
	threader_clear(&m.t);
	text_clear(&fields);
}

/* A thousand threads are one as soon as a message says so. */
static void
test_many_threads_become_one(void **state)
{
	struct mailbox_of_headers m = begin(THREAD_REFERENCES);
	struct text fields = TEXT_UP_TO(MOST_EXPECTED);

	(void)state;
	for (unsigned int i = 0; i < MOST_REFERENCES; i++) {
		text_reset(&fields);
		text_printf(&fields, "Message-ID: <%u-b@x>\r\nReferences: <%u@x>\r\n", i, i);
		add(&m, i, text_str(&fields));
	}
	text_reset(&fields);
	text_add_str(&fields, "References:");
	for (unsigned int i = 0; i < MOST_REFERENCES; i++)
		text_printf(&fields, " <%u@x>", i);
	text_add_str(&fields, "\r\n");
	add(&m, 1, text_str(&fields));
	(void)finish(&m.t);
	check(&m.t, MOST_REFERENCES + 1);
	assert_int_equal(m.t.root_count, 1);
	threader_clear(&m.t);
	text_clear(&fields);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_of_roots),
		cmocka_unit_test(test_cycles_and_duplicates),
		cmocka_unit_test(test_deep),
		cmocka_unit_test(test_many_references),
		cmocka_unit_test(test_any_mail),
		cmocka_unit_test(test_slices),
		cmocka_unit_test(test_loops_are_looked_for_so_long),
		cmocka_unit_test(test_many_threads_become_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
