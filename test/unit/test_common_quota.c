/* Maildir++ quota: what counts, when the file is believed, and what stands in it. */
#include "delivery_rig.h"
#include "expect.h"

#include "common/maildir.h"
#include "common/quota.h"

#include <sys/time.h>

static struct place_rig rig;
static int box;

static void
put(const char *name, size_t size)
{
	int fd = openat(box, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

static void
write_file(const char *text)
{
	int fd = openat(box, QUOTA_FILE, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void
expect_file(const char *expected)
{
	char *text = rig_read(box, QUOTA_FILE, NULL);

	assert_string_equal(text, expected);
	free(text);
}

static void
expect_usage(const struct quota *q, uint64_t bytes, uint64_t messages)
{
	struct quota_usage u;

	assert_int_equal(quota_usage(box, q, &u), 0);
	assert_int_equal(u.bytes, bytes);
	assert_int_equal(u.messages, messages);
}

static int
set_up(void **state)
{
	(void)state;
	rig_make(&rig);
	box = maildir_open(rig.mail, "d/u/Maildir", true);
	return box < 0 ? -1 : 0;
}

static int
tear_down(void **state)
{
	(void)state;
	close(box);
	rig_remove(&rig);
	return 0;
}

static void
what_counts(void **state)
{
	static const struct quota q = { 10000, 50 };

	(void)state;
	put("new/1.a,S=100", 5);             /* the name is believed */
	put("cur/2.a,S=200,W=210:2,S", 5);
	put("cur/3.a:2,", 30);               /* no size in its name: the file's */
	put("cur/4.a,S=1000:2,ST", 5);       /* marked deleted: it is there still */
	assert_int_equal(maildir_make(box, ".Sub"), 0);
	put(".Sub/cur/5.a,S=400:2,", 5);
	assert_int_equal(maildir_make(box, ".Trash"), 0);
	put(".Trash/cur/6.a,S=800:2,", 5);
	assert_int_equal(symlinkat("/etc", box, ".Planted"), 0);
	expect_usage(&q, 2530, 6);
	expect_file("10000S,50C\n2530 6\n");
	assert_int_equal(rig_count(box, "tmp"), 0);
}

static void
the_file_is_believed(void **state)
{
	static const struct quota q = { 10000, 0 }, other = { 20000, 0 }, messages = { 0, 7 };

	(void)state;
	write_file("10000S\n100 1\n+50 +1\n-30 -1\n");
	expect_usage(&q, 120, 1);
	quota_add(box, &q, 500, 1);
	expect_usage(&q, 620, 2);
	expect_file("10000S\n100 1\n+50 +1\n-30 -1\n500 1\n");
	/* Other limits: counted anew. */
	expect_usage(&other, 0, 0);
	expect_file("20000S\n0 0\n");
	quota_add(box, &q, 500, 1);
	expect_file("20000S\n0 0\n");
	expect_usage(&messages, 0, 0);
	expect_file("7C\n0 0\n");
}

static void
what_is_not_sound_is_counted_anew(void **state)
{
	static const char *const bad[] = { "", "10000S\n100 1", "10000S\n100\n", "10000S\nx 1\n",
		"10000S\n-5 1\n", "10000S\n9223372036854775807 1\n9223372036854775807 1\n", "S\n1 1\n",
		"10000S,1C\n1 1\n", "10000S\n5 5\n4611686018427387904 0\n" };
	static const struct quota q = { 10000, 0 };
	char *long_file = calloc(1, 2 * MOST_QUOTA_FILE);

	(void)state;
	put("new/1.a,S=77", 5);
	for (size_t i = 0; i < ROWS_OF(bad); i++) {
		write_file(bad[i]);
		expect_usage(&q, 77, 1);
		expect_file("10000S\n77 1\n");
	}
	memcpy(long_file, "10000S\n", 8);
	while (strlen(long_file) <= MOST_QUOTA_FILE)
		memcpy(long_file + strlen(long_file), "1 1\n", 5);
	write_file(long_file);
	expect_usage(&q, 77, 1);
	free(long_file);
	/* F1: links and pipes are not followed, nor hung at. */
	unlinkat(box, QUOTA_FILE, 0);
	assert_int_equal(symlinkat("/etc/passwd", box, QUOTA_FILE), 0);
	expect_usage(&q, 77, 1);
	unlinkat(box, QUOTA_FILE, 0);
	assert_int_equal(mkfifoat(box, QUOTA_FILE, 0600), 0);
	expect_usage(&q, 77, 1);
	expect_file("10000S\n77 1\n");
}

/* Who may not write into the file replaces it: the old one stays as it was for who has it open. */
static void
it_is_replaced(void **state)
{
	static const struct quota q = { 10000, 0 };
	int old;

	(void)state;
	write_file("10000S\n100 1\n");
	old = openat(box, QUOTA_FILE, O_RDONLY);
	quota_add_replacing(box, &q, 500, 1);
	expect_file("10000S\n600 2\n");
	assert_int_equal(lseek(old, 0, SEEK_END), strlen("10000S\n100 1\n"));
	quota_add_replacing(box, &q, -700, -3);
	expect_file("10000S\n0 0\n");
	quota_forget(box);
	quota_add_replacing(box, &q, 500, 1);      /* nothing to add to: counted when asked */
	assert_int_equal(faccessat(box, QUOTA_FILE, F_OK, 0), -1);
	expect_usage(&q, 0, 0);
	close(old);
}

/* A full mailbox that was emptied by somebody else is seen, once the file is not fresh. */
static void
full_is_looked_at_again(void **state)
{
	static const struct quota q = { 1000, 0 };
	struct timespec old[2] = { { .tv_sec = time(NULL) - QUOTA_FRESH_SECONDS - 5 }, { .tv_sec = time(NULL) - QUOTA_FRESH_SECONDS - 5 } };
	struct quota_usage u;

	(void)state;
	write_file("1000S\n2000 2\n");
	assert_int_equal(quota_usage(box, &q, &u), 0);
	assert_true(quota_is_full(&q, &u));
	assert_int_equal(utimensat(box, QUOTA_FILE, old, 0), 0);
	expect_usage(&q, 0, 0);
	assert_false(quota_is_full(&q, &(struct quota_usage){ 999, 0 }));
	assert_true(quota_is_full(&q, &(struct quota_usage){ 1000, 0 }));
	assert_false(quota_is_full(&(struct quota){ 0, 0 }, &(struct quota_usage){ 1000, 9 }));
}

int
main(void)
{
#define ROW(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		ROW(what_counts),
		ROW(the_file_is_believed),
		ROW(what_is_not_sound_is_counted_anew),
		ROW(it_is_replaced),
		ROW(full_is_looked_at_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
