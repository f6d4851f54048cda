/* A socket goes to a TLS worker only after tls-key has heard of it; who is away is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/run.h"
#include "common/tls-ask.h"

#define SESSION 4711
#define WORKERS 3

/* Instead of daemon.c: the peers that are there. */
static struct channel *key, *worker[WORKERS];
static unsigned int turn;

struct channel *
daemon_peer(struct daemon *d, enum program program, unsigned int index)
{
	(void)d;
	if (program == PROGRAM_TLS_KEY)
		return index == 0 ? key : NULL;
	return index < WORKERS ? worker[index] : NULL;
}

struct channel *
daemon_any_peer(struct daemon *d, enum program program)
{
	(void)d;
	assert_int_equal(program, PROGRAM_TLS);
	turn++;
	return worker[1];
}

/* What the other end hears. */
static struct {
	unsigned int expected, started, worker, service;
	uint64_t id;
	int fd;
} heard;

static void
on_tls_expect(
	void *me, struct channel *from, uint64_t id, const struct msg_tls_expect *m, const int *fd)
{
	(void)me, (void)from, (void)fd;
	heard.expected++;
	heard.id = id;
	heard.worker = m->worker;
}

static void
on_tls_start(
	void *me, struct channel *from, uint64_t id, const struct msg_tls_start *m, const int *fd)
{
	(void)me, (void)from;
	heard.started++;
	assert_int_equal(id, SESSION);
	heard.service = m->service;
	heard.fd = fd[0];
}

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	(void)me, (void)from, (void)id;
	return message_row(m)->hours & ~(uint32_t)OR_GONE;
}

static const struct hearing hearing = {
	.hour = hour, .on_tls_expect = on_tls_expect, .on_tls_start = on_tls_start
};
static const struct hearing silent = { .hour = hour };

static struct channel *key_side, *worker_side;
static int client = -1;

static int
set_up(void **state)
{
	int ends[2];

	(void)state;
	memset(&heard, 0, sizeof(heard));
	heard.fd = -1;
	turn = 0;
	assert_int_equal(channel_pair(ends), 0);
	key = channel_new(NULL, ends[0], PROGRAM_SMTPD, PROGRAM_TLS_KEY, 0, &silent, NULL);
	key_side = channel_new(NULL, ends[1], PROGRAM_TLS_KEY, PROGRAM_SMTPD, 0, &hearing, NULL);
	assert_int_equal(channel_pair(ends), 0);
	worker[1] = channel_new(NULL, ends[0], PROGRAM_SMTPD, PROGRAM_TLS, 1, &silent, NULL);
	worker_side = channel_new(NULL, ends[1], PROGRAM_TLS, PROGRAM_SMTPD, 0, &hearing, NULL);
	client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	if (heard.fd >= 0)
		close(heard.fd);
	channel_free(&key);
	channel_free(&worker[1]);
	channel_free(&key_side);
	channel_free(&worker_side);
	return 0;
}

static void
client_is_closed(void)
{
	assert_int_equal(fcntl(client, F_GETFD), -1);
	assert_int_equal(errno, EBADF);
}

static void
announced_then_given(void **state)
{
	struct daemon d = { 0 };
	const char *why = NULL;

	(void)state;
	assert_true(tls_is_offered(&d));
	assert_int_equal(turn, 0);
	assert_ptr_equal(tls_ask(&d, SESSION, SERVICE_IMAPS, "127.0.0.1", client, &why), worker[1]);
	assert_null(why);
	client_is_closed();
	assert_true(channel_drain(key_side));
	assert_int_equal(heard.expected, 1);
	assert_true(heard.id == SESSION);
	assert_int_equal(heard.worker, 1);
	assert_true(channel_drain(worker_side));
	assert_int_equal(heard.started, 1);
	assert_int_equal(heard.service, SERVICE_IMAPS);
	assert_true(heard.fd >= 0);
	/* a new tls-key hears it again */
	tls_announce(key, SESSION, worker[1]);
	assert_true(channel_drain(key_side));
	assert_int_equal(heard.expected, 2);
	assert_int_equal(heard.worker, 1);
}

static void
without_a_worker(void **state)
{
	struct daemon d = { 0 };
	const char *why = NULL;

	(void)state;
	channel_free(&worker[1]);
	assert_false(tls_is_offered(&d));
	assert_null(tls_ask(&d, SESSION, SERVICE_IMAP, "127.0.0.1", client, &why));
	assert_string_equal(why, "TLS is not available");
	client_is_closed();
	assert_true(channel_drain(key_side));
	assert_int_equal(heard.expected, 0);
}

static void
ask_again(struct daemon *d, int times)
{
	const char *why;

	for (int i = 0; i < times; i++) {
		assert_non_null(tls_ask(d, SESSION, SERVICE_IMAPS, "127.0.0.1",
			socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), &why));
		assert_true(channel_drain(key_side) && channel_drain(worker_side));
		close(heard.fd);
	}
	heard.fd = -1;
}

/* In quick succession the same worker, for so many; else the next. */
static void
runs_are_bounded(void **state)
{
	struct daemon d = { 0 };

	(void)state;
	usleep((RUN_GAP_MILLISECONDS + 10) * 1000);
	ask_again(&d, 1);
	assert_int_equal(turn, 1);
	usleep((RUN_GAP_MILLISECONDS + 10) * 1000);
	ask_again(&d, 1);
	assert_int_equal(turn, 2);
	/* However slow this machine is just now, no worker has more than its share in a row. */
	ask_again(&d, 2 * RUN_LENGTH);
	assert_true(turn >= 4);
	/* At full speed they do have it: some of these come at once. */
	assert_true(turn < 2 + 2 * RUN_LENGTH);
}

/* Nobody would sign: the worker does not even see the socket. */
static void
without_tls_key(void **state)
{
	struct daemon d = { 0 };
	const char *why = NULL;

	(void)state;
	channel_free(&key);
	assert_false(tls_is_offered(&d));
	assert_null(tls_ask(&d, SESSION, SERVICE_IMAP, "127.0.0.1", client, &why));
	assert_string_equal(why, "TLS is not available");
	client_is_closed();
	assert_true(channel_drain(worker_side));
	assert_int_equal(heard.started, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(announced_then_given, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_a_worker, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_tls_key, set_up, tear_down),
		cmocka_unit_test_setup_teardown(runs_are_bounded, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("common_tls_ask", tests, NULL, NULL);
}
