/*
 * cmd-start - starts master, and returns when every process serves; or becomes master
 * (--foreground).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/settings.h"
#include "master/client.h"
#include "master/cmd-check.h"
#include "master/cmd.h"
#include "master/conf.h"
#include "master/layout.h"
#include "tlsproxy/install.h"

#define LOCK_WAIT_MILLISECONDS 1000

static const struct option_row options[] = {
	{ "--foreground", NULL, "do not go to the background; systemd wants it so", false },
	{ NULL, NULL, NULL, false },
};

/* Becomes master; returns only when that fails. */
static int
become_master(const struct invocation *v, const char *ready_fd)
{
	char *directory = paths_libexec("valija-master"),
	     *program = paths_join(directory, "valija-master");
	const char *argv[8] = { "valija-master" };
	size_t n = 1;
	int error;

	if (v->paths.dir) {
		argv[n++] = "--dir";
		argv[n++] = v->paths.dir;
	}
	if (ready_fd) {
		argv[n++] = "--ready-fd";
		argv[n++] = ready_fd;
	} else {
		argv[n++] = "--foreground";
	}
	argv[n] = NULL;
	execv(program, (char *const *)(uintptr_t)argv);
	error = errno;
	cmd_fail(0, "%s: %s", program, strerror(error));
	free(program);
	free(directory);
	return EX_OSFILE;
}

static void
child(const struct invocation *v, int ready)
{
	char number[12];
	int null = open("/dev/null", O_RDONLY);

	setsid();
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	fcntl(ready, F_SETFD, 0);
	snprintf(number, sizeof number, "%d", ready);
	_exit(become_master(v, number));
}

/* Waits until master says ready, or ends. */
static int
in_background(const struct invocation *v)
{
	int ends[2], status;
	ssize_t n;
	char ready;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		return cmd_fail(EX_OSERR, "%s", strerror(errno));
	if (pid == 0)
		child(v, ends[1]);
	close(ends[1]);
	do
		n = read(ends[0], &ready, 1);
	while (n < 0 && errno == EINTR);
	close(ends[0]);
	if (n == 1)
		return EX_OK;
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return cmd_fail(EX_SOFTWARE, "master died while starting");
	return WEXITSTATUS(status) == EX_OK ? EX_SOFTWARE : WEXITSTATUS(status);
}

/* Daemons that cannot use their files would only die, or say "later" to everybody; the reason is better told here.
 * Directories that came with this version are made first. */
static bool
files_will_do(const struct invocation *v, const struct settings *s)
{
	struct text complaints = TEXT_UP_TO(MOST_CONF_ERRORS);
	bool good;

	if (!layout_complete(&v->paths, &complaints))
		text_add_str(&complaints, "\n");
	layout_check(&v->paths, &complaints);
	check_tables(&v->paths, &complaints);
	check_file_systems(&v->paths, &complaints);
	check_certificates(&v->paths, s, false, &complaints);
	good = complaints.len == 0;
	cmd_complain(text_span(&complaints));
	text_clear(&complaints);
	return good;
}

/* A `valija cert install` that was interrupted between its two renames. */
static void
finish_install(const struct invocation *v)
{
	int directory = open(v->paths.tls, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (directory < 0)
		return;
	install_recover(directory);
	close(directory);
}

/* Descriptors that one process may have: below the first nothing can work; the second is what all connections to
 * other servers want (relay's room). */
#define LEAST_FILES  256
#define WANTED_FILES 16384

/* Root raises the limit by itself; others are told. False when it is too low for anything. */
static bool
files_are_enough(void)
{
	struct rlimit files, more = { WANTED_FILES, WANTED_FILES };

	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_max >= WANTED_FILES ||
		setrlimit(RLIMIT_NOFILE, &more) == 0)
		return true;
	cmd_fail(0, "%sa process may open %llu files at once (RLIMIT_NOFILE), %s: raise it by `ulimit -Hn %d`, in limits.conf(5), or by LimitNOFILE= in a systemd unit",
		files.rlim_max < LEAST_FILES ? "" : "warning: ", (unsigned long long)files.rlim_max,
		files.rlim_max < LEAST_FILES ? "too few to start" : "too few for all connections that may come",
		WANTED_FILES);
	return files.rlim_max >= LEAST_FILES;
}

static int
run(struct invocation *v)
{
	struct settings *s;
	bool good;

	if (!files_are_enough())
		return EX_OSERR;
	/* A child that was being made when its master was killed has the lock for a moment longer. */
	if (!client_wait_unlocked(&v->paths, LOCK_WAIT_MILLISECONDS))
		return cmd_fail(EX_TEMPFAIL, "it is running already (pid %ld)",
			client_master_pid(&v->paths));
	if (!(s = cmd_settings(v, true)))
		return EX_CONFIG;
	finish_install(v);
	good = files_will_do(v, s);
	settings_free(&s);
	if (!good)
		return EX_CONFIG;
	return cmd_option(v, "--foreground") ? become_master(v, NULL) : in_background(v);
}

const struct command cmd_start = {
	.words = "start",
	.arguments = "",
	.help = "start the suite; returns when every process serves",
	.options = options,
	.run = run,
};
