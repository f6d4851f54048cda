/*
 * cmd-alias - lists, adds and removes aliases: the file of aliases(5) is changed, then compiled.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/alias.h"
#include "common/beneath.h"
#include "master/cmd.h"
#include "master/json.h"
#include "master/map-inside.h"

static const struct option_row list_options[] = {
	{ "--json", NULL, "as JSON", false },
	{ NULL, NULL, NULL, false },
};

struct listing {
	struct json json;
	bool as_json;
};

static void
row(void *me, struct span key, struct span value)
{
	struct listing *l = me;

	if (!l->as_json) {
		printf("%.*s: %.*s\n", SPAN_ARG(key), SPAN_ARG(value));
		return;
	}
	json_open(&l->json, NULL, '{');
	json_text(&l->json, "name", key);
	json_text(&l->json, "members", value);
	json_close(&l->json, '}');
}

static int
run_list(struct invocation *v)
{
	struct listing l = { .json = { .to = stdout }, .as_json = cmd_option(v, "--json") != NULL };
	int result;

	if (l.as_json)
		json_open(&l.json, NULL, '[');
	result = map_each(&v->paths, TABLE_ALIASES, row, &l);
	if (l.as_json) {
		json_close(&l.json, ']');
		putchar('\n');
	}
	return result == 0 ? EX_OK : cmd_fail(EX_NOINPUT, "the aliases cannot be read");
}

/* Writes the file anew beside itself, with owner and mode as they were, and renames it. */
static bool
replace(const char *path, struct span text, const struct stat *st)
{
	char *aside = must_alloc(strlen(path) + 8);
	int fd;
	bool good;

	snprintf(aside, strlen(path) + 8, "%s.new", path);
	unlink(aside);
	fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	good = fd >= 0 && write_all(fd, text.at, text.len) == 0 &&
		(geteuid() != 0 || fchown(fd, st->st_uid, st->st_gid) == 0) &&
		fchmod(fd, st->st_mode & 07777) == 0 && fsync(fd) == 0 && rename(aside, path) == 0;
	if (!good)
		cmd_fail(0, "%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	if (!good)
		unlink(aside);
	free(aside);
	return good;
}

/* The file without the lines of `key`; *removed says whether there were any. */
static void
without(struct span text, struct span key, struct text *to, bool *removed)
{
	struct text joined = TEXT_UP_TO(MOST_MAP_VALUE), found = TEXT_UP_TO(MOST_ALIAS_KEY);
	struct span rest = text;
	struct map_line line;
	unsigned int at = 0;
	const char *why;

	*removed = false;
	for (;;) {
		struct span part = rest, in;
		bool there = map_line_take(&rest, &at, &joined, &line);

		part.len -= rest.len;
		in = line.text;
		if (there && alias_name_take(&in, &found, &why) == 1 &&
			span_equal(text_span(&found), key)) {
			*removed = true;
			part = map_comments(part);
		}
		text_add(to, part);
		if (!there)
			break;
	}
	text_clear(&joined);
	text_clear(&found);
}

/* Changes the first file of aliases and compiles it; when that fails, it is as it was. */
static int
change(const struct invocation *v, struct span key, const char *line)
{
	struct text complaints = TEXT_UP_TO(MOST_MAP_COMPLAINTS), now = TEXT_UP_TO(MOST_MAP_SOURCE);
	struct map_work w = { .kind = TABLE_ALIASES, .complaints = &complaints };
	struct settings *s = cmd_settings(v, false);
	char *path = s ? map_source(&v->paths, s, TABLE_ALIASES, 0) : NULL;
	struct map_file f;
	unsigned int count;
	bool removed = false, had;
	int status = EX_CONFIG;

	if (!path)
		goto out;
	had = map_file_read(&w, path, true, &f);
	if (!had)
		f.st = (struct stat){ .st_mode = 0644, .st_uid = geteuid(), .st_gid = getegid() };
	status = EX_DATAERR;
	without(text_span(&f.text), key, &now, &removed);
	if (w.failed) {
		cmd_complain(text_span(&complaints));
	} else if (line && removed) {
		cmd_fail(0, "%.*s is an alias already: `valija alias del` it first, or edit %s",
			SPAN_ARG(key), path);
	} else if (!line && !removed) {
		status = cmd_fail(EX_NOUSER, "%.*s is not an alias in %s", SPAN_ARG(key), path);
	} else {
		if (now.len > 0 && now.at[now.len - 1] != '\n')
			text_add_byte(&now, '\n');
		text_add_str(&now, line ? line : "");
		status = replace(path, text_span(&now), &f.st) ? EX_OK : EX_CANTCREAT;
		if (status == EX_OK && map_compile(&v->paths, s, TABLE_ALIASES, &complaints,
					       &count) == MAP_FAILED) {
			cmd_complain(text_span(&complaints));
			status = EX_DATAERR;
			if (had)
				replace(path, text_span(&f.text), &f.st);
			else
				unlink(path);
		}
	}
	if (had)
		map_file_clear(&f);
	free(path);
out:
	settings_free(&s);
	text_clear(&complaints);
	text_clear(&now);
	return status;
}

static int
run_change(struct invocation *v, bool add)
{
	struct text key = TEXT_UP_TO(MOST_ALIAS_KEY), line = TEXT_UP_TO(MOST_MAP_VALUE);
	int status;

	if (!alias_key(span_str(v->arguments[0]), &key)) {
		text_clear(&key);
		return cmd_fail(EX_DATAERR, "%s is not a name", v->arguments[0]);
	}
	text_add_str(&line, v->arguments[0]);
	text_add_str(&line, ": ");
	for (int i = 1; add && i < v->argument_count; i++)
		text_printf(&line, "%s%s", i > 1 ? ", " : "", v->arguments[i]);
	text_add_byte(&line, '\n');
	/* One line, whatever was typed. */
	if (span_index(text_span(&line), '\n') + 1 != line.len || line.failed)
		status = cmd_fail(EX_DATAERR, "a line break, or too much");
	else
		status = change(v, text_span(&key), add ? text_str(&line) : NULL);
	text_clear(&key);
	text_clear(&line);
	return status;
}

int
cmd_alias_change(const struct invocation *v, const char *name, const char *member)
{
	struct text key = TEXT_UP_TO(MOST_ALIAS_KEY), line = TEXT_UP_TO(MOST_MAP_VALUE);
	int status = EX_DATAERR;

	text_printf(&line, "%s: %s\n", name, member ? member : "");
	if (!alias_key(span_str(name), &key) || line.failed ||
		span_index(text_span(&line), '\n') + 1 != line.len)
		cmd_fail(0, "%s is not a name", name);
	else
		status = change(v, text_span(&key), member ? text_str(&line) : NULL);
	text_clear(&key);
	text_clear(&line);
	return status;
}

static int
run_add(struct invocation *v)
{
	return run_change(v, true);
}

static int
run_del(struct invocation *v)
{
	return run_change(v, false);
}

const struct command cmd_alias_list = {
	.words = "alias list",
	.arguments = "",
	.help = "list the aliases in force",
	.options = list_options,
	.run = run_list,
};

const struct command cmd_alias_add = {
	.words = "alias add",
	.arguments = "NAME MEMBER ...",
	.least = 2,
	.most = 1000,
	.help = "add an alias to the first file of aliases, and compile it",
	.run = run_add,
};

const struct command cmd_alias_del = {
	.words = "alias del",
	.arguments = "NAME",
	.least = 1,
	.most = 1,
	.help = "remove an alias from that file, and compile it",
	.run = run_del,
};
