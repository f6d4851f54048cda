/*
 * valija - the one command that administrators type.
 *   runs as      root, or the one user of a trial; speaks with master over RUN/control
 *   trusts       its caller; the log, the tables and what daemons say are read as hostile input
 *
 * This file finds the command's row and the options; each command lives in its own cmd-*.c. The
 * command alone uses two other rooms: tlsproxy/ca.h and certificate.h make and read certificates.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/log.h"
#include "master/cmd.h"
#include "master/conf.h"

static const struct command *const commands[] = {
	&cmd_init,
	&cmd_start,
	&cmd_stop,
	&cmd_reload,
	&cmd_status,
	&cmd_check,
	&cmd_check_address,
	&cmd_check_dns,
	&cmd_net,
	&cmd_net_rules,
	&cmd_net_dns,
	&cmd_net_autoconfig,
	&cmd_config,
	&cmd_env,
	&cmd_user_add,
	&cmd_user_passwd,
	&cmd_user_del,
	&cmd_user_list,
	&cmd_user_show,
	&cmd_user_disable,
	&cmd_user_kick,
	&cmd_user_enable,
	&cmd_user_expire,
	&cmd_user_quota,
	&cmd_user_alias,
	&cmd_user_app,
	&cmd_user_import,
	&cmd_import,
	&cmd_auth_list,
	&cmd_auth_forgive,
	&cmd_map,
	&cmd_alias_list,
	&cmd_alias_add,
	&cmd_alias_del,
	&cmd_domain,
	&cmd_cert_show,
	&cmd_cert_check,
	&cmd_cert_install,
	&cmd_cert_rollback,
	&cmd_cert_renew,
	&cmd_cert_self_signed,
	&cmd_cert_csr,
	&cmd_cert_tlsa,
	&cmd_cert_client,
	&cmd_cert_ca,
	&cmd_cert_dkim,
	&cmd_queue,
	&cmd_mailq,
	&cmd_dns,
	&cmd_fetch,
	&cmd_sts,
	&cmd_trace,
	&cmd_version,
};

#define COMMAND_COUNT (sizeof commands / sizeof commands[0])
#define MOST_WORDS    2

/* Options that every command takes. */
static const struct option_row common_options[] = {
	{ "--dir", "DIR", "the instance below DIR, instead of the system's", false },
	{ "--help", NULL, "show this", false },
	{ NULL, NULL, NULL, false },
};

int
cmd_fail(int status, const char *format, ...)
{
	va_list ap;

	fputs("valija: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	return status;
}

void
cmd_complain(struct span lines)
{
	struct span line;

	while (lines.len) {
		if (!span_take_until(&lines, '\n', &line)) {
			line = lines;
			lines.len = 0;
		}
		fprintf(stderr, "valija: %.*s\n", SPAN_ARG(line));
	}
}

const char *
cmd_option(const struct invocation *v, const char *name)
{
	for (size_t i = 0; i < v->given_count; i++)
		if (strcmp(v->given[i].row->name, name) == 0)
			return v->given[i].value;
	return NULL;
}

struct settings *
cmd_settings(const struct invocation *v, bool files)
{
	struct text errors = TEXT_UP_TO(MOST_CONF_ERRORS);
	struct settings *s = conf_read(&v->paths, 1, files, &errors);

	cmd_complain(text_span(&errors));
	text_clear(&errors);
	return s;
}

/* --- usage, from the rows --- */

static void
tell_options(FILE *to, const struct option_row *rows)
{
	for (; rows && rows->name; rows++)
		fprintf(to, "    %s%s%-*s %s\n", rows->name, rows->value ? " " : "",
			(int)(24 - strlen(rows->name) - (rows->value ? 1 : 0)),
			rows->value ? rows->value : "", rows->help);
}

static void
tell_command(FILE *to, const struct command *c)
{
	fprintf(to, "usage: valija [--dir DIR] %s", c->words);
	for (const struct option_row *o = c->options; o && o->name; o++)
		fprintf(to,
			o->required	   ? " %s %s"
				: o->value ? " [%s %s]"
					   : " [%s]",
			o->name, o->value);
	fprintf(to, "%s%s\n\n%s.\n\n", c->arguments[0] ? " " : "", c->arguments, c->help);
	tell_options(to, c->options);
	tell_options(to, common_options);
}

/* Is `word` the first of two of this command? */
static bool
is_of_group(const struct command *c, const char *word)
{
	size_t len = strlen(word);

	return strncmp(c->words, word, len) == 0 && c->words[len] == ' ';
}

static bool
is_group(const char *word)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (is_of_group(commands[i], word))
			return true;
	return false;
}

/* All commands, or with `group` those that begin with this word. */
static void
tell_commands(FILE *to, const char *group)
{
	fprintf(to, "usage: valija [--dir DIR] %s%s ...\n\n", group ? group : "COMMAND", group ? " COMMAND" : "");
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		int n;

		if (group && !is_of_group(commands[i], group))
			continue;
		n = fprintf(to, "    %s %s", commands[i]->words, commands[i]->arguments);
		/* What is long has its help in the next line. */
		fprintf(to, "%s%*s %s\n", n > 30 ? "\n" : "", n > 30 ? 30 : 30 - n, "", commands[i]->help);
	}
	fputs("\n`valija COMMAND --help` tells the options of one. See valija(8).\n", to);
}

/* --- the command line --- */

/* The command whose words are the first `n` of `words`. */
static const struct command *
find(char *const *words, int n)
{
	char name[64];

	if (n == 2)
		snprintf(name, sizeof name, "%s %s", words[0], words[1]);
	else
		snprintf(name, sizeof name, "%s", words[0]);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(commands[i]->words, name) == 0)
			return commands[i];
	return NULL;
}

static const struct option_row *
find_option(const struct option_row *rows, const char *name, size_t len)
{
	for (; rows && rows->name; rows++)
		if (strlen(rows->name) == len && strncmp(rows->name, name, len) == 0)
			return rows;
	return NULL;
}

/* The command stands after the options that precede it; --dir may come before or after. Its row
 * must be known before its options can be read. `words`: what was taken for the command's name, the
 * rest NULL. */
static const struct command *
find_command(int argc, char **argv, bool *help, char *words[MOST_WORDS])
{
	int n = 0;
	const struct command *two;

	for (int i = 1; i < argc && n < MOST_WORDS; i++) {
		if (strcmp(argv[i], "--dir") == 0)
			i++;
		else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			*help = true;
		else if (strncmp(argv[i], "--", 2) != 0)
			words[n++] = argv[i];
		else if (n > 0)
			break;
	}
	if (n == MOST_WORDS && (two = find(words, MOST_WORDS)))
		return two;
	return n > 0 ? find(words, 1) : NULL;
}

/* One option and its value, as "--name value" or "--name=value". False after saying what is
 * wrong. */
static bool
take_option(struct invocation *v, int argc, char **argv, int *i)
{
	const char *word = strcmp(argv[*i], "-h") == 0 ? "--help" : argv[*i],
		   *equals = strchr(word, '='), *value = "";
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	const struct option_row *row = find_option(v->command->options, word, len);

	if (!row)
		row = find_option(common_options, word, len);
	if (!row || (equals && !row->value)) {
		cmd_fail(0, "%s has no option %s", v->command->words, word);
		return false;
	}
	if (row->value && !equals && *i + 1 >= argc) {
		cmd_fail(0, "%s needs a value: %s", row->name, row->value);
		return false;
	}
	if (row->value)
		value = equals ? equals + 1 : argv[++*i];
	if (v->given_count == MOST_OPTIONS) {
		cmd_fail(0, "too many options");
		return false;
	}
	v->given[v->given_count++] = (struct given){ row, value };
	return true;
}

static bool
parse(struct invocation *v, int argc, char **argv)
{
	int words = strchr(v->command->words, ' ') ? 2 : 1;

	v->arguments = must_alloc(sizeof *v->arguments * (size_t)argc);
	for (int i = 1; i < argc; i++) {
		/* One letter is an option only where the command has it: "-" begins other words. */
		if ((strncmp(argv[i], "--", 2) == 0 && argv[i][2]) || strcmp(argv[i], "-h") == 0 ||
			(argv[i][0] == '-' &&
				find_option(v->command->options, argv[i], strlen(argv[i])))) {
			if (!take_option(v, argc, argv, &i))
				return false;
		} else if (words > 0) {
			words--;
		} else {
			v->arguments[v->argument_count++] = argv[i];
		}
	}
	if (cmd_option(v, "--help"))
		return true; /* whatever else is missing */
	if (v->argument_count < v->command->least || v->argument_count > v->command->most) {
		cmd_fail(0,
			v->argument_count > v->command->most ? "%s: too many arguments"
							     : "%s needs more: %s",
			v->command->words, v->command->arguments);
		return false;
	}
	for (const struct option_row *o = v->command->options; o && o->name; o++)
		if (o->required && !cmd_option(v, o->name)) {
			cmd_fail(0, "%s needs %s %s", v->command->words, o->name, o->value);
			return false;
		}
	return true;
}

int
main(int argc, char **argv)
{
	struct invocation v = { 0 };
	struct text why = TEXT_UP_TO(1024);
	char *words[MOST_WORDS] = { NULL };
	bool help = false;
	int status;

	log_open("valija", -1);
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		argv[1] += 2;
	if (!(v.command = find_command(argc, argv, &help, words))) {
		const char *group = words[0] && is_group(words[0]) ? words[0] : NULL;

		/* The list of all is longer than a screen: a mistake stands alone. */
		if (!help && words[0] && !group)
			return cmd_fail(EX_USAGE, "there is no command %s%s%s; `valija --help` lists all", words[0],
				words[1] ? " " : "", words[1] ? words[1] : "");
		if (!help && group && words[1])
			cmd_fail(0, "there is no command %s %s", group, words[1]);
		else if (!help && group)
			cmd_fail(0, "%s is the first word of several commands", group);
		tell_commands(help ? stdout : stderr, group);
		return help ? EX_OK : EX_USAGE;
	}
	if (!parse(&v, argc, argv)) {
		tell_command(stderr, v.command);
		return EX_USAGE;
	}
	if (cmd_option(&v, "--help")) {
		tell_command(stdout, v.command);
		return EX_OK;
	}
	v.dir = cmd_option(&v, "--dir");
	if (!paths_init(&v.paths, v.dir, &why))
		return cmd_fail(EX_USAGE, "%s", text_str(&why));
	status = v.command->run(&v);
	if (fflush(stdout) != 0 && status == EX_OK)
		status = cmd_fail(EX_IOERR, "the output could not be written");
	paths_clear(&v.paths);
	free(v.arguments);
	return status;
}
