/*
 * cmd-fetch - asks program fetch for a URL, as other programs do: can this suite reach that web server,
 * and does it believe its certificate?
 */
#include <stdio.h>
#include <sysexits.h>

#include "common/id.h"
#include "common/text.h"
#include "master/client.h"
#include "master/json.h"

#define SECONDS 20

static const struct option_row options[] = {
	{ "--json", NULL, "as JSON", false },
	{ "--plain", NULL, "http:// too", false },
	{ NULL, NULL, NULL, false },
};

struct fetch {
	bool as_json;
	int status;
};

/* A server's bytes are not for a terminal as they are. */
static void
print_safely(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		putchar((s.at[i] >= 0x20 && s.at[i] < 0x7f) || s.at[i] == '\n' || s.at[i] == '\t' ? s.at[i]
			: s.at[i] == '\r'							  ? ' '
													  : '?');
	if (s.len > 0 && s.at[s.len - 1] != '\n')
		putchar('\n');
}

static void
on_fetch_told(void *me, struct channel *from, uint64_t id, const struct msg_fetch_told *m, const int *fd)
{
	struct client *c = me;
	struct fetch *f = c->me;
	struct json json = { .to = stdout };

	(void)from;
	(void)id;
	(void)fd;
	c->over = true;
	f->status = m->status == 0 ? EX_TEMPFAIL : EX_OK;
	if (f->as_json) {
		json_open(&json, NULL, '{');
		json_number(&json, "status", m->status);
		json_text(&json, "type", m->content_type);
		json_text(&json, "body", m->body);
		json_text(&json, "fault", m->fault);
		json_text(&json, "result", m->result);
		json_close(&json, '}');
		putchar('\n');
	} else if (m->status == 0) {
		(void)cmd_fail(EX_TEMPFAIL, "fetch: %.*s", SPAN_ARG(m->fault));
	} else {
		printf("%u %.*s\n", m->status, SPAN_ARG(m->content_type));
		print_safely(m->body);
	}
}

static int
run(struct invocation *v)
{
	struct fetch f = { .as_json = cmd_option(v, "--json") != NULL, .status = EX_TEMPFAIL };
	struct hearing h = client_hearing();
	struct client c = { .me = &f };
	struct span url = span_str(v->arguments[0]);
	int status;

	if (url.len > MOST_URL || !span_is_printable(url))
		return cmd_fail(EX_USAGE, "fetch: that is no URL");
	h.on_fetch_told = on_fetch_told;
	if ((status = client_reach(&c, v, PROGRAM_FETCH, &h)) != 0)
		return status;
	send_fetch_ask(c.channel, id_new(),
		&(struct msg_fetch_ask){ .url = url, .method = FETCH_GET, .most_bytes = MOST_FETCH_BODY,
			.milliseconds = SECONDS * 1000,
			.plain_allowed = cmd_option(v, "--plain") != NULL }, NULL);
	if (!client_wait(&c, ANSWER_MILLISECONDS))
		f.status = cmd_fail(EX_TEMPFAIL, "fetch did not answer");
	client_close(&c);
	return f.status;
}

const struct command cmd_fetch = {
	.words = "fetch",
	.arguments = "URL",
	.least = 1,
	.most = 1,
	.help = "ask a web server, as this suite does for policies of other domains",
	.options = options,
	.run = run,
};
