/*
 * cmd-queue - lists what waits in the queue, and gives orders about it. The queue daemon itself is
 * asked.
 */
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/id.h"
#include "common/outcome.h"
#include "master/client.h"
#include "master/json.h"

static const struct option_row options[] = {
	{ "--sender", "PATTERN", "messages from this sender: * and ? stand for others; \"<>\": none", false },
	{ "--recipient", "PATTERN", "with a waiting recipient like this", false },
	{ "--destination", "PATTERN", "with a waiting recipient in such a domain", false },
	{ "--reason", "TEXT", "that wait for a reason with this text in it", false },
	{ "--state", "STATE", "active, deferred or held", false },
	{ "--older", "AGE", "that came longer ago: 90s, 30m, 12h, 3d", false },
	{ "--younger", "AGE", "that came since", false },
	{ "--all", NULL, "all messages (for orders without any of these)", false },
	{ "--because", "TEXT", "hold: the reason that is noted", false },
	{ "--by", "WHAT", "top: destination (default), sender, recipient or reason", false },
	{ "--message", NULL, "show: the message, too", false },
	{ "--quiet", NULL, "orders: tell only what could not be done", false },
	{ "--json", NULL, "as JSON", false },
	{ NULL, NULL, NULL, false },
};

static const struct action_row {
	const char *word, *past;
	uint8_t action;
	bool needs_choice;           /* without id and selection it needs --all */
} actions[] = {
	{ "list", NULL, QUEUE_LIST, false },
	{ "show", NULL, QUEUE_SHOW, true },
	{ "top", NULL, QUEUE_LIST, false },
	{ "flush", "to be tried now", QUEUE_RETRY, false },
	{ "retry", "to be tried now", QUEUE_RETRY, true },
	{ "hold", "held", QUEUE_HOLD, true },
	{ "release", "released", QUEUE_RELEASE, true },
	{ "delete", "deleted", QUEUE_DELETE, true },
	{ "bounce", "given up", QUEUE_BOUNCE, true },
	{ "requeue", "requeued", QUEUE_REQUEUE, true },
};

struct talk {
	const struct action_row *row;
	const char *by;              /* top */
	bool as_json, want_message, quiet, complete;
	struct json json;
	bool inside, in_details;     /* an entry of the JSON is open; its second list */
	uint32_t messages, heard, refused;
	struct msg_queue_entry entry; /* the last; its texts are gone */
	void *sums;                  /* top: tree of struct sum */
	size_t sum_count;
	int status;
};

/* --- top: who and what fills the queue --- */

struct sum {
	uint64_t messages, bytes, hour, day, older; /* by age: under an hour, under a day, older */
	uint64_t last;                              /* the message that was counted last */
	char name[];
};

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct sum *)a)->name, ((const struct sum *)b)->name);
}

static void
sum_up(struct talk *t, struct span name)
{
	struct sum *s = must_alloc(sizeof *s + name.len + 1), **node;
	uint64_t now = (uint64_t)time(NULL), age = now > t->entry.arrived ? now - t->entry.arrived : 0;

	memcpy(s->name, name.at, name.len);
	for (char *c = s->name; strcmp(t->by, "reason") != 0 && *c; c++)
		*c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
	node = tsearch(s, &t->sums, by_name);
	if (!node)
		abort();
	if (*node != s)
		free(s);
	else
		t->sum_count++;
	s = *node;
	if (s->last == t->entry.message)
		return;
	s->last = t->entry.message;
	s->messages++;
	s->bytes += t->entry.size;
	*(age < 3600 ? &s->hour : age < 86400 ? &s->day : &s->older) += 1;
}

static struct sum **sorted;
static size_t sorted_count;

static void
collect(const void *node, VISIT visit, int depth)
{
	(void)depth;
	if (visit == postorder || visit == leaf)
		sorted[sorted_count++] = *(struct sum *const *)node;
}

static int
by_messages(const void *a, const void *b)
{
	const struct sum *x = *(struct sum *const *)a, *y = *(struct sum *const *)b;

	return x->messages != y->messages ? (x->messages < y->messages ? 1 : -1) : by_name(x, y);
}

static void show(struct span s);

static void
tell_sums(struct talk *t)
{
	sorted = must_alloc((t->sum_count + 1) * sizeof *sorted);
	twalk(t->sums, collect);
	qsort(sorted, sorted_count, sizeof *sorted, by_messages);
	if (!t->as_json && sorted_count > 0)
		printf("messages      < 1 h      < 1 d      older      bytes  %s\n", t->by);
	for (size_t i = 0; i < sorted_count; i++) {
		const struct sum *s = sorted[i];

		if (t->as_json) {
			json_open(&t->json, NULL, '{');
			json_text(&t->json, t->by, span_str(s->name));
			json_number(&t->json, "messages", (int64_t)s->messages);
			json_number(&t->json, "bytes", (int64_t)s->bytes);
			json_number(&t->json, "under_hour", (int64_t)s->hour);
			json_number(&t->json, "under_day", (int64_t)s->day);
			json_number(&t->json, "older", (int64_t)s->older);
			json_close(&t->json, '}');
			continue;
		}
		printf("%8llu %10llu %10llu %10llu %10llu  ", (unsigned long long)s->messages,
			(unsigned long long)s->hour, (unsigned long long)s->day,
			(unsigned long long)s->older, (unsigned long long)s->bytes);
		show(span_str(s->name));
		putchar('\n');
	}
	free(sorted);
	tdestroy(t->sums, free);
}

/* --- what queue says --- */

static void
end_entry(struct talk *t)
{
	if (t->inside) {
		json_close(&t->json, ']');
		json_close(&t->json, '}');
	}
	t->inside = t->in_details = false;
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
	struct talk *t = ((struct client *)me)->me;

	(void)from;
	(void)id;
	(void)fd;
	t->heard++;
	t->entry = *m;
	if (t->by) {
		if (strcmp(t->by, "sender") == 0)
			sum_up(t, m->sender.len ? m->sender : SPAN("<>"));
		return;
	}
	if (t->row->past)
		return;
	if (!t->as_json) {
		printf("%s %-8.*s ", id_name(m->message).str, SPAN_ARG(m->state));
		show_time(m->arrived);
		printf(" %10llu  <", (unsigned long long)m->size);
		show(m->sender);
		puts(">");
		return;
	}
	end_entry(t);
	json_open(&t->json, NULL, '{');
	json_text(&t->json, "message", span_str(id_name(m->message).str));
	json_text(&t->json, "state", m->state);
	json_number(&t->json, "arrived", (int64_t)m->arrived);
	json_number(&t->json, "size", (int64_t)m->size);
	json_text(&t->json, "sender", m->sender);
	json_open(&t->json, "recipients", '[');
	t->inside = true;
}

static void
on_queue_entry_recipient(void *me, struct channel *from, uint64_t id,
	const struct msg_queue_entry_recipient *m, const int *fd)
{
	struct talk *t = ((struct client *)me)->me;
	size_t at = span_rindex(m->address, '@');

	(void)from;
	(void)id;
	(void)fd;
	t->heard++;
	if (t->by) {
		if (strcmp(t->by, "destination") == 0)
			sum_up(t, at < m->address.len ? span_part(m->address, at + 1, m->address.len)
						      : m->address);
		else if (strcmp(t->by, "sender") != 0)
			sum_up(t, strcmp(t->by, "reason") == 0 ? m->reason : m->address);
	} else if (!t->as_json) {
		printf("    <");
		show(m->address);
		printf(">  ");
		show(m->reason);
		putchar('\n');
	} else if (t->inside) {
		json_open(&t->json, NULL, '{');
		json_text(&t->json, "address", m->address);
		json_text(&t->json, "reason", m->reason);
		json_close(&t->json, '}');
	}
}

static void
on_queue_detail(
	void *me, struct channel *from, uint64_t id, const struct msg_queue_detail *m, const int *fd)
{
	struct talk *t = ((struct client *)me)->me;

	(void)from;
	(void)id;
	(void)fd;
	t->heard++;
	if (t->as_json && t->inside) {
		if (!t->in_details) {
			json_close(&t->json, ']');
			json_open(&t->json, "details", '[');
		}
		t->in_details = true;
		json_open(&t->json, NULL, '{');
		json_text(&t->json, "name", m->name);
		json_text(&t->json, "value", m->value);
		json_close(&t->json, '}');
	} else if (!t->as_json) {
		printf("    %.*s: ", SPAN_ARG(m->name));
		show(m->value);
		putchar('\n');
	}
}

static void
on_queue_message(
	void *me, struct channel *from, uint64_t id, const struct msg_queue_message *m, const int *fd)
{
	struct talk *t = ((struct client *)me)->me;
	char piece[16384];
	ssize_t got;

	(void)from;
	(void)id;
	(void)m;
	if (t->want_message && !t->as_json) {
		putchar('\n');
		while ((got = read(fd[0], piece, sizeof piece)) > 0)
			fwrite(piece, 1, (size_t)got, stdout);
	}
	close(fd[0]);
}

static void
on_queue_done(
	void *me, struct channel *from, uint64_t id, const struct msg_queue_done *m, const int *fd)
{
	struct talk *t = ((struct client *)me)->me;
	bool done = m->outcome == DONE;

	(void)from;
	(void)id;
	(void)fd;
	t->heard++;
	t->refused += !done;
	if (t->as_json) {
		json_open(&t->json, NULL, '{');
		json_text(&t->json, "message", span_str(id_name(m->message).str));
		json_flag(&t->json, "done", done);
		if (!done)
			json_text(&t->json, "reason", m->reason);
		json_close(&t->json, '}');
	} else if (done && !t->quiet) {
		printf("%s %s\n", id_name(m->message).str, t->row->past);
	} else if (!done) {
		cmd_fail(0, "%s: not %s: %.*s", id_name(m->message).str, t->row->past,
			SPAN_ARG(m->reason));
	}
}

static void
on_queue_end(
	void *me, struct channel *from, uint64_t id, const struct msg_queue_end *m, const int *fd)
{
	struct client *c = me;
	struct talk *t = c->me;

	(void)from;
	(void)id;
	(void)fd;
	t->messages += m->messages;
	t->complete = c->over = true;
}

/* --- */

/* Seconds in "90s", "30m", "12h", "3d"; a bare number is seconds. False: none of these. */
static bool
age_read(const char *word, uint64_t *seconds)
{
	static const char units[] = "smhd";
	static const uint64_t factor[] = { 1, 60, 3600, 86400 };
	struct span in = span_str(word);
	const char *unit;

	if (!span_take_number(&in, 1000000000, seconds))
		return false;
	if (in.len == 0)
		return true;
	if (in.len != 1 || !(unit = strchr(units, in.at[0])))
		return false;
	*seconds *= factor[unit - units];
	return true;
}

static struct span
word(const struct invocation *v, const char *option)
{
	return span_str(cmd_option(v, option));
}

/* What the options select. False after complaining. */
static bool
selection(const struct invocation *v, struct msg_queue_select *s)
{
	const char *older = cmd_option(v, "--older"), *younger = cmd_option(v, "--younger"),
		   *state = cmd_option(v, "--state");

	s->sender = word(v, "--sender");
	s->recipient = word(v, "--recipient");
	s->destination = word(v, "--destination");
	s->reason = word(v, "--reason");
	s->state = word(v, "--state");
	s->note = word(v, "--because");
	if ((older && !age_read(older, &s->older)) || (younger && !age_read(younger, &s->younger)))
		cmd_fail(0, "an age is a number and s, m, h or d: 12h");
	else if (state && strcmp(state, "active") && strcmp(state, "deferred") && strcmp(state, "held"))
		cmd_fail(0, "a state is active, deferred or held");
	else if (s->sender.len > MOST_ADDRESS || s->recipient.len > MOST_ADDRESS ||
		 s->destination.len > MOST_HOST || s->reason.len > MOST_REASON ||
		 s->note.len > MOST_REASON)
		cmd_fail(0, "a pattern is too long");
	else
		return true;
	return false;
}

/* False: there is no queue to ask. */
static bool
ask(const struct invocation *v, struct talk *t, const struct msg_queue_select *s)
{
	struct hearing h = client_hearing();
	struct client c = { .me = t };
	uint32_t before;
	int reached;

	h.on_queue_entry = on_queue_entry;
	h.on_queue_entry_recipient = on_queue_entry_recipient;
	h.on_queue_detail = on_queue_detail;
	h.on_queue_message = on_queue_message;
	h.on_queue_done = on_queue_done;
	h.on_queue_end = on_queue_end;
	t->complete = false;
	reached = client_reach(&c, v, PROGRAM_QUEUE, &h);
	if (reached != EX_OK) {
		t->status = reached;
		return false;
	}
	send_queue_select(c.channel, id_new(), s, NULL);
	/* As long as it goes on telling. */
	do
		before = t->heard;
	while (!client_wait(&c, ANSWER_MILLISECONDS) && t->heard > before);
	client_close(&c);
	if (!t->complete)
		t->status = cmd_fail(EX_TEMPFAIL, "queue did not answer to the end");
	return true;
}

static const struct action_row *
find_action(const char *name)
{
	for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
		if (strcmp(actions[i].word, name) == 0)
			return &actions[i];
	return NULL;
}

static bool
is_open_choice(const struct invocation *v, const struct msg_queue_select *s)
{
	return v->argument_count < 2 && !s->sender.len && !s->recipient.len && !s->destination.len &&
		!s->reason.len && !s->state.len && !s->older && !s->younger &&
		!cmd_option(v, "--all");
}

static void
ask_all(const struct invocation *v, struct talk *t, struct msg_queue_select *s)
{
	t->status = EX_OK;
	for (int i = 1; i < v->argument_count || i == 1; i++) {
		s->message = 0;
		/* 0 would be all of them. */
		if (i < v->argument_count && (!id_parse(span_str(v->arguments[i]), &s->message) ||
						     s->message == 0)) {
			t->status = cmd_fail(EX_DATAERR, "%s is not the id of a message",
				v->arguments[i]);
			continue;
		}
		if (!ask(v, t, s))
			return;
	}
}

static int
run(struct invocation *v)
{
	struct talk t = { .json = { .to = stdout }, .as_json = cmd_option(v, "--json") != NULL,
		.want_message = cmd_option(v, "--message") != NULL,
		.quiet = cmd_option(v, "--quiet") != NULL };
	struct msg_queue_select s = { .action = QUEUE_LIST };

	t.row = find_action(v->argument_count ? v->arguments[0] : "list");
	if (!t.row)
		return cmd_fail(EX_USAGE,
			"queue %s: there are list, show, top, flush, retry, hold, release, delete, bounce, requeue",
			v->arguments[0]);
	s.action = t.row->action;
	if (!selection(v, &s))
		return EX_USAGE;
	/* What is under delivery is being tried; what is held is not meant. */
	if (strcmp(t.row->word, "flush") == 0 && !s.state.len)
		s.state = SPAN("deferred");
	if (t.row->needs_choice && is_open_choice(v, &s))
		return cmd_fail(EX_USAGE, "queue %s: which messages? An id, a selection, or --all",
			t.row->word);
	if (strcmp(t.row->word, "top") == 0) {
		t.by = cmd_option(v, "--by") ? cmd_option(v, "--by") : "destination";
		if (strcmp(t.by, "destination") && strcmp(t.by, "sender") &&
			strcmp(t.by, "recipient") && strcmp(t.by, "reason"))
			return cmd_fail(EX_USAGE,
				"--by takes destination, sender, recipient or reason");
	}
	if (t.as_json)
		json_open(&t.json, NULL, '[');
	ask_all(v, &t, &s);
	end_entry(&t);
	if (t.by)
		tell_sums(&t);
	if (t.as_json) {
		json_close(&t.json, ']');
		putchar('\n');
	} else if (t.complete && !t.row->past && s.action == QUEUE_LIST) {
		printf("%u message%s in the queue\n", t.messages, t.messages == 1 ? "" : "s");
	}
	if (t.status == EX_OK && v->argument_count > 1 && t.messages == 0)
		return cmd_fail(EX_NOINPUT, "no such message in the queue");
	return t.status == EX_OK && t.refused ? EX_TEMPFAIL : t.status;
}

const struct command cmd_queue = {
	.words = "queue",
	.arguments = "[list|show|top|flush|retry|hold|release|delete|bounce|requeue [ID ...]]",
	.most = 1000,
	.help = "list the messages in the queue, with recipients and reasons; give orders about them",
	.options = options,
	.run = run,
};
