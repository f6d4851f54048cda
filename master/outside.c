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

/* All that the child needs, made before the fork. */
struct plan {
	char *argv[3];
	char *environment[OUTSIDE_VARIABLES + 2];
	uint32_t uid, gid;
	bool become;
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
child(const struct plan *plan)
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
	if (syscall(SYS_close_range, first, ~0u, 0) < 0)
		for (int fd = (int)first; fd < (int)sysconf(_SC_OPEN_MAX); fd++)
			close(fd);
	umask(077);
	setrlimit(RLIMIT_NOFILE, &files);
	setrlimit(RLIMIT_CORE, &none);
	if (plan->become && room_become(plan->uid, plan->gid, NULL, 0, 0) < 0)
		die("cannot become its user");
	if (!plan->become && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		die("no_new_privs");
	signals_afresh();
	if (plan->program >= 0)
		syscall(SYS_execveat, program, "", plan->argv, plan->environment, AT_EMPTY_PATH);
	else
		execve(plan->argv[0], plan->argv, plan->environment);
	die(plan->argv[0]);
}

static bool
plan_user(const struct supervisor *s, const struct outside *o, struct plan *plan, const char *event)
{
	char *name = must_copy(o->user);
	const struct passwd *user = getpwnam(name);

	plan->become = s->root;
	if (user) {
		plan->uid = user->pw_uid;
		plan->gid = user->pw_gid;
	} else if (s->root) {
		log_error(0, event, KEY_STR("user", name), KEY_STR("reason", "there is no such user"));
	}
	free(name);
	return user || !s->root;
}

pid_t
outside_run(const struct supervisor *s, const struct outside *o, const char *event)
{
	struct plan plan = { .null = s->null, .input = o->input, .program = o->by_descriptor ? o->program : -1,
		.output = o->output >= 0 ? o->output : s->null };
	sigset_t all, before;
	size_t n = 0;
	pid_t pid;

	plan.errors = o->errors >= 0 ? o->errors : plan.output;
	if (!plan_user(s, o, &plan, event))
		return -1;
	plan.argv[0] = must_copy(o->path);
	plan.argv[1] = o->argument ? must_copy(span_str(o->argument)) : NULL;
	plan.environment[n++] = variable("PATH", OUTSIDE_PATH);
	for (size_t i = 0; o->environment[i] && n <= OUTSIDE_VARIABLES; i += 2)
		plan.environment[n++] = variable(o->environment[i], o->environment[i + 1]);
	/* No handler of master's may run in the child. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	pid = fork();
	if (pid == 0)
		child(&plan);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		log_error(0, event, KEY_ERRNO);
	free(plan.argv[0]);
	free(plan.argv[1]);
	while (n > 0)
		free(plan.environment[--n]);
	return pid;
}

void
outside_kill(pid_t pid)
{
	/* It leads a session of its own: whatever it started goes with it. */
	if (pid > 0 && kill(-pid, SIGKILL) < 0)
		kill(pid, SIGKILL);
}

/* --- with a time limit --- */

struct running {
	LIST_ENTRY(running) next;
	struct outside_run run;
	pid_t pid;
	struct event *deadline;
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
	outside_kill(r->pid);
}

static void
running_free(struct running *r)
{
	LIST_REMOVE(r, next);
	if (r->deadline)
		event_free(r->deadline);
	free(r);
}

bool
outside_begin(struct supervisor *s, const struct outside_run *run)
{
	const struct timeval limit = { (time_t)run->seconds, 0 };
	pid_t pid = outside_run(s, &run->what, run->event);
	struct running *r;

	if (pid < 0)
		return false;
	r = must_alloc(sizeof *r);
	r->run = *run;
	r->pid = pid;
	LIST_INSERT_HEAD(&all, r, next);
	r->deadline = evtimer_new(s->base, on_deadline, r);
	if (!r->deadline || event_add(r->deadline, &limit) < 0)
		outside_kill(pid);
	return true;
}

unsigned int
outside_count(void (*ended)(struct supervisor *, const struct outside_run *, int, pid_t, bool))
{
	const struct running *r;
	unsigned int count = 0;

	LIST_FOREACH(r, &all, next)
		count += r->run.ended == ended;
	return count;
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
	r->run.ended(s, &r->run, status, pid, r->late);
	running_free(r);
	return true;
}

void
outside_close(void)
{
	struct running *r;

	while ((r = LIST_FIRST(&all))) {
		outside_kill(r->pid);
		running_free(r);
	}
}
