/*
 * cmd-domain - lists the domains of this server: of which kind each is, how many users and aliases it
 * has. They are set in valija.conf.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/alias.h"
#include "common/settings.h"
#include "master/cmd.h"
#include "master/json.h"
#include "master/map.h"
#include "master/userbase.h"

static const struct option_row options[] = {
	{ "--json", NULL, "as JSON", false },
	{ NULL, NULL, NULL, false },
};

struct domain {
	struct span name;
	uint32_t users, aliases;
	bool catch_all;
};

static bool
ends_with(struct span key, struct span domain)
{
	size_t at = span_rindex(key, '@');

	return at < key.len && span_equal_nocase(span_part(key, at + 1, key.len), domain);
}

static bool
user_row(void *me, const struct user *u)
{
	struct domain *d = me;

	d->users += ends_with(u->address, d->name);
	return true;
}

static void
alias_row(void *me, struct span key, struct span value)
{
	struct domain *d = me;

	(void)value;
	if (!ends_with(key, d->name))
		return;
	d->aliases++;
	d->catch_all |= key.at[0] == '@';
}

static void
tell(struct json *j, bool as_json, const char *kind, const struct domain *d, const char *transport)
{
	if (!as_json) {
		printf("%-30.*s %-8s %4u users %4u aliases%s%s%s\n", SPAN_ARG(d->name), kind,
			d->users, d->aliases, d->catch_all ? ", catch-all" : "",
			transport[0] ? ", " : "", transport);
		return;
	}
	json_open(j, NULL, '{');
	json_text(j, "domain", d->name);
	json_text(j, "kind", span_str(kind));
	json_number(j, "users", d->users);
	json_number(j, "aliases", d->aliases);
	json_flag(j, "catch_all", d->catch_all);
	json_text(j, "transport", span_str(transport));
	json_close(j, '}');
}

static void
tell_all(const struct invocation *v, struct userbase *base, struct json *j, const struct list *l,
	const char *kind)
{
	for (size_t i = 0; i < l->count; i++) {
		struct domain d = { .name = l->at[i] };
		struct text transport = TEXT_UP_TO(MOST_TABLE_VALUE);

		userbase_each(base, user_row, &d);
		map_each(&v->paths, TABLE_ALIASES, alias_row, &d);
		if (map_get(&v->paths, TABLE_TRANSPORT, d.name, &transport) <= 0)
			text_reset(&transport);
		tell(j, cmd_option(v, "--json") != NULL, kind, &d, text_str(&transport));
		text_clear(&transport);
	}
}

static int
run(struct invocation *v)
{
	struct text why = TEXT_UP_TO(1024);
	struct settings *s = cmd_settings(v, false);
	struct userbase *base = s ? userbase_open(&v->paths, &why) : NULL;
	struct json j = { .to = stdout };
	bool as_json = cmd_option(v, "--json") != NULL;
	int status = EX_OK;

	if (!s) {
		status = EX_CONFIG;
	} else if (!base) {
		status = cmd_fail(EX_NOINPUT, "%s", text_str(&why));
	} else {
		if (as_json)
			json_open(&j, NULL, '[');
		tell_all(v, base, &j, &s->domains, "local");
		if (s->system_users)
			tell_all(v, base, &j, &s->system_domains, "system");
		tell_all(v, base, &j, &s->alias_domains, "alias");
		tell_all(v, base, &j, &s->relay_domains, "relay");
		if (as_json) {
			json_close(&j, ']');
			putchar('\n');
		}
	}
	userbase_close(&base);
	settings_free(&s);
	text_clear(&why);
	return status;
}

const struct command cmd_domain = {
	.words = "domain list",
	.arguments = "",
	.help = "list the domains of this server (valija.conf: domains, alias_domains, relay_domains)",
	.options = options,
	.run = run,
};
