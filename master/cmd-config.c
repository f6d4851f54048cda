/*
 * cmd-config - the configuration in force, for a report or a comparison: what differs from the defaults, or all.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "common/settings.h"
#include "master/cmd.h"
#include "master/conf.h"

static const struct option_row options[] = {
	{ "--all", NULL, "every option, not only those that the file sets", false },
	{ NULL, NULL, NULL, false },
};

enum kind { KIND_text, KIND_number, KIND_flag, KIND_list };

static const struct row {
	const char *name;
	enum kind kind;
	size_t at; /* in struct settings */
} rows[] = {
#define O(kind, name, initial, least, most, help) { #name, KIND_##kind, offsetof(struct settings, name) },
	SETTINGS(O)
#undef O
};

/* In quotation marks, as libConfuse reads it. */
static void
tell_quoted(struct span text)
{
	putchar('"');
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = text.at[i];

		if (c == '"' || c == '\\' || c == '$')
			putchar('\\');
		if (c >= 0x20 && c != 0x7f)
			putchar(c);
		else
			printf("\\x%02x", c);
	}
	putchar('"');
}

static void
tell_list(const setting_list *list)
{
	putchar('{');
	for (size_t i = 0; i < list->count; i++) {
		if (i)
			fputs(", ", stdout);
		tell_quoted(list->at[i]);
	}
	putchar('}');
}

static void
tell(const struct row *row, const struct settings *s)
{
	const void *value = (const char *)s + row->at;

	printf("%s = ", row->name);
	switch (row->kind) {
	case KIND_text:
		/* The settings hold the keys themselves, for the processes that may open no file. */
		if (strcmp(row->name, "oauth_keys") == 0)
			printf("\"\" # %zu bytes of keys", ((const setting_text *)value)->len);
		else
			tell_quoted(*(const setting_text *)value);
		break;
	case KIND_number:
		printf("%llu", (unsigned long long)*(const setting_number *)value);
		break;
	case KIND_flag:
		fputs(*(const setting_flag *)value ? "yes" : "no", stdout);
		break;
	case KIND_list:
		tell_list(value);
		break;
	}
	putchar('\n');
}

/* Which rows the file sets. */
static void
note(void *me, size_t at)
{
	bool *set = me;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (rows[i].at == at)
			set[i] = true;
}

static int
run(struct invocation *v)
{
	bool set[sizeof rows / sizeof rows[0]] = { false }, all = cmd_option(v, "--all") != NULL;
	struct text errors = TEXT_UP_TO(MOST_CONF_ERRORS);
	struct settings *s = conf_read_noting(&v->paths, note, set, &errors);

	cmd_complain(text_span(&errors));
	text_clear(&errors);
	for (size_t i = 0; s && i < sizeof rows / sizeof rows[0]; i++)
		if (all || set[i])
			tell(&rows[i], s);
	if (!s)
		return EX_CONFIG;
	settings_free(&s);
	return EX_OK;
}

const struct command cmd_config = {
	.words = "config",
	.arguments = "",
	.help = "print what valija.conf sets, as it was understood; no secrets, so that it can be shown to others",
	.options = options,
	.run = run,
};
