/*
 * cmd-user-alias - the addresses that lead to one user, beside his own: aliases, from his side.
 */
#include <stdio.h>
#include <sysexits.h>

#include "common/alias.h"
#include "master/cmd-user.h"
#include "master/map-inside.h"

static const struct option_row options[] = {
	{ "--delete", NULL, "remove these aliases", false },
	{ NULL, NULL, NULL, false },
};

struct looking {
	struct span user;
};

/* Prints an alias that has the user among its members. */
static void
row(void *me, struct span key, struct span value)
{
	struct looking *l = me;
	struct text word = TEXT_UP_TO(MOST_ALIAS_MEMBER), member = TEXT_UP_TO(MOST_ALIAS_KEY);
	struct span in = value;
	struct alias_member m;
	const char *why;
	bool leads = false;

	while (!leads && alias_member_take(&in, &word, &m, &why) > 0)
		leads = m.kind == ALIAS_ADDRESS && alias_key(m.text, &member) &&
			span_equal(text_span(&member), l->user);
	if (leads)
		printf("%.*s\n", SPAN_ARG(key));
	text_clear(&word);
	text_clear(&member);
}

static int
alias(const struct invocation *v, struct userbase *base, struct span key)
{
	struct text value = TEXT_UP_TO(MOST_USER_RECORD), address = TEXT_UP_TO(MOST_ADDRESS);
	struct looking l = { key };
	struct user u;
	int status = user_must_find(base, key, &value, &u);

	text_add(&address, key);
	for (int i = 1; status == EX_OK && i < v->argument_count; i++)
		status = cmd_alias_change(v, v->arguments[i],
			cmd_option(v, "--delete") ? NULL : text_str(&address));
	if (status == EX_OK && v->argument_count == 1 &&
		map_each(&v->paths, TABLE_ALIASES, row, &l) != 0)
		status = cmd_fail(EX_NOINPUT, "the aliases cannot be read");
	text_clear(&value);
	text_clear(&address);
	return status;
}

static int
run(struct invocation *v)
{
	return user_with_base(v, alias, false);
}

const struct command cmd_user_alias = {
	.words = "user alias",
	.arguments = "NAME@DOMAIN [ALIAS ...]",
	.least = 1,
	.most = 100,
	.help = "make aliases that lead to a user; without ALIAS list those that do",
	.options = options,
	.run = run,
};
