/* The ledger: what is read of it and what is not, segments and their settling, and what a start makes of what is left. */
#include "delivery_rig.h"

#include "common/beneath.h"
#include "common/maildir.h"
#include "delivery/placer_inside.h"

#include <sys/file.h>

#define MESSAGE "Subject: one\r\n\r\nbody\r\n"
#define MESSAGE_SIZE (sizeof(MESSAGE) - 1)

static struct place_rig rig;
static const unsigned char key[LEDGER_KEY] = "0123456789abcde";

/* --- records --- */

static struct span
record(struct text *t, uint64_t number, const char *home, const char *name, struct span body)
{
	*t = TEXT_UP_TO(LEDGER_MOST_RECORD);
	ledger_record_begin(key, number, t);
	ledger_record_target(t, &(struct ledger_target){ span_str(home), SPAN("Lists"), span_str(name) });
	ledger_record_target(t, &(struct ledger_target){ SPAN("d/two"), SPAN(""), SPAN("other") });
	text_add(t, body);
	ledger_record_seal(t, 2, (uint32_t)body.len);
	assert_false(t->failed);
	return text_span(t);
}

static void
a_record_is_read_back(void **state)
{
	struct ledger_target target;
	struct ledger_record r;
	struct span in;
	struct text t;
	size_t pages;

	(void)state;
	in = record(&t, 7, "d/one", "123.M1.host", SPAN(MESSAGE));
	assert_true(ledger_record_read(in, key, &r, &pages));
	assert_int_equal(r.number, 7);
	assert_int_equal(pages, 1);
	assert_int_equal(r.targets, 2);
	assert_false(r.withdrawn);
	assert_true(span_equal(r.body, SPAN(MESSAGE)));
	in = r.target;
	assert_true(ledger_target_take(&in, &target));
	assert_true(span_equal(target.home, SPAN("d/one")) && span_equal(target.folder, SPAN("Lists")) &&
		span_equal(target.name, SPAN("123.M1.host")));
	assert_true(ledger_target_take(&in, &target));
	assert_false(ledger_target_take(&in, &target));
	text_clear(&t);
}

static void
no_byte_of_a_record_can_be_another(void **state)
{
	struct ledger_record r;
	struct text t;
	size_t pages;

	(void)state;
	record(&t, 7, "d/one", "123.M1.host", SPAN(MESSAGE));
	for (size_t i = 0; i < t.len; i++)
		for (unsigned int bit = 0; bit < 8; bit++) {
			t.at[i] ^= (unsigned char)(1u << bit);
			assert_false(ledger_record_read(text_span(&t), key, &r, &pages));
			t.at[i] ^= (unsigned char)(1u << bit);
		}
	assert_true(ledger_record_read(text_span(&t), key, &r, &pages));
	text_clear(&t);
}

static void
a_torn_record_is_none(void **state)
{
	static unsigned char body[40000];
	struct ledger_record r;
	struct span in;
	struct text t;
	size_t pages;

	(void)state;
	memset(body, 'x', sizeof(body));
	in = record(&t, 7, "d/one", "name", span_of(body, sizeof(body)));
	assert_true(ledger_record_read(in, key, &r, &pages));
	assert_int_equal(pages, 10);
	for (size_t len = 0; len < in.len; len += len < 200 ? 1 : 512)
		assert_false(ledger_record_read(span_part(in, 0, len), key, &r, &pages));
	memset(t.at + 4096, 0, 512);
	assert_false(ledger_record_read(in, key, &r, &pages));
	text_clear(&t);
}

static void
names_that_lead_elsewhere_are_none(void **state)
{
	static const char *const names[] = { "", ".", "..", ".hidden", "a/b", "../../x", "a:2,S" };
	struct ledger_record r;
	struct text t;
	size_t pages;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		record(&t, 7, "d/one", names[i], SPAN(MESSAGE));
		assert_false(ledger_record_read(text_span(&t), key, &r, &pages));
		text_clear(&t);
	}
	record(&t, 7, "", "name", SPAN(MESSAGE));
	assert_false(ledger_record_read(text_span(&t), key, &r, &pages));
	text_clear(&t);
	record(&t, 0, "d/one", "name", SPAN(MESSAGE));   /* there is no number 0 */
	assert_false(ledger_record_read(text_span(&t), key, &r, &pages));
	text_clear(&t);
}

static void
a_message_is_no_record(void **state)
{
	unsigned char other[LEDGER_KEY] = "another";
	struct ledger_record r;
	struct text t;
	size_t pages;

	(void)state;
	/* Who sends one that has the form of a record does not know the key. */
	record(&t, 7, "d/one", "name", SPAN(MESSAGE));
	assert_false(ledger_record_read(text_span(&t), other, &r, &pages));
	text_clear(&t);
}

static void
the_last_whole_mark_counts(void **state)
{
	static unsigned char file[2 * LEDGER_PAGE];
	struct ledger_mark m = { .count = 4, .settled = 100, .boot = SPAN("boot-a"), .mounting = 9,
		.mail = SPAN("mail-b") }, got;
	struct text page = TEXT_UP_TO(LEDGER_PAGE);

	(void)state;
	memcpy(m.key, key, LEDGER_KEY);
	assert_false(ledger_mark_read(span_of(file, sizeof(file)), &got));
	ledger_mark_write(&m, &page);
	assert_int_equal(page.len, LEDGER_PAGE);
	memcpy(file, page.at, LEDGER_PAGE);
	m.count = 5;
	m.settled = 200;
	ledger_mark_write(&m, &page);
	memcpy(file + LEDGER_PAGE, page.at, LEDGER_PAGE);
	assert_true(ledger_mark_read(span_of(file, sizeof(file)), &got));
	assert_int_equal(got.settled, 200);
	assert_int_equal(got.mounting, 9);
	assert_true(span_equal(got.boot, SPAN("boot-a")));
	assert_true(span_equal(got.mail, SPAN("mail-b")));
	file[LEDGER_PAGE + 300] ^= 1;
	assert_true(ledger_mark_read(span_of(file, sizeof(file)), &got));
	assert_int_equal(got.settled, 100);
	file[50] ^= 1;
	assert_false(ledger_mark_read(span_of(file, sizeof(file)), &got));
	text_clear(&page);
}

/* --- lives --- */

struct life {
	struct placer placer;
	struct event_base *base;
};

/* A local begins: on this run of the machine. */
static struct life *
live(const char *boot)
{
	struct life *life = calloc(1, sizeof(*life));
	struct stat s;

	assert_int_equal(fstat(rig.mail, &s), 0);
	life->base = event_base_new();
	placer_init(&life->placer, rig.mail, "host.example");
	/* As if the disk of the tests had a journal. */
	life->placer.ordered[0] = (struct journal){ .device = s.st_dev, .fast_commits = -1, .mounting = 1 };
	life->placer.ordered_devices = 1;
	placer_open_ledger(&life->placer, rig.state, "0");
	assert_int_equal(life->placer.ledger.state, LEDGER_EMPTY);
	snprintf(life->placer.ledger.boot, sizeof(life->placer.ledger.boot), "%s", boot);
	placer_begin_ledger(&life->placer, life->base);
	life->placer.ledger.wanted = true;
	if (life->placer.ledger.state == LEDGER_EMPTY) {
		assert_false(ledger_wants(&life->placer.ledger, 10));
		event_base_loop(life->base, EVLOOP_ONCE);
		assert_true(ledger_wants(&life->placer.ledger, 10));
	}
	return life;
}

/* Killed: nothing is settled. */
static void
end(struct life *life)
{
	if (life->placer.ledger.timer != NULL)
		event_free(life->placer.ledger.timer);
	if (life->placer.ledger.fd >= 0)
		close(life->placer.ledger.fd);
	for (unsigned int n = 0; n < 2; n++)
		for (size_t i = 0; i < life->placer.ledger.segment[n].count; i++)
			if (life->placer.ledger.segment[n].file[i].fd >= 0)
				close(life->placer.ledger.segment[n].file[i].fd);
	text_clear(&life->placer.ledger.text);
	text_clear(&life->placer.ledger.page);
	placer_clear(&life->placer);
	event_base_free(life->base);
	free(life);
}

/* A message in the ledger, not yet named; its file in *fd. */
static uint64_t
enter(struct life *life, const char *home, const char *name, int *fd)
{
	struct ledger_target target = { span_str(home), SPAN(""), span_str(name) };
	struct maildir_name tmp;
	int maildir = placer_open(&life->placer, span_str(home), geteuid(), getegid());

	assert_true(maildir >= 0);
	*fd = maildir_file(maildir, &tmp);
	assert_true(*fd >= 0);
	assert_int_equal(write_all(*fd, MESSAGE, MESSAGE_SIZE), 0);
	close(maildir);
	return ledger_put(&life->placer.ledger, &target, 1, *fd, MESSAGE_SIZE);
}

static void
name_it(struct life *life, const char *home, const char *name, int fd)
{
	int maildir = placer_open(&life->placer, span_str(home), geteuid(), getegid());

	assert_int_equal(maildir_link(fd, maildir, &(struct maildir_name){ "" }, maildir, "new", name), 0);
	close(maildir);
}

static void
promise(struct life *life, const char *home, const char *name)
{
	int fd;
	uint64_t number = enter(life, home, name, &fd);

	assert_int_not_equal(number, 0);
	assert_true(ledger_sync(&life->placer.ledger));
	name_it(life, home, name, fd);
	ledger_keep(&life->placer.ledger, number, fd);
}

static char *
path_in(const char *home, const char *subdir, const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/Maildir/%s/%s", home, subdir, name);
	return path;
}

static bool
is_whole(const char *home, const char *subdir, const char *name)
{
	const char *path = path_in(home, subdir, name);
	char *text;
	bool same;

	if (faccessat(rig.mail, path, F_OK, 0) < 0)
		return false;
	text = rig_read(rig.mail, path, NULL);
	same = strcmp(text, MESSAGE) == 0;
	free(text);
	return same;
}

static int
count_in(const char *home)
{
	char path[512];
	int count = 0;

	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/Maildir/%s", home, i == 0 ? "new" : i == 1 ? "cur" : "tmp");
		count += rig_count(rig.mail, path);
	}
	return count;
}

static void
remove_it(const char *home, const char *name)
{
	assert_int_equal(unlinkat(rig.mail, path_in(home, "new", name), 0), 0);
}

static void
damage(const char *home, const char *subdir, const char *name, off_t size)
{
	int fd = openat(rig.mail, path_in(home, subdir, name), O_WRONLY);

	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static void
a_power_cut_loses_nothing(void **state)
{
	struct life *life = live("one");
	struct stat before, after;

	(void)state;
	promise(life, "d/cut", "gone");
	promise(life, "d/cut", "empty");
	promise(life, "d/cut", "short");
	promise(life, "d/cut", "seen");
	promise(life, "d/cut", "whole");
	promise(life, "d/cut-away", "gone-too");
	end(life);
	remove_it("d/cut", "gone");
	damage("d/cut", "new", "empty", 0);
	damage("d/cut", "new", "short", 5);
	assert_int_equal(renameat(rig.mail, "d/cut/Maildir/new/seen", rig.mail, "d/cut/Maildir/cur/seen:2,FS"), 0);
	damage("d/cut", "cur", "seen:2,FS", 3);
	/* The mailbox too was made just now. */
	remove_it("d/cut-away", "gone-too");
	for (int i = 0; i < 3; i++)
		assert_int_equal(unlinkat(rig.mail, path_in("d/cut-away", i == 0 ? "new" : i == 1 ? "cur" : "tmp", ""),
			AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(rig.mail, "d/cut-away/Maildir", AT_REMOVEDIR), 0);
	assert_int_equal(fstatat(rig.mail, "d/cut/Maildir/new/whole", &before, 0), 0);

	end(live("two"));
	assert_true(is_whole("d/cut", "new", "gone"));
	assert_true(is_whole("d/cut", "new", "empty"));
	assert_true(is_whole("d/cut", "new", "short"));
	assert_true(is_whole("d/cut", "cur", "seen:2,FS"));
	assert_true(is_whole("d/cut", "new", "whole"));
	assert_true(is_whole("d/cut-away", "new", "gone-too"));
	assert_int_equal(count_in("d/cut"), 5);
	assert_int_equal(count_in("d/cut-away"), 1);
	assert_int_equal(fstatat(rig.mail, "d/cut/Maildir/new/whole", &after, 0), 0);
	assert_int_equal(before.st_ino, after.st_ino);

	/* And once delivered, it is over: what its user removes stays away. */
	remove_it("d/cut", "gone");
	end(live("three"));
	assert_int_equal(count_in("d/cut"), 4);
}

static void
what_a_user_removed_stays_away_while_the_machine_lives(void **state)
{
	struct life *life = live("lives");

	(void)state;
	promise(life, "d/lives", "read");
	promise(life, "d/lives", "kept");
	end(life);
	remove_it("d/lives", "read");
	end(live("lives"));
	assert_int_equal(count_in("d/lives"), 1);
	assert_true(is_whole("d/lives", "new", "kept"));
}

static void
another_mounting_is_as_a_power_cut(void **state)
{
	struct life *life = live("same");

	(void)state;
	life->placer.ledger.mounting = 2;
	assert_true(ledger_settle(&life->placer.ledger));
	promise(life, "d/mount", "settled");
	assert_true(ledger_settle(&life->placer.ledger));   /* writes a mark of mounting 2 */
	promise(life, "d/mount", "lost");
	end(life);
	remove_it("d/mount", "lost");
	remove_it("d/mount", "settled");
	end(live("same"));
	assert_true(is_whole("d/mount", "new", "lost"));
	assert_int_equal(count_in("d/mount"), 1);
}

/* Each mail root has a name, which goes along with the mail. */
static void
name_mail_root(const char *name)
{
	int fd = openat(rig.mail, MAIL_ROOT_FILE, O_WRONLY | O_TRUNC);

	assert_int_equal(write_all(fd, name, strlen(name)), 0);
	close(fd);
}

static void
what_was_promised_in_another_mail_root_waits_for_it(void **state)
{
	static const char *const others[] = { "00112233445566778899aabbccddeeff\n", "no name", "" };
	struct life *life = live("root-one");
	char *name = rig_read(rig.mail, MAIL_ROOT_FILE, NULL);

	(void)state;
	assert_int_equal(strlen(name), MAIL_ROOT_NAME + 1);
	promise(life, "d/root", "promised");
	end(life);
	remove_it("d/root", "promised");
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		name_mail_root(others[i]);
		life = live("root-two");
		assert_int_equal(life->placer.ledger.state, LEDGER_BROKEN);
		assert_false(ledger_wants(&life->placer.ledger, 10));
		assert_int_equal(count_in("d/root"), 0);
		ledger_end(&life->placer.ledger, true);
		end(life);
	}
	name_mail_root(name);
	life = live("root-two");
	assert_true(is_whole("d/root", "new", "promised"));
	assert_int_equal(life->placer.ledger.state, LEDGER_READY);
	/* Nothing is in it now: it serves any other. */
	ledger_end(&life->placer.ledger, false);
	end(life);
	name_mail_root(others[0]);
	life = live("root-two");
	assert_int_equal(life->placer.ledger.state, LEDGER_READY);
	end(life);
	free(name);
}

static void
what_is_settled_does_not_come_back(void **state)
{
	struct life *life = live("settled-one");

	(void)state;
	promise(life, "d/settled", "one");
	promise(life, "d/settled", "two");
	ledger_end(&life->placer.ledger, false);
	end(life);
	remove_it("d/settled", "one");
	end(live("settled-two"));
	assert_int_equal(count_in("d/settled"), 1);
}

static void
what_was_withdrawn_does_not_come(void **state)
{
	struct life *life = live("withdrawn-one");
	int fd;
	uint64_t number = enter(life, "d/withdrawn", "refused", &fd);

	(void)state;
	assert_true(number != 0 && ledger_sync(&life->placer.ledger));
	ledger_withdraw(&life->placer.ledger, number);
	assert_true(ledger_sync(&life->placer.ledger));
	close(fd);
	promise(life, "d/withdrawn", "good");
	remove_it("d/withdrawn", "good");
	end(life);
	end(live("withdrawn-two"));
	assert_true(is_whole("d/withdrawn", "new", "good"));
	assert_int_equal(count_in("d/withdrawn"), 1);
}

static void
segments_take_turns(void **state)
{
	struct life *life = live("turns-one");
	struct ledger *l = &life->placer.ledger;
	char name[32];

	(void)state;
	for (int i = 0; i < 3 * LEDGER_MOST_FILES + 20; i++) {
		snprintf(name, sizeof(name), "message%d", i);
		promise(life, "d/turns", name);
	}
	/* Those of the first two turns are over, durably; the others are not. */
	assert_true(l->settled >= 2 * LEDGER_MOST_FILES && l->settled < l->number);
	uint64_t settled = l->settled, number = l->number, before = number - (3 * LEDGER_MOST_FILES + 20);
	end(life);
	for (int i = 0; i < 3 * LEDGER_MOST_FILES + 20; i++) {
		snprintf(name, sizeof(name), "message%d", i);
		remove_it("d/turns", name);
	}
	end(live("turns-two"));
	assert_int_equal(count_in("d/turns"), (int)(number - settled));
	for (uint64_t n = settled + 1; n <= number; n++) {
		snprintf(name, sizeof(name), "message%d", (int)(n - before - 1));
		assert_true(is_whole("d/turns", "new", name));
	}
}

static void
an_idle_ledger_is_settled_soon(void **state)
{
	struct life *life = live("idle-one");
	struct ledger *l = &life->placer.ledger;

	(void)state;
	promise(life, "d/idle", "one");
	assert_true(l->settled < l->number && evtimer_pending(l->timer, NULL));
	event_base_loop(life->base, EVLOOP_ONCE);
	assert_int_equal(l->settled, l->number);
	assert_int_equal(l->segment[0].count + l->segment[1].count, 0);
	end(life);
}

static void
what_could_not_be_synced_is_written_again(void **state)
{
	struct life *life = live("fails-one");
	struct ledger *l = &life->placer.ledger;
	struct stat before, after;
	int fd, ends[2];
	uint64_t number = enter(life, "d/fails", "lost", &fd);

	(void)state;
	assert_true(number != 0 && ledger_sync(l));
	name_it(life, "d/fails", "lost", fd);
	damage("d/fails", "new", "lost", 4);   /* the disk has not taken it, */
	assert_int_equal(fstatat(rig.mail, "d/fails/Maildir/new/lost", &before, 0), 0);
	assert_int_equal(pipe(ends), 0);
	ledger_keep(l, number, ends[0]);       /* and says so: nothing syncs a pipe */
	close(ends[1]);
	promise(life, "d/fails", "good");
	assert_true(ledger_settle(l));
	assert_int_equal(l->settled, l->number);
	assert_true(is_whole("d/fails", "new", "lost"));
	assert_true(is_whole("d/fails", "new", "good"));
	assert_int_equal(fstatat(rig.mail, "d/fails/Maildir/new/lost", &after, 0), 0);
	assert_int_not_equal(before.st_ino, after.st_ino);
	assert_int_equal(count_in("d/fails"), 2);
	close(fd);
	end(life);
}

/* What cannot be settled stays in the ledger, which takes no more than it has room for; then it goes on. */
static void
what_cannot_be_settled_is_kept(void **state)
{
	struct life *life = live("kept-one");
	struct ledger *l = &life->placer.ledger;
	int fd, taken = 0, ends[2];
	char name[32];
	uint64_t number = enter(life, "d/kept", "lost", &fd);

	(void)state;
	assert_true(number != 0 && ledger_sync(l));
	close(fd);
	assert_int_equal(pipe(ends), 0);
	ledger_keep(l, number, ends[0]);
	close(ends[1]);
	assert_int_equal(renameat(rig.mail, "d/kept", rig.mail, "d/kept-aside"), 0);
	assert_int_equal(symlinkat("/nowhere", rig.mail, "d/kept"), 0);
	for (int i = 0; i < 3 * LEDGER_MOST_FILES; i++) {
		snprintf(name, sizeof(name), "message%d", i);
		if ((number = enter(life, "d/kept-others", name, &fd)) == 0) {
			close(fd);
			break;
		}
		assert_true(ledger_sync(l));
		name_it(life, "d/kept-others", name, fd);
		ledger_keep(l, number, fd);
		taken++;
	}
	assert_int_equal(taken, 2 * LEDGER_MOST_FILES - 1);
	assert_false(ledger_settle(l));
	end(life);

	/* A start cannot deliver it either, says so, and keeps it. */
	life = live("kept-two");
	assert_int_equal(life->placer.ledger.state, LEDGER_HELD);
	assert_false(ledger_wants(&life->placer.ledger, 10));
	end(life);
	remove_it("d/kept-others", "message0");   /* delivered then, and read since */
	assert_int_equal(unlinkat(rig.mail, "d/kept", 0), 0);
	assert_int_equal(renameat(rig.mail, "d/kept-aside", rig.mail, "d/kept"), 0);
	life = live("kept-three");
	assert_int_equal(life->placer.ledger.state, LEDGER_READY);
	assert_true(is_whole("d/kept", "new", "lost"));
	assert_false(is_whole("d/kept-others", "new", "message0"));
	end(life);
}

static void
a_ledger_that_cannot_be_written_promises_nothing(void **state)
{
	struct life *life = live("broken-one");
	struct ledger *l = &life->placer.ledger;
	int fd, was = l->fd;

	(void)state;
	promise(life, "d/broken", "before");
	l->fd = open("/dev/full", O_RDWR | O_CLOEXEC);
	assert_int_equal(enter(life, "d/broken", "refused", &fd), 0);
	close(fd);
	assert_int_equal(l->state, LEDGER_BROKEN);
	assert_false(ledger_wants(l, 10));
	/* What it had promised is settled all the same. */
	close(l->fd);
	l->fd = was;
	assert_true(ledger_settle(l));
	assert_int_equal(l->segment[0].count + l->segment[1].count, 0);
	end(life);
}

/* Master waits for who starts: what takes longer goes on afterwards. */
static void
a_start_takes_not_for_ever(void **state)
{
	struct life *life = live("slow-one");
	struct ledger *l;
	struct stat s;

	(void)state;
	promise(life, "d/slow", "one");
	end(life);
	remove_it("d/slow", "one");
	life = calloc(1, sizeof(*life));
	life->base = event_base_new();
	assert_int_equal(fstat(rig.mail, &s), 0);
	placer_init(&life->placer, rig.mail, "host.example");
	life->placer.recovers_until = 1;   /* long ago */
	placer_open_ledger(&life->placer, rig.state, "0");
	placer_begin_ledger(&life->placer, life->base);
	l = &life->placer.ledger;
	assert_int_equal(l->state, LEDGER_HELD);
	assert_int_equal(count_in("d/slow"), 0);
	event_base_loop(life->base, EVLOOP_ONCE);
	assert_int_equal(l->state, LEDGER_READY);
	assert_true(is_whole("d/slow", "new", "one"));
	end(life);
}

static void
one_process_has_it(void **state)
{
	struct life *life = live("lock");
	struct ledger second;

	(void)state;
	ledger_open(&second, rig.state, "0");
	assert_int_equal(second.state, LEDGER_NONE);
	end(life);
	assert_int_equal(symlinkat("0", rig.state, "link"), 0);
	ledger_open(&second, rig.state, "link");
	assert_int_equal(second.state, LEDGER_NONE);
}

/* Bytes that nobody wrote, in the middle and everywhere. */
static void
damage_does_no_harm(void **state)
{
	struct life *life = live("rot-one");
	unsigned char page[LEDGER_PAGE];
	int fd;

	(void)state;
	promise(life, "d/rot", "first");
	promise(life, "d/rot", "second");
	promise(life, "d/rot", "third");
	uint32_t at = life->placer.ledger.segment[life->placer.ledger.current].file[1].page;
	end(life);
	for (int i = 0; i < 3; i++)
		remove_it("d/rot", i == 0 ? "first" : i == 1 ? "second" : "third");
	memset(page, 'v', sizeof(page));
	fd = openat(rig.state, "0", O_WRONLY);
	assert_int_equal(pwrite(fd, page, sizeof(page), (off_t)at * LEDGER_PAGE), sizeof(page));
	end(live("rot-two"));
	assert_true(is_whole("d/rot", "new", "first"));
	assert_false(is_whole("d/rot", "new", "second"));
	assert_true(is_whole("d/rot", "new", "third"));
	/* No mark: it is left alone, and nothing goes in. */
	for (off_t n = 0; n < 2; n++)
		assert_int_equal(pwrite(fd, page, sizeof(page), n * LEDGER_PAGE), sizeof(page));
	life = live("rot-three");
	assert_int_equal(life->placer.ledger.state, LEDGER_BROKEN);
	end(life);
	assert_int_equal(ftruncate(fd, 0), 0);
	close(fd);
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
		cmocka_unit_test(a_record_is_read_back),
		cmocka_unit_test(no_byte_of_a_record_can_be_another),
		cmocka_unit_test(a_torn_record_is_none),
		cmocka_unit_test(names_that_lead_elsewhere_are_none),
		cmocka_unit_test(a_message_is_no_record),
		cmocka_unit_test(the_last_whole_mark_counts),
		cmocka_unit_test(a_power_cut_loses_nothing),
		cmocka_unit_test(what_a_user_removed_stays_away_while_the_machine_lives),
		cmocka_unit_test(another_mounting_is_as_a_power_cut),
		cmocka_unit_test(what_was_promised_in_another_mail_root_waits_for_it),
		cmocka_unit_test(what_is_settled_does_not_come_back),
		cmocka_unit_test(what_was_withdrawn_does_not_come),
		cmocka_unit_test(segments_take_turns),
		cmocka_unit_test(an_idle_ledger_is_settled_soon),
		cmocka_unit_test(what_could_not_be_synced_is_written_again),
		cmocka_unit_test(what_cannot_be_settled_is_kept),
		cmocka_unit_test(a_ledger_that_cannot_be_written_promises_nothing),
		cmocka_unit_test(a_start_takes_not_for_ever),
		cmocka_unit_test(one_process_has_it),
		cmocka_unit_test(damage_does_no_harm),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
