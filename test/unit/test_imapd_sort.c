/* SORT's order, beside one that was made another way. Many messages, because only many are put in order by the fronts of
 * their values first; texts that are the same for long, or end where others go on. */
#include "imapd_rig.h"

#include "imapd/sort.h"

#include <stdio.h>

#define LETTERS 900
#define MOST_TEXT 40

struct letter {
	char subject[MOST_TEXT];
	size_t subject_len;
	char local[MOST_TEXT];
	int64_t date;
};

static struct letter letters[LETTERS];

/* Letters only (the base subject of such a text is itself). */
static size_t
make_text(char *to)
{
	static const char *const fronts[] = { "", "A", "LETTER", "LETTERABOUTSOMETHINGLON", "LETTERABOUTSOMETHINGLONGER" };
	size_t len = (size_t)snprintf(to, MOST_TEXT, "%s", fronts[random() % 5]);

	for (long more = random() % 5; more > 0; more--)
		to[len++] = "ABYZ"[random() % 4];
	return len;
}

static void
make_letters(const struct place *p)
{
	char name[60], text[300];

	srandom(3);
	for (int i = 0; i < LETTERS; i++) {
		struct letter *l = &letters[i];
		size_t len;
		int fd;

		l->subject_len = make_text(l->subject);
		(void)make_text(l->local);
		l->date = -5 + random() % 200 - (random() % 4 == 0 ? 800000000 : 0);     /* before 1970, too */
		len = (size_t)snprintf(text, sizeof(text), "From: Some Body <%s@example.com>\r\nSubject: %.*s\r\n\r\n",
			l->local[0] == '\0' ? "\"\"" : l->local, (int)l->subject_len, l->subject);
		snprintf(name, sizeof(name), "cur/15%08d.M1P1.host:2,", i);
		fd = openat(p->maildir, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
		assert_true(fd >= 0);
		assert_int_equal(write(fd, text, len), (ssize_t)len);
		futimens(fd, (struct timespec[2]){ { l->date, 0 }, { l->date, 0 } });
		close(fd);
	}
}

/* --- the other way --- */

static const char *order_of;

static int
compare_by(char what, const struct letter *x, const struct letter *y)
{
	if (what == 'a')
		return (x->date > y->date) - (x->date < y->date);
	return what == 's' ? strcmp(x->subject, y->subject) : strcmp(x->local, y->local);
}

/* `order_of`: letters for criteria, upper case: REVERSE. */
static int
expected(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	for (const char *c = order_of; *c != '\0'; c++) {
		int order = compare_by((char)(*c | 0x20), &letters[x - 1], &letters[y - 1]);

		if (order != 0)
			return *c & 0x20 ? order : -order;
	}
	return (x > y) - (x < y);
}

static int steps;

static bool
over(const void *me)
{
	steps++;
	return *(const bool *)me;
}

static void
check(struct view *v, const char *criteria, const char *short_form, size_t count)
{
	struct span in = span_str(criteria);
	struct sort_criteria wanted;
	struct change learned;
	struct sorter *s;
	uint32_t order[LETTERS];
	bool always = random() % 2 == 0;      /* stops wherever it can */

	assert_true(sort_take_criteria(&in, &wanted));
	change_init(&learned);
	s = sorter_new(&wanted);
	for (uint32_t i = 1; i <= count; i++) {
		sorter_add(s, v, i, &learned);
		order[i - 1] = i;
	}
	order_of = short_form;
	qsort(order, count, sizeof(*order), expected);
	while (!sorter_step(s, over, &always))
		;
	assert_int_equal(sorter_count(s), count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(sorter_number(s, i), order[i]);
	sorter_free(&s);
	change_clear(&learned);
}

static void
test_orders(void **state)
{
	static const char *const orders[][2] = { { "(SUBJECT)", "s" }, { "(REVERSE SUBJECT)", "S" },
		{ "(FROM)", "f" }, { "(REVERSE FROM SUBJECT)", "Fs" }, { "(ARRIVAL)", "a" },
		{ "(REVERSE ARRIVAL REVERSE SUBJECT FROM)", "ASf" }, { "(SUBJECT REVERSE ARRIVAL)", "sA" } };
	static const size_t counts[] = { 0, 1, 2, 199, 200, 201, 777, LETTERS };
	struct place *p = *state;
	struct mailbox *m;
	struct view *v;

	make_letters(p);
	m = mailbox_open(&p->store, "");
	assert_non_null(m);
	v = view_open(m, true);
	assert_int_equal(v->count, LETTERS);
	for (uint32_t i = 1; i <= LETTERS; i++) {       /* the mailbox has them in the order of their names */
		struct index_record *r = &m->index.records[index_find(&m->index, view_uid(v, i))];

		r->date = letters[i - 1].date;
	}
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		for (size_t k = 0; k < sizeof(counts) / sizeof(counts[0]); k++)
			check(v, orders[i][0], orders[i][1], counts[k]);
	}
	assert_true(steps > 0);
	view_close(&v);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_orders, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
