/*
 * cmd-mailq - lists the queue as `mailq` does elsewhere, for people and scripts that know Postfix's
 * listing. `valija queue` tells more.
 */
#include <stdio.h>
#include <sysexits.h>
#include <time.h>

#include "common/id.h"
#include "common/log.h"
#include "master/client.h"

struct mailq {
	uint64_t bytes;
	uint32_t messages;
	bool complete;
	int fd; /* the channel to queue that master made, or -1 */
};

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
on_command_connected(void *me, struct channel *from, uint64_t id,
	const struct msg_command_connected *m, const int *fd)
{
	struct client *c = me;

	(void)from;
	(void)id;
	(void)m;
	((struct mailq *)c->me)->fd = fd[0];
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

static void
on_queue_entry(
	void *me, struct channel *from, uint64_t id, const struct msg_queue_entry *m, const int *fd)
{
	struct mailq *q = ((struct client *)me)->me;
	time_t t = (time_t)m->arrived;
	struct tm tm;
	char when[40] = "-";
	/* '*': being delivered; '!': held. */
	char mark = span_equal(m->state, SPAN("active")) ? '*'
		: span_equal(m->state, SPAN("held"))	 ? '!'
							 : ' ';

	(void)from;
	(void)id;
	(void)fd;
	if (q->messages++ == 0)
		puts("-Queue ID-----  --Size-- ----Arrival Time---- -Sender/Recipient-------");
	else
		putchar('\n');
	q->bytes += m->size;
	if (localtime_r(&t, &tm))
		strftime(when, sizeof when, "%a %b %e %H:%M:%S", &tm);
	printf("%s%c %8llu %s  ", id_name(m->message).str, mark, (unsigned long long)m->size, when);
	show(m->sender.len ? m->sender : SPAN("MAILER-DAEMON"));
	putchar('\n');
}

static void
on_queue_entry_recipient(void *me, struct channel *from, uint64_t id,
	const struct msg_queue_entry_recipient *m, const int *fd)
{
	(void)me;
	(void)from;
	(void)id;
	(void)fd;
	if (m->reason.len) {
		putchar('(');
		show(m->reason);
		puts(")");
	}
	printf("%45s", "");
	show(m->address);
	putchar('\n');
}

static void
on_queue_end(
	void *me, struct channel *from, uint64_t id, const struct msg_queue_end *m, const int *fd)
{
	struct client *c = me;

	(void)from;
	(void)id;
	(void)m;
	(void)fd;
	((struct mailq *)c->me)->complete = c->over = true;
}

/* A channel to queue in q->fd. 0, or an exit code after saying why not. */
static int
connect_queue(const struct invocation *v, struct mailq *q)
{
	struct hearing h = client_hearing();
	struct client c = { .me = q };

	h.on_command_connected = on_command_connected;
	h.on_command_told = on_command_told;
	if (!client_open(&c, &v->paths, &h))
		return client_absent(v);
	send_command_connect(
		c.channel, 0, &(struct msg_command_connect){ .program = PROGRAM_QUEUE }, NULL);
	client_wait(&c, ANSWER_MILLISECONDS);
	client_close(&c);
	return q->fd >= 0 ? 0 : EX_TEMPFAIL;
}

static int
run(struct invocation *v)
{
	struct mailq q = { .fd = -1 };
	struct hearing h = client_hearing();
	struct client c = { .me = &q };
	int status = connect_queue(v, &q);

	if (status != 0)
		return status;
	h.on_queue_entry = on_queue_entry;
	h.on_queue_entry_recipient = on_queue_entry_recipient;
	h.on_queue_end = on_queue_end;
	c.channel = channel_new(NULL, q.fd, PROGRAM_COMMAND, PROGRAM_QUEUE, 0, &h, &c);
	send_queue_list(c.channel, id_new(), &(struct msg_queue_list){}, NULL);
	client_wait(&c, ANSWER_MILLISECONDS);
	client_close(&c);
	if (!q.complete)
		return cmd_fail(EX_TEMPFAIL, "queue did not answer to the end");
	if (q.messages == 0)
		puts("Mail queue is empty");
	else
		printf("\n-- %llu Kbytes in %u Request%s.\n",
			(unsigned long long)((q.bytes + 1023) / 1024), q.messages,
			q.messages == 1 ? "" : "s");
	return EX_OK;
}

const struct command cmd_mailq = {
	.words = "mailq",
	.arguments = "",
	.help = "list the queue as mailq(1) does elsewhere",
	.run = run,
};
