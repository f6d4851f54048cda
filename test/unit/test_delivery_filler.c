/* What local asks gist after a delivery, and what it writes down: in the owner's index alone, within limits, or not at
 * all. The test plays gist. */
#include "delivery_rig.h"

#include "common/filled.h"
#include "common/maildir.h"
#include "delivery/placer.h"

#include <sys/resource.h>

#define BOX "d/ana/Maildir"
#define ID "0123456789abcdef0123456789abcdef"
#define INDEX BOX "/valija/" ID
#define NAME "1.M1P1.host"
#define MESSAGE "Subject: one\r\n\r\nbody\r\n"

static struct place_rig rig;

struct gist {
	struct channel *channel;
	struct placer placer;
	struct channel *at_local;
	uint64_t id[2 * MOST_FILLING];   /* what was asked */
	int asked, seen;
	bool gone;
};

static void
on_gist_ask(void *me, struct channel *from, uint64_t id, const struct msg_gist_ask *m, const int *fd)
{
	struct gist *g = me;
	char text[100] = "";

	(void)from;
	assert_int_equal(m->wishes.len, MOST_WISHES);
	assert_int_equal(m->wishes.at[5000], 'w');
	assert_int_equal(pread(fd[0], text, sizeof(text), 0), sizeof(MESSAGE) - 1);
	assert_string_equal(text, MESSAGE);
	assert_int_equal(write(fd[0], "x", 1), -1);        /* to be read only */
	close(fd[0]);
	g->id[g->asked++] = id;
}

static void
on_gone(void *me, struct channel *from)
{
	struct gist *g = me;

	(void)from;
	g->gone = true;
	g->channel = NULL;
}

static const struct hearing hears = { .gone = on_gone, .on_gist_ask = on_gist_ask };

static void
play(struct gist *g)
{
	int ends[2];

	memset(g, 0, sizeof(*g));
	placer_init(&g->placer, rig.mail, "host");
	assert_int_equal(channel_pair(ends), 0);
	g->channel = channel_new(NULL, ends[0], PROGRAM_GIST, PROGRAM_LOCAL, 0, &hears, g);
	g->at_local = channel_new(NULL, ends[1], PROGRAM_LOCAL, PROGRAM_GIST, 0, &filler_hears_gist, &g->placer);
	filler_peer(&g->placer, g->at_local);
}

static void
stop(struct gist *g)
{
	if (g->channel != NULL)
		channel_free(&g->channel);
	placer_clear(&g->placer);
	if (g->at_local != NULL)
		channel_free(&g->at_local);
}

static void
put(const char *path, const char *bytes, size_t len)
{
	int fd = openat(rig.mail, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

/* A Maildir whose owner has opened it: "w" a thousand times is what his clients ask for. */
static void
make_box(void)
{
	char wishes[MOST_WISHES];

	close(rig_directory(rig.mail, "d"));
	close(rig_directory(rig.mail, "d/ana"));
	close(rig_directory(rig.mail, BOX));
	close(rig_directory(rig.mail, BOX "/new"));
	close(rig_directory(rig.mail, BOX "/valija"));
	close(rig_directory(rig.mail, INDEX));
	unlinkat(rig.mail, INDEX "/filled", 0);
	unlinkat(rig.mail, INDEX "/filled", AT_REMOVEDIR);
	memset(wishes, 'w', sizeof(wishes));
	put(INDEX "/cache", wishes, sizeof(wishes));
	put(BOX "/valija-mailbox", ID "\n", sizeof(ID));
	put(BOX "/new/" NAME, MESSAGE, sizeof(MESSAGE) - 1);
}

static void
begin(struct gist *g)
{
	int box = openat(rig.mail, BOX, O_RDONLY | O_DIRECTORY), new = openat(box, "new", O_RDONLY | O_DIRECTORY);
	struct maildir_name name = { NAME };

	filler_begin(&g->placer, box, box, new, &name, geteuid(), getegid());
	close(box);
	close(new);
	channel_drain(g->channel);
}

static void
tell(struct gist *g, uint64_t id, struct span gist)
{
	send_gist_told(g->channel, id, &(struct msg_gist_told){ .gist = gist }, NULL);
	if (!channel_drain(g->at_local))
		g->at_local = NULL;
}

static int
descriptors(void)
{
	return rig_count(AT_FDCWD, "/proc/self/fd");
}

/* The records that are there. */
static size_t
count_records(void)
{
	size_t len, count = 0;
	char *bytes = rig_read(rig.mail, INDEX "/filled", &len);
	struct span in = span_of(bytes, len);
	struct filled f;

	while (filled_take(&in, &f)) {
		assert_true(span_equal(f.name, SPAN(NAME)));
		assert_true(span_equal(f.gist, SPAN("the gist")));
		count++;
	}
	assert_int_equal(in.len, 0);
	free(bytes);
	return count;
}

static bool
is_there(const char *path)
{
	return faccessat(rig.mail, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void
what_gist_says_is_written_down(void **state)
{
	struct gist g;
	struct stat st;
	int before;

	(void)state;
	make_box();
	play(&g);
	before = descriptors();
	for (size_t n = 1; n <= 3; n++) {
		begin(&g);
		assert_int_equal(g.asked, n);
		tell(&g, g.id[n - 1], SPAN("the gist"));
		assert_int_equal(count_records(), n);
	}
	assert_int_equal(fstatat(rig.mail, INDEX "/filled", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	begin(&g);
	tell(&g, g.id[3], SPAN(""));                       /* there is nothing to be had */
	assert_int_equal(count_records(), 3);
	assert_int_equal(descriptors(), before);
	stop(&g);
}

/* A folder that nobody opened costs nothing; nor does one that is not as it should be. */
static void
who_never_asked_is_not_filled(void **state)
{
	static const char *const ids[] = { "", "\n", "0123456789abcdef0123456789abcde\n", "../../../../../../../../../../tmp/\n",
		"0123456789abcdef0123456789abcdeg\n", "0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef0\n" };
	struct gist g;
	int before;

	(void)state;
	make_box();
	play(&g);
	before = descriptors();
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		put(BOX "/valija-mailbox", ids[i], strlen(ids[i]));
		begin(&g);
	}
	unlinkat(rig.mail, BOX "/valija-mailbox", 0);
	begin(&g);
	make_box();
	put(INDEX "/cache", "short", 5);
	begin(&g);
	unlinkat(rig.mail, INDEX "/cache", 0);
	begin(&g);
	make_box();
	unlinkat(rig.mail, BOX "/new/" NAME, 0);          /* the reader's imap was quicker */
	begin(&g);
	assert_int_equal(g.asked, 0);
	make_box();
	filler_peer(&g.placer, NULL);                      /* gist is away */
	begin(&g);
	assert_int_equal(g.asked, 0);
	assert_false(is_there(INDEX "/filled"));
	assert_int_equal(descriptors(), before);
	stop(&g);
}

/* HARDENING F1: links, FIFOs and directories in the place of any file lead nowhere and hold nobody up. */
static void
f1_planted_names(void **state)
{
	static const char *const files[] = { BOX "/valija-mailbox", INDEX "/cache", BOX "/new/" NAME, INDEX "/filled" };
	struct gist g;
	char *secret;

	(void)state;
	play(&g);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		for (int kind = 0; kind < 3; kind++) {
			int asked = g.asked;

			make_box();
			put("secret", MESSAGE, sizeof(MESSAGE) - 1);
			unlinkat(rig.mail, files[i], 0);
			if (kind == 0)
				assert_int_equal(symlinkat("/dev/zero", rig.mail, files[i]), 0);
			else if (kind == 1)
				assert_int_equal(mkfifoat(rig.mail, files[i], 0600), 0);
			else if (i == 3)
				assert_int_equal(linkat(rig.mail, "secret", rig.mail, files[i], 0), 0);
			else
				assert_int_equal(mkdirat(rig.mail, files[i], 0700), 0);
			begin(&g);
			assert_int_equal(g.asked, asked + (i == 3));
			if (i == 3)
				tell(&g, g.id[asked], SPAN("the gist"));
			secret = rig_read(rig.mail, "secret", NULL);
			assert_string_equal(secret, MESSAGE);
			free(secret);
			unlinkat(rig.mail, files[i], 0);
			unlinkat(rig.mail, files[i], AT_REMOVEDIR);
		}
	/* a link in the place of the index, to another's */
	make_box();
	assert_int_equal(renameat(rig.mail, INDEX, rig.mail, "other"), 0);
	assert_int_equal(symlinkat("../../../../other", rig.mail, INDEX), 0);
	begin(&g);
	assert_int_equal(g.asked, 3);
	assert_false(is_there("other/filled"));
	unlinkat(rig.mail, INDEX, 0);
	assert_int_equal(renameat(rig.mail, "other", rig.mail, INDEX), 0);
	stop(&g);
}

/* What is under way is bounded; when gist goes, it is forgotten, and its successor is asked. */
static void
gist_may_be_slow_and_die(void **state)
{
	struct gist g, next;
	int before;

	(void)state;
	make_box();
	play(&g);
	before = descriptors();
	for (int i = 0; i < MOST_FILLING + 5; i++)
		begin(&g);
	assert_int_equal(g.asked, MOST_FILLING);
	assert_int_equal(descriptors(), before + MOST_FILLING);
	tell(&g, g.id[7], SPAN("the gist"));
	begin(&g);
	assert_int_equal(g.asked, MOST_FILLING + 1);
	channel_free(&g.channel);
	assert_false(channel_drain(g.at_local));           /* gone() was called: the channel is freed */
	g.at_local = NULL;
	assert_int_equal(descriptors(), before - 2);
	stop(&g);
	play(&next);
	begin(&next);
	tell(&next, next.id[0], SPAN("the gist"));
	assert_int_equal(count_records(), 2);
	/* An answer that nobody waits for (an earlier local's) is dropped, and ends nobody. */
	tell(&next, next.id[0], SPAN("the gist"));
	tell(&next, 0, SPAN("the gist"));
	tell(&next, UINT64_MAX, SPAN("the gist"));
	assert_int_equal(count_records(), 2);
	begin(&next);
	tell(&next, next.id[1], SPAN("the gist"));
	assert_int_equal(count_records(), 3);
	stop(&next);
}

/* At the limit nothing is asked; what another worker filled meanwhile counts; a hole is as large as it says. */
static void
the_file_has_a_limit(void **state)
{
	struct gist g;
	struct stat st;
	int fd;

	(void)state;
	make_box();
	play(&g);
	fd = openat(rig.mail, INDEX "/filled", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, MOST_FILLED - MOST_FILLED_RECORD + 1), 0);
	begin(&g);
	assert_int_equal(g.asked, 0);
	assert_int_equal(ftruncate(fd, MOST_FILLED - MOST_FILLED_RECORD), 0);
	begin(&g);
	begin(&g);
	assert_int_equal(g.asked, 2);
	assert_int_equal(ftruncate(fd, MOST_FILLED - 5), 0);
	tell(&g, g.id[0], SPAN("the gist"));
	assert_true(fstat(fd, &st) == 0 && st.st_size == MOST_FILLED - 5);
	assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
	tell(&g, g.id[1], SPAN("the gist"));
	assert_true(fstat(fd, &st) == 0 && st.st_size == (off_t)1 << 40);
	begin(&g);
	assert_int_equal(g.asked, 2);
	close(fd);
	stop(&g);
}

/* HARDENING F6-like: no room. Half a record would hide all that follow: it is taken away with the file. */
static void
a_full_disk_leaves_no_half_record(void **state)
{
	struct rlimit was, small;
	struct gist g;

	(void)state;
	make_box();
	play(&g);
	begin(&g);
	begin(&g);
	begin(&g);
	tell(&g, g.id[0], SPAN("the gist"));
	assert_int_equal(count_records(), 1);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	small = (struct rlimit){ 50, was.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	tell(&g, g.id[1], SPAN("the gist"));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	assert_false(is_there(INDEX "/filled"));
	tell(&g, g.id[2], SPAN("the gist"));
	assert_int_equal(count_records(), 1);
	stop(&g);
}

static int
set_up(void **state)
{
	(void)state;
	rig_make(&rig);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	rig_remove(&rig);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_gist_says_is_written_down),
		cmocka_unit_test(who_never_asked_is_not_filled),
		cmocka_unit_test(f1_planted_names),
		cmocka_unit_test(gist_may_be_slow_and_die),
		cmocka_unit_test(the_file_has_a_limit),
		cmocka_unit_test(a_full_disk_leaves_no_half_record),
	};

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
