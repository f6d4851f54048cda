/* errand - see errand.h. */
#include "master/errand.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"

#define MOST_SAID 1024

struct errand {
	pid_t pid;
	int output;
	struct event *deadline;
};

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct errand *e = arg;

	(void)fd;
	(void)what;
	/* It leads a group of its own. */
	if (e->pid > 0 && kill(-e->pid, SIGKILL) < 0)
		kill(e->pid, SIGKILL);
}

static struct errand *
errand_of(struct supervisor *s)
{
	if (!s->errand) {
		s->errand = must_alloc(sizeof *s->errand);
		s->errand->output = -1;
		s->errand->deadline = evtimer_new(s->base, on_deadline, s->errand);
	}
	return s->errand;
}

/* Handlers and masks of signals as a new program expects them; a group of its own. */
static int
set_attributes(posix_spawnattr_t *a)
{
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	if (posix_spawnattr_setsigmask(a, &none) != 0 || posix_spawnattr_setsigdefault(a, &all) != 0 ||
		posix_spawnattr_setpgroup(a, 0) != 0)
		return -1;
	return posix_spawnattr_setflags(a,
		POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
}

/* 0, or an errno. Everything else that master has open is close-on-exec. */
static int
begin(pid_t *pid, const char *file, char *const argv[], int output)
{
	static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	char *const environment[] = { path, NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	int error = ENOMEM;

	if (posix_spawn_file_actions_init(&files) != 0)
		return error;
	if (posix_spawnattr_init(&attributes) == 0) {
		if (posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0) == 0 &&
			posix_spawn_file_actions_adddup2(&files, output, 1) == 0 &&
			posix_spawn_file_actions_adddup2(&files, output, 2) == 0 &&
			set_attributes(&attributes) == 0)
			error = posix_spawn(pid, file, &files, &attributes, argv, environment);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&files);
	return error;
}

#define WORD(word) ((char *)(uintptr_t)(word)) /* exec's argv is not const, and is not written */

bool
errand_renew(struct supervisor *s)
{
	char *file = paths_command();
	char *const argv[] = { WORD("valija"), WORD("cert"), WORD("renew"), WORD("--if-due"),
		s->paths.dir ? WORD("--dir") : NULL, s->paths.dir, NULL };
	struct errand *e = errand_of(s);
	int ends[2], error = EBUSY;

	if (e->pid == 0 && pipe2(ends, O_CLOEXEC) < 0) {
		error = errno;
	} else if (e->pid == 0) {
		fcntl(ends[0], F_SETFL, O_NONBLOCK);
		error = begin(&e->pid, file, argv, ends[1]);
		close(ends[1]);
		e->output = ends[0];
		if (error != 0) {
			close(ends[0]);
			e->output = -1;
			e->pid = 0;
		}
	}
	if (error == 0)
		event_add(e->deadline, &(struct timeval){ .tv_sec = ERRAND_SECONDS });
	else if (error != EBUSY)
		log_error(0, "certificate-not-renewed", KEY_STR("command", file), KEY_STR("reason", strerror(error)));
	free(file);
	return error == 0;
}

bool
errand_ended(struct supervisor *s, pid_t pid, int status)
{
	struct errand *e = s->errand;
	bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	unsigned char said[MOST_SAID];
	ssize_t got;

	if (!e || pid == 0 || pid != e->pid)
		return false;
	/* More than a pipe holds it does not say. */
	got = read(e->output, said, sizeof said);
	while (got > 0 && said[got - 1] == '\n')
		got--;
	/* Nothing was due: nothing is said. */
	if (!good || got > 0)
		log_event(good ? LOG_LEVEL_NOTICE : LOG_LEVEL_ERROR, 0,
			good ? "certificate-renewed" : "certificate-not-renewed",
			KEY_NUM(WIFSIGNALED(status) ? "signal" : "status",
				WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)),
			KEY_SPAN("said", span_of(said, got > 0 ? (size_t)got : 0)));
	close(e->output);
	e->output = -1;
	e->pid = 0;
	event_del(e->deadline);
	return true;
}

void
errand_close(struct supervisor *s)
{
	struct errand *e = s->errand;

	if (!e)
		return;
	on_deadline(-1, 0, e);
	if (e->output >= 0)
		close(e->output);
	event_free(e->deadline);
	free(e);
	s->errand = NULL;
}
