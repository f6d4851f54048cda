/* What Dovecot and Courier left in a folder is taken over: their lists parsed, whole and damaged;
 * then UIDs, flags, keywords and subscriptions of a Maildir that they wrote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/beneath.h"
#include "common/maildir.h"
#include "imapd/flags.h"
#include "imapd/folder.h"
#include "imapd/mailbox.h"
#include "imapd/takeover.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the lists --- */

/* As Dovecot 2.3 writes it: sizes that the name has not stand before it, flags behind it are
 * stale. */
#define DOVECOT "3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n" \
	"25006 :1276528487.M364837P9451.kurkku,S=1355,W=1394:2,\n" \
	"25017 W2481 :1276533073.M242911P3632.kurkku:2,F\n" \
	"25021 W99 S100 :last\n"

static void
clear(struct takeover *t)
{
	free(t->uids);
	free(t->marked);
}

static void
test_uidlists(void **state)
{
	static const struct {
		const char *list, *base;
		uint32_t uid, validity, next;     /* next 0: there is no header */
		size_t bad;
	} cases[] = {
		{ DOVECOT, "1276528487.M364837P9451.kurkku,S=1355,W=1394", 25006, 1275660208,
			25022, 0 },
		{ DOVECOT, "1276533073.M242911P3632.kurkku", 25017, 1275660208, 25022, 0 },
		{ DOVECOT, "last:2,S,strange", 25021, 1275660208, 25022, 0 },
		{ DOVECOT, "las", 0, 1275660208, 25022, 0 },
		{ "3 N7 X99 V5\n1 :a\n", "a", 1, 5, 7, 0 },
		{ "3 V5 N1\n1 :a\n9 :b\n", "b", 9, 5, 10, 0 },        /* appended since */
		{ "1 1173189136 20221\n20220 1035478339.27041_118.foo.org:2,S\n",
			"1035478339.27041_118.foo.org", 20220, 1173189136, 20221, 0 },
		{ "1 5 3\r\n1 a\r\n2 b\r\n", "b", 2, 5, 3, 0 },
		{ "3 V5 N3\n", "a", 0, 5, 3, 0 },
		/* damage is passed over */
		{ "3 V5 N9\n1 :a\n\nrubbish\n4 b\n0 :z\n-1 :z\n5 :c\n", "c", 5, 5, 9, 5 },
		{ "3 V5 N9\n3 :a\n3 :b\n2 :c\n4 :d\n", "d", 4, 5, 9, 2 },
		{ "3 V5 N9\n3 :a\n4294967295 :b\n99999999999 :c\n4 :d\n", "d", 4, 5, 9, 2 },
		{ "3 V5 N9\n3 :a/b\n4 :.c\n5 :\n6 ::2,S\n7 :d\n", "d", 7, 5, 9, 4 },
		{ "3 V5 N9\n1 :a\n2 :tor", "tor", 0, 5, 9, 1 },
		{ "3 V5 N9\n1 :a\n2 :b\n3 :a\n", "a", 3, 5, 9, 0 },   /* the later one */
		/* nothing without a header */
		{ "", "a", 0, 0, 0, 0 },
		{ "3 V5 N9", "a", 0, 0, 0, 1 },
		{ "3 V0 N9\n1 :a\n", "a", 0, 0, 0, 0 },
		{ "3 V5\n1 :a\n", "a", 0, 0, 0, 0 },
		{ "3 V5 N4294967295\n1 :a\n", "a", 0, 0, 0, 0 },
		{ "3 Vx N9\n1 :a\n", "a", 0, 0, 0, 0 },
		{ "2 5 9\n1 :a\n", "a", 0, 0, 0, 0 },
		{ "1 5\n1 a\n", "a", 0, 0, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct takeover t = { .uidvalidity = 0 };

		assert_int_equal(takeover_parse_uids(&t, span_str(cases[i].list)),
			cases[i].next != 0);
		takeover_sort(&t);
		assert_int_equal(takeover_uid(&t, span_str(cases[i].base)), cases[i].uid);
		assert_int_equal(t.uidvalidity, cases[i].validity);
		assert_int_equal(t.uidnext, cases[i].next);
		assert_int_equal(t.bad, cases[i].bad);
		clear(&t);
	}
}

/* However it is cut, only what is whole is taken. */
static void
test_a_list_torn_at_every_byte(void **state)
{
	(void)state;
	for (size_t len = 0; len < sizeof(DOVECOT); len++) {
		struct takeover t = { .uidvalidity = 0 };
		char *list = malloc(len + 1);

		memcpy(list, DOVECOT, len);
		(void)takeover_parse_uids(&t, span_of(list, len));
		for (size_t i = 0; i < t.uid_count; i++)
			assert_true(t.uids[i].uid == 25006 || t.uids[i].uid == 25017 ||
				t.uids[i].uid == 25021);
		assert_int_equal(t.uid_count == 3, len == sizeof(DOVECOT) - 1);
		clear(&t);
		free(list);
	}
}

static void
test_keywords(void **state)
{
	struct takeover t = { .uidvalidity = 0 };
	struct span names[KEYWORD_LETTERS + MOST_KEYWORDS];

	(void)state;
	takeover_parse_letters(&t, SPAN("0 $Junk\n1 Project\n25 Last\n26 over\n2 two words\n"
		"3 \\Seen\n4 \nx y\n"));
	assert_int_equal(t.bad, 5);
	assert_int_equal(takeover_keywords(&t, SPAN("x"), 1u << 0 | 1u << 1 | 1u << 2 | 1u << 25,
		names), 3);
	assert_true(span_equal(names[0], SPAN("$Junk")));
	assert_true(span_equal(names[1], SPAN("Project")));
	assert_true(span_equal(names[2], SPAN("Last")));

	t = (struct takeover){ .uidvalidity = 0 };
	takeover_parse_courier_keywords(&t, SPAN("$Forwarded\nbad one\nWork\n\n"
		"b.host:2 0\na.host:1 2 9\n:0\nc.host\na/b:1\n"));
	takeover_sort(&t);
	assert_int_equal(t.bad, 4);
	assert_int_equal(takeover_keywords(&t, SPAN("b.host"), 0, names), 2);
	assert_true(span_equal(names[0], SPAN("Work")));
	assert_true(span_equal(names[1], SPAN("$Forwarded")));
	assert_int_equal(takeover_keywords(&t, SPAN("a.host"), 0, names), 1);
	assert_int_equal(takeover_keywords(&t, SPAN("c.host"), 0, names), 0);
	clear(&t);
}

/* --- a Maildir --- */

struct place {
	char path[64];
	int top, maildir;
	struct store store;
};

static int
set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	strcpy(p->path, "/tmp/valija-takeover-XXXXXX");
	assert_non_null(mkdtemp(p->path));
	p->top = open(p->path, O_RDONLY | O_DIRECTORY);
	p->maildir = maildir_open(p->top, "Maildir", true);
	assert_true(p->maildir >= 0);
	assert_int_equal(store_init(&p->store, p->maildir, "host"), 0);
	*state = p;
	return 0;
}

static void
remove_all(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (unlinkat(dirfd(d), e->d_name, 0) < 0)
			remove_all(dirfd(d), e->d_name);
	}
	if (d != NULL)
		closedir(d);
	unlinkat(parent, name, AT_REMOVEDIR);
}

static int
tear_down(void **state)
{
	struct place *p = *state;

	store_clear(&p->store);
	remove_all(p->top, "Maildir");
	close(p->maildir);
	close(p->top);
	rmdir(p->path);
	free(p);
	return 0;
}

static void
put(struct place *p, const char *name, const char *content)
{
	int fd = openat(p->maildir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write_all(fd, content, strlen(content)), 0);
	close(fd);
}

#define MAIL "a: b\r\n\r\nx\r\n"

static void
put_dovecot(struct place *p)
{
	put(p, "dovecot-uidlist", "3 V1275660208 N120 G3085f01b7f11094c501100008c4a11c1\n"
		"7 :300.c:2,\n50 W10 :200.b,S=10:2,S\n119 :100.a\n");
	put(p, "dovecot-keywords", "0 $Junk\n1 Project\n");
	put(p, "cur/100.a:2,Sab", MAIL);
	put(p, "cur/200.b,S=10:2,F", MAIL);
	put(p, "cur/300.c:2,", MAIL);
	put(p, "cur/050.moved-in-later:2,", MAIL);
	put(p, "new/060.delivered", MAIL);
}

static bool
has_keyword(const struct index *ix, const struct index_record *r, struct span name)
{
	int number = keywords_find(&ix->keywords, name);

	return number != NO_KEYWORD &&
		keywords_has(&ix->keywords, r->keywords, (unsigned int)number);
}

static void
check_dovecot(const struct mailbox *m, uint32_t recent_from)
{
	const struct index *ix = &m->index;
	static const uint32_t uids[] = { 7, 50, 119, 120, 121 };
	static const char *const names[] = { "300.c", "200.b,S=10", "100.a", "050.moved-in-later",
		"060.delivered" };

	assert_int_equal(ix->uidvalidity, 1275660208);
	assert_int_equal(ix->uidnext, 122);
	assert_int_equal(ix->count, 5);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(ix->records[i].uid, uids[i]);
		assert_true(span_equal(index_name(ix, &ix->records[i]), span_str(names[i])));
	}
	assert_int_equal(ix->recent_from, recent_from);
	assert_int_equal(ix->records[0].flags, 0);
	assert_int_equal(ix->records[1].flags, FLAG_FLAGGED);
	assert_int_equal(ix->records[2].flags, FLAG_SEEN);
	assert_int_equal(ix->keywords.count, 2);
	assert_true(has_keyword(ix, &ix->records[2], SPAN("$Junk")));
	assert_true(has_keyword(ix, &ix->records[2], SPAN("Project")));
	assert_int_equal(ix->records[0].keywords, 0);
}

static void
reopen(struct place *p)
{
	store_clear(&p->store);
	assert_int_equal(store_init(&p->store, p->maildir, "host"), 0);
}

/* The journal of INBOX gets another name. */
static void
move_journal(struct place *p, const char *to)
{
	char id[33] = "", old[80], now[80];
	int fd = openat(p->maildir, MAILBOX_ID_FILE, O_RDONLY);

	assert_int_equal(read(fd, id, 32), 32);
	close(fd);
	snprintf(old, sizeof(old), "valija/%s/journal", id);
	snprintf(now, sizeof(now), "valija/%s/%s", id, to);
	assert_int_equal(renameat(p->maildir, old, p->maildir, now), 0);
}

static void
test_dovecot_is_taken_over(void **state)
{
	struct place *p = *state;
	struct mailbox *m;

	put_dovecot(p);
	m = mailbox_open(&p->store, "");
	assert_non_null(m);
	check_dovecot(m, 121);
	assert_null(m->takeover);
	reopen(p);
	/* From now on Dovecot's lists say nothing to us. */
	put(p, "dovecot-uidlist", "3 V9 N9\n1 :300.c\n");
	check_dovecot(mailbox_open(&p->store, ""), 121);
	assert_true(store_new_uidvalidity(&p->store) > 1275660208);
}

/* Killed before the journal had its name: all is taken over once more. */
static void
test_a_first_opening_cut_short(void **state)
{
	struct place *p = *state;

	put_dovecot(p);
	assert_non_null(mailbox_open(&p->store, ""));
	reopen(p);
	move_journal(p, "journal.new");
	check_dovecot(mailbox_open(&p->store, ""), 122);
}

/* A journal that was lost: the UIDs that we gave since are unknown, so all begin anew. */
static void
test_a_lost_journal_is_not_replaced_by_an_old_list(void **state)
{
	struct place *p = *state;
	struct mailbox *m;

	put_dovecot(p);
	assert_non_null(mailbox_open(&p->store, ""));
	reopen(p);
	move_journal(p, "elsewhere");
	m = mailbox_open(&p->store, "");
	assert_true(m->index.uidvalidity > 1275660208);
	assert_int_equal(m->index.count, 5);
	assert_int_equal(m->index.records[0].uid, 1);
}

static void
test_an_empty_folder_keeps_its_uidnext(void **state)
{
	struct place *p = *state;
	struct mailbox *m;

	put(p, "dovecot-uidlist", "3 V8 N1000 G00\n");
	m = mailbox_open(&p->store, "");
	assert_int_equal(m->index.uidvalidity, 8);
	assert_int_equal(m->index.uidnext, 1000);
	put(p, "new/1.x", MAIL);
	assert_int_equal(mailbox_scan(m), 0);
	assert_int_equal(m->index.records[0].uid, 1000);
	assert_int_equal(m->index.recent_from, 1000);
}

/* Two files whose names say the same message: one keeps its UID, all have different ones. */
static void
test_no_uid_comes_twice(void **state)
{
	struct place *p = *state;
	struct mailbox *m;

	put(p, "dovecot-uidlist", "3 V8 N9\n4 :x\n5 :y\n");
	put(p, "cur/x:2,S", MAIL);
	put(p, "cur/x:2,S,strange", MAIL);
	put(p, "cur/y:2,S", MAIL);
	m = mailbox_open(&p->store, "");
	assert_int_equal(m->index.count, 3);
	assert_int_equal(m->index.records[0].uid, 4);
	assert_int_equal(m->index.records[1].uid, 5);
	assert_true(span_equal(index_name(&m->index, &m->index.records[1]), SPAN("y")));
	assert_int_equal(m->index.records[2].uid, 9);
}

static void
test_damaged_lists(void **state)
{
	struct place *p = *state;
	struct mailbox *m;

	put(p, "cur/x:2,a", MAIL);
	put(p, "dovecot-uidlist", "\xff\xfe rubbish\n1 :x\n");
	assert_int_equal(symlinkat("/etc/passwd", p->maildir, "dovecot-keywords"), 0);
	m = mailbox_open(&p->store, "");
	assert_non_null(m);
	assert_int_equal(m->index.count, 1);
	assert_int_equal(m->index.records[0].uid, 1);
	assert_int_equal(m->index.records[0].keywords, 0);
	assert_true(m->index.uidvalidity > 1275660208);
}

static void
test_courier_is_taken_over(void **state)
{
	struct place *p = *state;
	struct folder_list list;
	struct mailbox *m;
	size_t subscribed = 0;

	assert_int_equal(maildir_make(p->maildir, ".Work"), 0);
	put(p, ".Work/courierimapuiddb", "1 1173189136 77\n75 2.b\n76 1.a\n");
	assert_int_equal(mkdirat(p->maildir, ".Work/courierimapkeywords", 0700), 0);
	put(p, ".Work/courierimapkeywords/:list", "$Forwarded\nWork\n\n1.a:1 0\n");
	put(p, ".Work/cur/1.a:2,RS", MAIL);
	put(p, ".Work/cur/2.b:2,", MAIL);
	m = mailbox_open(&p->store, ".Work");
	assert_int_equal(m->index.uidvalidity, 1173189136);
	assert_int_equal(m->index.uidnext, 77);
	assert_int_equal(m->index.records[0].uid, 75);
	assert_int_equal(m->index.records[1].uid, 76);
	assert_int_equal(m->index.records[1].flags, FLAG_SEEN | FLAG_ANSWERED);
	assert_true(has_keyword(&m->index, &m->index.records[1], SPAN("Work")));
	assert_true(has_keyword(&m->index, &m->index.records[1], SPAN("$Forwarded")));

	put(p, "courierimapsubscribed", "INBOX\nINBOX.Work\nINBOX.Gone\n");
	assert_int_equal(maildir_make_standard(p->maildir), 0);
	assert_int_equal(folder_subscribe(&p->store, ".Sent", true), 0);
	assert_int_equal(folder_subscribe(&p->store, ".Gone", false), 0);
	assert_int_equal(unlinkat(p->maildir, "courierimapsubscribed", 0), 0);
	assert_int_equal(folder_list_read(&p->store, true, &list), 0);
	for (size_t i = 0; i < list.count; i++) {
		if (!list.entries[i].subscribed)
			continue;
		subscribed++;
		assert_true(span_equal(list.entries[i].name, SPAN("INBOX")) ||
			span_equal(list.entries[i].name, SPAN("Work")) ||
			span_equal(list.entries[i].name, SPAN("Sent")));
	}
	assert_int_equal(subscribed, 3);
	folder_list_clear(&list);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uidlists),
		cmocka_unit_test(test_a_list_torn_at_every_byte),
		cmocka_unit_test(test_keywords),
		TEST(test_dovecot_is_taken_over),
		TEST(test_a_first_opening_cut_short),
		TEST(test_a_lost_journal_is_not_replaced_by_an_old_list),
		TEST(test_an_empty_folder_keeps_its_uidnext),
		TEST(test_no_uid_comes_twice),
		TEST(test_damaged_lists),
		TEST(test_courier_is_taken_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
