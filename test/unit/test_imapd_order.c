/* The order of texts that a SORT keeps for the next one: the same as without it, or none, whatever its file holds. */
#include "imapd_rig.h"

#include "common/crc32c.h"
#include "imapd/cache.h"
#include "imapd/order.h"
#include "imapd/sort.h"

#include <errno.h>
#include <stdio.h>

#define MANY 1050u
#define MOST 4000u
#define FILE_NAME "order-subject"

/* Base subjects, by UID, folded. */
static char *subjects[MOST];
static uint32_t made;

/* `said` in the header is `subject` to who compares. */
static void
deliver_said(const struct place *p, char *subject, const char *said)
{
	char name[60], text[200];
	int fd;

	assert_true(++made < MOST);
	subjects[made] = subject;
	snprintf(text, sizeof(text), "From: x@example.com\r\nSubject: %s%s\r\n\r\n", made % 3 ? "" : "Re: ", said);
	snprintf(name, sizeof(name), "cur/15%08u.M1P1.host:2,", made);
	fd = openat(p->maildir, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void
deliver_one(const struct place *p, char *subject)
{
	deliver_said(p, subject, subject);
}

/* It is no text in the charset that it names: behind all others (RFC 5255 4.6). */
static void
deliver_broken(const struct place *p, const char *front)
{
	char *subject, said[100];

	assert_true(asprintf(&subject, "\xff%s\xef\xbf\xbd", front) > 0);
	snprintf(said, sizeof(said), "=?utf-8?q?%s=FF?=", front);
	deliver_said(p, subject, said);
}

/* Another name of the file of message `uid`, if it is there: quicker than a new one. */
static bool
deliver_again(const struct place *p, uint32_t uid)
{
	char name[60], to[60];

	snprintf(name, sizeof(name), "cur/15%08u.M1P1.host:2,", uid);
	snprintf(to, sizeof(to), "cur/15%08u.M1P1.host:2,", made + 1);
	if (linkat(p->maildir, name, p->maildir, to, 0) < 0)
		return false;
	subjects[++made] = strdup(subjects[uid]);
	return true;
}

/* Some have the same subject, some almost. */
static void
deliver(const struct place *p, size_t count)
{
	for (; count > 0; count--) {
		long n = random();
		char *subject;

		if (made > 300 && made < MOST - 1 && n % 11 != 0 && deliver_again(p, 1 + (uint32_t)random() % 300))
			continue;
		assert_true(asprintf(&subject, "%s%ld", n % 5 == 0 ? "" : n % 2 ? "LETTER ABOUT SOMETHING " : "A",
			n % 7 == 0 ? n % 3 : n % 100000) > 0);
		deliver_one(p, subject);
	}
}

static struct mailbox *
begin(struct place *p, size_t count)
{
	struct mailbox *m;

	srandom(7);
	if (made >= count && faccessat(p->maildir, "cur/1500000001.M1P1.host:2,", F_OK, 0) == 0)
		return mailbox_open(&p->store, "");      /* that of the test before */
	for (made = 0; made < MOST; made++)
		free(subjects[made]), subjects[made] = NULL;
	made = 0;
	deliver(p, count);
	m = mailbox_open(&p->store, "");
	assert_non_null(m);
	return m;
}

static void
take_away(struct mailbox *m, uint32_t uid)
{
	struct number_ranges gone = { NULL, 0, 0 };

	number_ranges_add(&gone, uid);
	assert_int_equal(mailbox_expunge(m, &gone), 0);
	number_ranges_clear(&gone);
}

static int sign;

static int
expected(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	int order = strcmp(subjects[x], subjects[y]);

	return order != 0 ? sign * order : (x > y) - (x < y);
}

static bool
over(const void *me)
{
	return *(const bool *)me;
}

/* Sorts each message of the mailbox of which `every` is a factor. What came out, as UIDs; how many. */
static size_t
sort_some(struct mailbox *m, const char *text, size_t every, uint32_t *uids)
{
	struct span in = span_str(text);
	struct sort_criteria criteria;
	struct change learned;
	struct sorter *s;
	struct view *v;
	size_t count;
	bool always = random() % 2 == 0;      /* stops wherever it can */

	m->users++;
	v = view_open(m, true);
	assert_true(sort_take_criteria(&in, &criteria));
	change_init(&learned);
	s = sorter_new(&criteria);
	sorter_use_order(s, m);
	for (size_t i = 1; i <= v->count; i++) {
		if (i % every == 0)
			sorter_add(s, v, i, &learned);
	}
	while (!sorter_step(s, over, &always) || !sorter_keep_order(s, v, over, &always))
		;
	assert_true(sorter_keep_order(s, v, over, &always));
	count = sorter_count(s);
	for (size_t i = 0; i < count; i++)
		uids[i] = view_uid(v, sorter_number(s, i));
	sorter_free(&s);
	change_clear(&learned);
	view_close(&v);
	return count;
}

static void
check(struct mailbox *m, const char *criteria, size_t every)
{
	uint32_t got[MOST], wanted[MOST];
	size_t count = sort_some(m, criteria, every, got), many = 0;

	for (size_t i = 0; i < m->index.count; i++) {
		if ((i + 1) % every == 0)
			wanted[many++] = m->index.records[i].uid;
	}
	sign = strstr(criteria, "REVERSE") ? -1 : 1;
	qsort(wanted, many, sizeof(*wanted), expected);
	assert_int_equal(count, many);
	assert_memory_equal(got, wanted, many * sizeof(*got));
}

static ino_t
file_there(struct mailbox *m)
{
	struct stat st;

	return fstatat(m->index.directory, FILE_NAME, &st, 0) == 0 ? st.st_ino : 0;
}

static void
test_few_messages_have_none(void **state)
{
	struct mailbox *m = begin(*state, LEAST_ORDERED - 1);
	uint32_t got[MOST];

	check(m, "(SUBJECT)", 1);
	assert_int_equal(file_there(m), 0);
	deliver(*state, 1);
	assert_int_equal(mailbox_refresh(m), 0);
	assert_int_equal(sort_some(m, "(DATE)", 1, got), LEAST_ORDERED);
	assert_int_equal(sort_some(m, "(SUBJECT FROM)", 1, got), LEAST_ORDERED);
	assert_int_equal(sort_some(m, "(ARRIVAL SUBJECT)", 1, got), LEAST_ORDERED);
	assert_int_equal(file_there(m), 0);
	check(m, "(SUBJECT)", 1);
	assert_true(file_there(m) != 0);
	assert_int_equal(unlinkat(m->index.directory, FILE_NAME, 0), 0);
	deliver(*state, LEAST_ORDERED);
	assert_int_equal(mailbox_refresh(m), 0);
	check(m, "(SUBJECT)", 2);         /* not all of them: none is kept */
	assert_int_equal(file_there(m), 0);
	mailbox_release(&m);
}

/* Neither messages nor cache are needed for it, whatever else is asked that is no text. */
static void
test_no_header_is_read(void **state)
{
	struct place *p = *state;
	struct mailbox *m = begin(p, MANY);
	uint32_t got[MOST];
	char name[60];

	check(m, "(REVERSE SUBJECT)", 1);
	cache_close(m);
	assert_int_equal(unlinkat(m->index.directory, CACHE_NAME, 0), 0);
	for (uint32_t uid = 1; uid <= MANY; uid++) {
		snprintf(name, sizeof(name), "cur/15%08u.M1P1.host:2,", uid);
		assert_int_equal(unlinkat(p->maildir, name, 0), 0);
	}
	check(m, "(SUBJECT)", 1);
	check(m, "(REVERSE SUBJECT)", 3);
	assert_int_equal(sort_some(m, "(SUBJECT ARRIVAL)", 1, got), MANY);
	assert_int_equal(faccessat(m->index.directory, CACHE_NAME, F_OK, 0), -1);
	mailbox_release(&m);
}

/* Messages come, few and many, and go, and the order is that of their subjects each time. */
static void
test_it_is_the_order_of_the_texts(void **state)
{
	static const char *const orders[] = { "(SUBJECT)", "(REVERSE SUBJECT)" };
	struct place *p = *state;
	struct mailbox *m = begin(p, MANY);
	ino_t before;

	check(m, "(SUBJECT)", 1);
	before = file_there(m);
	deliver(p, 3);
	assert_int_equal(mailbox_refresh(m), 0);
	check(m, "(SUBJECT)", 1);
	assert_true(file_there(m) == before);       /* not for so few */
	for (int round = 0; round < 24; round++) {
		deliver(p, round % 8 == 7 ? 90 : (size_t)(random() % 12));
		for (long n = random() % 40; n > 0; n--)
			take_away(m, m->index.records[(size_t)random() % m->index.count].uid);
		assert_int_equal(mailbox_refresh(m), 0);
		check(m, orders[round % 2], round % 3 == 0 ? 1 : 1 + (size_t)random() % 9);
		if (round % 5 == 0) {                /* as after the process has ended */
			mailbox_release(&m);
			store_close_quiet(&p->store, 0);
			m = mailbox_open(&p->store, "");
			assert_non_null(m);
		}
	}
	assert_true(file_there(m) != 0 && file_there(m) != before);
	mailbox_release(&m);
}

/* Those that are broken in their charset stay behind all others, whichever came before the order was kept. */
static void
test_what_is_broken_stays_last(void **state)
{
	static const char *const fronts[] = { "A", "B", "C", "Y", "Z" };
	struct place *p = *state;
	struct mailbox *m = begin(p, MANY);

	deliver_broken(p, "B");
	deliver_broken(p, "Y");
	assert_int_equal(mailbox_refresh(m), 0);
	check(m, "(SUBJECT)", 1);
	assert_true(file_there(m) != 0);
	deliver_one(p, strdup("C"));
	deliver_one(p, strdup("Z"));
	for (size_t i = 0; i < sizeof(fronts) / sizeof(fronts[0]); i++)
		deliver_broken(p, fronts[i]);
	assert_int_equal(mailbox_refresh(m), 0);
	check(m, "(SUBJECT)", 1);
	check(m, "(REVERSE SUBJECT)", 1);
	mailbox_release(&m);
}

/* Some, or all, that have a text are gone, and one with the same comes: it stands behind those that are left, where they
 * stand, or stood. */
static void
test_those_that_are_gone_are_not_asked(void **state)
{
	struct place *p = *state;
	struct mailbox *m = begin(p, MANY);

	check(m, "(SUBJECT)", 1);
	for (int round = 0; round < 40; round++) {
		uint32_t model = 1 + (uint32_t)random() % MANY, leave = round % 3 == 0 ? 0 : (uint32_t)random() % 30;
		char *again = strdup(subjects[model]);
		struct number_ranges gone = { NULL, 0, 0 };

		for (uint32_t uid = 1; uid <= MANY; uid++) {
			bool same = strcmp(subjects[uid], again) == 0;

			if (index_find(&m->index, uid) != NO_RECORD &&
				(same ? uid > MANY * leave / 30 : uid > model && uid < model + 3))
				number_ranges_add(&gone, uid);
		}
		assert_int_equal(mailbox_expunge(m, &gone), 0);
		number_ranges_clear(&gone);
		deliver_one(p, again);
		assert_int_equal(mailbox_refresh(m), 0);
		check(m, round % 2 == 0 ? "(SUBJECT)" : "(REVERSE SUBJECT)", 1);
	}
	mailbox_release(&m);
}

static void
test_each_text_has_its_own(void **state)
{
	static const char *const files[] = { ORDER_FILES };
	static const char *const criteria[] = { "(CC)", "(DISPLAYFROM)", "(DISPLAYTO)", "(FROM)", "(SUBJECT)", "(TO)" };
	struct mailbox *m = begin(*state, MANY);
	uint32_t got[MOST];

	for (size_t i = 0; i < sizeof(criteria) / sizeof(criteria[0]); i++) {
		(void)unlinkat(m->index.directory, files[i], 0);
		for (int again = 0; again < 2; again++) {
			assert_int_equal(sort_some(m, criteria[i], 1, got), MANY);
			assert_int_equal(faccessat(m->index.directory, files[i], F_OK, 0), 0);
		}
		if (strcmp(criteria[i], "(SUBJECT)") == 0)
			continue;
		for (uint32_t n = 1; n <= MANY; n++)         /* all the same */
			assert_int_equal(got[n - 1], n);
	}
	mailbox_release(&m);
}

static int
count_directories(DIR *d)
{
	int count = 0;

	rewinddir(d);
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		count += strlen(e->d_name) == 2 * MAILBOX_ID_BYTES;
	return count;
}

static void
test_a_deleted_folder_leaves_none(void **state)
{
	struct place *p = *state;
	struct mailbox *m;
	uint32_t got[MOST];
	DIR *d;

	assert_int_equal(folder_create(&p->store, ".Old"), 0);
	begin(p, MANY)->users--;
	for (uint32_t uid = 1; uid <= MANY; uid++) {
		char name[60], to[70];

		snprintf(name, sizeof(name), "cur/15%08u.M1P1.host:2,", uid);
		snprintf(to, sizeof(to), ".Old/%s", name);
		assert_int_equal(renameat(p->maildir, name, p->maildir, to), 0);
	}
	m = mailbox_open(&p->store, ".Old");
	assert_non_null(m);
	assert_int_equal(sort_some(m, "(SUBJECT)", 1, got), MANY);
	assert_true(file_there(m) != 0);
	mailbox_release(&m);
	store_close_quiet(&p->store, 0);
	d = fdopendir(openat(p->maildir, "valija", O_RDONLY | O_DIRECTORY));
	assert_non_null(d);
	assert_int_equal(count_directories(d), 2);
	assert_int_equal(folder_delete(&p->store, ".Old"), 0);
	while (folder_remove_some(&p->store, 1000))
		;
	assert_int_equal(count_directories(d), 1);       /* INBOX's */
	closedir(d);
}

/* --- files --- */

static size_t
load(struct mailbox *m, unsigned char **bytes)
{
	int fd = openat(m->index.directory, FILE_NAME, O_RDONLY);
	struct stat st;

	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	*bytes = malloc((size_t)st.st_size);
	assert_int_equal(read(fd, *bytes, (size_t)st.st_size), st.st_size);
	close(fd);
	return (size_t)st.st_size;
}

static void
save(struct mailbox *m, const unsigned char *bytes, size_t len)
{
	int fd = openat(m->index.directory, FILE_NAME, O_WRONLY | O_TRUNC | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static void
test_i4_a_damaged_order_is_as_none(void **state)
{
	struct mailbox *m = begin(*state, MANY);
	unsigned char *bytes;
	size_t len;

	check(m, "(SUBJECT)", 1);
	len = load(m, &bytes);
	for (size_t at = 0; at < len; at += at < ORDER_HEADER_BYTES ? 1 : 491) {
		struct order *o;

		bytes[at] ^= 0x10;
		save(m, bytes, len);
		bytes[at] ^= 0x10;
		o = order_read(&m->index, FILE_NAME);
		assert_null(o);
		if (at % 7 == 0)
			check(m, "(SUBJECT)", 1);        /* and it is mended */
	}
	for (size_t cut = 0; cut < len; cut += 1 + cut / 2) {
		save(m, bytes, cut);
		assert_null(order_read(&m->index, FILE_NAME));
	}
	bytes = realloc(bytes, len + 8);
	memset(bytes + len, 0, 8);
	save(m, bytes, len + 8);
	assert_null(order_read(&m->index, FILE_NAME));
	check(m, "(SUBJECT)", 1);
	free(bytes);
	mailbox_release(&m);
}

static void
seal(unsigned char *bytes, size_t len)
{
	uint32_t sum = crc32c_lanes(span_of(bytes + ORDER_HEADER_BYTES, len - ORDER_HEADER_BYTES));

	memcpy(bytes + 40, &sum, 4);
	sum = crc32c(span_of(bytes, ORDER_HEADER_BYTES - 4));
	memcpy(bytes + ORDER_HEADER_BYTES - 4, &sum, 4);
}

/* With right checksums: nothing is read or written where it should not be, all messages come, and where they come is
 * what the liar said. Of another mailbox, UIDVALIDITY or version it is as none. */
static void
test_i4_an_order_that_lies_harms_nobody(void **state)
{
	struct mailbox *m = begin(*state, MANY);
	unsigned char *bytes;
	uint32_t *entries, got[MOST], huge = UINT32_MAX;
	size_t len;

	check(m, "(SUBJECT)", 1);
	len = load(m, &bytes);
	entries = malloc(len);
	deliver(*state, 5);                    /* to be put between */
	assert_int_equal(mailbox_refresh(m), 0);
	assert_int_equal(m->index.count, MANY + 5);
	for (int lie = 0; lie < 60; lie++) {
		unsigned char *all = malloc(len);
		bool seen[MOST] = { false };

		memcpy(all, bytes, len);
		memcpy(entries, all + ORDER_HEADER_BYTES, len - ORDER_HEADER_BYTES);
		for (int i = 0; i < 50; i++)
			entries[(size_t)random() % (2 * MANY)] = lie % 3 == 0 ? 0 : lie % 3 == 1 ?
				(uint32_t)random() % (MANY + 2) : (uint32_t)random() * 2u + 1;
		memcpy(all + ORDER_HEADER_BYTES, entries, len - ORDER_HEADER_BYTES);
		if (lie >= 50)
			all[8 + (lie - 50) * 2] ^= 0x40;         /* order, version, validity, id */
		seal(all, len);
		save(m, all, len);
		if (lie >= 50) {
			assert_null(order_read(&m->index, FILE_NAME));
			check(m, "(SUBJECT)", 1);
		}
		assert_int_equal(sort_some(m, "(SUBJECT)", 1, got), MANY + 5);
		for (size_t i = 0; i < MANY + 5; i++) {
			assert_false(seen[got[i]]);
			seen[got[i]] = true;
		}
		free(all);
	}
	memcpy(bytes + 36, &huge, 4);
	seal(bytes, len);
	save(m, bytes, len);
	assert_null(order_read(&m->index, FILE_NAME));
	free(entries);
	free(bytes);
	mailbox_release(&m);
}

/* Where it cannot be written, sorting goes on without. */
static void
test_i4_an_order_that_cannot_be_written(void **state)
{
	struct mailbox *m = begin(*state, MANY);

	(void)unlinkat(m->index.directory, FILE_NAME, 0);
	assert_int_equal(mkdirat(m->index.directory, ORDER_NEW, 0700), 0);
	check(m, "(SUBJECT)", 1);
	assert_int_equal(file_there(m), 0);
	assert_int_equal(unlinkat(m->index.directory, ORDER_NEW, AT_REMOVEDIR), 0);
	check(m, "(SUBJECT)", 1);
	assert_true(file_there(m) != 0);
	mailbox_release(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_few_messages_have_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_header_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_it_is_the_order_of_the_texts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_broken_stays_last, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_those_that_are_gone_are_not_asked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_deleted_folder_leaves_none, set_up, tear_down),
	};
	/* They leave the messages as they are, and share them: a thousand files take some time. */
	const struct CMUnitTest sharing[] = {
		cmocka_unit_test(test_i4_an_order_that_cannot_be_written),
		cmocka_unit_test(test_each_text_has_its_own),
		cmocka_unit_test(test_i4_a_damaged_order_is_as_none),
		cmocka_unit_test(test_i4_an_order_that_lies_harms_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) + cmocka_run_group_tests(sharing, set_up, tear_down);
}
