/* The local worker: what it puts into Maildirs, what it refuses, and what is left when it is killed
 * before each of its system calls (the states of delivery/states.h). */
#include "delivery_rig.h"

#include "delivery/placer.h"

#include <limits.h>

#define MESSAGE "Subject: one\r\n\r\nbody\r\n"
#define MESSAGE_SIZE (sizeof(MESSAGE) - 1)

static struct place_rig rig;

/* The test plays queue; what it heard last. */
struct played {
	struct event_base *base;
	struct channel *channel;
	pid_t worker;
	int file;
	int lent, placed, refused, lend_refused;
	uint32_t number;
	uint16_t code;
	char status[MOST_STATUS + 1];
	bool gone;
};

static void
on_lent(void *me, struct channel *from, uint64_t id, const struct msg_lent *m, const int *fd)
{
	struct played *p = me;

	(void)from;
	(void)id;
	(void)m;
	p->file = fd[0];
	p->lent++;
}

static void
on_lend_refused(void *me, struct channel *from, uint64_t id, const struct msg_lend_refused *m,
	const int *fd)
{
	struct played *p = me;

	(void)from;
	(void)id;
	(void)fd;
	p->code = m->code;
	span_copy(m->status, p->status, sizeof(p->status));
	p->lend_refused++;
}

static void
on_placed(void *me, struct channel *from, uint64_t id, const struct msg_placed *m, const int *fd)
{
	struct played *p = me;

	(void)from;
	(void)id;
	(void)m;
	(void)fd;
	p->placed++;
}

static void
on_place_refused(void *me, struct channel *from, uint64_t id, const struct msg_place_refused *m,
	const int *fd)
{
	struct played *p = me;

	(void)from;
	(void)id;
	(void)fd;
	p->number = m->number;
	p->code = m->code;
	span_copy(m->status, p->status, sizeof(p->status));
	p->refused++;
}

static void
on_gone(void *me, struct channel *from)
{
	struct played *p = me;

	(void)from;
	p->channel = NULL;
	p->gone = true;
}

static uint32_t
any_hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	(void)me;
	(void)from;
	(void)id;
	return message_row(m)->hours;
}

static const struct hearing hears = {
	.hour = any_hour, .gone = on_gone, .on_lent = on_lent, .on_lend_refused = on_lend_refused,
	.on_placed = on_placed, .on_place_refused = on_place_refused,
};

static bool with_ledger;

/* As if the disk of the tests had a journal. */
static void
give_ledger(struct placer *placer, struct event_base *base, const char *boot)
{
	struct stat s;

	if (fstat(rig.mail, &s) < 0)
		_exit(1);
	placer->ordered[0] = (struct journal){ .device = s.st_dev, .fast_commits = -1, .mounting = 1 };
	placer->ordered_devices = 1;
	placer_open_ledger(placer, rig.state, "0");
	snprintf(placer->ledger.boot, sizeof(placer->ledger.boot), "%s", boot);
	placer_begin_ledger(placer, base);
	placer->ledger.wanted = true;
	if (placer->ledger.state == LEDGER_EMPTY && !ledger_wants(&placer->ledger, 1))
		event_base_loop(base, EVLOOP_ONCE); /* it is made */
}

static void
worker(int fd)
{
	struct event_base *base = event_base_new();
	static struct placer placer;

	placer_init(&placer, rig.mail, "host.example");
	if (with_ledger)
		give_ledger(&placer, base, "one");
	channel_new(base, fd, PROGRAM_LOCAL, PROGRAM_QUEUE, 0, &placer_hears_queue, &placer);
	while (event_base_loop(base, EVLOOP_ONCE) == 0)
		placer_work(&placer);
	_exit(0);
}

static void
play(struct played *p)
{
	int ends[2];

	memset(p, 0, sizeof(*p));
	p->file = -1;
	assert_int_equal(channel_pair(ends), 0);
	fflush(NULL);
	p->worker = fork();
	assert_true(p->worker >= 0);
	if (p->worker == 0) {
		close(ends[0]);
		worker(ends[1]);
	}
	close(ends[1]);
	p->channel = channel_new(NULL, ends[0], PROGRAM_QUEUE, PROGRAM_LOCAL, 0, &hears, p);
}

static void
stop(struct played *p)
{
	channel_free(&p->channel);
	kill(p->worker, SIGKILL);
	waitpid(p->worker, NULL, 0);
	if (p->file >= 0)
		close(p->file);
}

static void
wait_for(struct played *p, const int *count)
{
	bool done = false;

	for (int i = 0; i < 500 && *count == 0 && p->channel != NULL; i++)
		channel_wait(p->channel, &done, 10);
	assert_true(*count > 0);
}

static void
lend(struct played *p, uint64_t id, const char *home)
{
	send_lend(p->channel, id, &(struct msg_lend){ .home = span_str(home), .uid = geteuid(),
		.gid = getegid() }, NULL);
}

static void
write_message(struct played *p)
{
	assert_int_equal(write(p->file, MESSAGE, MESSAGE_SIZE), MESSAGE_SIZE);
	close(p->file);
	p->file = -1;
}

static void
target(struct played *p, uint64_t id, uint32_t number, const char *home, const char *folder)
{
	send_target(p->channel, id,
		&(struct msg_target){.number = number,
			.address = SPAN("x@example.org"),
			.home = span_str(home),
			.folder = span_str(folder),
			.uid = geteuid(),
			.gid = getegid()},
		NULL);
}

static void
place(struct played *p, uint64_t id, uint64_t size)
{
	send_place(p->channel, id, &(struct msg_place){ .size = size, .digest = SPAN("") }, NULL);
}

static void
expect_message(const char *home, const char *folder, const char *text, nlink_t links)
{
	struct rig_expected e = { .text = text };
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/Maildir/%s/new", home, folder);
	assert_int_equal(rig_each(rig.mail, path, rig_same, &e), 1);
	assert_int_equal(e.links, links);
	snprintf(path, sizeof(path), "%s/Maildir/%s/tmp", home, folder);
	assert_int_equal(rig_count(rig.mail, path), 0);
}

static void
one_inode_for_many(void **state)
{
	struct played p;

	(void)state;
	close(rig_directory(rig.mail, "d"));
	close(rig_directory(rig.mail, "d/bob"));
	close(rig_directory(rig.mail, "d/bob/Maildir"));
	close(rig_directory(rig.mail, "d/bob/Maildir/.Sub.Folder"));
	play(&p);
	lend(&p, 1, "d/ana");
	wait_for(&p, &p.lent);
	write_message(&p);
	target(&p, 1, 0, "d/ana", "");
	target(&p, 1, 1, "d/bob", "");
	target(&p, 1, 2, "d/bob", "Sub.Folder");
	place(&p, 1, MESSAGE_SIZE);
	wait_for(&p, &p.placed);
	assert_int_equal(p.refused, 0);
	expect_message("d/ana", ".", MESSAGE, 3);
	expect_message("d/bob", ".", MESSAGE, 3);
	expect_message("d/bob", ".Sub.Folder", MESSAGE, 3);
	stop(&p);
}

/* The worker's name in new/ tells both sizes (Maildir++). */
static void
check_name(void *me, int directory, const char *name)
{
	char sizes[64];

	(void)me;
	(void)directory;
	snprintf(sizes, sizeof(sizes), ",S=%zu,W=%zu", MESSAGE_SIZE, MESSAGE_SIZE);
	assert_non_null(strstr(name, sizes));
	assert_non_null(strstr(name, "host.example"));
}

static void
names_carry_sizes(void **state)
{
	struct played p;

	(void)state;
	play(&p);
	lend(&p, 1, "d/named");
	wait_for(&p, &p.lent);
	write_message(&p);
	target(&p, 1, 0, "d/named", "");
	place(&p, 1, MESSAGE_SIZE);
	wait_for(&p, &p.placed);
	assert_int_equal(rig_each(rig.mail, "d/named/Maildir/new", check_name, NULL), 1);
	stop(&p);
}

static void
refuses(struct played *p, uint16_t code, const char *status)
{
	wait_for(p, &p->refused);
	assert_int_equal(p->placed, 0);
	assert_int_equal(p->code, code);
	assert_string_equal(p->status, status);
}

/* Whoever kept the descriptor could change the message after its 250. */
static void
a_writer_that_remains_is_refused(void **state)
{
	struct played p;

	(void)state;
	play(&p);
	lend(&p, 1, "d/open");
	wait_for(&p, &p.lent);
	assert_int_equal(write(p.file, MESSAGE, MESSAGE_SIZE), MESSAGE_SIZE);
	target(&p, 1, 0, "d/open", "");
	place(&p, 1, MESSAGE_SIZE);
	refuses(&p, 451, "4.3.0");
	assert_int_equal(rig_count(rig.mail, "d/open/Maildir/new"), 0);
	stop(&p);
}

/* Nor may it have a name of which we know nothing, where somebody could open it again. */
static void
another_name_is_refused(void **state)
{
	struct played p;
	char path[64];

	(void)state;
	play(&p);
	lend(&p, 1, "d/named-twice");
	wait_for(&p, &p.lent);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", p.file);
	assert_int_equal(linkat(AT_FDCWD, path, rig.mail, "d/stolen", AT_SYMLINK_FOLLOW), 0);
	write_message(&p);
	target(&p, 1, 0, "d/named-twice", "");
	place(&p, 1, MESSAGE_SIZE);
	refuses(&p, 451, "4.3.0");
	assert_int_equal(rig_count(rig.mail, "d/named-twice/Maildir/new"), 0);
	stop(&p);
}

static void
another_size_is_refused(void **state)
{
	struct played p;

	(void)state;
	play(&p);
	lend(&p, 1, "d/size");
	wait_for(&p, &p.lent);
	write_message(&p);
	target(&p, 1, 0, "d/size", "");
	place(&p, 1, MESSAGE_SIZE + 1);
	refuses(&p, 451, "4.3.0");
	assert_int_equal(rig_count(rig.mail, "d/size/Maildir/new"), 0);
	stop(&p);
}

/* All or nothing: what was linked for the first is taken back when the second cannot be. */
static void
all_or_nothing(void **state)
{
	struct played p;

	(void)state;
	rig_directory(rig_directory(rig.mail, "d"), "broken");
	rig_directory(rig_directory(rig_directory(rig.mail, "d"), "broken"), "Maildir");
	assert_int_equal(symlinkat("/etc", rig.mail, "d/broken/Maildir/new"), 0);
	play(&p);
	lend(&p, 1, "d/whole");
	wait_for(&p, &p.lent);
	write_message(&p);
	target(&p, 1, 3, "d/whole", "");
	target(&p, 1, 4, "d/broken", "");
	place(&p, 1, MESSAGE_SIZE);
	refuses(&p, 451, "4.2.0");
	assert_int_equal(p.number, 4);
	assert_int_equal(rig_count(rig.mail, "d/whole/Maildir/new"), 0);
	stop(&p);
}

static void
target_of_1000(struct played *p, uint64_t id, uint32_t number, const char *home)
{
	send_target(p->channel, id, &(struct msg_target){ .number = number, .address = SPAN("x@example.org"),
		.home = span_str(home), .folder = SPAN(""), .uid = geteuid(), .gid = getegid(),
		.quota_bytes = 1000 }, NULL);
}

/* Nor does it count in the first one's quota. */
static void
what_is_taken_back_is_not_counted(void **state)
{
	struct played p;
	char *count, expected[64];

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		play(&p);
		lend(&p, 1, "d/counted");
		wait_for(&p, &p.lent);
		write_message(&p);
		target_of_1000(&p, 1, 1, "d/counted");
		if (i == 1)
			target(&p, 1, 2, "d/broken", "");
		place(&p, 1, MESSAGE_SIZE);
		if (i == 1)
			refuses(&p, 451, "4.2.0");
		else
			wait_for(&p, &p.placed);
		stop(&p);
	}
	assert_int_equal(rig_count(rig.mail, "d/counted/Maildir/new"), 1);
	snprintf(expected, sizeof(expected), "1000S\n0 0\n%zu 1\n%zu 1\n-%zu -1\n", MESSAGE_SIZE, MESSAGE_SIZE,
		MESSAGE_SIZE);
	count = rig_read(rig.mail, "d/counted/Maildir/maildirsize", NULL);
	assert_string_equal(count, expected);
	free(count);
}

static void
plant_symlink(const char *at)
{
	assert_int_equal(symlinkat(rig.path, rig.mail, at), 0);
}

static void
plant_pipe(const char *at)
{
	assert_int_equal(mkfifoat(rig.mail, at, 0600), 0);
}

static void
plant_file(const char *at)
{
	close(openat(rig.mail, at, O_CREAT | O_WRONLY, 0600));
}

/* The owner of a Maildir plants links and pipes. It is deferred, at once, and nothing
 * elsewhere is touched. */
static void
f1_planted_names(void **state)
{
	static void (*const plant[])(const char *) = { plant_symlink, plant_pipe, plant_file };
	static const char *const where[] = { "new", "tmp", "cur", "." };
	struct played p;
	int top = rig_count(rig.top, ".");

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		for (size_t j = 0; j < 4; j++) {
			char home[64], path[PATH_MAX];

			snprintf(home, sizeof(home), "d/f1-%zu%zu", i, j);
			close(rig_directory(rig.mail, "d"));
			close(rig_directory(rig.mail, home));
			snprintf(path, sizeof(path), "%s/Maildir", home);
			if (strcmp(where[j], ".") != 0) {
				close(rig_directory(rig.mail, path));
				snprintf(path, sizeof(path), "%s/Maildir/%s", home, where[j]);
			}
			plant[i](path);
			play(&p);
			lend(&p, 1, home);
			wait_for(&p, &p.lend_refused);
			assert_int_equal(p.code, 451);
			assert_int_equal(p.lent, 0);
			stop(&p);
		}
	}
	assert_int_equal(rig_count(rig.top, "."), top);
}

/* user+detail: the folder of that name, in whatever case, when it is there; else the inbox. */
static void
a_detail_means_a_folder(void **state)
{
	static const struct {
		const char *detail, *folder;
	} cases[] = { { "Work", ".Work" }, { "work", ".Work" }, { "a.b", ".a.b" }, { "r&d", ".r&-d" },
		{ "Missing", "" }, { "", "" }, { "Wor", "" }, { "Planted", "" }, { "\xc3\xa9", "" } };
	struct played p;
	char path[64];

	(void)state;
	close(rig_directory(rig.mail, "d"));
	close(rig_directory(rig.mail, "d/folders"));
	close(rig_directory(rig.mail, "d/folders/Maildir"));
	close(rig_directory(rig.mail, "d/folders/Maildir/.Work"));
	close(rig_directory(rig.mail, "d/folders/Maildir/.a.b"));
	close(rig_directory(rig.mail, "d/folders/Maildir/.r&-d"));
	plant_symlink("d/folders/Maildir/.Planted");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int before;

		snprintf(path, sizeof(path), "d/folders/Maildir/%s/new", cases[i].folder);
		before = rig_count(rig.mail, path);
		play(&p);
		lend(&p, 1, "d/folders");
		wait_for(&p, &p.lent);
		write_message(&p);
		target(&p, 1, 0, "d/folders", cases[i].detail);
		place(&p, 1, MESSAGE_SIZE);
		wait_for(&p, &p.placed);
		stop(&p);
		assert_int_equal(rig_count(rig.mail, path), before + 1);
	}
	assert_int_equal(rig_count(rig.mail, "d/folders/Maildir/.Missing"), 0);
}

/* No home or folder leads out. */
static void
f3_names_do_not_lead_out(void **state)
{
	static const char *const homes[] = {
		"../escaped", "/tmp/escaped", "d/../../escaped", "", "d//x", "d/./x"};
	static const char *const folders[] = { "..", "../x", ".a/b", "cur", "..x", "/x", "." };
	struct played p;

	(void)state;
	for (size_t i = 0; i < sizeof(homes) / sizeof(homes[0]); i++) {
		play(&p);
		lend(&p, 1, homes[i]);
		wait_for(&p, &p.lend_refused);
		stop(&p);
	}
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		play(&p);
		lend(&p, 1, "d/f3");
		wait_for(&p, &p.lent);
		write_message(&p);
		target(&p, 1, 0, "d/f3", folders[i]);
		place(&p, 1, MESSAGE_SIZE);
		wait_for(&p, &p.placed);
		stop(&p);
		assert_int_equal(rig_count(rig.mail, "d/f3/Maildir/new"), (int)i + 1);
	}
	assert_int_equal(faccessat(rig.top, "escaped", F_OK, 0), -1);
	assert_int_equal(access("/tmp/escaped", F_OK), -1);
}

static void
copies_go_to_whom_they_can(void **state)
{
	struct played p;
	int message = openat(rig.spool, "m", O_CREAT | O_RDWR | O_CLOEXEC, 0600), fd;

	(void)state;
	assert_int_equal(write(message, MESSAGE, MESSAGE_SIZE), MESSAGE_SIZE);
	fd = openat(rig.spool, "m", O_RDONLY | O_CLOEXEC);
	close(message);
	plant_file("d/copy-broken");
	play(&p);
	target(&p, 9, 0, "d/copy-one", "");
	target(&p, 9, 1, "d/copy-broken", "");
	target(&p, 9, 2, "d/copy-two", "");
	send_place_copy(p.channel, 9, &(struct msg_place_copy){ .size = MESSAGE_SIZE,
		.prefix = SPAN("Return-Path: <a@b>\r\n") }, &fd);
	wait_for(&p, &p.placed);
	assert_int_equal(p.refused, 1);
	assert_int_equal(p.number, 1);
	expect_message("d/copy-one", ".", "Return-Path: <a@b>\r\n" MESSAGE, 2);
	expect_message("d/copy-two", ".", "Return-Path: <a@b>\r\n" MESSAGE, 2);
	stop(&p);
}

static void
returned_files_leave_nothing(void **state)
{
	struct played p;

	(void)state;
	play(&p);
	lend(&p, 1, "d/back");
	wait_for(&p, &p.lent);
	write_message(&p);
	send_lend_return(p.channel, 1, &(struct msg_lend_return){ }, NULL);
	p.lent = 0;
	lend(&p, 1, "d/back");   /* the id is free again */
	wait_for(&p, &p.lent);
	assert_int_equal(rig_count(rig.mail, "d/back/Maildir/new"), 0);
	assert_int_equal(rig_count(rig.mail, "d/back/Maildir/tmp"), 0);
	stop(&p);
}

/* --- killed before every system call --- */

static bool
answered(void *me)
{
	struct played *p = me;

	if (p->channel != NULL)
		channel_drain(p->channel);
	return p->placed > 0;
}

/* Is it there? */
static bool
whole_or_absent(const char *home, bool promised)
{
	struct rig_expected e = { .text = MESSAGE };
	char path[PATH_MAX];
	int there;

	snprintf(path, sizeof(path), "%s/Maildir/new", home);
	there = rig_each(rig.mail, path, rig_same, &e);
	assert_true(there == 1 || (there == 0 && !promised));
	snprintf(path, sizeof(path), "%s/Maildir/tmp", home);
	assert_int_equal(rig_count(rig.mail, path), 0);
	return there > 0;
}

static void
killed_at_every_step(void **state)
{
	char one[64], two[64];
	struct played p;
	bool killed = true;
	int call, before_promise = 0, half = 0;

	(void)state;
	for (call = 1; killed && call < 400; call++) {
		snprintf(one, sizeof(one), "d/kill%d-one", call);
		snprintf(two, sizeof(two), "d/kill%d-two", call);
		play(&p);
		lend(&p, 1, one);
		wait_for(&p, &p.lent);
		write_message(&p);
		if (!rig_watch(p.worker)) {
			stop(&p);
			skip();
		}
		target(&p, 1, 0, one, "");
		target(&p, 1, 1, two, "");
		place(&p, 1, MESSAGE_SIZE);
		killed = rig_kill_before(p.worker, call, answered, &p);
		answered(&p);
		bool first = whole_or_absent(one, p.placed > 0),
		     second = whole_or_absent(two, p.placed > 0);

		before_promise += first && second && p.placed == 0;
		half += first != second;
		channel_free(&p.channel);
	}
	/* The walk came to its end, and was a walk: it met every state on the way. */
	assert_false(killed);
	assert_true(call > 20 && half > 0 && before_promise > 0);
}

static void
lose_one(void *me, int directory, const char *name)
{
	(void)me;
	assert_int_equal(unlinkat(directory, name, 0), 0);
}

/* The machine goes down after that, and what was not synced is lost: names, or what is behind them. */
static void
lose(const char *home)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/Maildir/new", home);
	rig_each(rig.mail, path, lose_one, NULL);
}

static void
killed_at_every_step_with_a_ledger(void **state)
{
	char one[64], two[64], boot[20];
	static struct placer after;
	struct event_base *base;
	struct played p;
	bool killed = true;
	int call, before_promise = 0, promised = 0;

	(void)state;
	with_ledger = true;
	for (call = 1; killed && call < 400; call++) {
		snprintf(one, sizeof(one), "d/ledger%d-one", call);
		snprintf(two, sizeof(two), "d/ledger%d-two", call);
		play(&p);
		lend(&p, 1, one);
		wait_for(&p, &p.lent);
		write_message(&p);
		if (!rig_watch(p.worker)) {
			stop(&p);
			with_ledger = false;
			skip();
		}
		target(&p, 1, 0, one, "");
		target(&p, 1, 1, two, "");
		place(&p, 1, MESSAGE_SIZE);
		killed = rig_kill_before(p.worker, call, answered, &p);
		answered(&p);
		whole_or_absent(one, p.placed > 0);
		whole_or_absent(two, p.placed > 0);
		if (!killed) {
			kill(p.worker, SIGKILL);
			waitpid(p.worker, NULL, 0);
		}
		lose(one);
		lose(two);

		snprintf(boot, sizeof(boot), "after%d", call);
		base = event_base_new();
		placer_init(&after, rig.mail, "host.example");
		give_ledger(&after, base, boot);
		assert_int_equal(after.ledger.state, LEDGER_READY);
		ledger_end(&after.ledger, true);
		placer_clear(&after);
		event_base_free(base);
		bool first = whole_or_absent(one, p.placed > 0),
		     second = whole_or_absent(two, p.placed > 0);

		assert_true(first == second);
		before_promise += first && p.placed == 0;
		promised += p.placed > 0;
		channel_free(&p.channel);
	}
	with_ledger = false;
	assert_false(killed);
	assert_true(call > 20 && before_promise > 0 && promised > 0);
}

static int
set_up(void **state)
{
	(void)state;
	rig_make(&rig);
	close(rig_directory(rig.mail, "d"));
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
		cmocka_unit_test(one_inode_for_many),
		cmocka_unit_test(names_carry_sizes),
		cmocka_unit_test(a_writer_that_remains_is_refused),
		cmocka_unit_test(another_name_is_refused),
		cmocka_unit_test(another_size_is_refused),
		cmocka_unit_test(all_or_nothing),
		cmocka_unit_test(what_is_taken_back_is_not_counted),
		cmocka_unit_test(f1_planted_names),
		cmocka_unit_test(a_detail_means_a_folder),
		cmocka_unit_test(f3_names_do_not_lead_out),
		cmocka_unit_test(copies_go_to_whom_they_can),
		cmocka_unit_test(returned_files_leave_nothing),
		cmocka_unit_test(killed_at_every_step),
		cmocka_unit_test(killed_at_every_step_with_a_ledger),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
