/*
 * pipe - see pipe.h.
 */
#include "master/pipe.h"

#include <errno.h>
#include <fcntl.h>
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

/* --- its life --- */

/* The first words of whoever runs, as what can be shown: they are for the sender, and for the log. */
static struct span
words_of(struct span said, unsigned char *shown)
{
	while (said.len && said.at[said.len - 1] <= ' ')
		said.len--;
	for (size_t i = 0; i < said.len; i++)
		shown[i] = said.at[i] < ' ' ? ' ' : said.at[i] > '~' ? '?' : said.at[i];
	return span_of(shown, said.len);
}

static void
ended(struct supervisor *s, const struct outside_end *e)
{
	unsigned char shown[MOST_REASON];
	struct msg_pipe_told m = { .number = e->run->index,
		.result = WIFEXITED(e->status) ? PIPE_ENDED : PIPE_LATER,
		.status = WIFEXITED(e->status) ? (uint8_t)WEXITSTATUS(e->status) : 0,
		.said = e->late ? SPAN("it took longer than alias_command_seconds") : words_of(e->said, shown) };

	if (!WIFEXITED(e->status) || WEXITSTATUS(e->status) != 0)
		log_warning(0, "pipe-failed", KEY_ID("message", e->run->id), KEY_NUM("pid", e->pid),
			KEY_NUM(WIFSIGNALED(e->status) ? "signal" : "status",
				WIFSIGNALED(e->status) ? WTERMSIG(e->status) : WEXITSTATUS(e->status)),
			KEY_SPAN("said", m.said));
	tell(s, e->run->id, &m);
}

/* As the owner of the file, which the child comes to know; what is root's as alias_user. */
static bool
begin(struct supervisor *s, uint64_t id, const struct msg_pipe_run *m, const char *what, uint32_t uid, int program, int fd)
{
	char *sender = must_copy(m->sender), *address = must_copy(m->address), *given = must_copy(m->given),
	     *prefix = must_copy(m->prefix);
	const char *const environment[] = { "SENDER", sender, "RECIPIENT", address, "ORIGINAL_RECIPIENT", given,
		"VALIJA_PREFIX", prefix, NULL };
	const struct outside_run run = { .what = { .program = program, .by_descriptor = true, .path = SPAN("valija-pipe"),
						 .user = s->now.settings->alias_user, .by_uid = !s->root || uid != 0,
						 .uid = uid, .as_login = true, .argument = what,
						 .environment = environment, .input = fd, .output = -1, .errors = -1 },
		.event = "pipe-not-run", .seconds = (unsigned int)s->now.settings->alias_command_seconds,
		.id = id, .index = m->number, .hear = MOST_REASON, .ended = ended };
	bool begun = outside_begin(s, &run);

	free(prefix);
	free(given);
	free(address);
	free(sender);
	return begun;
}

/* False (logged): try later. */
static bool
run(struct supervisor *s, uint64_t id, const struct msg_pipe_run *m, const char *what, uint32_t uid, int fd)
{
	char *directory, *path;
	bool begun = false;
	int program;

	if (!s->root && uid != geteuid()) {
		log_error(0, "pipe-not-run", KEY_SPAN("alias", m->alias), KEY_NUM("uid", uid),
			KEY_STR("reason", "its file belongs to another user, and Valija was not started by root"));
		return false;
	}
	/* By descriptor: who owns an aliases file may not be able to reach where Valija lies. */
	directory = paths_libexec("valija-pipe");
	path = paths_join(directory, "valija-pipe");
	program = open(path, O_PATH | O_CLOEXEC);
	if (program < 0) {
		log_error(0, "pipe-not-run", KEY_STR("program", path), KEY_ERRNO);
	} else {
		begun = begin(s, id, m, what, uid, program, fd);
		close(program);
	}
	free(path);
	free(directory);
	return begun;
}

void
pipe_run(struct supervisor *s, uint64_t id, const struct msg_pipe_run *m, int fd)
{
	struct text what = TEXT_UP_TO(MOST_ALIAS_MEMBER + 1);
	enum pipe_result result = PIPE_LATER;
	uint32_t uid = 0;

	/* A queue that came anew asks again for what its predecessor did: it hears how that ends. */
	if (!outside_is_running(ended, id, m->number)) {
		/* What is in the queue has its turn before the last program serves. */
		if (s->phase != PHASE_STOPPING && outside_count(ended) < MOST_PIPES_RUNNING)
			result = look_up(s, m, &what, &uid);
		if (result == PIPE_ENDED && !run(s, id, m, text_str(&what), uid, fd))
			result = PIPE_LATER;
		if (result != PIPE_ENDED)
			tell_result(s, id, m->number, result);
	}
	close(fd);
	text_clear(&what);
}
