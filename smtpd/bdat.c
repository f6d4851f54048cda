/*
 * bdat - see bdat.h.
 */
#include "smtpd/bdat.h"

#include <stdlib.h>
#include <time.h>

#include "smtpd/chunk.h"
#include "smtpd/receive.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"

/* The chunk in hand. It outlives the transaction that it came for. */
struct chunk {
	uint64_t size, left;
	bool last;
	bool refused;          /* `why` is the answer; the octets are thrown away */
	struct verdict why;
	time_t began;
};

static const struct refusal not_counted = { 501, "5.5.4", "BDAT needs a size, and LAST or nothing" };
static const struct refusal needs_hello = { 503, "5.5.1", "EHLO first" };
static const struct refusal needs_recipient = { 503, "5.5.1", "RCPT first" };
static const struct refusal too_large = {
	552, "5.3.4", "the message is larger than this server takes"
};

static const struct refusal *
not_now(const struct session *s, const struct chunk *c)
{
	const struct transaction *t = s->mail;
	uint64_t most = s->server->daemon.settings->message_size_bytes;

	if (!s->helo || !s->extended)
		return &needs_hello;
	if (!t || t->asked == 0)
		return &needs_recipient;
	if (t->accepted == 0)
		return no_recipients(s);
	if (transaction_is_lost(t))
		return &queue_away;
	/* The limit is that of the message, not of its chunks. */
	if (c->size > most || t->chunk_octets > most - c->size)
		return &too_large;
	return NULL;
}

/* The answer at the end of the chunk, and the end of the transaction: queue hears that now. */
static void
refuse_chunk(struct session *s, unsigned int code, const char *status, const char *reason)
{
	s->chunk->refused = true;
	verdict_set(&s->chunk->why, code, status, reason);
	if (s->mail)
		transaction_abort(s->mail);
}

/* The last octet was here: the one answer to this chunk. */
static void
finish(struct session *s)
{
	struct chunk *c = s->chunk;

	s->chunk = NULL;
	s->stage = STAGE_COMMANDS;
	s->verb = "BDAT";
	if (c->refused) {
		if (c->last)
			receive_answer(s, &c->why);
		else
			refuse_verdict(s, &c->why, SPAN_NONE);
		transaction_reset(s);
	} else if (c->last || receive_has_failed(s)) {
		receive_finish(s, c->last);
	} else {
		struct text words = TEXT_UP_TO(REPLY_LINE_MOST);

		text_add_number(&words, c->size);
		text_add_str(&words, " octets received");
		answer(s, 250, "2.0.0", text_str(&words));
		text_clear(&words);
	}
	free(c);
	session_wake(s);
}

/* The octets that follow may come in. */
static void
begin(struct session *s)
{
	s->stage = STAGE_CHUNK;
	s->progressed = true;
	if (s->chunk->left == 0)
		finish(s);
	else
		session_wake(s);
}

void
bdat_go_on(struct session *s, const struct verdict *why)
{
	if (why)
		refuse_chunk(s, why->code, why->status, why->reason);
	begin(s);
}

static void
start(struct session *s)
{
	struct chunk *c = s->chunk;
	const struct refusal *no = not_now(s, c);

	if (no) {
		refuse_chunk(s, no->code, no->status, no->reason);
	} else {
		s->mail->chunk_octets += c->size;
		if (!s->mail->chunked) {
			s->mail->chunked = true;
			if (transaction_is_discarded(s->mail)) {
				receive_begin(s, -1, false);
				return;
			}
			if (transaction_ask_file(s)) {
				s->stage = STAGE_FILE_ASKED;
				return;
			}
			refuse_chunk(s, queue_away.code, queue_away.status, queue_away.reason);
		}
	}
	begin(s);
}

void
do_bdat(struct session *s, struct span arguments)
{
	uint64_t most = s->server->daemon.settings->message_size_bytes, size;
	bool last, idle;

	/* What follows would be taken for commands, whoever wrote it. */
	if (!chunk_parse(arguments, &size, &last)) {
		refuse_for(s, &not_counted, SPAN_NONE);
		session_close(s, 421, "4.7.0", "a chunk without a size");
		return;
	}
	if (size > 2 * most + DISCARD_SLACK_BYTES) {
		refuse_for(s, &too_large, SPAN_NONE);
		session_close(s, 421, "4.7.0", "a chunk larger than this server throws away");
		return;
	}
	s->chunk = must_alloc(sizeof(*s->chunk));
	s->chunk->size = s->chunk->left = size;
	s->chunk->last = last;
	s->chunk->began = time(NULL);
	idle = size == 0 && !last;
	start(s);
	if (idle && ++s->idle_commands > IDLE_COMMANDS_MOST)
		session_count_error(s);
}

void
bdat_feed(struct session *s, struct span *in)
{
	struct chunk *c = s->chunk;
	struct span piece = span_part(*in, 0, c->left < in->len ? (size_t)c->left : in->len);

	*in = span_part(*in, piece.len, in->len);
	c->left -= piece.len;
	s->progress += (uint32_t)piece.len;
	if (!c->refused)
		receive_chunk(s, piece);
	if (time(NULL) - c->began > DATA_MOST_SECONDS || (!c->refused && receive_takes_too_long(s)))
		session_close(s, 421, "4.4.2", "the message took too long");
	else if (c->left == 0)
		finish(s);
}

void
bdat_give_up(struct session *s)
{
	free(s->chunk);
	s->chunk = NULL;
}
