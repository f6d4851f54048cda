/*
 * master - starts every other program, joins them, watches them, and starts anew what dies.
 *   started by   `valija start`, systemd or init, as root or as the one user of a trial
 *   keeps        as root the capabilities in `kept`; everything else leaves the bounding set
 *   reads        valija.conf, written by an administrator; never a byte from the network
 *   may be lied to by   every daemon, each about itself only; see hears.c
 *
 * Its life: lock the instance, read the configuration, open everything (users, directories,
 * programs, certificates, listeners), limit itself, start the processes, say ready, then wait
 * for events: a child ended (process.c), a daemon said something (hears.c), a command came
 * (control.c), an address changed (watch.c), a signal.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/log-later.h"
#include "common/log.h"
#include "common/room.h"
#include "common/secret.h"
#include "master/conf.h"
#include "master/control.h"
#include "master/dispute.h"
#include "master/errand.h"
#include "master/expiry.h"
#include "master/outside.h"
#include "master/hook.h"
#include "master/instance.h"
#include "master/listener.h"
#include "master/log-setting.h"
#include "master/notify.h"
#include "master/generation.h"
#include "master/offer.h"
#include "master/process.h"
#include "master/public.h"
#include "master/trust-watch.h"
#include "master/renewal.h"
#include "master/share.h"
#include "master/stop.h"
#include "master/watch.h"
#include "master/watchdog.h"

#define CAP(name) (UINT64_C(1) << CAP_##name)

/* What master uses as root, and what for. */
static const uint64_t kept = CAP(SETUID) | CAP(SETGID) | /* its children become other users */
	CAP(SETPCAP) | /* ... and lose all capabilities, for good */
	CAP(SYS_CHROOT) | /* the one that some of them keep until they are confined */
	CAP(KILL) |	  /* children of other users */
	CAP(CHOWN) | CAP(DAC_OVERRIDE) | /* run directory; keys and certificates of other owners */
	CAP(NET_BIND_SERVICE) |		 /* ports below 1024, also after a reload */
	CAP(SYS_RESOURCE) |		 /* enough descriptors for its children */
	CAP(DAC_READ_SEARCH);		 /* for auth-pam alone, where /etc/shadow has mode 0 */

static int
usage(void)
{
	fputs("usage: valija-master [--dir DIR] [--foreground] [--ready-fd N]\n"
	      "This program is started by `valija start`; see valija(8).\n",
		stderr);
	return EX_USAGE;
}

static int
fail(int status, const char *what)
{
	struct span left = span_str(what), line;

	while (span_take_until(&left, '\n', &line))
		fprintf(stderr, "valija: %.*s\n", SPAN_ARG(line));
	if (left.len)
		fprintf(stderr, "valija: %.*s\n", SPAN_ARG(left));
	return status;
}

static bool
arguments(struct supervisor *s, int argc, char **argv, const char **dir)
{
	struct span number;
	uint64_t fd;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--foreground") == 0) {
			s->foreground = true;
		} else if (strcmp(argv[i], "--dir") == 0 && i + 1 < argc) {
			*dir = argv[++i];
		} else if (strcmp(argv[i], "--ready-fd") == 0 && i + 1 < argc) {
			number = span_str(argv[++i]);
			if (!span_take_number(&number, 1024, &fd) || number.len)
				return false;
			s->ready = (int)fd;
			fcntl(s->ready, F_SETFD, FD_CLOEXEC);
		} else {
			return false;
		}
	}
	return true;
}

/* --- what wakes us --- */

static void
on_child(evutil_socket_t signal, short what, void *arg)
{
	int status;
	pid_t pid;

	(void)signal;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (!outside_ended(arg, pid, status) && !errand_ended(arg, pid, status))
			process_ended(arg, pid, status);
}

static void
on_stop(evutil_socket_t signal, short what, void *arg)
{
	(void)signal;
	(void)what;
	stop_begin(arg, EX_OK);
}

static void
on_reload(evutil_socket_t signal, short what, void *arg)
{
	(void)signal;
	(void)what;
	offer_begin(arg);
}

static bool
watch_signals(struct supervisor *s)
{
	const struct {
		int number;
		event_callback_fn does;
	} signals[] = { { SIGCHLD, on_child }, { SIGTERM, on_stop }, { SIGINT, on_stop },
		{ SIGHUP, on_reload } };

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
		s->signals[i] = evsignal_new(s->base, signals[i].number, signals[i].does, s);
		if (!s->signals[i] || event_add(s->signals[i], NULL) < 0)
			return false;
	}
	return true;
}

/* --- beginning and end --- */

/* Master's own log channel: its lines wait there until log is up to read them. */
static bool
open_own_log(struct supervisor *s)
{
	int ends[2];

	if (channel_pair(ends) < 0)
		return false;
	s->own_log = ends[0];
	log_open(program_name(PROGRAM_MASTER), ends[1]);
	return true;
}

static void
limit_itself(const struct supervisor *s)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/* Children need their identity changed by capability alone; no program of ours is
	 * set-uid. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		log_warning(0, "dumpable", KEY_ERRNO);
	if (s->root && room_limit_capabilities(kept) < 0)
		log_warning(0, "capabilities-not-limited", KEY_ERRNO);
}

/* Everything up to the loop. 0, or the exit code, told. */
static int
prepare(struct supervisor *s)
{
	struct text why = TEXT_UP_TO(MOST_CONF_ERRORS);
	int status = EX_OK;

	if (!instance_lock(s, &why))
		status = EX_TEMPFAIL;
	else if (!generation_load(s, s->last_number = 1, &s->now, &why))
		status = EX_CONFIG;
	else if (!open_own_log(s))
		status = EX_OSERR;
	else if (!instance_open(s, &why))
		status = EX_CONFIG;
	else
		watch_begin(s);
	if (status == EX_OK && !listener_bind(s, &s->now, &why))
		status = EX_UNAVAILABLE;
	else if (status == EX_OK && (!control_open(s, &why) || !instance_write_pid(s, &why)))
		status = EX_CANTCREAT;
	if (status != EX_OK)
		fail(status, text_str(&why));
	text_clear(&why);
	return status;
}

static void
run(struct supervisor *s)
{
	log_threshold((enum log_level)log_setting_level(s->now.settings->log_level));
	secret_random(s->passport_key, sizeof s->passport_key);
	limit_itself(s);
	share_load(s);
	listener_swap(s);
	public_follow(s);
	trust_watch(s);
	process_all(s);
	watchdog_begin(s);
	renewal_begin(s);
	expiry_begin(s);
	log_later_begin(s->base);
	/* From here on nothing that a child does may end us. */
	event_base_dispatch(s->base);
}

static void
finish(struct supervisor *s)
{
	expiry_end(s);
	errand_close(s);
	renewal_end(s);
	watchdog_end(s);
	dispute_end(s);
	watch_end(s);
	public_end(s);
	trust_watch_end(s);
	hook_close(s);
	share_clear(s);
	outside_close();
	control_close(s);
	instance_close(s);
	generation_clear(&s->now);
	ticket_table_clear(&s->tickets);
	secret_wipe(s->passport_key, sizeof s->passport_key);
	for (size_t i = 0; i < sizeof s->signals / sizeof s->signals[0]; i++)
		if (s->signals[i])
			event_free(s->signals[i]);
	event_base_free(s->base);
	paths_clear(&s->paths);
}

static void
supervisor_init(struct supervisor *s)
{
	*s = (struct supervisor){ .root = geteuid() == 0,
		.since = (uint64_t)time(NULL),
		.lock = -1,
		.ready = -1,
		.control = -1,
		.null = -1,
		.own_log = -1 };
	s->now = s->offered = GENERATION_NONE(0);
	for (int i = 0; i < DIRECTORY_COUNT; i++)
		s->directory[i] = -1;
	for (int i = 0; i < PROGRAM_COUNT; i++)
		s->program_file[i] = -1;
	TAILQ_INIT(&s->processes);
	TAILQ_INIT(&s->listeners);
	TAILQ_INIT(&s->mailboxes);
	TAILQ_INIT(&s->visitors);
}

int
main(int argc, char **argv)
{
	static struct supervisor s;
	struct text why = TEXT_UP_TO(1024);
	const char *dir = NULL;

	supervisor_init(&s);
	log_open(program_name(PROGRAM_MASTER), -1);
	if (!arguments(&s, argc, argv, &dir))
		return usage();
	if (!paths_init(&s.paths, dir, &why))
		return fail(EX_USAGE, text_str(&why));
	umask(022);
	if (chdir("/") < 0)
		return fail(EX_OSERR, strerror(errno));
	notify_open();
	if (!(s.base = event_base_new()) || !watch_signals(&s))
		return fail(EX_OSERR, "no event loop");
	if ((s.exit_code = prepare(&s)) == EX_OK)
		run(&s);
	finish(&s);
	return s.exit_code;
}
