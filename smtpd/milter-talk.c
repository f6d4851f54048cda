/*
 * milter-talk - see milter-talk.h.
 *
 * step() does what can be done: it sends what waits, takes an answer that is there, says the next thing. It returns
 * when it must wait: for the socket, for a recipient or the message, or for ever, when the talk is over.
 */
#include "smtpd/milter-talk.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/milter-address.h"

#define OUT_MOST (4 * 1024 * 1024)
#define IN_PIECE 16384
#define CHANGES_MOST 100000          /* of one filter to one message */
#define ENVELOPE_CHANGES_MOST (1024 * 1024)  /* octets */
#define PROGRESS_FACTOR 4            /* "still working" prolongs the time, up to so many times */

enum stage {
	AT_CONNECTING, AT_NEGOTIATION, AT_CONNECT, AT_HELO, AT_MAIL, AT_RCPT, AT_DATA, AT_HEADER, AT_EOH, AT_BODY,
	AT_END, AT_ENDED,
};

struct talk {
	const struct milter_facts *facts;
	struct milter_times times;
	void (*progress)(void *me);
	void *me;
	int fd;
	struct event readable, writable, clock;
	enum stage stage;
	bool awaits;                  /* an answer, to what was said at this stage */
	uint64_t since;               /* when it was said: milliseconds */
	size_t known, judged;         /* recipients */
	bool skip_recipients;
	struct milter_edit *edit;     /* NULL: the message is not there yet */
	size_t field;                 /* the next one to tell */
	uint64_t body;                /* octets told */
	bool skip_body, body_begins;
	unsigned int changes;
	uint32_t steps, actions;
	struct text macros;           /* what it wishes for */
	struct text in, out;
	size_t used;                  /* of `in`: the packet in hand */
	bool over;
	struct milter_outcome o;
};

static uint64_t
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- the end of it --- */

/* Goodbye, if it still listens; what it says to that is of no interest. */
static void
hang_up(struct talk *t)
{
	if (t->fd < 0)
		return;
	event_del(&t->readable);
	event_del(&t->writable);
	event_del(&t->clock);
	if (t->out.len == 0 && t->stage > AT_CONNECTING)
		(void)!send(t->fd, "\0\0\0\1Q", 5, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(t->fd);
	t->fd = -1;
}

static void
end(struct talk *t, enum milter_verdict verdict)
{
	if (t->over)
		return;
	t->over = true;
	t->o.verdict = verdict;
	hang_up(t);
}

static void
fail(struct talk *t, const char *fault)
{
	if (t->over)
		return;
	t->o.fault = fault;
	t->o.unreachable = t->o.unreachable || (t->fd >= 0 && t->stage == AT_CONNECTING);
	end(t, MILTER_FAILS);
}

static void
set_refusal(struct milter_refusal *r, unsigned int code, const char *status, struct span words)
{
	r->code = code;
	span_copy(span_str(status), r->status, sizeof(r->status));
	span_copy(words, r->words, sizeof(r->words));
}

/* --- time --- */

static void
set_clock(struct talk *t, unsigned int seconds)
{
	struct timeval wait = { .tv_sec = (time_t)seconds };

	event_add(&t->clock, &wait);
}

static unsigned int
patience(const struct talk *t)
{
	return t->stage == AT_END ? t->times.content : t->times.command;
}

/* It is still working: more time, but not for ever. */
static void
prolong(struct talk *t)
{
	if (now() - t->since > (uint64_t)patience(t) * 1000 * PROGRESS_FACTOR)
		fail(t, "it is in progress for too long");
	else
		set_clock(t, patience(t));
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

/* What stands behind the @. */
static struct span
host_of(struct span address)
{
	size_t at = address.len;

	while (at > 0 && address.at[at - 1] != '@')
		at--;
	return at == 0 ? SPAN_NONE : span_part(address, at, address.len);
}

/* The value of a macro, or nothing: with or without its braces. `address`: of this MAIL or RCPT. */
static struct span
macro(const struct talk *t, struct span name, struct span address, bool of_sender)
{
	const struct milter_facts *f = t->facts;
	const struct {
		const char *name;
		struct span value;
	} all[] = {
		{ "j", f->hostname }, { "daemon_name", f->service }, { "v", SPAN("Valija") },
		{ "client_addr", f->ip }, { "client_name", f->name.len > 0 ? f->name : SPAN("unknown") },
		{ "client_ptr", f->name.len > 0 ? f->name : SPAN("unknown") },
		{ "tls_version", f->tls_version }, { "cipher", f->tls_cipher }, { "i", f->id },
		{ "auth_authen", f->login }, { "auth_type", f->login.len > 0 ? SPAN("PLAIN") : SPAN_NONE },
		{ "mail_addr", of_sender ? address : f->sender }, { "mail_host", host_of(f->sender) },
		{ "f", f->sender },
		{ "rcpt_addr", of_sender ? SPAN_NONE : address },
		{ "rcpt_host", of_sender ? SPAN_NONE : host_of(address) },
	};

	if (name.len > 2 && name.at[0] == '{' && name.at[name.len - 1] == '}')
		name = span_part(name, 1, name.len - 2);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (span_equal(name, span_str(all[i].name)))
			return all[i].value;
	return SPAN_NONE;
}

static bool
take_name(struct span *in, struct span *name)
{
	size_t n = 0;

	while (in->len > 0 && (in->at[0] == ' ' || in->at[0] == ','))
		*in = span_part(*in, 1, in->len);
	while (n < in->len && in->at[n] != ' ' && in->at[n] != ',')
		n++;
	*name = span_part(*in, 0, n);
	*in = span_part(*in, n, in->len);
	return n > 0;
}

/* The macros before this command: those that the filter wished for, or those that Sendmail sends, as far as there is
 * something to tell. */
static void
say_macros(struct talk *t, enum milter_macro_stage stage, struct span address)
{
	static const struct {
		unsigned char command;
		const char *names;
	} usual[MACRO_STAGES] = {
		[MACROS_CONNECT] = { 'C', "j {daemon_name} v {client_addr} {client_name} {client_ptr}" },
		[MACROS_HELO] = { 'H', "{tls_version} {cipher}" },
		[MACROS_MAIL] = { 'M', "i {auth_type} {auth_authen} {mail_host} {mail_addr}" },
		[MACROS_RCPT] = { 'R', "{rcpt_host} {rcpt_addr}" },
		[MACROS_DATA] = { 'T', "i" }, [MACROS_END] = { 'E', "i" }, [MACROS_EOH] = { 'N', "i" },
	};
	struct text m = TEXT_UP_TO(8192);
	struct span names = span_str(usual[stage].names), name;

	(void)milter_macros_find(text_span(&t->macros), stage, &names);
	while (take_name(&names, &name)) {
		struct span value = macro(t, name, address, stage == MACROS_MAIL);

		if (value.len == 0)
			continue;
		text_add(&m, name);
		text_add_byte(&m, '\0');
		text_add(&m, value);
		text_add_byte(&m, '\0');
	}
	if (m.len > 0)
		say(t, 'D', (struct span[]){ span_of(&usual[stage].command, 1), text_span(&m) }, 2);
	text_clear(&m);
}

/* Something was said that the filter answers, unless it answers this with silence. */
static void
expect(struct talk *t, uint32_t silent)
{
	t->awaits = !(t->steps & silent);
	t->since = now();
	set_clock(t, patience(t));
}

/* --- the stages: each says one thing, or goes on to the next. False: there is nothing to say yet. --- */

static void
say_options(struct talk *t)
{
	static const unsigned char offer[12] = { 0, 0, 0, MILTER_VERSION, 0, 0, MILTER_ACTIONS >> 8,
		MILTER_ACTIONS & 0xff, MILTER_STEPS >> 24, (MILTER_STEPS >> 16) & 0xff,
		(MILTER_STEPS >> 8) & 0xff, MILTER_STEPS & 0xff };

	say(t, 'O', &(struct span){ offer, sizeof(offer) }, 1);
	expect(t, 0);
}

static void
say_connect(struct talk *t)
{
	const struct milter_facts *f = t->facts;
	bool six = span_has(f->ip, ':'), known = six || span_has(f->ip, '.');
	unsigned char family = six ? '6' : '4';
	struct text host = TEXT_UP_TO(300);

	if (f->name.len > 0) {
		text_add(&host, f->name);
	} else {
		text_add_byte(&host, '[');
		text_add(&host, f->ip);
		text_add_byte(&host, ']');
	}
	say_macros(t, MACROS_CONNECT, SPAN_NONE);
	if (known)
		say(t, 'C', (struct span[]){ text_span(&host), nul(), span_of(&family, 1), SPAN("\0\0"),
			six ? SPAN("IPv6:") : SPAN_NONE, f->ip, nul() }, 7);
	else
		say(t, 'C', (struct span[]){ text_span(&host), nul(), SPAN("U") }, 3);
	expect(t, MILTER_SILENT_CONNECT);
	text_clear(&host);
}

static bool
next_recipient(struct talk *t)
{
	struct milter_recipient *r;

	while (t->judged < t->known &&
	       (t->facts->recipient[t->judged].refused.code || t->skip_recipients || (t->steps & MILTER_NO_RCPT)))
		t->judged++;
	if (t->judged == t->known)
		return false;
	r = &t->facts->recipient[t->judged];
	say_macros(t, MACROS_RCPT, r->address);
	say(t, 'R', (struct span[]){ SPAN("<"), r->address, SPAN(">\0") }, 3);
	expect(t, MILTER_SILENT_RCPT);
	if (!t->awaits)
		t->judged++;
	return true;
}

static void
next_field(struct talk *t)
{
	struct text value = TEXT_UP_TO(MILTER_HEADER_MOST);
	struct span name, v;

	while (t->field < t->edit->count && t->edit->field[t->field].name == 0)
		t->field++;
	if (t->field >= t->edit->count) {
		t->stage = AT_EOH;
		return;
	}
	milter_edit_value(t->edit, t->field++, &name, &value);
	v = text_span(&value);
	if (!(t->steps & MILTER_LEADING_SPACE) && v.len > 0 && v.at[0] == ' ')
		v = span_part(v, 1, v.len);
	say(t, 'L', (struct span[]){ name, nul(), v, nul() }, 4);
	/* One longer than a packet may be: for another program to judge. */
	if (v.len < MILTER_PACKET_MOST)
		expect(t, MILTER_SILENT_HEADER);
	else
		fail(t, "a field is too long for it");
	text_clear(&value);
}

static void
next_body(struct talk *t)
{
	static unsigned char piece[MILTER_CHUNK];
	ssize_t n = t->skip_body || (t->steps & MILTER_NO_BODY)
		? 0
		: milter_edit_body_read(t->edit, piece, sizeof(piece), t->body);

	if (n < 0) {
		fail(t, "the message cannot be read");
	} else if (n == 0) {
		t->stage = AT_END;
	} else {
		t->body += (uint64_t)n;
		say(t, 'B', (struct span[]){ span_of(piece, (size_t)n) }, 1);
		expect(t, MILTER_SILENT_BODY);
	}
}

/* What is said once at a stage. */
static void
say_once(struct talk *t, uint32_t unwanted)
{
	if (t->steps & unwanted) {
		t->stage++;
		return;
	}
	switch (t->stage) {
	case AT_CONNECT:
		say_connect(t);
		break;
	case AT_HELO:
		say_macros(t, MACROS_HELO, SPAN_NONE);
		say(t, 'H', (struct span[]){ t->facts->helo, nul() }, 2);
		expect(t, MILTER_SILENT_HELO);
		break;
	case AT_MAIL:
		say_macros(t, MACROS_MAIL, t->facts->sender);
		say(t, 'M', (struct span[]){ SPAN("<"), t->facts->sender, SPAN(">\0") }, 3);
		expect(t, MILTER_SILENT_MAIL);
		break;
	case AT_DATA:
		say_macros(t, MACROS_DATA, SPAN_NONE);
		say(t, 'T', NULL, 0);
		expect(t, MILTER_SILENT_DATA);
		break;
	default: /* AT_EOH */
		say_macros(t, MACROS_EOH, SPAN_NONE);
		say(t, 'N', NULL, 0);
		expect(t, MILTER_SILENT_EOH);
		break;
	}
	if (!t->awaits)
		t->stage++;
}

/* False: nothing can be said now. */
static bool
say_next(struct talk *t)
{
	switch (t->stage) {
	case AT_CONNECTING:
		t->stage = AT_NEGOTIATION;
		say_options(t);
		return true;
	case AT_CONNECT:
		say_once(t, MILTER_NO_CONNECT);
		return true;
	case AT_HELO:
		say_once(t, MILTER_NO_HELO);
		return true;
	case AT_MAIL:
		say_once(t, MILTER_NO_MAIL);
		return true;
	case AT_RCPT:
		if (next_recipient(t))
			return true;
		if (!t->edit)
			return false;
		t->stage = AT_DATA;
		return true;
	case AT_DATA:
		say_once(t, MILTER_NO_DATA);
		return true;
	case AT_HEADER:
		if (t->steps & MILTER_NO_HEADERS)
			t->stage = AT_EOH;
		else
			next_field(t);
		return true;
	case AT_EOH:
		say_once(t, MILTER_NO_EOH);
		return true;
	case AT_BODY:
		next_body(t);
		return true;
	case AT_END:
		say_macros(t, MACROS_END, SPAN_NONE);
		say(t, 'E', NULL, 0);
		expect(t, 0);
		return true;
	case AT_NEGOTIATION:
	case AT_ENDED:
		break;
	}
	return false;
}

/* --- what is heard --- */

static void
hear_options(struct talk *t, const struct milter_reply *r)
{
	const char *why = "it does not negotiate";
	struct span macros;

	if (r->command != 'O' || !milter_options_parse(r->data, &t->actions, &t->steps, &macros, &why)) {
		fail(t, why);
		return;
	}
	text_add(&t->macros, macros);
	t->stage = AT_CONNECT;
}

/* "550 5.7.1 words", as a refusal. False: the code is none. */
static bool
read_code(struct span data, struct milter_refusal *refusal)
{
	struct text words = TEXT_UP_TO(MILTER_WORDS_MOST);
	struct span status;
	unsigned int code;
	bool good = milter_code_parse(data, &code, &status, &words);

	if (good) {
		set_refusal(refusal, code, code >= 500 ? "5.7.1" : "4.7.1",
			words.len > 0 ? text_span(&words) : SPAN("refused"));
		if (status.len > 0)
			span_copy(status, refusal->status, sizeof(refusal->status));
	}
	text_clear(&words);
	return good;
}

/* Is it a refusal, and which? */
static bool
hear_refusal(struct talk *t, const struct milter_reply *r, struct milter_refusal *refusal)
{
	switch (r->command) {
	case 'r':
		set_refusal(refusal, 550, "5.7.1", SPAN("refused"));
		return true;
	case 't':
	case 'f':
		set_refusal(refusal, 451, "4.7.1", SPAN("try again later"));
		return true;
	case '4':
		set_refusal(refusal, 421, "4.7.0", SPAN("try again later"));
		return true;
	case 'y':
		if (read_code(r->data, refusal))
			return true;
		fail(t, "it answered with a code that is none");
		return false;
	default:
		return false;
	}
}

/* One wish of the filter at the end. */

static void
change_quarantine(struct talk *t, struct span data)
{
	struct span why = span_part(data, 0, span_index(data, '\0'));
	size_t n = 0;

	for (size_t i = 0; i < why.len && n < sizeof(t->o.quarantine) - 1; i++)
		t->o.quarantine[n++] = why.at[i] < 0x20 || why.at[i] > 0x7e ? '?' : (char)why.at[i];
	if (n == 0)
		span_copy(SPAN("a filter"), t->o.quarantine, sizeof(t->o.quarantine));
	else
		t->o.quarantine[n] = '\0';
}

static void
change_envelope(struct talk *t, enum milter_change change, struct span data)
{
	struct span address, parameters;

	if (!milter_envelope_parse(data, &address, &parameters) ||
	    (change != CHANGE_SENDER && address.len == 0)) {
		fail(t, "it sent a malformed address");
		return;
	}
	text_add_byte(&t->o.envelope, (unsigned char)change);
	text_add(&t->o.envelope, address);
	text_add_byte(&t->o.envelope, '\0');
	text_add(&t->o.envelope, parameters);
	text_add_byte(&t->o.envelope, '\0');
	if (t->o.envelope.failed)
		fail(t, "it changes too much");
}

static void
change_header(struct talk *t, const struct milter_reply *r)
{
	bool lead = (t->steps & MILTER_LEADING_SPACE) != 0, good;
	struct span name, value;
	uint32_t index;

	if (!milter_header_parse(r->data, r->command != 'h', &index, &name, &value)) {
		fail(t, "it sent a malformed header field");
		return;
	}
	if (r->command == 'h')
		good = milter_edit_add(t->edit, name, value, lead);
	else if (r->command == 'i')
		good = milter_edit_insert(t->edit, index, name, value, lead);
	else
		good = milter_edit_change(t->edit, index, name, value, lead);
	if (!good)
		fail(t, "its header is too large");
}

static uint32_t
action_of(unsigned char command)
{
	switch (command) {
	case 'b':
		return MILTER_CHANGE_BODY;
	case 'm':
		return MILTER_CHANGE_HEADERS;
	case 'q':
		return MILTER_QUARANTINE;
	case 'e':
		return MILTER_CHANGE_SENDER;
	case '+':
		return MILTER_ADD_RECIPIENTS;
	case '2':
		return MILTER_ADD_RECIPIENTS_PAR;
	case '-':
		return MILTER_DELETE_RECIPIENTS;
	case 'h':
	case 'i':
		return MILTER_ADD_HEADERS | MILTER_CHANGE_HEADERS;
	default:
		return 0;
	}
}

/* False: it is no change. */
static bool
hear_change(struct talk *t, const struct milter_reply *r)
{
	uint32_t needs = action_of(r->command);

	if (needs == 0)
		return false;
	if (!(t->actions & needs)) {
		fail(t, "it changes what it did not announce");
		return true;
	}
	if (++t->changes > CHANGES_MOST) {
		fail(t, "it changes too much");
		return true;
	}
	t->o.touched = true;
	switch (r->command) {
	case 'b':
		if (!milter_edit_body(t->edit, r->data, t->body_begins))
			fail(t, "its body is too large");
		t->body_begins = false;
		break;
	case 'q':
		change_quarantine(t, r->data);
		break;
	case 'e':
		change_envelope(t, CHANGE_SENDER, r->data);
		break;
	case '+':
	case '2':
		change_envelope(t, CHANGE_ADD, r->data);
		break;
	case '-':
		change_envelope(t, CHANGE_REMOVE, r->data);
		break;
	default:
		change_header(t, r);
		break;
	}
	return true;
}

/* "No more of these." */
static bool
hear_skip(struct talk *t)
{
	if (!(t->steps & MILTER_SKIP))
		return false;
	if (t->stage == AT_RCPT)
		t->skip_recipients = true;
	else if (t->stage == AT_HEADER)
		t->stage = AT_EOH;
	else if (t->stage == AT_BODY)
		t->skip_body = true;
	else
		return false;
	return true;
}

/* The filter has said yes to what was said last. */
static void
go_on(struct talk *t)
{
	if (t->stage == AT_RCPT)
		t->judged++;
	else if (t->stage == AT_END)
		end(t, MILTER_TAKES);
	else if (t->stage != AT_HEADER && t->stage != AT_BODY)
		t->stage++;
}

static void
hear(struct talk *t, const struct milter_reply *r)
{
	struct milter_refusal refusal = { .code = 0 };

	if (r->command == 'p') {
		prolong(t);
		return;
	}
	if (t->stage == AT_END && hear_change(t, r)) {
		if (!t->over)
			set_clock(t, patience(t));
		return;
	}
	t->awaits = false;
	event_del(&t->clock);
	if (t->stage == AT_NEGOTIATION) {
		hear_options(t, r);
	} else if (r->command == 'c' || (r->command == 's' && hear_skip(t))) {
		if (r->command == 'c' || t->stage == AT_RCPT)
			go_on(t);
	} else if (r->command == 'a') {
		end(t, MILTER_TAKES);
	} else if (r->command == 'd') {
		end(t, MILTER_DISCARDS);
	} else if (hear_refusal(t, r, &refusal)) {
		/* One recipient, and no more than that; unless it wants to be rid of us. */
		if (t->stage == AT_RCPT && r->command != '4' && r->command != 'f') {
			t->facts->recipient[t->judged++].refused = refusal;
			return;
		}
		t->o.refusal = refusal;
		end(t, MILTER_REFUSES);
	} else {
		fail(t, "it answered with what is no answer here");
	}
}

/* --- the socket --- */

/* False: it must be waited for, or all is over. */
static bool
send_out(struct talk *t)
{
	while (t->out.len > 0) {
		ssize_t n = send(t->fd, t->out.at, t->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			text_drop(&t->out, (size_t)n);
		} else if (errno == EAGAIN) {
			event_add(&t->writable, NULL);
			return false;
		} else if (errno != EINTR) {
			fail(t, "the connection broke");
			return false;
		}
	}
	return true;
}

/* One packet, whose data is good until the next call. False: none yet, or all is over. */
static bool
take_packet(struct talk *t, struct milter_reply *r)
{
	static unsigned char piece[IN_PIECE];
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
		if (broken) {
			fail(t, "it sent a packet of an impossible length");
			return false;
		}
		n = recv(t->fd, piece, sizeof(piece), MSG_DONTWAIT);
		if (n > 0) {
			text_add(&t->in, span_of(piece, (size_t)n));
		} else if (n < 0 && errno == EAGAIN) {
			event_add(&t->readable, NULL);
			return false;
		} else if (n == 0 || errno != EINTR) {
			fail(t, n == 0 ? "it closed the connection" : "the connection broke");
			return false;
		}
	}
}

static void
step(struct talk *t)
{
	struct milter_reply r;

	while (!t->over) {
		if (!send_out(t))
			return;
		if (t->awaits) {
			if (!take_packet(t, &r))
				return;
			hear(t, &r);
		} else if (!say_next(t)) {
			event_del(&t->clock);
			return;
		}
	}
}

static void
on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct talk *t = arg;
	int error = 0;
	socklen_t size = sizeof(error);

	(void)what;
	if (t->stage == AT_CONNECTING && (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error != 0))
		fail(t, strerror(error));
	step(t);
	t->progress(t->me);
}

static void
on_clock(evutil_socket_t fd, short what, void *arg)
{
	struct talk *t = arg;

	(void)fd;
	(void)what;
	fail(t, t->stage == AT_CONNECTING ? "the connection takes too long" : "it does not answer in time");
	t->progress(t->me);
}

/* --- the owner's side --- */

/* A socket that is connected, or will be; -1 with errno. */
static int
connect_to(struct span filter)
{
	struct sockaddr_storage to;
	socklen_t len;
	int fd, error;

	if (!milter_address_parse(filter, &to, &len)) {
		errno = EINVAL;
		return -1;
	}
	fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&to, len) == 0 || errno == EINPROGRESS)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

struct talk *
talk_new(struct event_base *base, struct span address, const struct milter_facts *facts,
	struct milter_times times, void (*progress)(void *me), void *me)
{
	struct talk *t = must_alloc(sizeof(*t));

	t->facts = facts;
	t->times = times;
	t->progress = progress;
	t->me = me;
	t->body_begins = true;
	t->in = TEXT_UP_TO(MILTER_PACKET_MOST + 65536);
	t->out = TEXT_UP_TO(OUT_MOST);
	t->macros = TEXT_UP_TO(MILTER_PACKET_MOST);
	t->o.envelope = TEXT_UP_TO(ENVELOPE_CHANGES_MOST);
	t->fd = -1;
	if (address.len == 0) {
		fail(t, "it was not reachable a moment ago");
		return t;
	}
	t->fd = connect_to(address);
	if (t->fd < 0) {
		t->o.unreachable = true;
		fail(t, strerror(errno));
		return t;
	}
	event_assign(&t->readable, base, t->fd, EV_READ, on_socket, t);
	event_assign(&t->writable, base, t->fd, EV_WRITE, on_socket, t);
	event_assign(&t->clock, base, -1, 0, on_clock, t);
	event_add(&t->writable, NULL);
	set_clock(t, times.connect);
	return t;
}

void
talk_free(struct talk **talk)
{
	struct talk *t = *talk;

	*talk = NULL;
	if (!t)
		return;
	hang_up(t);
	text_clear(&t->in);
	text_clear(&t->out);
	text_clear(&t->macros);
	text_clear(&t->o.envelope);
	free(t);
}

/* Something new is there to say; while an answer is awaited, the socket leads on. */
static void
resume(struct talk *t)
{
	if (t->stage > AT_NEGOTIATION && !t->awaits && !t->over)
		step(t);
}

size_t
talk_recipients(struct talk *t, size_t known)
{
	t->known = known;
	resume(t);
	return t->judged;
}

void
talk_message(struct talk *t, struct milter_edit *e)
{
	if (t->edit || t->over)
		return;
	t->edit = e;
	t->field = e->hidden;
	resume(t);
}

const struct milter_outcome *
talk_outcome(const struct talk *t)
{
	return t->over ? &t->o : NULL;
}

void
talk_give_up(struct talk *t, const char *fault)
{
	fail(t, fault);
}
