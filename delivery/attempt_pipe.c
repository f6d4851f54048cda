/* attempt_pipe - what an attempt delivers to commands and files of aliases, by master; see attempt_inside.h. */
#include "attempt_inside.h"

#include "pipe_name.h"
#include "relaying.h"

#include <fcntl.h>
#include <sysexits.h>

#define PIPE_RELAY SPAN("pipe")

/* What its exit status means, as sysexits.h has it; what that does not know is a failure. */
static const struct {
	uint8_t status, outcome;
	uint16_t code;
	const char *dsn, *reason;
} meanings[] = {
	{ EX_OK,          DONE,  250, "2.0.0", "Message delivered" },
	{ EX_DATAERR,     NEVER, 550, "5.6.0", "The command cannot use this message" },
	{ EX_NOUSER,      NEVER, 550, "5.1.1", "The command knows no such user" },
	{ EX_NOHOST,      NEVER, 550, "5.1.2", "The command knows no such host" },
	{ EX_UNAVAILABLE, NEVER, 550, "5.3.0", "The command refuses this message" },
	{ EX_OSERR,       LATER, 451, "4.3.0", "The command failed for now" },
	{ EX_CANTCREAT,   NEVER, 550, "5.2.0", "The command cannot create what it needs" },
	{ EX_IOERR,       LATER, 451, "4.3.0", "The command failed for now" },
	{ EX_TEMPFAIL,    LATER, 451, "4.3.0", "The command failed for now" },
	{ EX_PROTOCOL,    NEVER, 550, "5.5.0", "The command failed" },
	{ EX_NOPERM,      NEVER, 550, "5.7.0", "The command does not permit this" },
	{ EX_CONFIG,      NEVER, 550, "5.3.5", "The command is not configured for this" },
};

static void
over(struct queue *q, struct attempt *a, uint32_t i, struct verdict v)
{
	(void)q;
	relayed_one(a, i, v, PIPE_RELAY, false, NOT_AWAY);
}

/* Return-Path and Delivered-To, as into a mailbox (RFC 5321 4.4), and the lines that came with the message. */
static void
prefix_of(const struct envelope *e, const struct envelope_recipient *r, struct text *to)
{
	text_add_str(to, "Return-Path: <");
	text_add(to, r->sender.len > 0 ? r->sender : e->sender);
	text_add_str(to, ">\r\nDelivered-To: ");
	text_add(to, r->address);
	text_add_str(to, "\r\n");
	text_add(to, e->top);
}

/* False: it could not be told master. */
static bool
run_one(struct queue *q, struct attempt *a, uint32_t i)
{
	const struct envelope *e = &a->file.envelope;
	const struct envelope_recipient *r = &e->recipient[i];
	struct text prefix = TEXT_UP_TO(MOST_PREFIX);
	struct msg_pipe_run m = { .number = r->number, .address = r->address,
		.given = r->given.len > 0 ? r->given : r->address,
		.sender = r->sender.len > 0 ? r->sender : e->sender };
	bool sent = false;
	int fd;

	prefix_of(e, r, &prefix);
	m.prefix = text_span(&prefix);
	if (!prefix.failed && pipe_name_take(r->home, &m.alias, &m.member) &&
		(fd = fcntl(a->message, F_DUPFD_CLOEXEC, 0)) >= 0)
		sent = send_pipe_run(q->daemon.master, e->id, &m, &fd);
	text_clear(&prefix);
	return sent;
}

void
attempt_pipe(struct queue *q, struct attempt *a)
{
	for (uint32_t i = 0; i < a->file.envelope.count; i++) {
		if (a->place[i].leads != LEADS_PIPE || a->result[i].known)
			continue;
		if (q->pipes >= MOST_PIPES) {
			relayed_one(a, i, V_BUSY, PIPE_RELAY, false, BUSY);
		} else if (run_one(q, a, i)) {
			a->pipes++;
			q->pipes++;
		} else {
			over(q, a, i, V_LATER);
		}
	}
}

/* The command's first words go along: they are for the sender. */
static struct verdict
verdict_of(const struct msg_pipe_told *m, struct text *reason)
{
	struct verdict v = VERDICT_IS(NEVER, 550, "5.3.0", "The command failed");

	switch (m->result) {
	case PIPE_ENDED:
		for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
			if (meanings[i].status == m->status)
				v = (struct verdict){ meanings[i].outcome, meanings[i].code,
					span_str(meanings[i].dsn), span_str(meanings[i].reason) };
		break;
	case PIPE_GONE:
		return V_UNKNOWN_USER;
	case PIPE_FORBIDDEN:
		return V_NOT_ALLOWED;
	default:
		v = V_LATER;
	}
	text_add(reason, v.reason);
	if (v.outcome != DONE && m->said.len > 0) {
		text_add_str(reason, ": ");
		text_add(reason, span_part(m->said, 0, MOST_REASON - reason->len));
	}
	v.reason = text_span(reason);
	return v;
}

void
attempt_pipe_told(struct queue *q, uint64_t id, const struct msg_pipe_told *m)
{
	struct conversation *c = idmap_get(&q->conversations, id);
	struct attempt *a = c != NULL && c->kind == ATTEMPT ? attempt_of(c) : NULL;
	struct text reason = TEXT_UP_TO(MOST_REASON);
	uint32_t i = 0;

	if (a == NULL || a->step != RELAYING || a->pipes == 0)
		return;
	while (i < a->file.envelope.count &&
		(a->file.envelope.recipient[i].number != m->number || a->place[i].leads != LEADS_PIPE))
		i++;
	if (i == a->file.envelope.count || a->result[i].known)
		return;
	over(q, a, i, verdict_of(m, &reason));
	text_clear(&reason);
	a->pipes--;
	q->pipes--;
	if (attempt_is_through(a))
		attempt_over(q, a);
}
