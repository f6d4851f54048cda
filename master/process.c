/*
 * process - the life of one daemon, as master sees it.
 */
#include "master/process.h"
#include "master/public.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/text.h"
#include "master/hears.h"
#include "master/listener.h"
#include "master/log-setting.h"
#include "master/mailbox.h"
#include "master/offer.h"
#include "master/spawn.h"
#include "master/stop.h"
#include "master/watch.h"

uint64_t
process_milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t
process_seconds(void)
{
	return process_milliseconds() / 1000;
}

int
process_duplicate(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (copy < 0)
		log_error(0, "no-descriptor", KEY_ERRNO);
	return copy;
}

struct process *
process_find(struct supervisor *s, enum program program, unsigned int index)
{
	struct process *p;

	TAILQ_FOREACH(p, &s->processes, next)
		if (p->row->program == program && p->index == index && !p->row->per_user)
			return p;
	return NULL;
}

/* --- what a new process is told --- */

static void
tell_log_source(struct process *log, enum program program, unsigned int index, pid_t pid, int end)
{
	int copy = end < 0 ? -1 : process_duplicate(end);

	if (copy >= 0)
		send_log_source(log->control, 0,
			&(struct msg_log_source){ .program = (uint8_t)program,
				.index = (uint16_t)index,
				.pid = (uint32_t)pid },
			&copy);
}

void
process_log_sources(struct supervisor *s, struct process *log)
{
	struct process *p;

	tell_log_source(log, PROGRAM_MASTER, 0, getpid(), s->own_log);
	TAILQ_FOREACH(p, &s->processes, next)
		if (p->pid)
			tell_log_source(log, p->row->program, p->index, p->pid, p->log_end);
}

static void
tell_directories(struct process *p)
{
	for (unsigned int kind = 1; kind < DIRECTORY_COUNT; kind++) {
		int copy;

		if ((p->row->directories & (1u << kind)) == 0 || p->s->directory[kind] < 0)
			continue;
		if ((copy = process_duplicate(p->s->directory[kind])) >= 0)
			send_directory(p->control, 0,
				&(struct msg_directory){ .kind = (uint8_t)kind }, &copy);
	}
}

static void
join(struct process *p, struct process *other)
{
	int ends[2];

	if (channel_pair(ends) < 0) {
		log_error(0, "no-channel", KEY_STR("program", program_name(p->row->program)),
			KEY_STR("peer", program_name(other->row->program)), KEY_ERRNO);
		return;
	}
	send_peer(p->control, 0,
		&(struct msg_peer){
			.program = (uint8_t)other->row->program, .index = (uint16_t)other->index },
		&ends[0]);
	send_peer(other->control, 0,
		&(struct msg_peer){
			.program = (uint8_t)p->row->program, .index = (uint16_t)p->index },
		&ends[1]);
}

/* A channel to each living process that the wiring table joins it with. */
static void
join_peers(struct process *p)
{
	struct process *other;

	TAILQ_FOREACH(other, &p->s->processes, next)
		if (other != p && other->control &&
			wiring_joined(p->row->program, other->row->program))
			join(p, other);
}

static void
tell_all(struct process *p, int log_end)
{
	struct supervisor *s = p->s;
	struct process *log = process_find(s, PROGRAM_LOG, 0);

	p->log_end = log_end;
	if (p->row->program == PROGRAM_LOG)
		process_log_sources(s, p);
	else if (log && log->control)
		tell_log_source(log, p->row->program, p->index, p->pid, p->log_end);
	tell_directories(p);
	if (p->row->passport_key)
		send_passport_key(p->control, 0,
			&(struct msg_passport_key){
				.key = span_of(s->passport_key, sizeof s->passport_key) },
			NULL);
	offer_generation(p, &s->now);
	if (p->mailbox)
		mailbox_tell(p->mailbox, p);
	watch_tell_all(p);
	public_tell(p);
	listener_tell_all(p);
	join_peers(p);
	send_go(p->control, 0, &(struct msg_go){ .index = (uint16_t)p->index }, NULL);
	if (s->offered.number)
		offer_generation(p, &s->offered);
}

/* --- start --- */

static void
set_timer(struct process *p, unsigned int milliseconds)
{
	struct timeval when = { milliseconds / 1000, (suseconds_t)(milliseconds % 1000) * 1000 };

	event_add(p->timer, &when);
}

static void
identity(const struct process *p, struct spawn *how)
{
	struct supervisor *s = p->s;

	how->become = s->root;
	if (!s->root)
		return;
	if (p->row->per_user) {
		mailbox_owner(p->mailbox, &how->uid, &how->gid);
	} else if (!p->row->as_root) {
		how->uid = s->accounts[p->row->program].uid;
		how->gid = s->accounts[p->row->program].gid;
	}
	if (p->row->group)
		how->groups[how->group_count++] = s->shared_group;
	for (size_t i = 0; i < s->accounts[p->row->program].group_count; i++)
		how->groups[how->group_count++] = s->accounts[p->row->program].groups[i];
	how->capabilities = p->row->capabilities;
	if (p->row->chrooted)
		how->capabilities |= UINT64_C(1) << CAP_SYS_CHROOT;
}

static bool
start(struct process *p)
{
	struct supervisor *s = p->s;
	int control[2] = { -1, -1 }, lines[2] = { -1, -1 };
	struct spawn how = { .name = program_name(p->row->program),
		.file = s->program_file[p->row->program],
		.null = s->null };

	how.keep_stderr = p->row->program == PROGRAM_LOG &&
		log_setting_target(s->now.settings->log) == LOG_TO_STDERR;
	if (channel_pair(control) < 0 || channel_pair(lines) < 0)
		goto fail;
	how.control = control[1];
	how.log = lines[1];
	identity(p, &how);
	if ((p->pid = spawn(&how)) < 0)
		goto fail;
	close(control[1]);
	close(lines[1]);
	p->state = PROCESS_STARTING;
	p->started = process_milliseconds();
	p->since = (uint64_t)time(NULL);
	p->asked_generation = p->ready_generation = 0;
	p->connections = 0;
	p->served = 0;
	p->load_asked = false;
	p->answer_owed = 0;
	p->refusals = 0;
	p->control = channel_new(
		s->base, control[0], PROGRAM_MASTER, p->row->program, p->index, hears_daemons(), s);
	channel_set_tag(p->control, p);
	tell_all(p, lines[0]);
	set_timer(p, START_SECONDS * 1000);
	return true;
fail:
	log_error(0, "not-started", KEY_STR("program", program_name(p->row->program)),
		KEY_NUM("index", p->index), KEY_ERRNO);
	for (int i = 0; i < 2; i++) {
		if (control[i] >= 0)
			close(control[i]);
		if (lines[i] >= 0)
			close(lines[i]);
	}
	p->pid = 0;
	return false;
}

/* How long to wait before the next start. */
static unsigned int
pause_before_start(const struct process *p)
{
	unsigned int pause = RETRY_FIRST_MILLISECONDS,
		     most = p->was_killed ? RETRY_KILLED_MILLISECONDS : RETRY_MOST_MILLISECONDS;

	if (p->deaths_in_a_row <= 1)
		return 0;
	for (unsigned int i = 2; i < p->deaths_in_a_row && pause < most; i++)
		pause *= 2;
	return pause < most ? pause : most;
}

static void
start_again(struct process *p)
{
	p->state = PROCESS_AWAY;
	set_timer(p, pause_before_start(p));
}

static void
start_or_later(struct process *p)
{
	if (start(p))
		return;
	p->deaths_in_a_row++;
	start_again(p);
}

void
process_kill(struct process *p)
{
	p->killed_by_us = p->pid > 0;
	if (p->pid > 0 && kill(p->pid, SIGKILL) < 0)
		log_error(0, "not-killed", KEY_NUM("pid", p->pid), KEY_ERRNO);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct process *p = arg;

	(void)fd;
	(void)what;
	if (p->pid) {
		process_kill(p);
	} else if (p->s->phase != PHASE_STOPPING && !p->retired) {
		p->restarts++;
		start_or_later(p);
	}
}

struct process *
process_new(struct supervisor *s, const struct program_row *row, unsigned int index,
	struct mailbox *mailbox)
{
	struct process *p = must_alloc(sizeof *p);

	p->s = s;
	p->row = row;
	p->index = index;
	p->mailbox = mailbox;
	p->log_end = -1;
	p->timer = evtimer_new(s->base, on_timer, p);
	TAILQ_INSERT_TAIL(&s->processes, p, next);
	start_or_later(p);
	return p;
}

void
process_all(struct supervisor *s)
{
	const struct program_row *row;
	struct process *p, *after;

	for (size_t i = 0; (row = wiring_row_at(i)); i++)
		for (unsigned int index = 0; index < wiring_count(row, s->now.settings); index++)
			if (!process_find(s, row->program, index))
				process_new(s, row, index, NULL);
	for (p = TAILQ_FIRST(&s->processes); p; p = after) {
		after = TAILQ_NEXT(p, next);
		if (!p->row->per_user && p->index >= wiring_count(p->row, s->now.settings))
			process_leave(p, (unsigned int)s->now.settings->stop_seconds);
	}
}

void
process_serves(struct process *p)
{
	if (p->state != PROCESS_STARTING)
		return;
	p->state = PROCESS_SERVING;
	event_del(p->timer);
}

/* --- end --- */

/* While master starts, somebody waits at a terminal; and what log says of its own failure,
 * nobody but us will ever read. */
static void
tell_last_words(const struct process *p)
{
	unsigned char packet[MOST_LOG_LINE + 64];
	const size_t header = sizeof(uint16_t) + sizeof(uint64_t);
	struct msg_log_line m;
	ssize_t n;

	if (p->s->phase != PHASE_STARTING || p->row->program != PROGRAM_LOG || p->log_end < 0)
		return;
	while ((n = recv(p->log_end, packet, sizeof packet, MSG_DONTWAIT)) > (ssize_t)header)
		if (message_decode(MSG_log_line, span_of(packet + header, (size_t)n - header), &m))
			fprintf(stderr, "valija: log: %.*s\n", SPAN_ARG(m.line));
}

static void
forget(struct process *p)
{
	TAILQ_REMOVE(&p->s->processes, p, next);
	event_free(p->timer);
	free(p);
}

static void
tell_death(const struct process *p, pid_t pid, int status)
{
	bool expected =
		p->state == PROCESS_LEAVING && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	enum log_level level = expected ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR;
	const char *how = WIFSIGNALED(status) ? "signal" : "status";
	int value = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);

	log_event(level, 0, expected ? "process-left" : "process-died",
		KEY_STR("program", program_name(p->row->program)), KEY_NUM("index", p->index),
		KEY_NUM("pid", pid), KEY_NUM(how, value),
		KEY_NUM("lived_ms", process_milliseconds() - p->started));
}

static void
died(struct process *p, int status)
{
	struct supervisor *s = p->s;
	pid_t pid = p->pid;
	bool never_served = p->state == PROCESS_STARTING;

	p->was_killed = !p->killed_by_us && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	p->killed_by_us = false;
	/* What it said last still counts; then its end of everything is gone. */
	if (p->control && channel_drain(p->control))
		channel_free(&p->control);
	p->control = NULL;
	tell_death(p, pid, status);
	tell_last_words(p);
	p->pid = 0;
	event_del(p->timer);
	if (p->log_end >= 0)
		close(p->log_end);
	p->log_end = -1;
	if (p->mailbox)
		mailbox_process_died(p->mailbox);
	p->mailbox = NULL;
	offer_settle(s);
	if (s->phase == PHASE_STOPPING || p->retired || p->row->per_user) {
		bool again = p->retired && s->phase != PHASE_STOPPING && !p->row->per_user &&
			p->index < wiring_count(p->row, s->now.settings);

		/* Retired, and wanted again since: a reload took the number down and up. */
		p->retired = false;
		if (again)
			start_again(p);
		else
			forget(p);
		stop_settle(s);
		return;
	}
	p->deaths_in_a_row = process_milliseconds() - p->started >= LONG_LIFE_SECONDS * 1000
		? 1
		: p->deaths_in_a_row + 1;
	if (s->phase == PHASE_STARTING && never_served &&
		p->deaths_in_a_row >= MOST_FAILED_STARTS) {
		stop_failed_start(s, program_name(p->row->program));
		return;
	}
	start_again(p);
}

void
process_ended(struct supervisor *s, pid_t pid, int status)
{
	struct process *p;

	TAILQ_FOREACH(p, &s->processes, next) {
		if (p->pid == pid) {
			died(p, status);
			return;
		}
	}
}

void
process_leave(struct process *p, unsigned int seconds)
{
	p->retired = true;
	if (p->pid == 0) {
		/* Nobody is there to be asked; the timer must not start it. */
		if (p->mailbox)
			mailbox_process_died(p->mailbox);
		event_del(p->timer);
		forget(p);
		return;
	}
	if (p->state == PROCESS_LEAVING)
		return;
	p->state = PROCESS_LEAVING;
	if (p->control)
		send_leave(p->control, 0, &(struct msg_leave){ .seconds = seconds }, NULL);
	set_timer(p, (seconds + GO_AWAY_SECONDS) * 1000);
}

void
process_control_gone(struct process *p)
{
	p->control = NULL;
	if (p->pid)
		set_timer(p, GO_AWAY_SECONDS * 1000);
}

void
process_replace(struct process *p)
{
	if (p->state != PROCESS_STARTING && p->state != PROCESS_SERVING)
		return;
	p->state = PROCESS_LEAVING;
	if (p->control)
		send_leave(p->control, 0, &(struct msg_leave){ .seconds = 0 }, NULL);
	set_timer(p, GO_AWAY_SECONDS * 1000);
}

bool
process_all_serving(const struct supervisor *s)
{
	const struct process *p;

	TAILQ_FOREACH(p, &s->processes, next)
		if (!p->row->per_user && !p->retired && p->state != PROCESS_SERVING)
			return false;
	return true;
}
