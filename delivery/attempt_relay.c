/* attempt_relay - what an attempt gives to relay, and what is noted of it meanwhile; see
 * attempt_inside.h. */
#include "attempt_inside.h"

#include "relayhost.h"
#include "relaying.h"
#include "srs.h"

#include "common/beneath.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_LOOP_HEADER 65536           /* bytes in which Delivered-To lines are looked for */

void
relayed_one(void *me, uint32_t i, struct verdict v, struct span relay, bool relayed, enum away away)
{
	struct attempt *a = me;
	const struct envelope *e = &a->file.envelope;
	uint64_t now = (uint64_t)time(NULL);

	a->away |= away != NOT_AWAY;
	a->busy |= away == BUSY;
	result_set(a, i, v);
	a->result[i].untried = away != NOT_AWAY;
	a->result[i].relayed = relayed;
	if (away == NOT_AWAY)
		queue_log_recipient(e->session, e->id, e->recipient[i].address, e->recipient[i].given,
			relay.len > 0 ? relay : SPAN("none"), now > e->arrived ? (now - e->arrived) * 1000 : 0, v);
}

bool
attempt_is_through(const struct attempt *a)
{
	return !a->with_relay && a->pipes == 0;
}

void
relayed_all(void *me)
{
	struct attempt *a = me;

	a->with_relay = false;
	if (attempt_is_through(a))
		attempt_over(a->queue, a);
}

void
attempt_over(struct queue *q, struct attempt *a)
{
	a->all_relayed = true;
	if (a->noting)
		return;
	TAILQ_REMOVE(&q->relayings, a, relaying_next);
	q->relaying--;
	q->attempts++;
	attempt_conclude(q, a);
}

/* Records what is known, while the rest is still under way: a crash now would send it again. */
static void
attempt_note(struct queue *q, struct attempt *a)
{
	const struct envelope *e = &a->file.envelope;

	if (a->noting || a->all_relayed)
		return;
	free(a->record);
	a->record = must_alloc((e->count + 1) * sizeof(*a->record));
	a->records = 0;
	for (uint32_t i = 0; i < e->count; i++)
		if (a->result[i].known && a->result[i].verdict.outcome == DONE && is_news(a, i))
			a->record[a->records++] = i;
	a->noting = a->records > 0;
	if (a->noting)
		attempt_record(q, a);
}

void
note_over(struct attempt *a, bool done)
{
	a->noting = false;
	for (uint32_t n = 0; done && n < a->records; n++)
		a->result[a->record[n]].recorded = true;
	if (a->all_relayed)
		attempt_over(a->queue, a);
}

void
attempts_note(struct queue *q)
{
	struct attempt *a;

	TAILQ_FOREACH(a, &q->relayings, relaying_next)
		attempt_note(q, a);
}

bool
attempts_are_noting(const struct queue *q)
{
	const struct attempt *a;

	TAILQ_FOREACH(a, &q->relayings, relaying_next)
		if (a->noting)
			return true;
	return false;
}

/* The sender of forwarded mail: ours, behind which the true one stands (srs.h). */
static struct span
forwarded_sender(struct queue *q, struct attempt *a, const struct envelope_recipient *r, struct span sender)
{
	const struct settings *s = q->daemon.settings;
	struct text text = TEXT_UP_TO(MOST_ADDRESS);
	size_t at = span_rindex(sender, '@');

	if (a->srs != NULL || r->given.len == 0 || r->sender.len > 0 || !q->resolver.srs_known ||
		at >= sender.len || settings_is_local_domain(s, span_part(sender, at + 1, sender.len)))
		return a->srs != NULL && r->given.len > 0 && r->sender.len == 0 ? span_str(a->srs) : sender;
	if (srs_encode(sender, resolver_srs_domain(s), span_of(q->resolver.srs_key, SRS_KEY_SIZE),
		    (uint64_t)time(NULL) / 86400, &text))
		a->srs = must_copy(text_span(&text));
	text_clear(&text);
	return a->srs != NULL ? span_str(a->srs) : sender;
}

/* The header says that `given` has had this message before: whoever it was sent on to has sent it back (RFC 5321
 * 6.3). Only what is sent on is looked at: to come to a mailbox twice is no circle. */
static bool
goes_in_circles(struct attempt *a, struct span given)
{
	struct span head, line;
	ssize_t got;

	if (given.len == 0)
		return false;
	if (a->header == NULL) {
		a->header = must_alloc(MOST_LOOP_HEADER);
		got = read_at(a->message, a->header, MOST_LOOP_HEADER, 0);
		a->header_len = got < 0 ? 0 : (size_t)got;
	}
	head = span_of(a->header, a->header_len);
	while (span_take_until(&head, '\n', &line) && line.len > 1) {
		line.len -= line.at[line.len - 1] == '\r';
		if (span_take_word(&line, SPAN("Delivered-To:")) && span_equal_nocase(span_trim(line), given))
			return true;
	}
	return false;
}

/* What is left goes to other servers, if anything does. Meanwhile this attempt is none of those that
 * keep local workers busy, and has no file open. */
void
attempt_relay(struct queue *q, struct attempt *a)
{
	const struct envelope *e = &a->file.envelope;
	struct relayed *to = must_alloc((e->count + 1) * sizeof(*to));
	struct span checked = SPAN_NONE;
	uint32_t count = 0;
	bool circles = false, pipes = false;

	for (uint32_t i = 0; i < e->count; i++) {
		const struct envelope_recipient *r = &e->recipient[i];

		pipes |= a->place[i].leads == LEADS_PIPE && !a->result[i].known;
		if (a->place[i].leads != LEADS_ELSEWHERE || a->result[i].known)
			continue;
		/* The members of a list stand behind each other. */
		if (!span_equal(checked, r->given))
			circles = goes_in_circles(a, r->given);
		checked = r->given;
		if (circles) {
			result_set(a, i, V_FORWARD_LOOP);
			queue_log_recipient(e->session, e->id, r->address, r->given, SPAN("none"), 0,
				V_FORWARD_LOOP);
			continue;
		}
		struct span sender = r->sender.len > 0 ? r->sender : e->sender;
		sender = forwarded_sender(q, a, r, sender);

		struct span hop = span_str(a->place[i].next_hop), host = SPAN_NONE;
		size_t at = span_rindex(r->address, '@');

		/* Mail to the domain itself: a relayhost takes it. What tables say goes as they say. */
		if (a->place[i].transport == TRANSPORT_RELAY && at < r->address.len &&
			span_equal_nocase(hop, span_part(r->address, at + 1, r->address.len)))
			host = relayhost_of(q->daemon.settings, sender);
		to[count++] = (struct relayed){ .index = i, .address = r->address, .orcpt = r->orcpt,
			.sender = sender, .notify = r->notify, .given = r->given,
			.next_hop = host.len > 0 ? host : hop,
			.transport = (uint8_t)(host.len > 0 ? TRANSPORT_SMTP : a->place[i].transport) };
	}
	if (count == 0 && !pipes) {
		attempt_conclude(q, a);
	} else {
		a->step = RELAYING;
		attempt_pipe(q, a);
		close(a->message);
		a->message = -1;
		q->attempts--;
		q->relaying++;
		TAILQ_INSERT_TAIL(&q->relayings, a, relaying_next);
		a->with_relay = count > 0;
		if (count > 0)
			relaying_begin(q, e, to, count, a);
		if (attempt_is_through(a))
			attempt_over(q, a);
		else
			attempt_note(q, a);   /* what was delivered here */
	}
	free(to);
}
