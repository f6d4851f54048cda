/*
 * cmd-sts - what is remembered of other domains' policies for TLS (MTA-STS), or what one of them wants.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sysexits.h>
#include <time.h>

#include "common/id.h"
#include "common/text.h"
#include "master/client.h"
#include "master/json.h"

#define LOOKUP_MILLISECONDS 100000

static const struct option_row options[] = {
	{ "--json", NULL, "as JSON", false },
	{ "--send-reports", NULL, "send now what was counted (tls_reports), today included", false },
	{ NULL, NULL, NULL, false },
};

struct sts {
	const char *domain;          /* NULL: all */
	bool as_json;
	struct json json;
};

static const char *
mode_name(unsigned int mode)
{
	return mode == STS_ENFORCE ? "enforce" : mode == STS_TESTING ? "testing" : "none";
}

static void
print_one(struct sts *s, struct span domain, unsigned int mode, struct span policy, uint64_t expires,
	struct span mx, struct span fault)
{
	struct span server;
	time_t until = (time_t)expires;
	struct tm tm;
	char when[32] = "";

	if (s->as_json) {
		json_open(&s->json, NULL, '{');
		json_text(&s->json, "domain", domain);
		json_text(&s->json, "mode", span_str(mode_name(mode)));
		json_text(&s->json, "id", policy);
		json_number(&s->json, "expires", (int64_t)expires);
		json_open(&s->json, "mx", '[');
		while (span_take_until(&mx, '\n', &server))
			json_text(&s->json, NULL, server);
		json_close(&s->json, ']');
		json_text(&s->json, "fault", fault);
		json_close(&s->json, '}');
		return;
	}
	printf("%.*s: %s", SPAN_ARG(domain), mode_name(mode));
	if (expires > 0 && gmtime_r(&until, &tm) != NULL && strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0)
		printf(", id %.*s, until %s", SPAN_ARG(policy), when);
	putchar('\n');
	while (span_take_until(&mx, '\n', &server))
		printf("    mx %.*s\n", SPAN_ARG(server));
	if (fault.len > 0)
		printf("    %.*s\n", SPAN_ARG(fault));
}

static void
on_sts_told(void *me, struct channel *from, uint64_t id, const struct msg_sts_told *m, const int *fd)
{
	struct client *c = me;
	struct sts *s = c->me;

	(void)from;
	(void)id;
	(void)fd;
	print_one(s, span_str(s->domain), m->mode, m->policy, m->expires, m->mx, m->fault);
	c->over = true;
}

static void
on_sts_entry(void *me, struct channel *from, uint64_t id, const struct msg_sts_entry *m, const int *fd)
{
	struct client *c = me;

	(void)from;
	(void)id;
	(void)fd;
	print_one(c->me, m->domain, m->mode, m->policy, m->expires, m->mx, SPAN(""));
}

static void
on_sts_end(void *me, struct channel *from, uint64_t id, const struct msg_sts_end *m, const int *fd)
{
	struct client *c = me;

	(void)from;
	(void)id;
	(void)m;
	(void)fd;
	c->over = true;
}

static int
run(struct invocation *v)
{
	struct sts s = { .domain = v->argument_count > 0 ? v->arguments[0] : NULL,
		.as_json = cmd_option(v, "--json") != NULL, .json = { .to = stdout } };
	struct hearing h = client_hearing();
	struct client c = { .me = &s };
	int status;

	if (s.domain != NULL && (span_str(s.domain).len > MOST_HOST || !span_is_printable(span_str(s.domain))))
		return cmd_fail(EX_USAGE, "sts: that is no domain");
	h.on_sts_told = on_sts_told;
	h.on_sts_entry = on_sts_entry;
	h.on_sts_end = on_sts_end;
	if ((status = client_reach(&c, v, PROGRAM_STS, &h)) != EX_OK)
		return status;
	if (cmd_option(v, "--send-reports") != NULL)
		s.as_json = false;
	if (s.as_json && s.domain == NULL)
		json_open(&s.json, NULL, '[');
	if (cmd_option(v, "--send-reports") != NULL)
		send_sts_report(c.channel, id_new(), &(struct msg_sts_report){}, NULL);
	else if (s.domain != NULL)
		send_sts_ask(c.channel, id_new(), &(struct msg_sts_ask){ .domain = span_str(s.domain) }, NULL);
	else
		send_sts_list(c.channel, id_new(), &(struct msg_sts_list){}, NULL);
	if (!client_wait(&c, LOOKUP_MILLISECONDS))
		status = cmd_fail(EX_TEMPFAIL, "sts did not answer");
	if (s.as_json && s.domain == NULL)
		json_close(&s.json, ']');
	if (s.as_json)
		putchar('\n');
	client_close(&c);
	return status;
}

const struct command cmd_sts = {
	.words = "sts",
	.arguments = "[DOMAIN]",
	.most = 1,
	.help = "list what is remembered of other domains' TLS policies (MTA-STS); or ask what DOMAIN wants now",
	.options = options,
	.run = run,
};
