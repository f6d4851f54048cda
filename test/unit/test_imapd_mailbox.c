/* The index under torn and damaged journals; the mailbox in step with its Maildir. */
#include "imapd_rig.h"

#include "common/beneath.h"
#include "imapd/placing.h"
#include "imapd/view.h"

#include <errno.h>
#include <stdio.h>

/* --- the journal --- */

static void
fill(struct index *ix)
{
	struct keyword_bits bits = { { 0 } };
	int number;

	add(ix, "one", 0);
	add(ix, "two", FLAG_SEEN);
	number = index_keyword(ix, SPAN("Work"), true);
	assert_int_equal(number, 0);
	bits.word[0] = 1;
	add(ix, "three", 0);
	flag(ix, 1, 2, CHANGE_ADD, FLAG_FLAGGED, &bits);
	expunge(ix, 2, 2);
	add(ix, "four", 0);
	flag(ix, 3, 4, CHANGE_REPLACE, FLAG_DRAFT, NULL);
}

static void
check_filled(const struct index *ix)
{
	assert_int_equal(ix->count, 3);
	assert_int_equal(ix->uidnext, 5);
	assert_int_equal(ix->records[0].uid, 1);
	assert_int_equal(ix->records[0].flags, FLAG_FLAGGED);
	assert_true(keywords_has(&ix->keywords, ix->records[0].keywords, 0));
	assert_int_equal(ix->records[1].uid, 3);
	assert_int_equal(ix->records[1].flags, FLAG_DRAFT);
	assert_int_equal(ix->records[2].uid, 4);
	assert_true(span_equal(index_name(ix, &ix->records[2]), SPAN("four")));
	assert_int_equal(index_find(ix, 2), NO_RECORD);
	assert_int_equal(ix->records[2].modseq, ix->modseq);
}

static void
test_index_comes_back(void **state)
{
	struct place *p = *state;
	struct index ix;

	assert_int_equal(open_index(p, &ix, 77), 0);
	fill(&ix);
	check_filled(&ix);
	assert_int_equal(index_sync(&ix), 0);
	index_close(&ix);
	assert_int_equal(open_index(p, &ix, 78), 0);
	assert_int_equal(ix.uidvalidity, 77);
	check_filled(&ix);
	index_close(&ix);
}

static size_t
read_journal(struct place *p, unsigned char **bytes)
{
	int fd = openat(p->store.private, "30313233343536373839616263646566/journal", O_RDONLY);
	struct stat st;

	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	*bytes = malloc((size_t)st.st_size);
	assert_int_equal(read(fd, *bytes, (size_t)st.st_size), st.st_size);
	close(fd);
	return (size_t)st.st_size;
}

static void
write_journal(struct place *p, const unsigned char *bytes, size_t len)
{
	int fd = openat(p->store.private, "30313233343536373839616263646566/journal",
		O_WRONLY | O_TRUNC);

	assert_true(fd >= 0);
	assert_int_equal(write_all(fd, bytes, len), 0);
	close(fd);
}

/* Where the records end: the zeros behind them are written ahead. (The last record of fill() ends
 * with a UID, of which three bytes are zeros.) */
static size_t
records_end(const unsigned char *bytes, size_t len)
{
	while (len > 0 && bytes[len - 1] == 0)
		len--;
	return len + 3;
}

/* Wherever it is torn: what is before stays, UIDs that were given do not come again, and it can be
 * written to. */
static void
torn_at_every_byte(struct place *p, bool zeros_behind)
{
	unsigned char *bytes, *torn;
	struct index ix;
	size_t size, len, last_count = 0;

	assert_int_equal(open_index(p, &ix, 77), 0);
	fill(&ix);
	size = ix.journal_size;
	index_close(&ix);
	len = read_journal(p, &bytes);
	assert_true(len > size);                /* zeros ahead */
	assert_int_equal(records_end(bytes, len), size);
	torn = malloc(len);
	for (size_t cut = JOURNAL_HEADER; cut <= size; cut++) {
		uint32_t uid;

		memset(torn, 0, len);
		memcpy(torn, bytes, cut);
		write_journal(p, torn, zeros_behind ? len : cut);
		assert_int_equal(open_index(p, &ix, 99), 0);
		assert_int_equal(ix.uidvalidity, 77);
		assert_true(ix.count <= 3);
		if (cut == size) {
			check_filled(&ix);
			assert_int_equal(ix.damaged, 0);
			assert_int_equal(ix.journal_size, size);
		}
		uid = ix.uidnext;
		add(&ix, "after", 0);
		assert_int_equal(ix.records[ix.count - 1].uid, uid);
		last_count = ix.count;
		index_close(&ix);
		assert_int_equal(open_index(p, &ix, 99), 0);
		assert_int_equal(ix.damaged, 0);        /* the torn tail was cut */
		assert_int_equal(ix.count, last_count);
		index_close(&ix);
	}
	/* Without a header it is no journal: a new one, of another validity. */
	write_journal(p, bytes, JOURNAL_HEADER - 1);
	assert_int_equal(open_index(p, &ix, 99), 0);
	assert_int_equal(ix.uidvalidity, 99);
	index_close(&ix);
	free(bytes);
	free(torn);
}

static void
test_index_torn_at_every_byte(void **state)
{
	torn_at_every_byte(*state, false);
}

/* The same where the file had its size already, and only the bytes did not come to the disk. */
static void
test_index_torn_before_zeros_at_every_byte(void **state)
{
	torn_at_every_byte(*state, true);
}

/* Appending does not change the file's size each time; a journal that was closed goes on in its
 * zeros. */
static void
test_index_writes_zeros_ahead(void **state)
{
	struct place *p = *state;
	uint64_t room, size;
	unsigned int grown = 0;
	struct index ix;
	struct stat st;

	assert_int_equal(open_index(p, &ix, 77), 0);
	fill(&ix);
	room = ix.journal_room;
	assert_int_equal(room % 4096, 0);
	for (int i = 0; i < 2000; i++) {
		flag(&ix, 1, 1, i % 2 ? CHANGE_ADD : CHANGE_REMOVE, FLAG_FLAGGED, NULL);
		assert_true(ix.journal_size <= ix.journal_room);
		assert_true(fstat(ix.journal, &st) == 0 &&
			(uint64_t)st.st_size == ix.journal_room);
		grown += ix.journal_room != room;
		room = ix.journal_room;
	}
	assert_true(grown < 15);
	size = ix.journal_size;
	index_close(&ix);
	assert_int_equal(open_index(p, &ix, 77), 0);
	assert_int_equal(ix.damaged, 0);
	assert_int_equal(ix.journal_size, size);
	assert_int_equal(ix.journal_room, room);
	add(&ix, "after", 0);
	assert_int_equal(ix.journal_room, room);
	index_close(&ix);
}

static void
test_index_damaged_at_every_byte(void **state)
{
	struct place *p = *state;
	unsigned char *bytes;
	struct index ix;
	size_t len;

	assert_int_equal(open_index(p, &ix, 77), 0);
	fill(&ix);
	index_close(&ix);
	len = read_journal(p, &bytes);
	for (size_t at = JOURNAL_HEADER; at < records_end(bytes, len); at++) {
		bytes[at] ^= 0x55;
		write_journal(p, bytes, len);
		bytes[at] ^= 0x55;
		assert_int_equal(open_index(p, &ix, 99), 0);
		assert_true(ix.damaged > 0);
		assert_true(ix.uidnext >= 5);           /* no UID comes twice */
		assert_true(ix.count <= 4);
		index_close(&ix);
		assert_int_equal(open_index(p, &ix, 99), 0);
		assert_true(ix.uidnext >= 5);
		index_close(&ix);
	}
	free(bytes);
}

static void
test_index_is_compacted(void **state)
{
	struct place *p = *state;
	struct index ix;
	uint64_t before;

	assert_int_equal(open_index(p, &ix, 77), 0);
	fill(&ix);
	for (int i = 0; i < 10000; i++)
		flag(&ix, 1, 1, i % 2 ? CHANGE_ADD : CHANGE_REMOVE, FLAG_FLAGGED, NULL);
	before = ix.journal_size;
	assert_int_equal(index_compact(&ix), 0);
	assert_true(ix.journal_size < before / 100);
	add(&ix, "five", 0);
	before = ix.modseq;
	index_close(&ix);
	assert_int_equal(open_index(p, &ix, 99), 0);
	assert_int_equal(ix.uidvalidity, 77);
	assert_int_equal(ix.count, 4);
	assert_int_equal(ix.modseq, before);
	assert_int_equal(ix.records[3].uid, 5);
	assert_true(keywords_has(&ix.keywords, ix.records[0].keywords, 0));
	index_close(&ix);
}

static void
test_more_keywords_than_letters(void **state)
{
	struct place *p = *state;
	struct keyword_bits all = { { 0 } };
	struct index ix;
	char name[16];

	assert_int_equal(open_index(p, &ix, 77), 0);
	add(&ix, "one", 0);
	for (int i = 0; i < MOST_KEYWORDS; i++) {
		snprintf(name, sizeof(name), "word%d", i);
		assert_int_equal(index_keyword(&ix, span_str(name), true), i);
		all.word[i / 64] |= (uint64_t)1 << (i % 64);
	}
	assert_int_equal(index_keyword(&ix, SPAN("onemore"), true), NO_KEYWORD);
	assert_int_equal(index_keyword(&ix, SPAN("WORD200"), false), 200);
	flag(&ix, 1, 1, CHANGE_ADD, 0, &all);
	index_close(&ix);
	assert_int_equal(open_index(p, &ix, 77), 0);
	assert_true(keywords_has(&ix.keywords, ix.records[0].keywords, 255));
	assert_int_equal(keywords_find(&ix.keywords, SPAN("word255")), 255);
	index_close(&ix);
}

/* --- the Maildir --- */

static void
put(struct place *p, const char *name)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s", name);
	fd = openat(p->maildir, path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write_all(fd, "a: b\r\n\r\nx\r\n", 11), 0);
	close(fd);
}

static bool
there(struct place *p, const char *name)
{
	return faccessat(p->maildir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* As if the process had been killed: nothing is written down at the end. */
static void
forget(struct place *p)
{
	for (struct mailbox *m = p->store.mailboxes; m != NULL; m = m->next)
		m->gone = true;
	store_clear(&p->store);
	assert_int_equal(store_init(&p->store, p->maildir, "host"), 0);
}

static const struct index_record *
record_of(const struct mailbox *m, const char *base)
{
	for (size_t i = 0; i < m->index.count; i++) {
		if (span_equal(index_name(&m->index, &m->index.records[i]), span_str(base)))
			return &m->index.records[i];
	}
	return NULL;
}

static void
test_first_look(void **state)
{
	struct place *p = *state;
	struct mailbox *m;

	put(p, "cur/30.c:2,S");
	put(p, "cur/10.a:2,FRT");
	put(p, "new/20.b");
	put(p, "new/5.z");
	assert_int_equal(mkdirat(p->maildir, "new/dir", 0700), 0);
	assert_int_equal(symlinkat("/etc/passwd", p->maildir, "new/40.link"), 0);
	assert_int_equal(mkfifoat(p->maildir, "cur/50.fifo:2,", 0600), 0);
	m = mailbox_open(&p->store, "");
	assert_non_null(m);
	assert_int_equal(m->index.count, 4);
	/* In the order of their arrival; those that were in new/ are behind the others, and
	 * recent. */
	assert_int_equal(record_of(m, "10.a")->uid, 1);
	assert_int_equal(record_of(m, "10.a")->flags, FLAG_FLAGGED | FLAG_ANSWERED | FLAG_DELETED);
	assert_int_equal(record_of(m, "30.c")->uid, 2);
	assert_int_equal(record_of(m, "5.z")->uid, 3);
	assert_int_equal(record_of(m, "20.b")->uid, 4);
	assert_int_equal(m->index.recent_from, 3);
	assert_true(there(p, "cur/20.b:2,") && !there(p, "new/20.b"));
	assert_true(there(p, "new/40.link"));      /* no message */
	mailbox_release(&m);
}

/* What came within one second has UIDs in the order in which it came: the microseconds in a name have no leading
 * zeros, nor has the count of deliveries by one process. */
static void
test_arrivals_of_one_second(void **state)
{
	static const char *const names[] = { "7.M2P9.h", "7.M999P1.h", "7.M12345P2.h", "7.M99999P8Q9.h", "7.M99999P8Q10.h",
		"7.M100000P1.h" };
	struct place *p = *state;
	struct mailbox *m;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[40];

		snprintf(path, sizeof(path), "new/%s", names[i]);
		put(p, path);
	}
	m = mailbox_open(&p->store, "");
	assert_non_null(m);
	assert_int_equal(m->index.count, sizeof(names) / sizeof(names[0]));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(record_of(m, names[i])->uid, i + 1);
	mailbox_release(&m);
}

static void
test_changes_of_others(void **state)
{
	struct place *p = *state;
	struct mailbox *m;

	put(p, "cur/10.a:2,");
	put(p, "cur/20.b:2,S");
	put(p, "cur/30.c:2,");
	m = mailbox_open(&p->store, "");
	assert_int_equal(m->index.count, 3);
	assert_int_equal(renameat(p->maildir, "cur/10.a:2,", p->maildir, "cur/10.a:2,FP"), 0);
	assert_int_equal(unlinkat(p->maildir, "cur/20.b:2,S", 0), 0);
	put(p, "new/40.d");
	assert_int_equal(mailbox_refresh(m), 0);
	assert_int_equal(m->index.count, 3);
	assert_int_equal(record_of(m, "10.a")->flags, FLAG_FLAGGED);
	assert_int_equal(record_of(m, "10.a")->letters, LETTER_F | LETTER_P);
	assert_null(record_of(m, "20.b"));
	assert_int_equal(record_of(m, "40.d")->uid, 4);
	mailbox_release(&m);
}

/* Letters in another order, or twice, as scripts write them: read, and found again. */
static void
test_letters_in_any_order(void **state)
{
	struct place *p = *state;
	char longest[MAILDIR_MOST_NAME + 1], path[300];
	struct mailbox *m;

	memset(longest, 'x', MAILDIR_MOST_NAME);
	memcpy(longest, "50.", 3);
	memcpy(longest + MAILDIR_MOST_NAME - 4, ":2,S", 5);
	snprintf(path, sizeof(path), "cur/%s", longest);
	put(p, path);
	put(p, "cur/10.a:2,SF");
	put(p, "cur/20.b:2,SbaS");
	put(p, "cur/30.c:2,FS");
	put(p, "cur/30.c:2,SF");     /* another message */
	put(p, "cur/40.d:2,S");
	m = mailbox_open(&p->store, "");
	assert_non_null(m);
	assert_int_equal(m->index.count, 6);
	assert_int_equal(record_of(m, "10.a")->flags, FLAG_FLAGGED | FLAG_SEEN);
	assert_true(there(p, "cur/10.a:2,FS") && there(p, "cur/20.b:2,Sab") && there(p, "cur/30.c:2,FS"));
	assert_false(there(p, "cur/30.c:2,SF"));
	assert_int_equal(renameat(p->maildir, "cur/40.d:2,S", p->maildir, "cur/40.d:2,TR"), 0);
	assert_int_equal(mailbox_scan(m), 0);
	assert_int_equal(m->index.count, 6);
	assert_int_equal(record_of(m, "40.d")->flags, FLAG_DELETED | FLAG_ANSWERED);
	for (uint32_t uid = 1; uid <= 6; uid++) {
		int fd = mailbox_open_file(m, uid);

		assert_true(fd >= 0);
		close(fd);
	}
	mailbox_release(&m);
}

/* Our flag is in the journal, not yet in the name; somebody else changes another letter: both
 * count. */
static void
test_letters_are_merged(void **state)
{
	struct place *p = *state;
	struct mailbox *m;

	put(p, "cur/10.a:2,S");
	m = mailbox_open(&p->store, "");
	flag(&m->index, 1, 1, CHANGE_ADD, FLAG_FLAGGED, NULL);
	m->index.names_pending = true;
	assert_int_equal(renameat(p->maildir, "cur/10.a:2,S", p->maildir, "cur/10.a:2,R"), 0);
	assert_int_equal(mailbox_scan(m), 0);
	assert_int_equal(m->index.records[0].flags, FLAG_FLAGGED | FLAG_ANSWERED);
	assert_false(mailbox_follow_names(m, 100));
	assert_true(there(p, "cur/10.a:2,FR"));
	/* Our own renaming is no news. */
	assert_int_equal(mailbox_refresh(m), 0);
	assert_false(m->check_cur);
	assert_int_equal(m->index.records[0].flags, FLAG_FLAGGED | FLAG_ANSWERED);
	mailbox_release(&m);
}

/* A file system that makes a fast commit after all: from then on its journal is not relied on, and what was promised by it
 * is synced another way. */
static void
test_a_journal_that_is_not_what_it_seemed(void **state)
{
	static const char *const facts[] = { "fc stats:\n0 commits\n0 ineligible\n", "fc stats:\n1 commits\n0 ineligible\n" };
	struct place *p = *state;
	struct mailbox *m = mailbox_open(&p->store, "");
	int fd = open_in(p->maildir, "tmp/facts", O_RDWR | O_CREAT, 0600);

	assert_true(fd >= 0);
	p->store.ordered = true;
	p->store.journal = (struct journal){ .fast_commits = fd };
	for (int fast = 0; fast < 2; fast++) {
		assert_int_equal(pwrite(fd, facts[fast], strlen(facts[fast]), 0), (ssize_t)strlen(facts[fast]));
		m->cur_unsynced = true;
		assert_int_equal(mailbox_durable(m), 0);
		assert_false(m->cur_unsynced);
		assert_int_equal(p->store.ordered, !fast);
	}
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	mailbox_release(&m);
}

/* Killed between the journal and the renaming: the journal is right. */
static void
test_flags_survive_a_kill(void **state)
{
	struct place *p = *state;
	struct mailbox *m;

	put(p, "cur/10.a:2,");
	m = mailbox_open(&p->store, "");
	flag(&m->index, 1, 1, CHANGE_ADD, FLAG_SEEN, NULL);
	assert_int_equal(mailbox_durable(m), 0);
	forget(p);
	assert_true(there(p, "cur/10.a:2,"));
	m = mailbox_open(&p->store, "");
	assert_int_equal(m->index.records[0].flags, FLAG_SEEN);
	assert_int_equal(m->index.records[0].uid, 1);
	mailbox_release(&m);
	store_close_quiet(&p->store, 0);
	assert_true(there(p, "cur/10.a:2,S"));
}

/* What a killed APPEND of several messages was about to name. */
static void
write_placing(const struct mailbox *m, const char *names, size_t len)
{
	int fd = openat(m->index.directory, PLACING_NAME, O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write_all(fd, names, len), 0);
	close(fd);
}

static const char half_named[] = "10.a:2,\0" "20.b:2,S\0" "30.c:2,\0" "../other\0" "\0" ".\0" "40.d:2,";

/* Killed between the names and the records: none comes; what has a record stays, whoever else is named. */
static void
test_half_named_messages_are_removed(void **state)
{
	struct place *p = *state;
	struct mailbox *m;

	put(p, "cur/10.a:2,");
	m = mailbox_open(&p->store, "");
	assert_int_equal(mailbox_durable(m), 0);
	write_placing(m, half_named, sizeof(half_named) - 1);
	put(p, "cur/20.b:2,S");
	put(p, "cur/40.d:2,");
	put(p, "cur/50.e:2,");
	put(p, "other");
	forget(p);
	m = mailbox_open(&p->store, "");
	assert_int_equal(m->index.count, 3);
	assert_non_null(record_of(m, "10.a"));
	assert_non_null(record_of(m, "40.d"));      /* its name was torn */
	assert_non_null(record_of(m, "50.e"));
	assert_false(there(p, "cur/20.b:2,S"));
	assert_true(there(p, "other"));
	assert_int_equal(faccessat(m->index.directory, PLACING_NAME, F_OK, 0), -1);
	mailbox_release(&m);
}

/* One that no command of ours can have written counts for nothing, and is not read. */
static void
test_names_without_end_are_no_names(void **state)
{
	struct place *p = *state;
	struct mailbox *m;
	int fd;

	put(p, "cur/10.a:2,");
	m = mailbox_open(&p->store, "");
	assert_int_equal(mailbox_durable(m), 0);
	write_placing(m, half_named, sizeof(half_named) - 1);
	fd = openat(m->index.directory, PLACING_NAME, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, MOST_PLACING + 1), 0);
	close(fd);
	assert_int_equal(placing_begin(m, SPAN("20.b:2,S")), -1);
	assert_int_equal(errno, EFBIG);
	put(p, "cur/20.b:2,S");
	forget(p);
	m = mailbox_open(&p->store, "");
	assert_int_equal(m->index.count, 2);
	assert_int_equal(faccessat(m->index.directory, PLACING_NAME, F_OK, 0), -1);
	mailbox_release(&m);
}

/* Where records may have been lost, what is named there may have been acknowledged. */
static void
test_a_damaged_index_removes_nothing(void **state)
{
	struct place *p = *state;
	struct mailbox *m;
	int fd;

	put(p, "cur/10.a:2,");
	m = mailbox_open(&p->store, "");
	assert_int_equal(mailbox_durable(m), 0);
	put(p, "cur/20.b:2,S");
	assert_int_equal(mailbox_scan(m), 0);
	assert_int_equal(mailbox_durable(m), 0);
	write_placing(m, half_named, sizeof(half_named) - 1);
	fd = openat(m->index.directory, "journal", O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "damage", 6, (off_t)m->index.journal_size - 40), 6);
	close(fd);
	forget(p);
	m = mailbox_open(&p->store, "");
	assert_true(there(p, "cur/20.b:2,S"));
	assert_int_equal(m->index.count, 2);
	assert_int_equal(faccessat(m->index.directory, PLACING_NAME, F_OK, 0), -1);
	mailbox_release(&m);
}

/* Killed after the renaming, before that was written down. */
static void
test_renaming_survives_a_kill(void **state)
{
	struct place *p = *state;
	struct mailbox *m;

	put(p, "cur/10.a:2,F");
	m = mailbox_open(&p->store, "");
	flag(&m->index, 1, 1, CHANGE_REPLACE, FLAG_SEEN, NULL);
	forget(p);
	assert_int_equal(renameat(p->maildir, "cur/10.a:2,F", p->maildir, "cur/10.a:2,S"), 0);
	m = mailbox_open(&p->store, "");
	assert_int_equal(m->index.records[0].flags, FLAG_SEEN);
	mailbox_release(&m);
}

static void
test_unchanged_directories_are_not_read(void **state)
{
	struct place *p = *state;
	struct mailbox *m;

	put(p, "cur/10.a:2,");
	put(p, "new/20.b");
	m = mailbox_open(&p->store, "");
	assert_false(mailbox_follow_names(m, 100));
	usleep(60000);
	mailbox_settle(m);
	assert_true(m->index.stamped);
	mailbox_release(&m);
	store_close_quiet(&p->store, 0);
	m = mailbox_open(&p->store, "");
	assert_int_equal(m->index.count, 2);
	assert_int_equal(m->index.records[0].seen, 0);     /* nobody compared it with anything */
	mailbox_release(&m);
}

static void
test_expunge_removes_files(void **state)
{
	struct place *p = *state;
	struct number_ranges uids = { NULL, 0, 0 };
	struct mailbox *m;

	put(p, "cur/10.a:2,T");
	put(p, "cur/20.b:2,T");
	put(p, "cur/30.c:2,");
	m = mailbox_open(&p->store, "");
	assert_int_equal(renameat(p->maildir, "cur/20.b:2,T", p->maildir, "cur/20.b:2,ST"), 0);
	number_ranges_add(&uids, 1);
	number_ranges_add(&uids, 2);
	assert_int_equal(mailbox_expunge(m, &uids), 0);
	assert_int_equal(m->index.count, 1);
	assert_false(there(p, "cur/10.a:2,T") || there(p, "cur/20.b:2,ST"));
	assert_true(there(p, "cur/30.c:2,"));
	number_ranges_clear(&uids);
	mailbox_release(&m);
	forget(p);
	m = mailbox_open(&p->store, "");
	assert_int_equal(m->index.count, 1);
	assert_int_equal(m->index.uidnext, 4);
	mailbox_release(&m);
}

static void
test_a_renamed_folder_keeps_its_index_a_copied_one_gets_its_own(void **state)
{
	struct place *p = *state;
	struct mailbox *m;
	uint32_t old_validity;
	unsigned char old[MAILBOX_ID_BYTES];

	assert_int_equal(folder_create(&p->store, ".one"), 0);
	put(p, ".one/cur/10.a:2,");
	m = mailbox_open(&p->store, ".one");
	assert_int_equal(m->index.count, 1);
	old_validity = m->index.uidvalidity;
	memcpy(old, m->index.id, sizeof(old));
	mailbox_release(&m);
	assert_int_equal(folder_rename(&p->store, ".one", ".two.deep"), 0);
	store_close_quiet(&p->store, 0);
	m = mailbox_open(&p->store, ".two.deep");
	assert_int_equal(m->index.uidvalidity, old_validity);
	assert_int_equal(m->index.records[0].uid, 1);
	mailbox_release(&m);
	store_close_quiet(&p->store, 0);
	/* "cp -a .two.deep .three" */
	assert_int_equal(folder_create(&p->store, ".three"), 0);
	assert_int_equal(linkat(p->maildir, ".two.deep/valija-mailbox", p->maildir,
		".three/valija-mailbox", 0), 0);
	put(p, ".three/cur/10.a:2,");
	m = mailbox_open(&p->store, ".three");
	assert_int_not_equal(memcmp(old, m->index.id, sizeof(old)), 0);
	assert_int_equal(m->index.count, 1);
	mailbox_release(&m);
	m = mailbox_open(&p->store, ".two.deep");
	assert_int_equal(memcmp(old, m->index.id, sizeof(old)), 0);
	mailbox_release(&m);
	assert_int_equal(folder_delete(&p->store, ".three"), 0);
	while (folder_remove_some(&p->store, 2))
		;
	assert_false(there(p, ".three"));
}

static void
test_view_tells_in_order(void **state)
{
	struct place *p = *state;
	struct text out = TEXT_UP_TO(10000);
	struct number_range range = { 2, 2 };
	struct number_ranges uids = { &range, 1, 1 };
	struct mailbox *m;
	struct view *v;

	put(p, "cur/10.a:2,");
	put(p, "cur/20.b:2,");
	put(p, "cur/30.c:2,");
	v = view_open(mailbox_open(&p->store, ""), false);
	m = v->mailbox;
	v->keywords = m->index.keywords.count;
	assert_int_equal(v->count, 3);
	assert_int_equal(mailbox_expunge(m, &uids), 0);
	put(p, "new/40.d");
	assert_int_equal(mailbox_refresh(m), 0);
	flag(&m->index, 3, 3, CHANGE_ADD, FLAG_SEEN, NULL);
	assert_true(view_has_news(v, false));
	/* While numbers must stay: no EXPUNGE, and the new message is the fourth. */
	assert_true(view_tell(v, false, false, &out, 10000));
	assert_string_equal(text_str(&out),
		"* 4 EXISTS\r\n* 1 RECENT\r\n* 3 FETCH (FLAGS (\\Seen))\r\n");
	text_reset(&out);
	assert_false(view_has_news(v, false));
	assert_true(view_has_news(v, true));
	assert_true(view_tell(v, true, false, &out, 10000));
	assert_string_equal(text_str(&out), "* 2 EXPUNGE\r\n");
	assert_int_equal(view_uid(v, 2), 3);
	assert_int_equal(view_number(v, 4), 3);
	assert_int_equal(view_number(v, 2), 0);
	text_clear(&out);
	view_close(&v);
}

static void
test_view_stops_when_full(void **state)
{
	struct place *p = *state;
	struct text out = TEXT_UP_TO(10000);
	struct number_range range = { 1, 50 };
	struct number_ranges uids = { &range, 1, 1 };
	struct mailbox *m;
	struct view *v;
	char name[30];
	int turns = 0;

	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "cur/%d.x:2,", i + 1);
		put(p, name);
	}
	v = view_open(mailbox_open(&p->store, ""), false);
	m = v->mailbox;
	assert_int_equal(mailbox_expunge(m, &uids), 0);
	while (!view_tell(v, true, false, &out, out.len + 50))
		turns++;
	assert_true(turns > 5);
	assert_true(span_starts_nocase(text_span(&out), SPAN("* 50 EXPUNGE\r\n* 49 EXPUNGE\r\n")));
	assert_int_equal(v->count, 0);
	text_clear(&out);
	view_close(&v);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_index_comes_back),
		TEST(test_index_torn_at_every_byte),
		TEST(test_index_torn_before_zeros_at_every_byte),
		TEST(test_index_writes_zeros_ahead),
		TEST(test_index_damaged_at_every_byte),
		TEST(test_index_is_compacted),
		TEST(test_more_keywords_than_letters),
		TEST(test_first_look),
		TEST(test_arrivals_of_one_second),
		TEST(test_changes_of_others),
		TEST(test_letters_in_any_order),
		TEST(test_letters_are_merged),
		TEST(test_a_journal_that_is_not_what_it_seemed),
		TEST(test_flags_survive_a_kill),
		TEST(test_renaming_survives_a_kill),
		TEST(test_half_named_messages_are_removed),
		TEST(test_names_without_end_are_no_names),
		TEST(test_a_damaged_index_removes_nothing),
		TEST(test_unchanged_directories_are_not_read),
		TEST(test_expunge_removes_files),
		TEST(test_a_renamed_folder_keeps_its_index_a_copied_one_gets_its_own),
		TEST(test_view_tells_in_order),
		TEST(test_view_stops_when_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
