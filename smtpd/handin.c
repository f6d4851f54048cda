/*
 * handin - see handin.h.
 */
#include "smtpd/handin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GREETING, EHLO, MAIL, RCPT, BDAT, RSET };

/* One whole reply: its code, the enhanced code, the words of its last line. */
struct reply {
	unsigned int code;
	struct span lines, last;
};

void
handin_init(struct handin *h, const struct drop *envelope, uint64_t size, enum handin_mode mode)
{
	*h = (struct handin){
		.out = TEXT_UP_TO(64 * 1024),
		.in = TEXT_UP_TO(HANDIN_REPLY_MOST),
		.envelope = envelope,
		.size = size,
		.mode = mode,
	};
}

void
handin_clear(struct handin *h)
{
	text_clear(&h->out);
	text_clear(&h->in);
	free(h->refusal);
	h->refusal = NULL;
	h->refusals = 0;
}

static void
end(struct handin *h, enum outcome outcome)
{
	if (h->over)
		return;
	h->over = true;
	h->outcome = outcome;
	text_add_str(&h->out, "QUIT\r\n");
}

static void
note(struct handin *h, size_t recipient, unsigned int code, struct span words)
{
	struct handin_refusal *r;
	size_t len = words.len < HANDIN_REASON_MOST ? words.len : HANDIN_REASON_MOST;

	h->refusal = must_realloc(h->refusal, (h->refusals + 1) * sizeof(*h->refusal));
	r = &h->refusal[h->refusals++];
	r->recipient = recipient;
	r->code = code;
	for (size_t i = 0; i < len; i++)
		r->reason[i] = words.at[i] < 0x20 || words.at[i] > 0x7e ? '?' : (char)words.at[i];
	r->reason[len] = '\0';
}

/* What a former transaction committed is never sent again: only the rest has failed. */
static void
rest_failed(struct handin *h, unsigned int code, struct span words)
{
	for (size_t i = h->committed; i < h->envelope->count; i++)
		note(h, i, code, words);
	end(h, NEVER);
}

void
handin_lost(struct handin *h, const char *why)
{
	if (h->over)
		return;
	if (h->committed > 0) {
		rest_failed(h, 0, span_str(why));
		return;
	}
	note(h, SIZE_MAX, 0, span_str(why));
	end(h, LATER);
}

/* --- what is said --- */

static void
put_xtext(struct text *to, struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = s.at[i];

		if (c > 0x20 && c < 0x7f && c != '+' && c != '=')
			text_add_byte(to, c);
		else
			text_printf(to, "+%02X", c);
	}
}

static bool
is_ascii(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] > 0x7f)
			return false;
	return true;
}

static bool
needs_utf8(const struct drop *d)
{
	if (!is_ascii(d->sender))
		return true;
	for (size_t i = 0; i < d->count; i++)
		if (!is_ascii(d->recipient[i]))
			return true;
	return false;
}

static void
say_mail(struct handin *h)
{
	const struct drop *d = h->envelope;

	h->stage = MAIL;
	h->accepted = 0;
	text_add_str(&h->out, "MAIL FROM:<");
	text_add(&h->out, d->sender);
	text_add_str(&h->out, "> SIZE=");
	text_add_number(&h->out, h->size);
	if (d->eight_bit)
		text_add_str(&h->out, " BODY=8BITMIME");
	if (needs_utf8(d))
		text_add_str(&h->out, " SMTPUTF8");
	if (h->has_dsn && d->ret.len > 0) {
		text_add_str(&h->out, " RET=");
		text_add(&h->out, d->ret);
	}
	if (h->has_dsn && d->envid.len > 0) {
		text_add_str(&h->out, " ENVID=");
		put_xtext(&h->out, d->envid);
	}
	text_add_str(&h->out, "\r\n");
}

static void
say_rcpt(struct handin *h)
{
	const struct drop *d = h->envelope;

	h->stage = RCPT;
	text_add_str(&h->out, "RCPT TO:<");
	text_add(&h->out, d->recipient[h->next]);
	text_add_byte(&h->out, '>');
	if (h->has_dsn && d->notify.len > 0) {
		text_add_str(&h->out, " NOTIFY=");
		text_add(&h->out, d->notify);
	}
	text_add_str(&h->out, "\r\n");
}

static void
say_bdat(struct handin *h)
{
	h->stage = BDAT;
	text_add_str(&h->out, "BDAT ");
	text_add_number(&h->out, h->size);
	text_add_str(&h->out, " LAST\r\n");
	h->wants_message = true;
}

void
handin_message_sent(struct handin *h)
{
	h->wants_message = false;
}

/* --- what is heard --- */

static void
refused(struct handin *h, const struct reply *r)
{
	if (h->committed > 0) {
		rest_failed(h, r->code, r->last);
		return;
	}
	note(h, SIZE_MAX, r->code, r->last);
	end(h, r->code >= 500 && r->code < 600 ? NEVER : LATER);
}

static void
on_ehlo(struct handin *h, const struct reply *r)
{
	struct span lines = r->lines, line;
	bool chunking = false;

	if (r->code != 250) {
		refused(h, r);
		return;
	}
	while (span_take_until(&lines, '\n', &line)) {
		line = span_part(line, 4, line.len > 5 ? line.len - 5 : 0);
		chunking = chunking || span_equal_nocase(line, SPAN("CHUNKING"));
		h->has_dsn = h->has_dsn || span_equal_nocase(line, SPAN("DSN"));
	}
	if (chunking)
		say_mail(h);
	else
		handin_lost(h, "the server does not take chunks");
}

/* Everybody has been asked, and who was accepted has the message. In a later transaction some may have been refused: then
 * who wants all or nothing must hear of them, though the others have it. */
static void
all_said(struct handin *h)
{
	end(h, h->mode == HANDIN_ALL && h->refusals > 0 ? NEVER : DONE);
}

/* Every recipient of this transaction was asked. */
static void
recipients_end(struct handin *h)
{
	bool refusals = h->refusals > 0, first = h->committed == 0;

	h->group_end = h->next;
	/* Without a message nothing of it stays. */
	if (h->mode == HANDIN_VERIFY)
		end(h, refusals ? NEVER : DONE);
	else if (first && (h->accepted == 0 || (refusals && h->mode == HANDIN_ALL)))
		end(h, NEVER);
	else if (h->accepted == 0)
		all_said(h);
	else
		say_bdat(h);
}

static void
on_rcpt(struct handin *h, const struct reply *r)
{
	/* Full: the others get a transaction of their own. */
	if (r->code == 452 && span_starts_nocase(span_part(r->last, 4, 5), SPAN("4.5.3")) &&
	    h->accepted > 0) {
		recipients_end(h);
		return;
	}
	if (r->code >= 400 && r->code < 500) {
		refused(h, r);
		return;
	}
	if (r->code >= 200 && r->code < 300)
		h->accepted++;
	else
		note(h, h->next, r->code, r->last);
	h->next++;
	if (h->next < h->envelope->count)
		say_rcpt(h);
	else
		recipients_end(h);
}

static void
on_bdat(struct handin *h, const struct reply *r)
{
	size_t at;

	if (r->code != 250) {
		refused(h, r);
		return;
	}
	h->committed = h->group_end;
	if (h->next < h->envelope->count) {
		say_mail(h);
		return;
	}
	at = span_find(r->last, SPAN(" as "));
	(void)span_copy(span_part(r->last, at + 4, r->last.len), h->id, sizeof(h->id));
	all_said(h);
}

static void
on_reply(struct handin *h, const struct reply *r)
{
	if (h->over)
		return;
	switch (h->stage) {
	case GREETING:
		if (r->code != 220) {
			refused(h, r);
			return;
		}
		h->stage = EHLO;
		text_add_str(&h->out, "EHLO localhost\r\n");
		return;
	case EHLO:
		on_ehlo(h, r);
		return;
	case MAIL:
		if (r->code == 250)
			say_rcpt(h);
		else
			refused(h, r);
		return;
	case RCPT:
		on_rcpt(h, r);
		return;
	default:
		on_bdat(h, r);
		return;
	}
}

/* Takes one whole reply from the front. False: not there yet; *malformed: it never will be. */
static bool
take_reply(struct span *in, struct reply *r, bool *malformed)
{
	struct span left = *in, line;

	while (span_take_until(&left, '\n', &line)) {
		if (line.len < 4 || line.at[line.len - 1] != '\r' || line.at[0] < '2' ||
		    line.at[0] > '5' || line.at[1] < '0' || line.at[1] > '9' || line.at[2] < '0' ||
		    line.at[2] > '9' || (line.len > 4 && line.at[3] != ' ' && line.at[3] != '-')) {
			*malformed = true;
			return false;
		}
		if (line.len > 4 && line.at[3] == '-')
			continue;
		r->code = (unsigned int)(line.at[0] - '0') * 100 +
			(unsigned int)(line.at[1] - '0') * 10 + (unsigned int)(line.at[2] - '0');
		r->lines = span_part(*in, 0, in->len - left.len);
		r->last = span_part(line, 0, line.len - 1);
		*in = left;
		return true;
	}
	return false;
}

void
handin_feed(struct handin *h, struct span in)
{
	struct reply r;
	struct span left;
	bool malformed = false;

	text_add(&h->in, in);
	left = text_span(&h->in);
	while (!h->over && take_reply(&left, &r, &malformed))
		on_reply(h, &r);
	if (!h->over && (malformed || h->in.failed))
		handin_lost(h, "the server's answer is malformed or too long");
	text_drop(&h->in, h->in.len - left.len);
}
