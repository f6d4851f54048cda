/* Long commands of one session run in slices: another session of the same user is answered between them. Counted,
 * not timed: here a millisecond goes by with every look at the clock, and never otherwise. */
#include "common/channel.h"
#include "imapd/command.h"
#include "imapd/remote.h"
#include "imapd/share.h"

#include "imapd_rig.h"       /* behind the words between programs, some of which are called id, too */

#include <event2/event.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#define LETTERS 120
#define FOLDERS 40
#define MOST_ROUNDS 2000
#define FLOOD 500000

static uint64_t looks;

int
clock_gettime(clockid_t clock, struct timespec *t)
{
	(void)clock;
	looks++;
	t->tv_sec = (time_t)(1700000000 + looks / 1000);
	t->tv_nsec = (long)(looks % 1000) * 1000000;
	return 0;
}

/* How often something was made durable; and how often it had been when a tagged OK was sent. */
static unsigned int data_syncs, syncs, data_syncs_at_ok;

int
fdatasync(int fd)
{
	data_syncs++;
	return (int)syscall(SYS_fdatasync, fd);
}

int
fsync(int fd)
{
	syncs++;
	return (int)syscall(SYS_fsync, fd);
}

ssize_t
send(int fd, const void *at, size_t len, int flags)
{
	if (span_find(span_of(at, len), SPAN("s OK ")) < len)
		data_syncs_at_ok = data_syncs;
	return sendto(fd, at, len, flags, NULL, 0);
}

void
account_housekeep(struct account *a)
{
	(void)a;
}

/* --- a user with two sessions --- */

struct client {
	struct session *session;
	int fd;
	struct text heard;
};

struct scene {
	struct place *place;
	struct settings settings;
	struct account account;
	int master;
	struct client slow, other;
};

static void
write_mail(int directory, int n)
{
	char name[60], text[4000];
	size_t len = (size_t)snprintf(text, sizeof(text), "Subject: letter %d\r\nFrom: Person %d <p%d@example.com>\r\n"
		"Date: Tue, 14 Jan 2020 10:%02d:00 +0100\r\nMessage-ID: <%d@example.com>\r\n\r\n", n, n, n, n % 60, n);
	int fd;

	memset(text + len, 'x', 3000);
	len += 3000;
	snprintf(name, sizeof(name), "15000000%02d.M%dP1.x:2,", n % 100, n);
	fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0 && write(fd, text, len) == (ssize_t)len);
	close(fd);
}

static struct client
log_in(struct account *a, uint64_t number)
{
	struct client c = { .heard = TEXT_UP_TO((size_t)64 << 20) };
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	c.fd = ends[1];
	c.session = session_new(a, number, ends[0], SPAN("login"), SPAN_NONE, SPAN("127.0.0.1"), SPAN("LOGIN"));
	c.session->next = a->sessions;
	a->sessions = c.session;
	return c;
}

static void
hear(struct client *c)
{
	unsigned char piece[65536];
	ssize_t got;

	while ((got = read(c->fd, piece, sizeof(piece))) > 0)
		text_add(&c->heard, span_of(piece, (size_t)got));
	assert_false(c->heard.failed);
}

static void
say(const struct client *c, const char *line)
{
	assert_int_equal(write(c->fd, line, strlen(line)), (ssize_t)strlen(line));
}

/* One round of imap.c: what happened, then what was said of it. Returns how often the clock was looked at. */
static uint64_t
one_round(struct scene *s)
{
	uint64_t before = looks;

	assert_true(event_base_loop(s->account.daemon.base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
	before = looks - before;
	assert_int_equal(store_durable(&s->account.store), 0);
	for (struct session *each = s->account.sessions; each != NULL; each = each->next)
		session_flush(each);
	hear(&s->slow);
	hear(&s->other);
	return before;
}

static bool
has_answer(const struct client *c, const char *tag)
{
	struct span in = text_span(&c->heard);
	size_t at = span_find(in, span_str(tag));

	return at < in.len && (at == 0 || in.at[at - 1] == '\n');
}

static void
say_and_wait(struct scene *s, struct client *c, const char *line, const char *answer)
{
	say(c, line);
	for (int i = 0; !has_answer(c, answer); i++) {
		assert_true(i < MOST_ROUNDS);
		(void)one_round(s);
	}
	text_reset(&c->heard);
}

static int
begin(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));
	char name[20];
	int ends[2], cur;

	assert_int_equal(set_up((void **)&s->place), 0);
	s->settings.imap_idle_seconds = 1800;
	s->settings.message_size_bytes = 1 << 20;
	s->settings.imap_separator = SPAN("/");
	s->account.daemon.settings = &s->settings;
	s->account.daemon.base = event_base_new();
	assert_int_equal(channel_pair(ends), 0);
	s->master = ends[1];
	s->account.daemon.master = channel_new(s->account.daemon.base, ends[0], PROGRAM_IMAP, PROGRAM_MASTER, 0,
		&(const struct hearing){ .gone = NULL }, &s->account);
	(void)snprintf(s->account.user, sizeof(s->account.user), "ana@x.example");
	s->account.store = s->place->store;
	cur = openat(s->place->maildir, "cur", O_RDONLY | O_DIRECTORY);
	for (int n = 0; n < LETTERS; n++)
		write_mail(cur, n);
	close(cur);
	for (int n = 0; n < FOLDERS; n++) {
		(void)snprintf(name, sizeof(name), ".F%d", n);
		assert_int_equal(folder_create(&s->account.store, name), 0);
	}
	s->slow = log_in(&s->account, 1);
	s->other = log_in(&s->account, 2);
	say_and_wait(s, &s->slow, "a SELECT INBOX\r\n", "a OK");
	say_and_wait(s, &s->other, "a SELECT INBOX\r\n", "a OK");
	*state = s;
	return 0;
}

static int
end(void **state)
{
	struct scene *s = *state;

	while (s->account.sessions != NULL) {
		struct session *each = s->account.sessions;

		s->account.sessions = each->next;
		session_free(&each);
	}
	close(s->slow.fd);
	close(s->other.fd);
	text_clear(&s->slow.heard);
	text_clear(&s->other.heard);
	share_clear(&s->account);
	channel_free(&s->account.daemon.master);
	close(s->master);
	event_base_free(s->account.daemon.base);
	s->place->store = s->account.store;
	s->place->store.mailboxes = NULL;
	store_close_quiet(&s->account.store, 0);
	assert_int_equal(tear_down((void **)&s->place), 0);
	free(s);
	return 0;
}

/* --- what is said meanwhile --- */

/* How many NOOPs of the other session are answered before `command` is. */
static size_t
noops_meanwhile(struct scene *s, const char *command)
{
	size_t answered = 0;
	char line[100];

	(void)snprintf(line, sizeof(line), "s %s\r\n", command);
	text_reset(&s->slow.heard);
	say(&s->slow, line);
	for (int i = 0; i < MOST_ROUNDS; i++) {
		text_reset(&s->other.heard);
		say(&s->other, "n NOOP\r\n");
		/* Two slices may have their turn in it, and what ends a command looks again. */
		assert_in_range(one_round(s), 1, 4 * SLICE_MICROSECONDS / 1000);
		if (has_answer(&s->slow, "s OK"))
			return answered;
		assert_false(has_answer(&s->slow, "s NO") || has_answer(&s->slow, "s BAD"));
		answered += has_answer(&s->other, "n OK");
	}
	fail_msg("%s: no answer", command);
	return 0;
}

static void
test_others_are_answered(void **state)
{
	static const char *const commands[] = {
		"SEARCH BODY nowhere",
		"SEARCH TEXT nowhere",
		"SEARCH HEADER X-Nothing nowhere",
		"FETCH 1:* (ENVELOPE BODYSTRUCTURE)",
		"FETCH 1:* BODY.PEEK[]",
		"FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE)",
		"SORT (SUBJECT DATE) UTF-8 ALL",
		"THREAD REFERENCES UTF-8 ALL",
		"COPY 1:* F1",
		"MOVE 1:60 F2",
		"ESEARCH IN (personal) TEXT nowhere",
		"SETACL F3 bob@x.example lr",
		"LIST \"\" F* RETURN (STATUS (MESSAGES))",
	};
	struct scene *s = *state;

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		size_t answered = noops_meanwhile(s, commands[i]);

		if (answered < 4)
			print_message("%s: %zu\n", commands[i], answered);
		assert_true(answered >= 4);
	}
}

/* What another user asks for does not hold up the owner: each folder's rights are read before he is told. */
static void
test_a_guest_asks_for_the_quota_root(void **state)
{
	struct scene *s = *state;
	struct session *bob;
	int ends[2];

	s->account.store.quota.messages = 1000;
	say_and_wait(s, &s->slow, "a SETACL F9 bob@x.example lr\r\n", "a OK");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	bob = session_new_guest(&s->account, 3, ends[0], SPAN("bob@x.example"));
	bob->next = s->account.sessions;
	s->account.sessions = bob;
	close(s->slow.fd);
	s->slow.fd = ends[1];
	assert_true(noops_meanwhile(s, "GETQUOTA user/ana@x.example") >= 4);
}

static bool
has_kept(const struct scene *s, const char *line)
{
	char kept[1000];
	int fd = openat(s->account.store.private, "shares", O_RDONLY);
	ssize_t got = fd < 0 ? 0 : read(fd, kept, sizeof(kept));

	if (fd >= 0)
		close(fd);
	return got > 0 && span_find(span_of(kept, (size_t)got), span_str(line)) < (size_t)got;
}

/* A change of rights in the middle of telling the one before: both are told before they are answered; a folder that
 * is renamed meanwhile is not overlooked. */
static void
test_changes_of_rights_meanwhile(void **state)
{
	struct scene *s = *state;

	text_reset(&s->slow.heard);
	text_reset(&s->other.heard);
	say_and_wait(s, &s->slow, "z SETACL F39 zoe@x.example lr\r\n", "z OK");
	say(&s->slow, "s SETACL F1 bob@x.example lr\r\n");
	(void)one_round(s);
	assert_false(has_answer(&s->slow, "s OK"));
	say_and_wait(s, &s->other, "r RENAME F39 A\r\n", "r OK");
	assert_false(has_answer(&s->slow, "s OK"));
	say(&s->other, "o SETACL F0 carl@x.example lr\r\n");
	for (int i = 0; !has_answer(&s->slow, "s OK") || !has_answer(&s->other, "o OK"); i++) {
		assert_true(i < MOST_ROUNDS);
		(void)one_round(s);
	}
	assert_true(has_kept(s, "bob@x.example\n") && has_kept(s, "carl@x.example\n") &&
		has_kept(s, "zoe@x.example\n"));
}

/* The first change is told while the second is still looked for: what a process that dies now leaves behind is
 * nothing, not something old. */
static void
test_what_is_kept_lacks_no_change(void **state)
{
	struct scene *s = *state;
	int between = 0;

	text_reset(&s->slow.heard);
	text_reset(&s->other.heard);
	say(&s->slow, "s SETACL F1 bob@x.example lr\r\n");
	(void)one_round(s);
	say(&s->other, "o SETACL F0 carl@x.example lr\r\n");
	for (int i = 0; !has_answer(&s->other, "o OK"); i++) {
		assert_true(i < MOST_ROUNDS);
		(void)one_round(s);
		assert_true(has_kept(s, "carl@x.example\n") || !has_kept(s, "bob@x.example\n"));
		between += has_answer(&s->slow, "s OK") && !has_kept(s, "carl@x.example\n");
	}
	assert_true(between > 0);
	assert_true(has_kept(s, "bob@x.example\n") && has_kept(s, "carl@x.example\n"));
}

/* Who changed them is gone before all folders were looked through: that is done all the same. */
static void
test_rights_of_a_session_that_ended(void **state)
{
	struct scene *s = *state;
	struct stat st;
	int rounds = 0;

	say(&s->slow, "s SETACL F1 bob@x.example lr\r\n");
	(void)one_round(s);
	assert_false(has_answer(&s->slow, "s OK"));
	assert_int_equal(fstatat(s->account.store.private, "shares", &st, 0), -1);
	command_free(&s->slow.session->command);
	for (; !share_tell_some(&s->account); rounds++)
		assert_true(rounds < MOST_ROUNDS);
	assert_true(rounds > 2);
	assert_int_equal(fstatat(s->account.store.private, "shares", &st, 0), 0);
	assert_int_equal(st.st_size, sizeof("bob@x.example\n") - 1);
	assert_true(share_tell_some(&s->account));       /* nothing more to do */
}

/* The journal is made durable once for a command, however many messages it is about, and before the command is answered;
 * not at all where nothing was changed. */
static void
test_one_sync_for_a_command(void **state)
{
	static const struct {
		const char *command;
		unsigned int data_syncs, least, most;
	} rows[] = {
		{ "s STORE 1:* +FLAGS.SILENT (\\Flagged)\r\n", 1, 0, 0 },
		{ "s STORE 1:* +FLAGS.SILENT (\\Flagged)\r\n", 0, 0, 0 },
		{ "s UID STORE 1:60 FLAGS (\\Seen one two)\r\n", 1, 0, 0 },
		{ "s COPY 1:* F5\r\n", 1, 1, 1 },         /* and the directory */
		{ "s FETCH 1:* (UID FLAGS ENVELOPE)\r\n", 0, 0, 0 },
		{ "s APPEND F5 {2+}\r\nx\n\r\n", 1, 2, 2 },  /* and the message */
	};
	struct scene *s = *state;

	say_and_wait(s, &s->slow, "a FETCH 1:* (INTERNALDATE RFC822.SIZE)\r\n", "a OK");
	say_and_wait(s, &s->slow, "a SELECT F5\r\n", "a OK");     /* what its first opening writes is not the commands' */
	say_and_wait(s, &s->slow, "a SELECT INBOX\r\n", "a OK");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		data_syncs = syncs = data_syncs_at_ok = 0;
		text_reset(&s->slow.heard);
		say_and_wait(s, &s->slow, rows[i].command, "s OK");
		if (data_syncs != rows[i].data_syncs || syncs < rows[i].least || syncs > rows[i].most)
			print_message("%s: %u, %u\n", rows[i].command, data_syncs, syncs);
		assert_int_equal(data_syncs, rows[i].data_syncs);
		assert_int_equal(data_syncs_at_ok, data_syncs);
		assert_in_range(syncs, rows[i].least, rows[i].most);
	}
}

/* The first time nothing is kept, and all folders must be looked through: not before the first session is served. */
static void
test_rights_at_the_first_start(void **state)
{
	struct scene *s = *state;
	struct stat st;
	int rounds = 0;

	say_and_wait(s, &s->slow, "z SETACL F39 zoe@x.example lr\r\n", "z OK");
	assert_int_equal(share_forget(&s->account), 0);
	share_tell_kept(&s->account);
	assert_int_equal(fstatat(s->account.store.private, "shares", &st, 0), -1);
	for (; !share_tell_some(&s->account); rounds++)
		assert_true(rounds < MOST_ROUNDS);
	assert_true(rounds > 2);
	assert_true(has_kept(s, "zoe@x.example\n"));
	share_tell_kept(&s->account);
	assert_true(share_tell_some(&s->account));       /* what is kept is enough */
}

/* --- the process of another user, who is an enemy --- */

/* The way to it is there, and it has greeted: its end. *ours: the other, which is read. */
static int
open_way(struct scene *s, int *ours)
{
	int ends[2];

	assert_non_null(s->slow.session->link);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	link_opened(s->slow.session, ends[0]);
	assert_true(write(ends[1], "* PREAUTH x\r\n", 13) == 13);
	*ours = ends[0];
	return ends[1];
}

static void
begin_command(struct scene *s, const char *line)
{
	text_reset(&s->slow.heard);
	say(&s->slow, line);
	for (int i = 0; s->slow.session->link == NULL; i++) {
		assert_true(i < MOST_ROUNDS);
		(void)one_round(s);
		if (s->slow.session->sharing == NULL)
			continue;
		text_add(&s->slow.session->sharing->owners, SPAN("bob@x.example\n"));    /* as master tells */
		s->slow.session->sharing = NULL;
		session_take_turn(s->slow.session);
	}
}

/* It says what nobody asked for, as fast as it can: that is heard in slices, too. */
static void
test_another_process_speaks_without_end(void **state)
{
	static const struct {
		const char *command, *said;
	} rows[] = {
		{ "s COPY 1:* user/bob@x.example/Work\r\n", "* x\r\n" },
		{ "s MOVE 1:* user/bob@x.example/Work\r\n", "* x {1}\r\nx\r\n" },
		{ "s LIST \"\" *\r\n", "+\r\n" },
		{ "s STATUS user/bob@x.example/Work (MESSAGES)\r\n", "+\r\n" },
	};
	struct scene *s = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct text said = TEXT_UP_TO(FLOOD + 100);
		int ours, way, unread;

		begin_command(s, rows[i].command);
		way = open_way(s, &ours);
		while (said.len < FLOOD)
			text_add_str(&said, rows[i].said);
		assert_true(write(way, said.at, said.len) > 4 * 32768);    /* more than is read at once */
		text_clear(&said);
		for (int n = 0; n < 3; n++) {
			text_reset(&s->other.heard);
			say(&s->other, "n NOOP\r\n");
			assert_in_range(one_round(s), 1, 4 * SLICE_MICROSECONDS / 1000);
			assert_true(ioctl(ours, FIONREAD, &unread) == 0 && unread > 0);
		}
		assert_true(has_answer(&s->other, "n OK"));
		close(way);
		for (int n = 0; !has_answer(&s->slow, "s NO") && !has_answer(&s->slow, "s OK"); n++) {
			assert_true(n < 100 * MOST_ROUNDS);
			(void)one_round(s);
		}
	}
}

/* It says that all is there before it was said: nothing is copied, and MOVE takes nothing away. */
static void
test_another_process_is_done_too_early(void **state)
{
	static const char *const verbs[] = { "COPY", "MOVE" };
	static const char early[] = "+\r\n~a OK [APPENDUID 1 1:120] x\r\n";
	struct scene *s = *state;
	char line[100];
	int ours, way;

	for (size_t i = 0; i < 2; i++) {
		(void)snprintf(line, sizeof(line), "s %s 1:* user/bob@x.example/Work\r\n", verbs[i]);
		begin_command(s, line);
		way = open_way(s, &ours);
		(void)one_round(s);
		assert_true(write(way, early, sizeof(early) - 1) > 0);
		for (int n = 0; !has_answer(&s->slow, "s NO [UNAVAILABLE]"); n++) {
			assert_true(n < MOST_ROUNDS && !has_answer(&s->slow, "s OK"));
			(void)one_round(s);
		}
		assert_int_equal(s->slow.session->view->mailbox->index.count, LETTERS);
		close(way);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_others_are_answered, begin, end),
		cmocka_unit_test_setup_teardown(test_a_guest_asks_for_the_quota_root, begin, end),
		cmocka_unit_test_setup_teardown(test_changes_of_rights_meanwhile, begin, end),
		cmocka_unit_test_setup_teardown(test_what_is_kept_lacks_no_change, begin, end),
		cmocka_unit_test_setup_teardown(test_rights_of_a_session_that_ended, begin, end),
		cmocka_unit_test_setup_teardown(test_one_sync_for_a_command, begin, end),
		cmocka_unit_test_setup_teardown(test_rights_at_the_first_start, begin, end),
		cmocka_unit_test_setup_teardown(test_another_process_speaks_without_end, begin, end),
		cmocka_unit_test_setup_teardown(test_another_process_is_done_too_early, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
