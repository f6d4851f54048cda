/*
 * checkpassword - see checkpassword.h.
 */
#include "master/checkpassword.h"

#include <event2/event.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/text.h"
#include "master/outside.h"
#include "master/process.h"

/* The protocol has the program execute another one where the password is right. */
#define THEN "/bin/true"

struct check {
	LIST_ENTRY(check) next;
	struct supervisor *s;
	uint64_t id;
	pid_t pid;
	struct event *deadline;
	bool late;
};

static LIST_HEAD(, check) running = LIST_HEAD_INITIALIZER(running);
static unsigned int count;

static void
tell(struct supervisor *s, uint64_t id, enum check_result result)
{
	struct process *auth = process_find(s, PROGRAM_AUTH, 0);

	if (auth && auth->control)
		send_check_told(auth->control, id, &(struct msg_check_told){ .result = (uint8_t)result },
			NULL);
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct check *c = arg;

	(void)fd;
	(void)what;
	c->late = true;
	outside_kill(c->pid);
}

static void
check_free(struct check *c)
{
	LIST_REMOVE(c, next);
	count--;
	if (c->deadline)
		event_free(c->deadline);
	free(c);
}

void
checkpassword_run(struct supervisor *s, uint64_t id, const struct msg_check_run *m, int fd)
{
	const struct settings *set = s->now.settings;
	char ip[MOST_IP + 1], service[MOST_SERVICE_NAME + 1];
	const char *const environment[] = { "PROTO", service, "TCPREMOTEIP", ip, NULL };
	const struct timeval limit = { (time_t)set->checkpassword_seconds, 0 };
	struct check *c = NULL;
	pid_t pid = -1;

	/* auth runs no more than these; one that is not ours any more may try. */
	if (s->phase == PHASE_RUNNING && set->checkpassword.len && count < set->checkpassword_processes &&
		span_copy(m->ip, ip, sizeof ip) && span_copy(m->service, service, sizeof service))
		pid = outside_run(s,
			&(struct outside){ .path = set->checkpassword, .user = set->checkpassword_user,
				.argument = THEN, .environment = environment, .input = fd,
				.output = -1 },
			"checkpassword-not-run");
	close(fd);
	if (pid < 0) {
		tell(s, id, CHECK_LATER);
		return;
	}
	c = must_alloc(sizeof *c);
	c->s = s;
	c->id = id;
	c->pid = pid;
	LIST_INSERT_HEAD(&running, c, next);
	count++;
	c->deadline = evtimer_new(s->base, on_deadline, c);
	if (!c->deadline || event_add(c->deadline, &limit) < 0)
		outside_kill(pid);
}

/* https://cr.yp.to/checkpwd/interface.html: 0 right (by the program that was executed then), 1 wrong, 2 misused,
 * 111 try later. */
static enum check_result
meaning(int status)
{
	if (!WIFEXITED(status))
		return CHECK_LATER;
	return WEXITSTATUS(status) == 0 ? CHECK_RIGHT
	       : WEXITSTATUS(status) == 1 ? CHECK_WRONG
					  : CHECK_LATER;
}

bool
checkpassword_ended(struct supervisor *s, pid_t pid, int status)
{
	struct check *c;

	LIST_FOREACH(c, &running, next)
		if (c->pid == pid)
			break;
	if (!c)
		return false;
	if (meaning(status) == CHECK_LATER)
		log_error(0, "checkpassword-failed", KEY_NUM("pid", pid),
			KEY_NUM(WIFSIGNALED(status) ? "signal" : "status",
				WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)),
			KEY_STR("reason", c->late ? "it took longer than checkpassword_seconds" : ""));
	tell(s, c->id, meaning(status));
	check_free(c);
	return true;
}

void
checkpassword_close(struct supervisor *s)
{
	struct check *c;

	(void)s;
	while ((c = LIST_FIRST(&running))) {
		outside_kill(c->pid);
		check_free(c);
	}
}
