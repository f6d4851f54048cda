/*
 * cmd-queue - lists the messages that wait in the queue. The queue daemon itself is asked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "common/id.h"
#include "master/client.h"
#include "master/json.h"

static const struct option_row options[] = {
	{ "--json", NULL, "as JSON", false },
	{ NULL, NULL, NULL, false },
};

struct queue_listing {
	struct json json;
	bool as_json, complete, inside; /* inside: an entry of the JSON is open */
	uint32_t messages;
	int fd; /* the channel to queue that master made, or -1 */
	int status;
};

/* --- what master says --- */

static void
on_command_connected(void *me, struct channel *from, uint64_t id,
	const struct msg_command_connected *m, const int *fd)
{
	struct client *c = me;
	struct queue_listing *l = c->me;

	(void)from;
	(void)id;
	(void)m;
	l->fd = fd[0];
	c->over = true;
}

static void
on_command_told(void *me, struct channel *from, uint64_t id, const struct msg_command_told *m,
	const int *fd)
{
	struct client *c = me;

	(void)from;
	(void)id;
	(void)fd;
	cmd_complain(m->reason);
	c->over = true;
}

/* --- what queue says --- */

static void
end_entry(struct queue_listing *l)
{
	if (l->inside) {
		json_close(&l->json, ']');
		json_close(&l->json, '}');
	}
	l->inside = false;
}

/* Foreign text on a terminal: printable, or '?'. */
static void
show(struct span s)
{
	bool utf8 = span_is_utf8(s);

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = s.at[i];
		bool c1 = utf8 && c == 0xc2 && i + 1 < s.len && s.at[i + 1] < 0xa0;

		putchar(c < 0x20 || c == 0x7f || c1 || (c >= 0x80 && !utf8) ? '?' : c);
	}
}

static void
show_time(uint64_t seconds)
{
	time_t t = (time_t)seconds;
	struct tm tm;
	char text[32] = "-";

	if (localtime_r(&t, &tm))
		strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
	printf("%s", text);
}

static void
on_queue_entry(
	void *me, struct channel *from, uint64_t id, const struct msg_queue_entry *m, const int *fd)
{
	struct queue_listing *l = ((struct client *)me)->me;

	(void)from;
	(void)id;
	(void)fd;
	if (!l->as_json) {
		printf("%s %-8.*s ", id_name(m->message).str, SPAN_ARG(m->state));
		show_time(m->arrived);
		printf(" %10llu  <", (unsigned long long)m->size);
		show(m->sender);
		puts(">");
		return;
	}
	end_entry(l);
	json_open(&l->json, NULL, '{');
	json_text(&l->json, "message", span_str(id_name(m->message).str));
	json_text(&l->json, "state", m->state);
	json_number(&l->json, "arrived", (int64_t)m->arrived);
	json_number(&l->json, "size", (int64_t)m->size);
	json_text(&l->json, "sender", m->sender);
	json_open(&l->json, "recipients", '[');
	l->inside = true;
}

static void
on_queue_entry_recipient(void *me, struct channel *from, uint64_t id,
	const struct msg_queue_entry_recipient *m, const int *fd)
{
	struct queue_listing *l = ((struct client *)me)->me;

	(void)from;
	(void)id;
	(void)fd;
	if (!l->as_json) {
		printf("    <");
		show(m->address);
		printf(">  ");
		show(m->reason);
		putchar('\n');
	} else if (l->inside) {
		json_open(&l->json, NULL, '{');
		json_text(&l->json, "address", m->address);
		json_text(&l->json, "reason", m->reason);
		json_close(&l->json, '}');
	}
}

static void
on_queue_end(
	void *me, struct channel *from, uint64_t id, const struct msg_queue_end *m, const int *fd)
{
	struct client *c = me;
	struct queue_listing *l = c->me;

	(void)from;
	(void)id;
	(void)fd;
	l->messages = m->messages;
	l->complete = c->over = true;
}

/* --- */

/* A channel to queue, or -1 after saying why not. */
static int
connect_queue(const struct invocation *v, struct queue_listing *l)
{
	struct hearing h = client_hearing();
	struct client c = { .me = l };

	h.on_command_connected = on_command_connected;
	h.on_command_told = on_command_told;
	l->status = EX_TEMPFAIL;
	if (!client_open(&c, &v->paths, &h)) {
		l->status = client_absent(v);
		return -1;
	}
	send_command_connect(
		c.channel, 0, &(struct msg_command_connect){ .program = PROGRAM_QUEUE }, NULL);
	client_wait(&c, ANSWER_MILLISECONDS);
	client_close(&c);
	return l->fd;
}

static void
list(struct queue_listing *l)
{
	struct hearing h = client_hearing();
	struct client c = { .me = l };

	h.on_queue_entry = on_queue_entry;
	h.on_queue_entry_recipient = on_queue_entry_recipient;
	h.on_queue_end = on_queue_end;
	c.channel = channel_new(NULL, l->fd, PROGRAM_COMMAND, PROGRAM_QUEUE, 0, &h, &c);
	if (l->as_json)
		json_open(&l->json, NULL, '[');
	send_queue_list(c.channel, id_new(), &(struct msg_queue_list){}, NULL);
	client_wait(&c, ANSWER_MILLISECONDS);
	client_close(&c);
	if (l->as_json) {
		end_entry(l);
		json_close(&l->json, ']');
		putchar('\n');
	} else if (l->complete) {
		printf("%u message%s in the queue\n", l->messages, l->messages == 1 ? "" : "s");
	}
	l->status = l->complete ? EX_OK : cmd_fail(EX_TEMPFAIL, "queue did not answer to the end");
}

static int
run(struct invocation *v)
{
	struct queue_listing l = {
		.json = { .to = stdout }, .as_json = cmd_option(v, "--json") != NULL, .fd = -1
	};

	if (v->argument_count && strcmp(v->arguments[0], "list") != 0)
		return cmd_fail(EX_USAGE, "queue %s: there is only `queue list`", v->arguments[0]);
	if (connect_queue(v, &l) >= 0)
		list(&l);
	return l.status;
}

const struct command cmd_queue = {
	.words = "queue",
	.arguments = "[list]",
	.most = 1,
	.help = "list the messages in the queue, with recipients and reasons",
	.options = options,
	.run = run,
};
