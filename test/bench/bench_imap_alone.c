/*
 * bench_imap_alone - a user's imap process without the rest of the suite: sessions without TLS and
 * without a login, for measuring it and for looking into it with a profiler.
 *
 * bench_imap_alone PROGRAM MAILROOT HOME [LINGER_SECONDS [COMMAND...]]
 *
 * Plays master: listens on a free port of 127.0.0.1, which it prints, and hands every connection to
 * PROGRAM (build/libexec/valija-imap), which serves MAILROOT/HOME/Maildir and is started when it is
 * not there. A tagged OK (tag "login") comes at once. With COMMAND... (perf record, valgrind) the
 * program is run by it. Ends when its standard input does.
 */
#include "common/channel.h"
#include "common/daemon.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_WRAPPER 20
#define MOST_WAITING 1000

struct alone {
	struct event_base *base;
	const char *program, *home;
	char *wrapper[MOST_WRAPPER];
	int wrapped;
	int mail;
	uint64_t linger;
	struct channel *control;
	pid_t pid;
	bool confined, leaves;
	int waiting[MOST_WAITING];
	unsigned int waiting_count;
	int sent[MOST_WAITING];      /* copies of what was handed over and not yet taken */
	unsigned int sent_count;
	uint64_t session;
};

static void
fail(const char *what)
{
	perror(what);
	exit(1);
}

static int
default_settings(const struct alone *a)
{
	struct settings s = { .generation = 1 };

#define O(kind, name, initial, least, most, help) ROW_##kind(name, initial)
#define ROW_number(name, initial) s.name = (initial);
#define ROW_flag(name, initial) s.name = (initial);
#define ROW_text(name, initial) s.name = SPAN(initial);
#define ROW_list(name, initial)
	SETTINGS(O)
#undef O
	s.hostname = SPAN("bench");
	s.imap_linger_seconds = a->linger;
	s.log_level = SPAN("error");
	return settings_to_file(&s);
}

static void
hand_over(struct alone *a)
{
	while (a->confined && !a->leaves && a->waiting_count > 0 && a->sent_count < MOST_WAITING) {
		int fd = a->waiting[--a->waiting_count];

		a->sent[a->sent_count++] = dup(fd);
		send_imap_session(a->control, ++a->session,
			&(struct msg_imap_session){ .tag = SPAN("login"), .input = SPAN_NONE,
				.ip = SPAN("127.0.0.1"), .verb = SPAN("LOGIN") }, &fd);
	}
}

static void
on_confined(void *me, struct channel *from, uint64_t id, const struct msg_confined *m, const int *fd)
{
	struct alone *a = me;

	(void)from;
	(void)id;
	(void)m;
	(void)fd;
	a->confined = true;
	hand_over(a);
}

static void
on_taken(void *me, struct channel *from, uint64_t id, const struct msg_imap_taken *m, const int *fd)
{
	struct alone *a = me;

	(void)from;
	(void)id;
	(void)m;
	(void)fd;
	if (a->sent_count == 0)
		return;
	close(a->sent[0]);
	memmove(a->sent, a->sent + 1, --a->sent_count * sizeof(a->sent[0]));
}

static void
on_ended(void *me, struct channel *from, uint64_t id, const struct msg_imap_ended *m, const int *fd)
{
	(void)me;
	(void)from;
	(void)id;
	(void)m;
	(void)fd;
}

/* With whom the user shares: nobody asks here. */
static void
on_shares(void *me, struct channel *from, uint64_t id, const struct msg_shares_set *m, const int *fd)
{
	(void)me;
	(void)from;
	(void)id;
	(void)m;
	(void)fd;
}

static void
on_idle(void *me, struct channel *from, uint64_t id, const struct msg_imap_idle *m, const int *fd)
{
	struct alone *a = me;

	(void)id;
	(void)m;
	(void)fd;
	if (a->sent_count > 0 || a->waiting_count > 0)      /* on its way: it stays, as with master */
		return;
	a->leaves = true;
	send_leave(from, 0, &(struct msg_leave){ .seconds = 0 }, NULL);
}

static void start(struct alone *a);

static void
on_gone(void *me, struct channel *from)
{
	struct alone *a = me;

	(void)from;
	a->control = NULL;
	if (!a->confined) {
		fprintf(stderr, "bench_imap_alone: %s does not serve\n", a->program);
		exit(1);
	}
	a->confined = a->leaves = false;
	while (a->sent_count > 0)        /* it left without them */
		a->waiting[a->waiting_count++] = a->sent[--a->sent_count];
	(void)waitpid(a->pid, NULL, 0);
	if (a->waiting_count > 0)
		start(a);
}

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	struct alone *a = me;

	(void)from;
	(void)m;
	(void)id;
	return a->confined ? HOUR_SERVING : HOUR_START;
}

static const struct hearing hears_imap = {
	.hour = hour,
	.gone = on_gone,
	.on_confined = on_confined,
	.on_imap_taken = on_taken,
	.on_imap_ended = on_ended,
	.on_imap_idle = on_idle,
	.on_shares_set = on_shares,
};

static void
run_program(const struct alone *a, int control, int log)
{
	char *argv[MOST_WRAPPER + 2];
	int n = 0;

	if (dup2(control, CONTROL_FD) < 0 || dup2(log, LOG_FD) < 0)
		_exit(1);
	for (; n < a->wrapped; n++)
		argv[n] = a->wrapper[n];
	argv[n++] = (char *)(uintptr_t)a->program;
	argv[n] = NULL;
	execvp(argv[0], argv);
	_exit(1);
}

/* Log lines are thrown away. */
static void
on_log(evutil_socket_t fd, short what, void *me)
{
	char line[8192];

	(void)what;
	(void)me;
	while (recv(fd, line, sizeof(line), MSG_DONTWAIT) > 0)
		;
}

static void
start(struct alone *a)
{
	int ends[2], logs[2], settings = default_settings(a), mail = dup(a->mail);
	struct event *event;

	if (settings < 0 || mail < 0 || channel_pair(ends) < 0 || channel_pair(logs) < 0)
		fail("start");
	a->pid = fork();
	if (a->pid < 0)
		fail("fork");
	if (a->pid == 0) {
		/* Both above 4, so that neither is overwritten before it is copied. */
		int control = fcntl(ends[1], F_DUPFD, 10), log = fcntl(logs[1], F_DUPFD, 10);

		run_program(a, control, log);
	}
	close(ends[1]);
	close(logs[1]);
	event = event_new(a->base, logs[0], EV_READ | EV_PERSIST, on_log, NULL);
	(void)event_add(event, NULL);
	a->control = channel_new(a->base, ends[0], PROGRAM_MASTER, PROGRAM_IMAP, 0, &hears_imap, a);
	send_directory(a->control, 0, &(struct msg_directory){ .kind = DIRECTORY_MAIL }, &mail);
	send_settings(a->control, 0, &(struct msg_settings){ .generation = 1 }, &settings);
	send_imap_user(a->control, 0, &(struct msg_imap_user){ .user = SPAN("bench@example.org"),
		.home = span_str(a->home) }, NULL);
	send_go(a->control, 0, &(struct msg_go){ .index = 0 }, NULL);
}

static void
on_acceptable(evutil_socket_t listener, short what, void *me)
{
	struct alone *a = me;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), one = 1;

	(void)what;
	if (fd < 0 || a->waiting_count == MOST_WAITING)
		fail("accept");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	a->waiting[a->waiting_count++] = fd;
	if (a->control == NULL)
		start(a);
	hand_over(a);
}

static void
on_input(evutil_socket_t fd, short what, void *me)
{
	struct alone *a = me;
	char byte;

	(void)what;
	if (read(fd, &byte, 1) <= 0)
		(void)event_base_loopbreak(a->base);
}

int
main(int argc, char **argv)
{
	static struct alone a;
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (argc < 4) {
		fprintf(stderr, "usage: %s PROGRAM MAILROOT HOME [LINGER [COMMAND...]]\n", argv[0]);
		return 64;
	}
	a.program = argv[1];
	a.home = argv[3];
	a.linger = argc > 4 ? (uint64_t)atoi(argv[4]) : 30;
	for (int i = 5; i < argc && a.wrapped < MOST_WRAPPER; i++)
		a.wrapper[a.wrapped++] = argv[i];
	a.mail = open(argv[2], O_PATH | O_DIRECTORY | O_CLOEXEC);
	a.base = event_base_new();
	if (a.mail < 0 || listener < 0 || bind(listener, (struct sockaddr *)&at, len) < 0 ||
		listen(listener, 1000) < 0 || getsockname(listener, (struct sockaddr *)&at, &len) < 0)
		fail("bench_imap_alone");
	printf("%d\n", ntohs(at.sin_port));
	fflush(stdout);
	(void)event_add(event_new(a.base, listener, EV_READ | EV_PERSIST, on_acceptable, &a), NULL);
	(void)event_add(event_new(a.base, 0, EV_READ | EV_PERSIST, on_input, &a), NULL);
	(void)event_base_dispatch(a.base);
	return 0;
}
