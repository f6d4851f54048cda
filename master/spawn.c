/*
 * spawn - fork, become the program's user, execute it by its descriptor.
 */
#include "master/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/daemon.h"
#include "common/log.h"
#include "common/room.h"

#define FILE_FD	      5 /* the program itself, until exec */
#define FIRST_FREE_FD 6
#define MOST_NAME     32
#define MOST_FILES    65536 /* each program lowers it to what its room says */
#define LOCKED_BYTES  (256 * 1024 * 1024)

static void
give_up(const char *step)
{
	log_error(0, "not-executed", KEY_STR("step", step), KEY_ERRNO);
	_exit(EX_OSERR);
}

/* Signals as a fresh process has them: exec keeps what is ignored or blocked. */
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

/* Puts the inherited descriptors where daemon.h says, and closes all others. */
static void
arrange_descriptors(const struct spawn *s)
{
	/* First out of the way of the numbers they are to have. */
	int control = fcntl(s->control, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
	int log = fcntl(s->log, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
	int file = fcntl(s->file, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
	int null = fcntl(s->null, F_DUPFD_CLOEXEC, FIRST_FREE_FD);

	if (control < 0 || log < 0 || file < 0 || null < 0)
		give_up("descriptors");
	log_open(s->name, log);
	if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
		(!s->keep_stderr && dup2(null, STDERR_FILENO) < 0) ||
		dup2(control, CONTROL_FD) < 0 || dup2(log, LOG_FD) < 0 ||
		dup3(file, FILE_FD, O_CLOEXEC) < 0)
		give_up("descriptors");
	log_open(s->name, LOG_FD);
	/* Nothing else of master's survives: not its control channels, not its log ends, no key.
	 * */
	if (syscall(SYS_close_range, FIRST_FREE_FD, ~0u, 0) < 0)
		for (int fd = FIRST_FREE_FD; fd < (int)sysconf(_SC_OPEN_MAX); fd++)
			close(fd);
}

/* Soft and hard limit to `wanted`; without the right to raise it, as much as the hard limit
 * lets. */
static void
limit_one(int resource, rlim_t wanted)
{
	struct rlimit r = { wanted, wanted };

	if (setrlimit((__rlimit_resource_t)resource, &r) == 0 ||
		getrlimit((__rlimit_resource_t)resource, &r) < 0)
		return;
	r.rlim_cur = r.rlim_max < wanted ? r.rlim_max : wanted;
	setrlimit((__rlimit_resource_t)resource, &r);
}

static void
limit(void)
{
	/* A core holds mail and passwords. */
	limit_one(RLIMIT_CORE, 0);
	limit_one(RLIMIT_NOFILE, MOST_FILES);
	/* Keys are locked into memory (room.h). */
	limit_one(RLIMIT_MEMLOCK, LOCKED_BYTES);
}

static void
child(const struct spawn *s)
{
	char name[MOST_NAME];
	char *const argv[] = { name, NULL };
	char *const environment[] = { NULL };

	snprintf(name, sizeof name, "valija-%s", s->name);
	setsid();
	arrange_descriptors(s);
	if (chdir("/") < 0)
		give_up("chdir");
	umask(077);
	limit();
	if (s->become) {
		if (room_become(s->uid, s->gid, s->groups, s->group_count, s->capabilities) < 0)
			give_up("become");
	} else if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		give_up("no_new_privs");
	}
	signals_afresh();
	syscall(SYS_execveat, FILE_FD, "", argv, environment, AT_EMPTY_PATH);
	give_up("execveat");
}

pid_t
spawn(const struct spawn *s)
{
	sigset_t all, before;
	pid_t pid;

	/* No handler of master's may run in the child. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	pid = fork();
	if (pid == 0)
		child(s);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}
