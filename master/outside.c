/*
 * outside - see outside.h.
 */
#include "master/outside.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/log.h"
#include "common/room.h"
#include "common/text.h"

#define OUTSIDE_PATH	   "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define OUTSIDE_MOST_FILES 64
#define INPUT_FD	   3
#define HIGH_FD		   10 /* out of the way of those that the program is to have */
#define LOGIN_VARIABLES	   3

/* Of who says more than is kept, so much is read and forgotten, so often: he must not keep master busy. */
#define DRAIN_BYTES	   65536
#define DRAIN_MICROSECONDS 50000

/* All that the child needs, made before the fork; but for the user, whom it looks up itself. */
struct plan {
	char *argv[3];
	char *environment[OUTSIDE_VARIABLES + LOGIN_VARIABLES + 2];
	size_t variables;
	char *user;
	bool by_uid, as_login, become;
	uint32_t uid;
	int input, output, errors, null;
	int program; /* or -1: argv[0] */
};

static void
die(const char *what)
{
	dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(errno));
	_exit(EX_OSERR);
}

static char *
variable(const char *name, const char *value)
{
	size_t len = strlen(name) + strlen(value) + 2;
	char *made = must_alloc(len);

	snprintf(made, len, "%s=%s", name, value);
	return made;
}

static void
signals_afresh(void)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		sigaction(i, &plain, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void
refuse(const char *why)
{
	dprintf(STDERR_FILENO, "%s\n", why);
	_exit(EX_TEMPFAIL);
}

/* Whoever knows the users may be another machine, and slow: only this process waits. */
static void
become_user(struct plan *plan)
{
	const struct passwd *user = plan->by_uid ? getpwuid(plan->uid) : getpwnam(plan->user);

	if (!user && (plan->become || plan->as_login))
		refuse("there is no such user");
	if (plan->as_login) {
		if (plan->become && user->pw_uid == 0)
			refuse("it is never done as root");
		plan->environment[plan->variables++] = variable("HOME", user->pw_dir);
		plan->environment[plan->variables++] = variable("USER", user->pw_name);
		plan->environment[plan->variables++] = variable("LOGNAME", user->pw_name);
	}
	if (plan->become && room_become(user->pw_uid, user->pw_gid, NULL, 0, 0) < 0)
		die("cannot become its user");
	if (!plan->become && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		die("no_new_privs");
}

static void
close_from(unsigned int first)
{
	if (syscall(SYS_close_range, first, ~0u, 0) < 0)
		for (int fd = (int)first; fd < (int)sysconf(_SC_OPEN_MAX); fd++)
			close(fd);
}

static void
child(struct plan *plan)
{
	const struct rlimit files = { OUTSIDE_MOST_FILES, OUTSIDE_MOST_FILES }, none = { 0, 0 };
	unsigned int program = INPUT_FD + (plan->input >= 0), first = program + (plan->program >= 0);

	int file = plan->program >= 0 ? fcntl(plan->program, F_DUPFD_CLOEXEC, HIGH_FD) : -1;

	setsid();
	if (dup2(plan->null, STDIN_FILENO) < 0 || dup2(plan->output, STDOUT_FILENO) < 0 ||
		dup2(plan->errors, STDERR_FILENO) < 0 ||
		(plan->input == INPUT_FD ? fcntl(INPUT_FD, F_SETFD, 0) : plan->input >= 0 ? dup2(plan->input, INPUT_FD) : 0) < 0 ||
		(plan->program >= 0 && dup3(file, (int)program, O_CLOEXEC) < 0))
		_exit(EX_OSERR);
	close_from(first);
	become_user(plan);
	/* What the name service has left open is not for the program. */
	close_from(first);
	umask(077);
	setrlimit(RLIMIT_NOFILE, &files);
	setrlimit(RLIMIT_CORE, &none);
	signals_afresh();
	if (plan->program >= 0)
		syscall(SYS_execveat, program, "", plan->argv, plan->environment, AT_EMPTY_PATH);
	else
		execve(plan->argv[0], plan->argv, plan->environment);
	die(plan->argv[0]);
}

static void
plan_clear(struct plan *plan)
{
	free(plan->argv[0]);
	free(plan->argv[1]);
	free(plan->user);
	while (plan->variables > 0)
		free(plan->environment[--plan->variables]);
}

/* The pid, or -1 (logged). */
static pid_t
start(const struct supervisor *s, const struct outside *o, int output, const char *event)
{
	struct plan plan = { .null = s->null, .input = o->input, .program = o->by_descriptor ? o->program : -1,
		.output = output >= 0 ? output : s->null, .become = s->root, .as_login = o->as_login,
		.by_uid = o->by_uid, .uid = o->uid, .user = must_copy(o->user) };
	sigset_t all, before;
	pid_t pid;

	plan.errors = o->errors >= 0 ? o->errors : plan.output;
	plan.argv[0] = must_copy(o->path);
	plan.argv[1] = o->argument ? must_copy(span_str(o->argument)) : NULL;
	plan.environment[plan.variables++] = variable("PATH", OUTSIDE_PATH);
	for (size_t i = 0; o->environment[i] && plan.variables <= OUTSIDE_VARIABLES; i += 2)
		plan.environment[plan.variables++] = variable(o->environment[i], o->environment[i + 1]);
	/* No handler of master's may run in the child. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	pid = fork();
	if (pid == 0)
		child(&plan);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		log_error(0, event, KEY_ERRNO);
	plan_clear(&plan);
	return pid;
}

static void
kill_all_of(pid_t pid)
{
	/* It leads a session of its own: whatever it started goes with it. */
	if (pid > 0 && kill(-pid, SIGKILL) < 0)
		kill(pid, SIGKILL);
}

/* --- its life --- */

struct running {
	LIST_ENTRY(running) next;
	struct outside_run run;
	pid_t pid;
	struct event *deadline, *readable;
	int output; /* what it says is read here; -1: nobody listens */
	unsigned char *said;
	size_t said_len;
	bool late;
};

static LIST_HEAD(, running) all = LIST_HEAD_INITIALIZER(all);

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct running *r = arg;

	(void)fd;
	(void)what;
	r->late = true;
	kill_all_of(r->pid);
}

/* False: nothing will come any more. */
static bool
take_words(struct running *r)
{
	unsigned char more[4096];
	ssize_t got = read(r->output, more, sizeof more);
	size_t room = r->run.hear - r->said_len, n = got < 0 ? 0 : (size_t)got;

	n = n < room ? n : room;
	memcpy(r->said + r->said_len, more, n);
	r->said_len += n;
	return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

static void
on_drain(evutil_socket_t fd, short what, void *arg)
{
	struct running *r = arg;

	(void)fd;
	(void)what;
	for (size_t n = 0; n < DRAIN_BYTES; n += 4096)
		if (!take_words(r)) {
			event_del(r->readable);
			return;
		}
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval often = { .tv_usec = DRAIN_MICROSECONDS };
	struct running *r = arg;

	(void)fd;
	(void)what;
	if (!take_words(r)) {
		event_del(r->readable);
	} else if (r->said_len == r->run.hear) {
		event_del(r->readable);
		event_assign(r->readable, event_get_base(r->readable), -1, EV_PERSIST, on_drain, r);
		event_add(r->readable, &often);
	}
}

static void
running_free(struct running *r)
{
	LIST_REMOVE(r, next);
	if (r->deadline)
		event_free(r->deadline);
	if (r->readable)
		event_free(r->readable);
	if (r->output >= 0)
		close(r->output);
	free(r->said);
	free(r);
}

/* A pipe in ends[], where somebody listens. False (logged): there is none. */
static bool
pipe_of(const struct outside_run *run, int ends[2])
{
	ends[0] = ends[1] = -1;
	if (run->hear == 0)
		return true;
	if (pipe2(ends, O_CLOEXEC) < 0) {
		log_error(0, run->event, KEY_ERRNO);
		return false;
	}
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	return true;
}

bool
outside_begin(struct supervisor *s, const struct outside_run *run)
{
	const struct timeval limit = { (time_t)run->seconds, 0 };
	struct running *r;
	bool watched;
	int ends[2];
	pid_t pid;

	if (!pipe_of(run, ends))
		return false;
	pid = start(s, &run->what, run->hear > 0 ? ends[1] : run->what.output, run->event);
	if (ends[1] >= 0)
		close(ends[1]);
	if (pid < 0) {
		if (ends[0] >= 0)
			close(ends[0]);
		return false;
	}
	r = must_alloc(sizeof *r);
	r->run = *run;
	r->run.what = (struct outside){ 0 };
	r->pid = pid;
	r->output = ends[0];
	r->said = must_alloc(run->hear + 1);
	LIST_INSERT_HEAD(&all, r, next);
	r->deadline = evtimer_new(s->base, on_deadline, r);
	watched = r->deadline && event_add(r->deadline, &limit) == 0;
	if (watched && r->output >= 0) {
		r->readable = event_new(s->base, r->output, EV_READ | EV_PERSIST, on_readable, r);
		watched = r->readable && event_add(r->readable, NULL) == 0;
	}
	if (!watched)
		kill_all_of(pid);
	return true;
}

unsigned int
outside_count(void (*ended)(struct supervisor *, const struct outside_end *))
{
	const struct running *r;
	unsigned int count = 0;

	LIST_FOREACH(r, &all, next)
		count += r->run.ended == ended;
	return count;
}

bool
outside_is_running(void (*ended)(struct supervisor *, const struct outside_end *), uint64_t id, unsigned int index)
{
	const struct running *r;

	LIST_FOREACH(r, &all, next)
		if (r->run.ended == ended && r->run.id == id && r->run.index == index)
			return true;
	return false;
}

bool
outside_ended(struct supervisor *s, pid_t pid, int status)
{
	struct running *r;

	LIST_FOREACH(r, &all, next)
		if (r->pid == pid)
			break;
	if (!r)
		return false;
	if (r->output >= 0)
		take_words(r);
	r->run.ended(s, &(struct outside_end){ .run = &r->run, .pid = pid, .status = status, .late = r->late,
		.said = span_of(r->said, r->said_len) });
	running_free(r);
	return true;
}

void
outside_close(void)
{
	struct running *r;

	while ((r = LIST_FIRST(&all))) {
		kill_all_of(r->pid);
		running_free(r);
	}
}
