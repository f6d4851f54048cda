/*
 * reply - see reply.h.
 */
#include "smtpd/reply.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/outcome.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"

struct slot {
	enum reply_kind kind;
	uint32_t number;
	char *address;         /* of an awaited RCPT */
	struct text lines;     /* of a REPLY_READY */
};

struct replies {
	struct slot slot[REPLIES_MOST];
	size_t first, count;
};

static struct slot *
slot_at(const struct replies *r, size_t i)
{
	return (struct slot *)(uintptr_t)&r->slot[(r->first + i) % REPLIES_MOST];
}

/* --- verdicts --- */

static bool
status_fits(struct span status, unsigned char class)
{
	if (status.len < 5 || status.len > MOST_STATUS || status.at[0] != class ||
		status.at[1] != '.')
		return false;
	for (size_t i = 0; i < status.len; i++)
		if (status.at[i] != '.' && (status.at[i] < '0' || status.at[i] > '9'))
			return false;
	return true;
}

void
verdict_set(struct verdict *v, unsigned int code, const char *status, const char *reason)
{
	v->good = code < 400;
	v->code = code;
	span_copy(span_str(status), v->status, sizeof(v->status));
	span_copy(span_str(reason), v->reason, sizeof(v->reason));
}

void
verdict_read(
	struct verdict *v, uint8_t outcome, uint16_t code, struct span status, struct span reason)
{
	size_t n;

	if (outcome == DONE)
		verdict_set(v, 250, "2.0.0", "done");
	else if (outcome == NEVER)
		verdict_set(v, 550, "5.0.0", "refused");
	else
		verdict_set(v, 451, "4.3.0", "try again later");
	if (code / 100 == v->code / 100 && code < 600)
		v->code = code;
	if (status_fits(status, (unsigned char)v->status[0]))
		span_copy(status, v->status, sizeof(v->status));
	if (reason.len == 0)
		return;
	/* RFC 5321 4.2: replies are ASCII; a reason may hold an address that is not. */
	for (n = 0; n < reason.len && n < MOST_REASON; n++)
		v->reason[n] =
			reason.at[n] < 0x20 || reason.at[n] > 0x7e ? '?' : (char)reason.at[n];
	v->reason[n] = '\0';
}

/* --- saying --- */

static void
put_line(struct text *to, unsigned int code, const char *status, const char *words)
{
	size_t start = to->len;

	text_printf(to, "%u ", code);
	if (status) {
		text_add_str(to, status);
		text_add_byte(to, ' ');
	}
	text_add(to, span_part(span_str(words), 0, REPLY_LINE_MOST - 2 - (to->len - start)));
	text_add_str(to, "\r\n");
}

void
answer_lines(struct session *s, struct span lines)
{
	struct replies *r = s->replies;

	if (s->stage == STAGE_CLOSING)
		return;
	if (r && r->count == REPLIES_MOST) {
		/* Cannot be: no command is taken while they are full. Losing the order would be
		 * worse. */
		session_drop(s, "too many answers");
		return;
	}
	if (r) {
		struct slot *slot = slot_at(r, r->count++);

		*slot = (struct slot){ .kind = REPLY_READY, .lines = TEXT_UP_TO(OUTPUT_MOST) };
		text_add(&slot->lines, lines);
		return;
	}
	text_add(&s->output, lines);
	if (s->output.failed)
		session_drop(s, "does not read its answers");
}

void
answer(struct session *s, unsigned int code, const char *status, const char *words)
{
	struct text line = TEXT_UP_TO(REPLY_LINE_MOST);

	put_line(&line, code, status, words);
	answer_lines(s, text_span(&line));
	text_clear(&line);
}

/* `sender`: of a MAIL that is refused, which has no transaction of its own yet. */
static void
log_refusal(struct session *s, const struct verdict *v, struct span sender, struct span recipient)
{
	const struct transaction *t = s->mail;

	/* What is refused as a whole is so for each; the first one stands for them. */
	if (recipient.len == 0 && sender.len == 0 && t)
		recipient = span_str(t->recipient);
	if (sender.len == 0 && t)
		sender = span_str(t->sender);
	log_info(s->id, "refused", KEY_STR("ip", s->ip),
		KEY_STR("service", service_name(s->service)), KEY_NUM("code", v->code),
		KEY_STR("status", v->status), KEY_STR("command", s->verb),
		KEY_ID("message", t ? t->id : 0), KEY_STR("reason", v->reason),
		KEY_STR("login", s->login), KEY_STR("helo", s->helo),
		KEY_SPAN("from", sender), KEY_SPAN("to", recipient));
}

static void
say_no(struct session *s, const struct verdict *v, struct span sender, struct span recipient)
{
	/* An answer that finds no room ends the transaction, which `v` may belong to. */
	bool error = v->code >= 500;

	log_refusal(s, v, sender, recipient);
	answer(s, v->code, v->status, v->reason);
	if (error)
		session_count_error(s);
}

void
refuse_verdict(struct session *s, const struct verdict *v, struct span recipient)
{
	say_no(s, v, SPAN_NONE, recipient);
}

void
refuse_mail(struct session *s, const struct refusal *why, struct span sender)
{
	struct verdict v;

	verdict_set(&v, why->code, why->status, why->reason);
	say_no(s, &v, sender, SPAN_NONE);
}

void
refuse_for(struct session *s, const struct refusal *why, struct span recipient)
{
	struct verdict v;

	verdict_set(&v, why->code, why->status, why->reason);
	refuse_verdict(s, &v, recipient);
}

void
refuse(struct session *s, unsigned int code, const char *status, const char *reason)
{
	refuse_for(s, &(struct refusal){ code, status, reason }, SPAN_NONE);
}

/* --- answers that queue owes --- */

void
replies_await(struct session *s, enum reply_kind kind, uint32_t number, struct span address)
{
	struct replies *r;
	struct slot *slot;

	if (!s->replies)
		s->replies = must_alloc(sizeof(*s->replies));
	r = s->replies;
	slot = slot_at(r, r->count++);
	*slot = (struct slot){.kind = kind, .number = number, .lines = TEXT_UP_TO(REPLY_LINE_MOST)};
	if (kind == REPLY_RCPT)
		slot->address = must_copy(address);
}

bool
replies_waiting(const struct session *s)
{
	return s->replies != NULL;
}

/* One place stays free for the answer to a command that is in hand. */
bool
replies_full(const struct session *s)
{
	return s->replies && s->replies->count >= REPLIES_MOST - 1;
}

static struct slot *
find_slot(const struct session *s, enum reply_kind kind, uint32_t number)
{
	if (!s->replies)
		return NULL;
	for (size_t i = 0; i < s->replies->count; i++) {
		struct slot *slot = slot_at(s->replies, i);

		if (slot->kind == kind && slot->number == number)
			return slot;
	}
	return NULL;
}

bool
replies_awaits(const struct session *s, enum reply_kind kind, uint32_t number)
{
	return find_slot(s, kind, number) != NULL;
}

struct span
replies_address(const struct session *s, uint32_t number)
{
	const struct slot *slot = find_slot(s, REPLY_RCPT, number);

	return slot ? span_str(slot->address) : SPAN_NONE;
}

static void
slot_clear(struct slot *slot)
{
	free(slot->address);
	slot->address = NULL;
	text_clear(&slot->lines);
}

/* Says what stands at the front and is known. */
static void
replies_advance(struct session *s)
{
	struct replies *r = s->replies;

	while (r->count > 0 && slot_at(r, 0)->kind == REPLY_READY) {
		struct slot *slot = slot_at(r, 0);

		text_add(&s->output, text_span(&slot->lines));
		slot_clear(slot);
		r->first = (r->first + 1) % REPLIES_MOST;
		r->count--;
	}
	if (r->count == 0) {
		free(r);
		s->replies = NULL;
	}
	if (s->output.failed)
		session_drop(s, "does not read its answers");
	session_check_errors(s);
	session_wake(s);
}

static void
slot_settle(
	struct session *s, struct slot *slot, const struct verdict *v, const struct refusal *good)
{
	s->verb = slot->kind == REPLY_MAIL ? "MAIL" : "RCPT";
	slot->kind = REPLY_READY;
	if (v->good) {
		put_line(&slot->lines, good->code, good->status, good->reason);
		return;
	}
	put_line(&slot->lines, v->code, v->status, v->reason);
	log_refusal(s, v, SPAN_NONE, span_str(slot->address));
	if (v->code >= 500)
		s->errors++;
}

void
replies_settle(struct session *s, enum reply_kind kind, uint32_t number, const struct verdict *v,
	const struct refusal *good)
{
	struct slot *slot = find_slot(s, kind, number);

	if (!slot)
		return;
	slot_settle(s, slot, v, good);
	replies_advance(s);
}

void
replies_settle_all(struct session *s, const struct verdict *v)
{
	if (!s->replies)
		return;
	for (size_t i = 0; i < s->replies->count; i++)
		if (slot_at(s->replies, i)->kind != REPLY_READY)
			slot_settle(s, slot_at(s->replies, i), v, NULL);
	replies_advance(s);
}

void
replies_clear(struct session *s)
{
	if (!s->replies)
		return;
	for (size_t i = 0; i < s->replies->count; i++)
		slot_clear(slot_at(s->replies, i));
	free(s->replies);
	s->replies = NULL;
}
