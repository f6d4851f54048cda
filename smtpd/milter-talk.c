/*
 * milter-talk - see milter-talk.h.
 */
#include "smtpd/milter-talk.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define OUT_MOST (4 * 1024 * 1024)
#define CHANGES_MOST 100000          /* of one filter to one message */
#define PROGRESS_FACTOR 4            /* "still working" prolongs the time, up to so many times */

struct talk {
	int fd;
	const struct milter_facts *facts;
	struct milter_edit *edit;
	struct milter_outcome *o;
	unsigned int command_seconds, content_seconds;
	uint32_t steps, actions;
	struct text in, out;
	size_t used;                  /* of `in`: the packet in hand */
	bool over;                    /* verdict counts */
	enum milter_verdict verdict;
};

static uint64_t
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool
fail(struct talk *t, const char *fault)
{
	t->over = true;
	t->verdict = MILTER_FAILS;
	t->o->fault = fault;
	return false;
}

static bool
wait_for(struct talk *t, short what, uint64_t deadline)
{
	struct pollfd p = { .fd = t->fd, .events = what };

	for (;;) {
		uint64_t at = now();
		int ready = at >= deadline ? 0 : poll(&p, 1, (int)(deadline - at));

		if (ready > 0)
			return true;
		if (ready == 0)
			return fail(t, "it does not answer in time");
		if (errno != EINTR)
			return fail(t, "the connection broke");
	}
}

static bool
send_out(struct talk *t)
{
	uint64_t deadline = now() + (uint64_t)t->command_seconds * 1000;

	while (t->out.len > 0) {
		ssize_t n = send(t->fd, t->out.at, t->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			text_drop(&t->out, (size_t)n);
		else if (errno != EAGAIN && errno != EINTR)
			return fail(t, "the connection broke");
		else if (!wait_for(t, POLLOUT, deadline))
			return false;
	}
	return true;
}

/* One packet, by `deadline`; its data is good until the next call. */
static bool
hear(struct talk *t, struct milter_reply *r, uint64_t deadline)
{
	unsigned char piece[16384];
	bool broken = false;

	text_drop(&t->in, t->used);
	t->used = 0;
	for (;;) {
		struct span in = text_span(&t->in);
		ssize_t n;

		if (milter_packet_take(&in, r, &broken)) {
			t->used = t->in.len - in.len;
			return true;
		}
		if (broken)
			return fail(t, "it sent a packet of an impossible length");
		n = recv(t->fd, piece, sizeof(piece), MSG_DONTWAIT);
		if (n > 0)
			text_add(&t->in, span_of(piece, (size_t)n));
		else if (n == 0)
			return fail(t, "it closed the connection");
		else if (errno != EAGAIN && errno != EINTR)
			return fail(t, "the connection broke");
		else if (!wait_for(t, POLLIN, deadline))
			return false;
	}
}

/* --- what is said --- */

static void
say(struct talk *t, unsigned char command, const struct span *parts, size_t count)
{
	milter_packet_put(&t->out, command, parts, count);
}

static struct span
nul(void)
{
	return SPAN("\0");
}

static void
add_macro(struct text *to, const char *name, struct span value)
{
	if (value.len == 0)
		return;
	text_add_str(to, name);
	text_add_byte(to, '\0');
	text_add(to, value);
	text_add_byte(to, '\0');
}

/* The macros that Sendmail sends before this command, as far as there is something to tell. */
static void
say_macros(struct talk *t, unsigned char command, struct span address)
{
	const struct milter_facts *f = t->facts;
	struct text m = TEXT_UP_TO(8192);

	switch (command) {
	case 'C':
		add_macro(&m, "j", f->hostname);
		add_macro(&m, "{daemon_name}", f->service);
		add_macro(&m, "v", SPAN("Valija"));
		add_macro(&m, "{client_addr}", f->ip);
		add_macro(&m, "{client_name}", f->name.len > 0 ? f->name : SPAN("unknown"));
		break;
	case 'H':
		add_macro(&m, "{tls_version}", f->tls_version);
		add_macro(&m, "{cipher}", f->tls_cipher);
		break;
	case 'M':
		add_macro(&m, "i", f->id);
		add_macro(&m, "{auth_authen}", f->login);
		add_macro(&m, "{mail_addr}", address);
		break;
	case 'R':
		add_macro(&m, "{rcpt_addr}", address);
		break;
	default:
		add_macro(&m, "i", f->id);
		break;
	}
	if (m.len > 0)
		say(t, 'D', (struct span[]){ span_of(&command, 1), text_span(&m) }, 2);
	text_clear(&m);
}

/* --- verdicts --- */

static bool
refuse(struct talk *t, unsigned int code, const char *status, const char *words)
{
	t->over = true;
	t->verdict = MILTER_REFUSES;
	t->o->code = code;
	span_copy(span_str(status), t->o->status, sizeof(t->o->status));
	span_copy(span_str(words), t->o->words, sizeof(t->o->words));
	return false;
}

static bool
refuse_with(struct talk *t, struct span data)
{
	struct text words = TEXT_UP_TO(400);
	struct span status;
	unsigned int code;

	if (!milter_code_parse(data, &code, &status, &words)) {
		text_clear(&words);
		return fail(t, "it answered with a code that is none");
	}
	refuse(t, code, code >= 500 ? "5.7.1" : "4.7.1", words.len > 0 ? text_str(&words) : "refused");
	if (status.len > 0)
		span_copy(status, t->o->status, sizeof(t->o->status));
	text_clear(&words);
	return false;
}

static bool
take_all(struct talk *t, enum milter_verdict verdict)
{
	t->over = true;
	t->verdict = verdict;
	return false;
}

/* An answer that may come anywhere. True: go on. False: over. */
static bool
judge(struct talk *t, const struct milter_reply *r)
{
	switch (r->command) {
	case 'c':
		return true;
	case 'a':
		return take_all(t, MILTER_TAKES);
	case 'd':
		return take_all(t, MILTER_DISCARDS);
	case 'r':
		return refuse(t, 550, "5.7.1", "refused");
	case 't':
	case 'f':
		return refuse(t, 451, "4.7.1", "try again later");
	case '4':
		return refuse(t, 421, "4.7.0", "try again later");
	case 'y':
		return refuse_with(t, r->data);
	default:
		return fail(t, "it answered with what is no answer here");
	}
}

/* Says what waits, and hears the answer, unless the filter gives none to this. *skip: no more of
 * these. */
static bool
ask(struct talk *t, uint32_t silent, bool *skip)
{
	uint64_t begun = now(), deadline = begun + (uint64_t)t->command_seconds * 1000;
	struct milter_reply r;

	if (!send_out(t))
		return false;
	if (t->steps & silent)
		return true;
	do {
		if (!hear(t, &r, deadline))
			return false;
		deadline = now() + (uint64_t)t->command_seconds * 1000;
		if (now() - begun > (uint64_t)t->command_seconds * 1000 * PROGRESS_FACTOR)
			return fail(t, "it is in progress for too long");
	} while (r.command == 'p');
	if (skip && r.command == 's' && (t->steps & MILTER_SKIP)) {
		*skip = true;
		return true;
	}
	return judge(t, &r);
}

/* --- the stages --- */

static bool
negotiate(struct talk *t)
{
	static const unsigned char offer[12] = { 0, 0, 0, MILTER_VERSION, 0, 0, 0, MILTER_ACTIONS,
		MILTER_STEPS >> 24, (MILTER_STEPS >> 16) & 0xff, (MILTER_STEPS >> 8) & 0xff,
		MILTER_STEPS & 0xff };
	uint64_t deadline = now() + (uint64_t)t->command_seconds * 1000;
	struct milter_reply r;
	const char *why;

	say(t, 'O', &(struct span){ offer, sizeof(offer) }, 1);
	if (!send_out(t) || !hear(t, &r, deadline))
		return false;
	if (r.command != 'O')
		return fail(t, "it does not negotiate");
	return milter_options_parse(r.data, &t->actions, &t->steps, &why) || fail(t, why);
}

static bool
connect_stage(struct talk *t)
{
	const struct milter_facts *f = t->facts;
	bool six = span_has(f->ip, ':');
	unsigned char family = six ? '6' : '4';
	struct text host = TEXT_UP_TO(300);
	bool good;

	if (t->steps & MILTER_NO_CONNECT)
		return true;
	if (f->name.len > 0) {
		text_add(&host, f->name);
	} else {
		text_add_byte(&host, '[');
		text_add(&host, f->ip);
		text_add_byte(&host, ']');
	}
	say_macros(t, 'C', SPAN_NONE);
	say(t, 'C', (struct span[]){ text_span(&host), nul(), span_of(&family, 1), SPAN("\0\0"),
		six ? SPAN("IPv6:") : SPAN_NONE, f->ip, nul() }, 7);
	good = ask(t, MILTER_SILENT_CONNECT, NULL);
	text_clear(&host);
	return good;
}

static bool
helo_stage(struct talk *t)
{
	if (t->steps & MILTER_NO_HELO)
		return true;
	say_macros(t, 'H', SPAN_NONE);
	say(t, 'H', (struct span[]){ t->facts->helo, nul() }, 2);
	return ask(t, MILTER_SILENT_HELO, NULL);
}

static bool
mail_stage(struct talk *t)
{
	if (t->steps & MILTER_NO_MAIL)
		return true;
	say_macros(t, 'M', t->facts->sender);
	say(t, 'M', (struct span[]){ SPAN("<"), t->facts->sender, SPAN(">\0") }, 3);
	return ask(t, MILTER_SILENT_MAIL, NULL);
}

static bool
rcpt_stage(struct talk *t)
{
	for (size_t i = 0; i < t->facts->count && !(t->steps & MILTER_NO_RCPT); i++) {
		say_macros(t, 'R', t->facts->recipient[i]);
		say(t, 'R', (struct span[]){ SPAN("<"), t->facts->recipient[i], SPAN(">\0") }, 3);
		if (!ask(t, MILTER_SILENT_RCPT, NULL))
			return false;
	}
	return true;
}

static bool
data_stage(struct talk *t)
{
	if (t->steps & MILTER_NO_DATA)
		return true;
	say_macros(t, 'T', SPAN_NONE);
	say(t, 'T', NULL, 0);
	return ask(t, MILTER_SILENT_DATA, NULL);
}

static bool
header_stage(struct talk *t)
{
	struct text value = TEXT_UP_TO(MILTER_HEADER_MOST);
	bool skip = false, good = true;

	for (size_t i = t->edit->hidden; good && !skip && i < t->edit->count &&
				      !(t->steps & MILTER_NO_HEADERS); i++) {
		struct span name, v;

		if (t->edit->field[i].name == 0)
			continue;
		milter_edit_value(t->edit, i, &name, &value);
		v = text_span(&value);
		if (!(t->steps & MILTER_LEADING_SPACE) && v.len > 0 && v.at[0] == ' ')
			v = span_part(v, 1, v.len);
		say(t, 'L', (struct span[]){ name, nul(), v, nul() }, 4);
		/* One longer than a packet may be: for another program to judge. */
		good = v.len < MILTER_PACKET_MOST ? ask(t, MILTER_SILENT_HEADER, &skip)
						  : fail(t, "a field is too long for it");
	}
	text_clear(&value);
	if (!good || (t->steps & MILTER_NO_EOH))
		return good;
	say(t, 'N', NULL, 0);
	return ask(t, MILTER_SILENT_EOH, NULL);
}

static bool
body_stage(struct talk *t)
{
	static unsigned char piece[MILTER_CHUNK];
	bool skip = false;
	uint64_t at = 0;
	ssize_t n;

	while (!skip && !(t->steps & MILTER_NO_BODY)) {
		n = milter_edit_body_read(t->edit, piece, sizeof(piece), at);
		if (n < 0)
			return fail(t, "the message cannot be read");
		if (n == 0)
			return true;
		at += (uint64_t)n;
		say(t, 'B', (struct span[]){ span_of(piece, (size_t)n) }, 1);
		if (!ask(t, MILTER_SILENT_BODY, &skip))
			return false;
	}
	return true;
}

/* One wish of the filter at the end. */
static bool
change(struct talk *t, const struct milter_reply *r, bool *body_begins)
{
	bool lead = (t->steps & MILTER_LEADING_SPACE) != 0, good = true;
	uint32_t needs = r->command == 'b'   ? MILTER_CHANGE_BODY
		: r->command == 'm'	     ? MILTER_CHANGE_HEADERS
		: r->command == 'q'	     ? MILTER_QUARANTINE
					     : MILTER_ADD_HEADERS | MILTER_CHANGE_HEADERS;
	struct span name, value;
	uint32_t index;

	if (!(t->actions & needs))
		return fail(t, "it changes what it did not announce");
	t->o->touched = true;
	if (r->command == 'b') {
		good = milter_edit_body(t->edit, r->data, *body_begins);
		*body_begins = false;
		return good || fail(t, "its body is too large");
	}
	if (r->command == 'q') {
		struct span why = span_part(r->data, 0, span_index(r->data, '\0'));
		size_t n = 0;

		for (size_t i = 0; i < why.len && n < sizeof(t->o->quarantine) - 1; i++)
			t->o->quarantine[n++] =
				why.at[i] < 0x20 || why.at[i] > 0x7e ? '?' : (char)why.at[i];
		if (n == 0)
			span_copy(SPAN("a filter"), t->o->quarantine, sizeof(t->o->quarantine));
		else
			t->o->quarantine[n] = '\0';
		return true;
	}
	if (!milter_header_parse(r->data, r->command != 'h', &index, &name, &value))
		return fail(t, "it sent a malformed header field");
	if (r->command == 'h')
		good = milter_edit_add(t->edit, name, value, lead);
	else if (r->command == 'i')
		good = milter_edit_insert(t->edit, index, name, value, lead);
	else
		good = milter_edit_change(t->edit, index, name, value, lead);
	return good || fail(t, "its header is too large");
}

static bool
end_stage(struct talk *t)
{
	uint64_t begun = now(), deadline = begun + (uint64_t)t->content_seconds * 1000;
	struct milter_reply r;
	bool body_begins = true;

	say_macros(t, 'E', SPAN_NONE);
	say(t, 'E', NULL, 0);
	if (!send_out(t))
		return false;
	for (unsigned int changes = 0; hear(t, &r, deadline);) {
		if (r.command == 'p') {
			deadline = now() + (uint64_t)t->content_seconds * 1000;
			if (now() - begun > (uint64_t)t->content_seconds * 1000 * PROGRESS_FACTOR)
				return fail(t, "it is in progress for too long");
			continue;
		}
		if (r.command == '\0' || !strchr("hibmq", r.command))
			return judge(t, &r);
		if (++changes > CHANGES_MOST)
			return fail(t, "it changes too much");
		if (!change(t, &r, &body_begins))
			return false;
	}
	return false;
}

enum milter_verdict
milter_talk(int fd, const struct milter_facts *facts, struct milter_edit *e,
	unsigned int command_seconds, unsigned int content_seconds, struct milter_outcome *o)
{
	struct talk t = {
		.fd = fd,
		.facts = facts,
		.edit = e,
		.o = o,
		.command_seconds = command_seconds,
		.content_seconds = content_seconds,
		.in = TEXT_UP_TO(MILTER_PACKET_MOST + 65536),
		.out = TEXT_UP_TO(OUT_MOST),
		.verdict = MILTER_TAKES,
	};

	(void)(negotiate(&t) && connect_stage(&t) && helo_stage(&t) && mail_stage(&t) &&
		rcpt_stage(&t) && data_stage(&t) && header_stage(&t) && body_stage(&t) &&
		end_stage(&t));
	if (t.verdict != MILTER_FAILS) {
		/* Goodbye, if it still listens; what it says to that is of no interest. */
		text_reset(&t.out);
		say(&t, 'Q', NULL, 0);
		(void)!send(fd, t.out.at, t.out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	text_clear(&t.in);
	text_clear(&t.out);
	return t.verdict;
}
