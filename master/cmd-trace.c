/*
 * cmd-trace - the story of one session or message: its lines of the log, and those of the ids
 * that stand on a line with it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/id.h"
#include "common/settings.h"
#include "master/cmd.h"
#include "master/log-setting.h"

#define MOST_LINKED 256

struct story {
	uint64_t ids[MOST_LINKED];
	size_t count;
};

static bool
knows(const struct story *s, size_t count, uint64_t id)
{
	for (size_t i = 0; i < count; i++)
		if (s->ids[i] == id)
			return true;
	return false;
}

/* Takes the next id of a line: a value "key=ID" of exactly an id's form. */
static bool
next_id(struct span *line, uint64_t *id)
{
	struct span word;

	while (line->len) {
		size_t equals;

		if (!span_take_until(line, ' ', &word)) {
			word = *line;
			*line = SPAN_NONE;
		}
		equals = span_index(word, '=');
		if (equals < word.len && id_parse(span_part(word, equals + 1, word.len), id))
			return true;
	}
	return false;
}

static bool
is_about(struct span line, const struct story *s, size_t count)
{
	uint64_t id;

	while (next_id(&line, &id))
		if (knows(s, count, id))
			return true;
	return false;
}

static void
link_all(struct span line, struct story *s)
{
	uint64_t id;

	while (next_id(&line, &id))
		if (!knows(s, s->count, id) && s->count < MOST_LINKED)
			s->ids[s->count++] = id;
}

/* Goes through the file; `tell` prints what the story is about, else links to the first id are
 * gathered. */
static bool
go_through(FILE *file, struct story *s, bool tell)
{
	char *text = NULL;
	size_t room = 0;
	ssize_t n;
	bool found = false;

	rewind(file);
	while ((n = getline(&text, &room, file)) > 0) {
		struct span line = span_of(text, (size_t)n - (text[n - 1] == '\n'));

		if (!is_about(line, s, tell ? s->count : 1))
			continue;
		found = true;
		if (tell)
			printf("%.*s\n", SPAN_ARG(line));
		else
			link_all(line, s);
	}
	free(text);
	return found;
}

static int
trace(const char *name, struct story *s, const char *id)
{
	FILE *file = fopen(name, "re");
	bool found;

	if (!file)
		return cmd_fail(
			errno == EACCES ? EX_NOPERM : EX_NOINPUT, "%s: %s", name, strerror(errno));
	found = go_through(file, s, false) && go_through(file, s, true);
	fclose(file);
	return found ? EX_OK : cmd_fail(EX_NOINPUT, "%s: nothing about %s", name, id);
}

static int
run(struct invocation *v)
{
	struct story s = { .count = 1 };
	struct settings *settings;
	char *name;
	int status;

	if (!id_parse(span_str(v->arguments[0]), &s.ids[0]))
		return cmd_fail(
			EX_USAGE, "%s is not an id: 13 characters of 0-9 and A-V", v->arguments[0]);
	if (!(settings = cmd_settings(v, false)))
		return EX_CONFIG;
	if (log_setting_target(settings->log) != LOG_TO_FILE) {
		status = cmd_fail(EX_NOINPUT,
			"log = %.*s: only a log file can be searched (journalctl -t valija, for one)",
			SPAN_ARG(settings->log));
	} else {
		name = must_copy(settings->log);
		status = trace(name, &s, v->arguments[0]);
		free(name);
	}
	settings_free(&settings);
	return status;
}

const struct command cmd_trace = {
	.words = "trace",
	.arguments = "ID",
	.least = 1,
	.most = 1,
	.help = "tell the story of a session or a message: all its lines of the log, in order",
	.run = run,
};
