/*
 * cmd-map - compiles tables, looks into them (postmap's and postalias's habits: -q and -s).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/alias.h"
#include "master/cmd-check.h"
#include "master/cmd.h"
#include "master/map.h"

static const struct option_row options[] = {
	{ "-q", "KEY", "look one key up", false },
	{ "-s", NULL, "show all keys and values", false },
	{ "--if-there", NULL, "a table without a file is no error", false },
	{ NULL, NULL, NULL, false },
};

static int
compile(const struct invocation *v, const struct settings *s, enum table_kind kind, bool quiet)
{
	struct text complaints = TEXT_UP_TO(MOST_MAP_COMPLAINTS);
	unsigned int count = 0;
	enum map_result result = map_compile(&v->paths, s, kind, &complaints, &count);
	char *source = map_source(&v->paths, s, kind, 0);

	cmd_complain(text_span(&complaints));
	if (result == MAP_WRITTEN)
		printf("%s: %u keys\n", map_name(kind), count);
	if (result == MAP_WRITTEN && kind == TABLE_ALIASES)
		warn_of_aliases(&v->paths, s);
	else if (result == MAP_REMOVED)
		printf("%s: removed, for %s is not there any more\n", map_name(kind), source);
	else if (result == MAP_ABSENT && !quiet)
		cmd_fail(0, "there is no %s", source ? source : map_name(kind));
	free(source);
	text_clear(&complaints);
	return result == MAP_FAILED ? EX_DATAERR : result == MAP_ABSENT && !quiet ? EX_NOINPUT : EX_OK;
}

static void
show(void *me, struct span key, struct span value)
{
	bool *colon = me;

	printf("%.*s%s %.*s\n", SPAN_ARG(key), *colon ? ":" : "", SPAN_ARG(value));
}

static int
look(const struct invocation *v, enum table_kind kind, const char *key)
{
	struct text value = TEXT_UP_TO(2 * MOST_ALIAS_BYTES);
	int found = map_get(&v->paths, kind, span_str(key), &value);

	if (found > 0)
		printf("%.*s\n", SPAN_ARG(text_span(&value)));
	text_clear(&value);
	if (found < 0)
		return cmd_fail(EX_NOINPUT, "%s cannot be read: %s", map_name(kind), strerror(errno));
	return found ? EX_OK : 1; /* as postmap says it */
}

static int
run(struct invocation *v)
{
	const char *key = cmd_option(v, "-q");
	bool dump = cmd_option(v, "-s") != NULL, colon;
	enum table_kind kind = TABLE_ALIASES;
	struct settings *s;
	int status = EX_OK, one;

	if (v->argument_count && !map_kind(v->arguments[0], &kind)) {
		cmd_fail(0, "there is no table %s; there are:", v->arguments[0]);
		for (size_t i = 0; i < TABLE_KINDS; i++)
			fprintf(stderr, "    %-20s %s\n", map_name((enum table_kind)i),
				map_help((enum table_kind)i));
		return EX_USAGE;
	}
	if ((key || dump) && !v->argument_count)
		return cmd_fail(EX_USAGE, "of which table?");
	colon = kind == TABLE_ALIASES;
	if (key)
		return look(v, kind, key);
	if (dump)
		return map_each(&v->paths, kind, show, &colon) == 0
			? EX_OK
			: cmd_fail(EX_NOINPUT, "%s cannot be read", map_name(kind));
	if (!(s = cmd_settings(v, false)))
		return EX_CONFIG;
	if (v->argument_count)
		status = compile(v, s, kind, cmd_option(v, "--if-there") != NULL);
	for (size_t i = 0; !v->argument_count && i < TABLE_KINDS; i++)
		if ((one = compile(v, s, (enum table_kind)i, true)) != EX_OK)
			status = one;
	settings_free(&s);
	return status;
}

const struct command cmd_map = {
	.words = "map",
	.arguments = "[TABLE]",
	.most = 1,
	.help = "compile a table, or all whose files are there, and put it in force",
	.options = options,
	.run = run,
};
