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

static int
run(struct invocation *v)
{
	struct mailq q = { 0 };
	struct hearing h = client_hearing();
	struct client c = { .me = &q };
	int status;

	h.on_queue_entry = on_queue_entry;
	h.on_queue_entry_recipient = on_queue_entry_recipient;
	h.on_queue_end = on_queue_end;
	status = client_reach(&c, v, PROGRAM_QUEUE, &h);
	if (status != EX_OK)
		return status;
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
