/* INPROGRESS (RFC 9585): how far a long command is, every ten seconds. */
#include "imapd/account.h"
#include "imapd/acl.h"
#include "imapd/command.h"
#include "imapd_rig.h"

#include <event2/event.h>

void
account_housekeep(struct account *a)
{
	(void)a;
}

static void
test_progress_is_told_every_ten_seconds(void **state)
{
	struct session s = { .out = TEXT_UP_TO(1000) };
	struct command c = { .session = &s, .tag = SPAN("A001") };

	(void)state;
	c.progress_at = session_clock();
	command_progress(&c, 1, 1000);
	assert_int_equal(s.out.len, 0);
	c.progress_at = session_clock() - PROGRESS_MICROSECONDS + 1000000;
	command_progress(&c, 1, 1000);
	assert_int_equal(s.out.len, 0);
	c.progress_at = session_clock() - PROGRESS_MICROSECONDS;
	command_progress(&c, 454, 1000);
	assert_string_equal(text_str(&s.out),
		"* OK [INPROGRESS (\"A001\" 454 1000)] Still at work.\r\n");
	text_reset(&s.out);
	command_progress(&c, 455, 1000);
	assert_int_equal(s.out.len, 0);
	text_clear(&s.out);
}

#define MANY 3000        /* some slices of work for each command */

/* A session with INBOX selected. */
static struct session *
selected(struct place *p, struct account *a)
{
	struct session *s = calloc(1, sizeof(*s));
	struct mailbox *m;
	char name[64];

	a->store = p->store;
	m = mailbox_open(&a->store, "");
	assert_non_null(m);
	for (int i = 0; i < MANY; i++) {
		int fd;

		snprintf(name, sizeof(name), "Maildir/cur/%d.M%d.host:2,T", 1000000000 + i, i);
		fd = openat(p->top, name, O_CREAT | O_WRONLY, 0600);
		assert_int_equal(write(fd, "a: b\r\n\r\nc", 9), 9);
		close(fd);
	}
	m->check_cur = m->check_new = true;
	assert_int_equal(mailbox_refresh(m), 0);
	s->account = a;
	s->out = TEXT_UP_TO(MOST_OUT);
	s->view = view_open(m, false);
	s->view->rights = RIGHTS_ALL;
	return s;
}

/* Does the command, as from a client, in the smallest slices, each of them long after the one before; counts what it told
 * of its progress, which must only grow. */
static unsigned int
told_by(struct session *s, const char *line)
{
	struct command c = { .session = s, .tag = SPAN("t"), .answer = TEXT_UP_TO(1000), .args = span_str(line) };
	enum progress progress;
	unsigned long long done, all, before = 0;
	unsigned int told = 0;

	c.verb = verb_take(&c.args);
	assert_non_null(c.verb);
	text_reset(&s->out);
	s->slice_end = session_clock() + 1;
	progress = c.verb->run(&c);
	while (progress == COMMAND_AGAIN) {
		const char *said;

		text_reset(&s->out);
		c.progress_at = session_clock() - PROGRESS_MICROSECONDS - 1;
		s->slice_end = session_clock() + 1;
		progress = c.step(&c);
		said = strstr(text_str(&s->out), "* OK [INPROGRESS (\"t\" ");
		if (said == NULL)
			continue;
		assert_int_equal(sscanf(said, "* OK [INPROGRESS (\"t\" %llu %llu)]", &done, &all), 2);
		assert_true(done >= before && done <= all && all <= 2 * MANY);
		before = done;
		told++;
	}
	assert_true(span_starts_nocase(text_span(&c.answer), SPAN("OK")));
	if (c.release != NULL)
		c.release(&c);
	arena_clear(&c.arena);
	text_clear(&c.answer);
	return told;
}

/* Each kind of command that goes over many messages tells of it. */
static void
test_long_commands_tell_their_progress(void **state)
{
	static struct account account;
	struct place *p = *state;
	struct session *s;

	account.daemon.base = event_base_new();
	assert_int_equal(maildir_make_standard(p->maildir), 0);
	s = selected(p, &account);
	assert_int_equal(s->view->count, MANY);
	assert_true(told_by(s, "FETCH 1:* BODY.PEEK[]") > 0);
	assert_true(told_by(s, "SEARCH TEXT nothing") > 0);
	assert_true(told_by(s, "SORT (SUBJECT) UTF-8 TEXT b") > 0);
	assert_true(told_by(s, "COPY 1:* Sent") > 0);
	assert_true(told_by(s, "MOVE 1:1000 Sent") > 0);
	assert_true(told_by(s, "EXPUNGE") > 0);
	session_unselect(s);
	store_clear(&account.store);
	assert_int_equal(store_init(&p->store, p->maildir, "host"), 0);      /* for tear_down */
	text_clear(&s->out);
	free(s);
	event_base_free(account.daemon.base);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_progress_is_told_every_ten_seconds),
		cmocka_unit_test_setup_teardown(test_long_commands_tell_their_progress, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
