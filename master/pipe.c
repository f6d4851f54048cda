/*
 * pipe - see pipe.h.
 */
#include "master/pipe.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alias.h"
#include "common/crc32c.h"
#include "common/log.h"
#include "common/text.h"
#include "master/outside.h"
#include "master/paths.h"
#include "master/process.h"

#define MOST_PIPES_RUNNING 64 /* queue asks for fewer; a captured one for no more */

/* One that runs. */
struct pipe_job {
	LIST_ENTRY(pipe_job) next;
	uint64_t id;
	uint32_t number;
	pid_t pid;
	int output;
	struct event *readable, *deadline;
	unsigned char said[MOST_REASON];
	size_t said_len;
	bool late;
};

static LIST_HEAD(, pipe_job) running = LIST_HEAD_INITIALIZER(running);
static unsigned int count;

static void
tell(struct supervisor *s, uint64_t id, const struct msg_pipe_told *m)
{
	struct process *queue = process_find(s, PROGRAM_QUEUE, 0);

	if (queue && queue->control)
		send_pipe_told(queue->control, id, m, NULL);
}

static void
tell_result(struct supervisor *s, uint64_t id, uint32_t number, enum pipe_result result)
{
	tell(s, id, &(struct msg_pipe_told){ .number = number, .result = (uint8_t)result });
}

/* --- what is to be done, and as whom --- */

/* The member that queue means: the one of that CRC. Where somebody has mended it meanwhile, the only one there is. */
static bool
find_member(struct span members, uint32_t crc, struct alias_member *found)
{
	struct alias_member m;
	unsigned int others = 0;

	while (alias_decode(&members, &m)) {
		if ((m.kind != ALIAS_COMMAND && m.kind != ALIAS_FILE) || span_equal(m.text, SPAN("/dev/null")))
			continue;
		*found = m;
		if (crc32c(m.text) == crc)
			return true;
		others++;
	}
	return others == 1;
}

/* The member's text as in aliases(5), "|command" or "/file", in *text, and whose the file was. */
static enum pipe_result
look_up(struct supervisor *s, const struct msg_pipe_run *m, struct text *text, uint32_t *uid)
{
	const struct settings *set = s->now.settings;
	struct table *table = table_reader(s->directory[DIRECTORY_STATE], ALIASES_TABLE);
	struct text members = TEXT_UP_TO(MOST_ALIAS_BYTES);
	enum pipe_result result = PIPE_ENDED;
	struct alias_head head = { 0 };
	struct alias_member member;
	enum table_result got = table ? alias_load(table, m->alias, &head, &members) : TABLE_ERROR;

	if (got == TABLE_ERROR) {
		result = PIPE_LATER;
	} else if (got == TABLE_NONE || !find_member(text_span(&members), m->member, &member)) {
		result = PIPE_GONE;
	} else if (member.kind == ALIAS_COMMAND ? !set->alias_commands : !set->alias_files) {
		result = PIPE_FORBIDDEN;
	} else {
		if (member.kind == ALIAS_COMMAND)
			text_add_byte(text, '|');
		text_add(text, member.text);
		if (text->failed || memchr(member.text.at, 0, member.text.len))
			result = PIPE_LATER;
	}
	*uid = head.uid;
	text_clear(&members);
	table_free(&table);
	return result;
}

/* NULL (logged): nobody, who may be asked later. */
static const struct passwd *
owner(const struct supervisor *s, uint32_t uid, struct span alias)
{
	char *name = must_copy(s->now.settings->alias_user);
	const struct passwd *user = s->root && uid == 0 ? getpwnam(name) : getpwuid(uid);
	const char *why = NULL;

	if (!s->root && uid != geteuid())
		why = "its file belongs to another user, and Valija was not started by root";
	else if (!user)
		why = "there is no such user";
	else if (s->root && user->pw_uid == 0)
		why = "it is never done as root";
	if (why)
		log_error(0, "pipe-not-run", KEY_SPAN("alias", alias), KEY_NUM("uid", uid),
			KEY_STR("reason", why));
	free(name);
	return why ? NULL : user;
}

/* --- its life --- */

static void
job_free(struct pipe_job *j)
{
	LIST_REMOVE(j, next);
	count--;
	if (j->readable)
		event_free(j->readable);
	if (j->deadline)
		event_free(j->deadline);
	close(j->output);
	free(j);
}

/* valija-pipe says little, and a bit at a time: whoever writes without an end must not keep master busy. */
static void
listen_to(struct pipe_job *j)
{
	unsigned char more[MOST_REASON];
	ssize_t got = read(j->output, more, sizeof more);
	size_t room = sizeof j->said - j->said_len, n = got < 0 ? 0 : (size_t)got;

	n = n < room ? n : room;
	for (size_t i = 0; i < n; i++)
		j->said[j->said_len++] = more[i] < ' ' ? ' ' : more[i] > '~' ? '?' : more[i];
	if ((got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR) || j->said_len == sizeof j->said) &&
		j->readable)
		event_del(j->readable);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	listen_to(arg);
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct pipe_job *j = arg;

	(void)fd;
	(void)what;
	j->late = true;
	outside_kill(j->pid);
}

static pid_t
start(struct supervisor *s, const struct msg_pipe_run *m, const char *what, const struct passwd *user, int fd, int output)
{
	char *directory = paths_libexec("valija-pipe"), *program = paths_join(directory, "valija-pipe");
	char *sender = must_copy(m->sender), *address = must_copy(m->address), *given = must_copy(m->given),
	     *prefix = must_copy(m->prefix);
	/* Its own copies: who comes to know the user anew has the same memory. */
	char *name = must_copy(span_str(user->pw_name)), *home = must_copy(span_str(user->pw_dir));
	const char *const environment[] = { "HOME", home, "USER", name, "LOGNAME", name,
		"SENDER", sender, "RECIPIENT", address, "ORIGINAL_RECIPIENT", given, "VALIJA_PREFIX", prefix, NULL };
	/* Who owns an aliases file may not be able to reach where Valija lies. */
	int file = open(program, O_PATH | O_CLOEXEC);
	pid_t pid = file < 0 ? -1 : outside_run(s,
		&(struct outside){ .program = file, .by_descriptor = true, .path = SPAN("valija-pipe"), .user = span_str(name), .argument = what,
			.environment = environment, .input = fd, .output = output, .errors = -1 },
		"pipe-not-run");

	if (file < 0)
		log_error(0, "pipe-not-run", KEY_STR("program", program), KEY_ERRNO);
	else
		close(file);
	free(home);
	free(name);
	free(prefix);
	free(given);
	free(address);
	free(sender);
	free(program);
	free(directory);
	return pid;
}

/* 0, or -1: try later. */
static int
begin(struct supervisor *s, uint64_t id, const struct msg_pipe_run *m, struct text *what, uint32_t uid, int fd)
{
	const struct timeval limit = { (time_t)s->now.settings->alias_command_seconds, 0 };
	const struct passwd *user = owner(s, uid, m->alias);
	struct pipe_job *j;
	int ends[2];
	pid_t pid;

	if (!user || pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	pid = start(s, m, text_str(what), user, fd, ends[1]);
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return -1;
	}
	j = must_alloc(sizeof *j);
	j->id = id;
	j->number = m->number;
	j->pid = pid;
	j->output = ends[0];
	LIST_INSERT_HEAD(&running, j, next);
	count++;
	j->readable = event_new(s->base, j->output, EV_READ | EV_PERSIST, on_readable, j);
	j->deadline = evtimer_new(s->base, on_deadline, j);
	if (!j->readable || !j->deadline || event_add(j->readable, NULL) < 0 || event_add(j->deadline, &limit) < 0)
		outside_kill(pid);
	return 0;
}

void
pipe_run(struct supervisor *s, uint64_t id, const struct msg_pipe_run *m, int fd)
{
	struct text what = TEXT_UP_TO(MOST_ALIAS_MEMBER + 1);
	enum pipe_result result = PIPE_LATER;
	struct pipe_job *j;
	uint32_t uid = 0;

	/* A queue that came anew asks again for what its predecessor did: it hears how that ends. */
	LIST_FOREACH(j, &running, next)
		if (j->id == id && j->number == m->number) {
			close(fd);
			return;
		}
	if (s->phase == PHASE_RUNNING && count < MOST_PIPES_RUNNING)
		result = look_up(s, m, &what, &uid);
	if (result == PIPE_ENDED && begin(s, id, m, &what, uid, fd) < 0)
		result = PIPE_LATER;
	close(fd);
	text_clear(&what);
	if (result != PIPE_ENDED)
		tell_result(s, id, m->number, result);
}

bool
pipe_ended(struct supervisor *s, pid_t pid, int status)
{
	struct pipe_job *j;
	struct msg_pipe_told m;

	LIST_FOREACH(j, &running, next)
		if (j->pid == pid)
			break;
	if (!j)
		return false;
	listen_to(j);
	while (j->said_len && j->said[j->said_len - 1] == ' ')
		j->said_len--;
	m = (struct msg_pipe_told){ .number = j->number,
		.result = WIFEXITED(status) ? PIPE_ENDED : PIPE_LATER,
		.status = WIFEXITED(status) ? (uint8_t)WEXITSTATUS(status) : 0,
		.said = j->late ? SPAN("it took longer than alias_command_seconds")
				: span_of(j->said, j->said_len) };
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		log_warning(0, "pipe-failed", KEY_ID("message", j->id), KEY_NUM("pid", pid),
			KEY_NUM(WIFSIGNALED(status) ? "signal" : "status",
				WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)),
			KEY_SPAN("said", m.said));
	tell(s, j->id, &m);
	job_free(j);
	return true;
}

void
pipe_close(struct supervisor *s)
{
	struct pipe_job *j;

	(void)s;
	while ((j = LIST_FIRST(&running))) {
		outside_kill(j->pid);
		job_free(j);
	}
}
