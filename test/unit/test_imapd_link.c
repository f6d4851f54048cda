/* A link to another user's process that is slow, or that dies before it has greeted; and answers of master that come
 * when nobody waits for them any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "imapd/link.h"

#define PIECE 16384
#define GREETING "* PREAUTH x\r\n"
#define MOST_WAIT 50      /* rounds of ten milliseconds */

static struct account account;
static struct session session;
static int masters_end;

/* Of imap.c, which is not here. */
void
account_housekeep(struct account *a)
{
	(void)a;
}

static void
on_turn(evutil_socket_t fd, short what, void *me)
{
	(void)fd;
	(void)what;
	(void)me;
}

static int
set_up(void **state)
{
	static const struct hearing nothing;
	struct daemon *d = &account.daemon;
	int ends[2];

	(void)state;
	d->base = event_base_new();
	assert_int_equal(channel_pair(ends), 0);
	d->master = channel_new(d->base, ends[0], PROGRAM_IMAP, PROGRAM_MASTER, 0, &nothing, d);
	masters_end = ends[1];
	session = (struct session){ .account = &account };
	session.turn = event_new(d->base, -1, 0, on_turn, NULL);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	link_free(&session.link);
	event_free(session.turn);
	channel_free(&account.daemon.master);
	event_base_free(account.daemon.base);
	close(masters_end);
	return 0;
}

static void
turn(void)
{
	(void)event_base_loop(account.daemon.base, EVLOOP_NONBLOCK);
}

/* How often master was asked since the last time. */
static unsigned int
times_asked(void)
{
	unsigned char told[512];
	unsigned int times = 0;

	turn();
	while (recv(masters_end, told, sizeof(told), MSG_DONTWAIT) > 0)
		times++;
	return times;
}

/* Master's answer: our end of a new connection. */
static int
open_link(void)
{
	const int small = PIECE;     /* as net.core.wmem_default may have it */
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	link_opened(&session, ends[0]);
	return ends[1];
}

static void
greet(int fd)
{
	struct span piece;

	assert_int_equal(write(fd, GREETING, sizeof(GREETING) - 1), sizeof(GREETING) - 1);
	assert_int_equal(link_hear(session.link, SPAN("x"), &piece), LINK_NOTHING);
}

/* More goes through than a buffer may hold, and never is nothing left to send. */
static void
test_a_process_that_is_always_behind(void **state)
{
	static unsigned char said[PIECE], heard[PIECE];
	uint64_t in = 0, out = 0;
	struct span piece;
	int fd;

	(void)state;
	session.link = link_new(&session, SPAN("ana@example.org"));
	fd = open_link();
	greet(fd);
	while (out < 2 * (uint64_t)MOST_OUT) {
		ssize_t got;

		for (; !link_is_full(session.link); in += sizeof(said)) {
			for (size_t i = 0; i < sizeof(said); i++)
				said[i] = (unsigned char)((in + i) / 251);
			link_say(session.link, span_of(said, sizeof(said)));
			assert_int_equal(link_hear(session.link, SPAN("x"), &piece), LINK_NOTHING);
		}
		got = read(fd, heard, sizeof(heard));
		assert_true(got > 0);
		for (ssize_t i = 0; i < got; i++)
			assert_int_equal(heard[i], (unsigned char)((out + (uint64_t)i) / 251));
		out += (uint64_t)got;
		turn();
	}
	close(fd);
}

/* It ended before its greeting: master is asked for the next one, which hears all of it, once. */
static void
test_what_was_said_waits_for_the_next_process(void **state)
{
	unsigned char heard[16];
	struct span piece;
	int fd;

	(void)state;
	session.link = link_new(&session, SPAN("ana@example.org"));
	link_say(session.link, SPAN("x NOOP\r\n"));
	assert_int_equal(times_asked(), 1);
	fd = open_link();
	close(fd);
	assert_int_equal(link_hear(session.link, SPAN("x"), &piece), LINK_NOTHING);
	for (int i = 0; times_asked() == 0; i++) {
		assert_true(i < MOST_WAIT);
		usleep(10000);
	}
	fd = open_link();
	greet(fd);
	assert_int_equal(read(fd, heard, sizeof(heard)), 8);
	assert_memory_equal(heard, "x NOOP\r\n", 8);
	/* Now it has heard something: it is not said to another. */
	close(fd);
	assert_int_equal(link_hear(session.link, SPAN("x"), &piece), LINK_OVER);
	usleep(300000);
	assert_int_equal(times_asked(), 0);
}

/* The answer to a question of a link that is no more is not taken for that of the next one. */
static void
test_a_late_answer_is_nobodys(void **state)
{
	struct span piece;
	int late, fd;

	(void)state;
	session.link = link_new(&session, SPAN("ana@example.org"));
	link_free(&session.link);
	session.link = link_new(&session, SPAN("eve@example.org"));
	late = open_link();
	assert_int_equal(send(late, GREETING, sizeof(GREETING) - 1, MSG_NOSIGNAL), -1);   /* hung up on */
	assert_int_equal(link_hear(session.link, SPAN("x"), &piece), LINK_NOTHING);
	fd = open_link();
	greet(fd);
	link_refused(&session, false);                /* and master has no more to say */
	assert_false(link_is_unknown(session.link));
	link_say(session.link, SPAN("x NOOP\r\n"));
	assert_int_equal(write(fd, "x OK\r\n", 6), 6);
	assert_int_equal(link_hear(session.link, SPAN("x"), &piece), LINK_TAGGED);
	close(late);
	close(fd);
}

static void
test_who_does_not_greet_is_not_served_by(void **state)
{
	struct span piece;
	int fd;

	(void)state;
	session.link = link_new(&session, SPAN("ana@example.org"));
	link_say(session.link, SPAN("x NOOP\r\n"));
	fd = open_link();
	assert_int_equal(write(fd, "* BYE too many\r\nx OK\r\n", 22), 22);
	assert_int_equal(link_hear(session.link, SPAN("x"), &piece), LINK_OVER);
	assert_false(link_is_unknown(session.link));
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_process_that_is_always_behind, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_was_said_waits_for_the_next_process, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_late_answer_is_nobodys, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_who_does_not_greet_is_not_served_by, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
