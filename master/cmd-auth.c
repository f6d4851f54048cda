/*
 * cmd-auth - what the guard counts against guessers, and how to make it forget.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/id.h"
#include "master/client.h"
#include "master/json.h"

#define KINDS 3

static const char *const kinds[KINDS] = { "address", "user", "pair" };

struct guarding {
	struct json json;
	bool as_json, complete, more;
	uint32_t entries;
};

static void
date(uint64_t seconds, char to[32])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (seconds == 0 || !localtime_r(&t, &tm) || !strftime(to, 32, "%Y-%m-%d %H:%M:%S", &tm))
		snprintf(to, 32, "-");
}

static void
on_auth_entry(
	void *me, struct channel *from, uint64_t id, const struct msg_auth_entry *m, const int *fd)
{
	struct guarding *g = ((struct client *)me)->me;
	char when[32], until[32];

	(void)from;
	(void)id;
	(void)fd;
	if (m->kind >= KINDS)
		return;
	if (g->as_json) {
		json_open(&g->json, NULL, '{');
		json_text(&g->json, "kind", span_str(kinds[m->kind]));
		json_text(&g->json, "ip", m->ip);
		json_text(&g->json, "user", m->user);
		json_number(&g->json, "failures", m->failures);
		json_number(&g->json, "last", (int64_t)m->when);
		json_number(&g->json, "blocked_until", (int64_t)m->until);
		json_close(&g->json, '}');
		return;
	}
	date(m->when, when);
	date(m->until, until);
	printf("%-8s %6u  %s  ", kinds[m->kind], m->failures, when);
	if (m->until)
		printf("blocked until %s  ", until);
	fwrite(m->ip.at, 1, m->ip.len, stdout);
	if (m->ip.len && m->user.len)
		putchar(' ');
	/* A name that a stranger chose: nothing of it is believed by a terminal. */
	for (size_t i = 0; i < m->user.len; i++)
		putchar(m->user.at[i] > ' ' && m->user.at[i] < 0x7f ? m->user.at[i] : '?');
	putchar('\n');
}

static void
on_auth_end(
	void *me, struct channel *from, uint64_t id, const struct msg_auth_end *m, const int *fd)
{
	struct client *c = me;
	struct guarding *g = c->me;

	(void)from;
	(void)id;
	(void)fd;
	g->entries = m->entries;
	g->more = m->more;
	g->complete = c->over = true;
}

static int
ask(const struct invocation *v, struct guarding *g, const char *forgive)
{
	struct hearing h = client_hearing();
	struct client c = { .me = g };
	int status;

	h.on_auth_entry = on_auth_entry;
	h.on_auth_end = on_auth_end;
	status = client_reach(&c, v, PROGRAM_AUTH, &h);
	if (status != EX_OK)
		return status;
	if (forgive)
		send_auth_forgive(c.channel, id_new(),
			&(struct msg_auth_forgive){ .what = span_str(forgive) }, NULL);
	else
		send_auth_list(c.channel, id_new(), &(struct msg_auth_list){}, NULL);
	client_wait(&c, ANSWER_MILLISECONDS);
	client_close(&c);
	return g->complete ? EX_OK : cmd_fail(EX_TEMPFAIL, "auth did not answer to the end");
}

static int
run_list(struct invocation *v)
{
	struct guarding g = { .json = { .to = stdout }, .as_json = cmd_option(v, "--json") != NULL };
	int status;

	if (g.as_json)
		json_open(&g.json, NULL, '[');
	status = ask(v, &g, NULL);
	if (g.as_json) {
		json_close(&g.json, ']');
		putchar('\n');
	} else if (g.more) {
		printf("and more\n");
	}
	return status;
}

static int
run_forgive(struct invocation *v)
{
	struct guarding g = { .json = { .to = stdout } };
	int status = ask(v, &g, v->arguments[0]);

	if (status == EX_OK)
		printf("%u forgotten\n", g.entries);
	return status;
}

static const struct option_row list_options[] = {
	{ "--json", NULL, "as JSON", false },
	{ NULL, NULL, NULL, false },
};

const struct command cmd_auth_list = {
	.words = "auth list",
	.arguments = "",
	.help = "list addresses and users with failed logins, and who is blocked",
	.options = list_options,
	.run = run_list,
};
const struct command cmd_auth_forgive = {
	.words = "auth forgive",
	.arguments = "ADDRESS|USER|all",
	.least = 1,
	.most = 1,
	.help = "forget the failures of an address or a user, and end their blocks",
	.run = run_forgive,
};
