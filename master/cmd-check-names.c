/*
 * cmd-check-names - domains and names that were entered, and do not do what somebody may expect of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alias.h"
#include "common/log.h"
#include "common/users.h"
#include "delivery/resolve.h"
#include "master/cmd-ask-system.h"
#include "master/cmd-check.h"
#include "master/map.h"

/* --- domains --- */

static bool
list_has(const setting_list *list, size_t count, struct span domain)
{
	for (size_t i = 0; i < count; i++)
		if (span_equal_nocase(list->at[i], domain))
			return true;
	return false;
}

/* Quick enough for MOST_LIST of them is only the list that has few, which is every list but an Internet provider's. */
#define MOST_DOMAINS_COMPARED 2000

static void
warn_of_twice(const char *option, const setting_list *list)
{
	for (size_t i = 1; i < list->count && i < MOST_DOMAINS_COMPARED; i++)
		if (list_has(list, i, list->at[i]))
			printf("warning: %.*s stands in %s twice\n", SPAN_ARG(list->at[i]), option);
}

void
warn_of_domains(const struct settings *s)
{
	warn_of_twice("domains", &s->domains);
	warn_of_twice("alias_domains", &s->alias_domains);
	warn_of_twice("relay_domains", &s->relay_domains);
	for (size_t i = 0; i < s->alias_domains.count && i < MOST_DOMAINS_COMPARED; i++) {
		if (list_has(&s->domains, s->domains.count, s->alias_domains.at[i]))
			printf("warning: %.*s is in domains and in alias_domains: it has users then; take it out of one of them\n",
				SPAN_ARG(s->alias_domains.at[i]));
		if (list_has(&s->relay_domains, s->relay_domains.count, s->alias_domains.at[i]))
			printf("warning: %.*s is in alias_domains and in relay_domains: what no alias has is relayed; take it out of one of them\n",
				SPAN_ARG(s->alias_domains.at[i]));
	}
}

/* --- aliases --- */

#define MOST_ALIASES_TRIED 10000
#define MOST_DOUBTS_TOLD   20

struct doubts {
	const struct settings *settings;
	struct resolver resolver;
	struct resolution to;
	unsigned int tried, told;
};

static bool
is_ours(const struct settings *s, struct span domain)
{
	return settings_is_local_domain(s, domain) || settings_is_system_domain(s, domain) ||
		list_has(&s->alias_domains, s->alias_domains.count, domain) ||
		list_has(&s->relay_domains, s->relay_domains.count, domain);
}

static void
try_alias(void *me, struct span key, struct span value)
{
	struct doubts *d = me;
	struct text address = TEXT_UP_TO(MOST_ALIAS_KEY + 1 + 255);
	size_t at = span_rindex(key, '@');

	/* owner-LIST is a sender, and need not be reached. */
	if (span_starts_nocase(key, SPAN("owner-")) || ++d->tried > MOST_ALIASES_TRIED)
		return;
	if (at == 0)
		text_add_str(&address, "anybody");
	text_add(&address, key);
	if (at == key.len && d->settings->domains.count > 0)
		text_printf(&address, "@%.*s", SPAN_ARG(d->settings->domains.at[0]));
	(void)value;
	resolve(&d->resolver, d->settings, text_span(&address), true, false, &d->to);
	if (d->to.verdict.outcome == NEVER && d->told++ < MOST_DOUBTS_TOLD)
		printf("warning: alias %.*s: mail for it is refused: %u %.*s %.*s%s\n", SPAN_ARG(key), d->to.verdict.code,
			SPAN_ARG(d->to.verdict.status), SPAN_ARG(d->to.verdict.reason),
			at == key.len || is_ours(d->settings, span_part(key, at + 1, key.len)) ? ""
			: "; its domain is in none of domains and alias_domains");
	text_clear(&address);
}

static bool
note_row(void *me, struct span key, struct span value)
{
	bool *any = me;

	(void)key;
	(void)value;
	*any = true;
	return false;
}

void
warn_of_aliases(const struct paths *p, const struct settings *s)
{
	static const struct resolver_asks asks = { ask_system_name, resolver_no_forward };
	struct doubts d = { .settings = s };
	int tables = open(p->tables, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct table *users = tables < 0 ? NULL : table_reader(tables, USERS_TABLE);
	bool any = false;

	/* Before there is a user, nothing leads anywhere, and nobody wonders. */
	if (users && table_each(users, note_row, &any) == 0 && any) {
		resolver_init(&d.resolver, users);
		resolver_open(&d.resolver, tables);
		resolution_init(&d.to);
		d.resolver.asks = &asks;
		/* What is found is told here, in words. */
		log_threshold(LOG_LEVEL_ERROR);
		map_each(p, TABLE_ALIASES, try_alias, &d);
		log_threshold(LOG_LEVEL_INFO);
		resolution_clear(&d.to);
		resolver_clear(&d.resolver);
	}
	if (d.told > MOST_DOUBTS_TOLD)
		printf("warning: and %u more aliases; `valija check address` tells of one\n", d.told - MOST_DOUBTS_TOLD);
	else if (d.told)
		puts("    (`valija check address` tells why)");
	table_free(&users);
	if (tables >= 0)
		close(tables);
}

/* --- passwd_file --- */

void
warn_of_passwd_file(const struct settings *s)
{
	char *path = must_copy(s->passwd_file), *line = NULL;
	FILE *file = s->passwd_file.len ? fopen(path, "re") : NULL;
	unsigned int number = 0, told = 0;
	size_t room = 0;

	while (file && told < MOST_DOUBTS_TOLD && getline(&line, &room, file) >= 0) {
		size_t len = strcspn(line, "\r\n");

		number++;
		if (len > 0 && line[0] != '#' && !memchr(line, ':', len)) {
			printf("warning: %s:%u: a line needs NAME:PASSWORD; nobody can log in by this one\n", path, number);
			told++;
		}
	}
	if (line)
		explicit_bzero(line, room);
	free(line);
	if (file)
		fclose(file);
	free(path);
}
