/*
 * cmd-mailq - lists the queue as `mailq` does elsewhere, for people and scripts that know Postfix's
 * listing: byte for byte what its postqueue -p prints with long queue ids. `valija queue` tells more.
 */
#include <stdio.h>
#include <sysexits.h>
#include <time.h>

#include "common/id.h"
#include "common/log.h"
#include "common/text.h"
#include "master/client.h"

#define LINE_FORMAT "%-17s %8s %-19s "
#define REASON_COLUMN 76 /* where the reason ends that fits */
#define NO_REASON SPAN("not tried yet") /* what queue says then, and Postfix does not */

struct mailq {
	uint64_t bytes;
	uint32_t messages;
	struct text reason; /* was told last, of this message */
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
	char when[40] = "-", marked[40], size[24];
	struct tm tm;
	/* '*': being delivered; '!': held. */
	char mark = span_equal(m->state, SPAN("active")) ? '*'
		: span_equal(m->state, SPAN("held"))	 ? '!'
							 : ' ';

	(void)from;
	(void)id;
	(void)fd;
	if (q->messages++ == 0)
		printf(LINE_FORMAT "%s\n", "----Queue ID-----", "--Size--", "---Arrival Time----", "--Sender/Recipient------");
	else
		putchar('\n');
	text_reset(&q->reason);
	q->bytes += m->size;
	if (localtime_r(&t, &tm))
		strftime(when, sizeof when, "%a %b %e %H:%M:%S", &tm);
	snprintf(marked, sizeof marked, "%s%c", id_name(m->message).str, mark);
	snprintf(size, sizeof size, "%llu", (unsigned long long)m->size);
	printf(LINE_FORMAT, marked, size, when);
	show(m->sender.len ? m->sender : SPAN("MAILER-DAEMON"));
	putchar('\n');
}

/* A reason stands before the recipients whose it is. */
static void
on_queue_entry_recipient(void *me, struct channel *from, uint64_t id,
	const struct msg_queue_entry_recipient *m, const int *fd)
{
	struct mailq *q = ((struct client *)me)->me;
	struct span reason = span_equal(m->reason, NO_REASON) ? SPAN("") : m->reason;

	(void)from;
	(void)id;
	(void)fd;
	if (!span_equal(reason, text_span(&q->reason)) && reason.len) {
		printf("%*s(", reason.len < REASON_COLUMN ? REASON_COLUMN - (int)reason.len : 0, "");
		show(reason);
		puts(")");
	}
	text_reset(&q->reason);
	text_add(&q->reason, reason);
	printf(LINE_FORMAT, "", "", "");
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
	struct mailq q = { .reason = TEXT_UP_TO(MOST_REASON) };
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
	text_clear(&q.reason);
	if (!q.complete)
		return cmd_fail(EX_TEMPFAIL, "queue did not answer to the end");
	if (q.messages == 0)
		puts("Mail queue is empty");
	else
		printf("\n-- %llu Kbytes in %u Request%s.\n",
			(unsigned long long)(q.bytes / 1024), q.messages,
			q.messages == 1 ? "" : "s");
	return EX_OK;
}

const struct command cmd_mailq = {
	.words = "mailq",
	.arguments = "",
	.help = "list the queue as mailq(1) does elsewhere",
	.run = run,
};
