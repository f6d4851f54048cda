/* milter-hear - what a filter answers, and what it wants changed; see milter-talk-inside.h. */
#include "smtpd/milter-talk-inside.h"

#include <string.h>

#define CHANGES_MOST 10000           /* of one filter to one message */

static void
set_refusal(struct milter_refusal *r, unsigned int code, const char *status, struct span words)
{
	r->code = code;
	span_copy(span_str(status), r->status, sizeof(r->status));
	span_copy(words, r->words, sizeof(r->words));
}

static void
hear_options(struct talk *t, const struct milter_reply *r)
{
	const char *why = "it does not negotiate";
	struct span macros;

	if (r->command != 'O' || !milter_options_parse(r->data, &t->actions, &t->steps, &macros, &why)) {
		talk_fail(t, why);
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
		talk_fail(t, "it answered with a code that is none");
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
		talk_fail(t, "it sent a malformed address");
		return;
	}
	text_add_byte(&t->o.envelope, (unsigned char)change);
	text_add(&t->o.envelope, address);
	text_add_byte(&t->o.envelope, '\0');
	text_add(&t->o.envelope, parameters);
	text_add_byte(&t->o.envelope, '\0');
	if (t->o.envelope.failed)
		talk_fail(t, "it changes too much");
}

static void
change_header(struct talk *t, const struct milter_reply *r)
{
	bool lead = (t->steps & MILTER_LEADING_SPACE) != 0, good;
	struct span name, value;
	uint32_t index;

	if (!milter_header_parse(r->data, r->command != 'h', &index, &name, &value)) {
		talk_fail(t, "it sent a malformed header field");
		return;
	}
	if (r->command == 'h')
		good = milter_edit_add(t->edit, name, value, lead);
	else if (r->command == 'i')
		good = milter_edit_insert(t->edit, index, name, value, lead);
	else
		good = milter_edit_change(t->edit, index, name, value, lead);
	if (!good)
		talk_fail(t, "its header is too large");
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
		talk_fail(t, "it changes what it did not announce");
		return true;
	}
	if (++t->changes > CHANGES_MOST) {
		talk_fail(t, "it changes too much");
		return true;
	}
	t->o.touched = true;
	switch (r->command) {
	case 'b':
		if (!milter_edit_body(t->edit, r->data, t->body_begins))
			talk_fail(t, "its body is too large");
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
		talk_end(t, MILTER_TAKES);
	else if (t->stage != AT_HEADER && t->stage != AT_BODY)
		t->stage++;
}

void
talk_hear(struct talk *t, const struct milter_reply *r)
{
	struct milter_refusal refusal = { .code = 0 };

	if (r->command == 'p') {
		talk_prolong(t);
		return;
	}
	if (t->stage == AT_END && hear_change(t, r)) {
		if (!t->over)
			talk_set_clock(t, talk_patience(t));
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
		talk_end(t, MILTER_TAKES);
	} else if (r->command == 'd') {
		talk_end(t, MILTER_DISCARDS);
	} else if (hear_refusal(t, r, &refusal)) {
		/* One recipient, and no more than that; unless it wants to be rid of us. */
		if (t->stage == AT_RCPT && r->command != '4' && r->command != 'f') {
			t->facts->recipient[t->judged++].refused = refusal;
			return;
		}
		t->o.refusal = refusal;
		talk_end(t, MILTER_REFUSES);
	} else {
		talk_fail(t, "it answered with what is no answer here");
	}
}
