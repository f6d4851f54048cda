/* milter-say - what a filter is told, stage by stage; see milter-talk-inside.h. */
#include "smtpd/milter-talk-inside.h"

#include <string.h>

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
	t->since = talk_now();
	talk_set_clock(t, talk_patience(t));
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
		talk_fail(t, "a field is too long for it");
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
		talk_fail(t, "the message cannot be read");
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

bool
talk_say_next(struct talk *t)
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
