/*
 * receive - see receive.h.
 */
#include "smtpd/receive.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/id.h"
#include "common/log.h"
#include "common/ourselves.h"
#include "smtpd/bdat.h"
#include "smtpd/checks.h"
#include "smtpd/commands.h"
#include "smtpd/data.h"
#include "smtpd/dkim-sign.h"
#include "smtpd/filter.h"
#include "smtpd/header.h"
#include "smtpd/mailbox-list.h"
#include "smtpd/received.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"
#include "smtpd/turn.h"

struct receipt {
	int fd;                   /* -1: given up, or closed for the commit */
	bool discards;            /* there never was one: it is thrown away, by a rule */
	bool last_write;
	bool traced;              /* the trace lines are written */
	bool failed;              /* `why` is the answer at the end */
	struct verdict why;
	time_t began;
	struct data data;
	struct header_scan scan;
	struct text header;       /* of a submission, until it is whole */
	struct sha256_ctx hash;
	uint64_t written;
	struct dkim_job *dkim;    /* while it is signed */
	size_t trace;             /* octets of our own on top of the message */
	bool filtered;            /* filters have said yes */
	bool changed;             /* and made another message of it, with this digest */
	unsigned char digest[SHA256_DIGEST_SIZE];
};

static const struct refusal needs_chunks = { 503, "5.5.1", "BINARYMIME needs BDAT" };
static const struct refusal needs_recipient = { 503, "5.5.1", "RCPT first" };
static const struct refusal too_large = {
	552, "5.3.4", "the message is larger than this server takes"
};
static const struct refusal header_too_large = {
	552, "5.3.4", "the header is larger than this server takes"
};
static const struct refusal bare_lf = {
	550, "5.6.0", "the message has a line feed without carriage return"
};
static const struct refusal bare_cr = {
	550, "5.6.0", "the message has a carriage return without line feed"
};
static const struct refusal eight_bit_header = {
	554, "5.6.9", "the header is not ASCII, and SMTPUTF8 was not asked for"
};
static const struct refusal bad_utf8_header = { 550, "5.6.0", "the header is not UTF-8" };
static const struct refusal has_nul = { 550, "5.6.0", "the message has a NUL octet" };
static const struct refusal starts_folded = {
	550, "5.6.0", "the header starts with a continuation line"
};
static const struct refusal loops = {
	554, "5.4.6", "too many Received fields: the message goes in circles"
};
static const struct refusal no_room = { 452, "4.3.1", "no room for the message, try again later" };
static const struct refusal cannot_write = {
	451, "4.3.0", "the message cannot be written, try again later"
};
static const struct refusal cannot_sign = {
	451, "4.7.5", "the message cannot be signed now, try again later"
};
static const struct refusal chunks_began = { 503, "5.5.1", "BDAT was begun: no DATA" };

void
receipt_free(struct receipt **r)
{
	if (!*r)
		return;
	if ((*r)->fd >= 0)
		close((*r)->fd);
	text_clear(&(*r)->header);
	dkim_job_free(&(*r)->dkim);
	free(*r);
	*r = NULL;
}

const struct refusal *
no_recipients(const struct session *s)
{
	/* RFC 5321 4.5.3.1.8; RFC 2033 section 4.2 */
	static const struct refusal smtp = { 554, "5.5.1", "no valid recipients" },
		lmtp = { 503, "5.5.1", "no valid recipients" };

	return s->service == SERVICE_LMTP ? &lmtp : &smtp;
}

/* The message may come. Without a file it waits in the client's socket: both are under way at once. False: the client sent
 * it already, and is let go. */
static bool
invite(struct session *s)
{
	/* What is here already was sent before the 354, for somebody else (RFC 2920). */
	if (session_talks_early(s)) {
		session_refuse_early(s);
		return false;
	}
	s->stage = STAGE_INVITED;
	answer(s, 354, NULL, "send the message; end with CR LF . CR LF");
	return s->stage == STAGE_INVITED;   /* an answer that finds no room ends the session */
}

/* Queue was asked for the file. Whoever announced much hears first whether there is one, and who is over his allowance. */
static void
invite_early(struct session *s)
{
	if (!s->mail->allowance_asked && s->mail->announced <= INVITED_OCTETS_MOST)
		invite(s);
}

/* The file was asked for before DATA had its turn: go on as far as that has come. */
static void
take_early(struct session *s)
{
	struct transaction *t = s->mail;
	int fd = t->early_fd;

	s->stage = STAGE_FILE_ASKED;
	t->early_fd = -1;
	if (t->early_told) {
		if (fd >= 0)
			close(fd);
		receive_told(s, t->early_told);
	} else if (fd >= 0) {
		receive_begin(s, fd, t->early_last_write);
	} else {
		invite_early(s);
	}
}

void
do_data(struct session *s, struct span arguments)
{
	const struct refusal *no = NULL;

	if (arguments.len > 0) {
		refuse(s, 501, "5.5.4", "DATA takes no argument");
		return;
	}
	/* RFC 5321 3.3, RFC 3030 section 2; and a refused DATA ends the transaction, so that
	 * nothing is left. */
	if (!s->mail || s->mail->asked == 0)
		no = &needs_recipient;
	else if (s->mail->accepted == 0)
		no = no_recipients(s);
	else if (s->mail->body == BODY_BINARYMIME)
		no = &needs_chunks;
	else if (s->mail->chunked)
		no = &chunks_began;
	else if (transaction_is_lost(s->mail))
		no = &queue_away;
	else if (transaction_is_discarded(s->mail)) {
		receive_begin(s, -1, false);
		return;
	} else if (s->mail->early) {
		take_early(s);
		return;
	} else if (!transaction_ask_file(s))
		no = &queue_away;
	if (!no) {
		s->stage = STAGE_FILE_ASKED;
		invite_early(s);
		return;
	}
	refuse_for(s, no, SPAN_NONE);
	transaction_reset(s);
}

static void
receipt_new(struct session *s, int fd, bool last_write)
{
	struct receipt *r = must_alloc(sizeof(*r));

	r->fd = fd;
	r->discards = fd < 0;
	r->last_write = last_write;
	r->began = time(NULL);
	r->scan.submitted = session_submits(s);
	r->header = TEXT_UP_TO(HEADER_BYTES_MOST + READ_MOST + HEADER_NAME_MOST);
	sha256_init(&r->hash);
	r->data.counted = s->mail->chunked;
	r->data.normalise =
		session_is_one_of(s, &s->server->daemon.settings->normalise_newlines);
	s->mail->receipt = r;
}

/* There is no file, and the client sends already. It hears why when it has finished. */
static void
receive_in_vain(struct session *s, const struct verdict *why)
{
	receipt_new(s, -1, false);
	s->mail->receipt->failed = true;
	s->mail->receipt->why = *why;
	/* Where queue was only too slow: a file that comes later is nobody's, and no reason to call queue an enemy. */
	transaction_abort(s->mail);
	s->stage = STAGE_DATA;
	session_wake(s);
}

void
receive_begin(struct session *s, int fd, bool last_write)
{
	receipt_new(s, fd, last_write);
	if (s->chunk) {
		bdat_go_on(s, NULL);
		return;
	}
	if (s->stage != STAGE_INVITED && !invite(s))
		return;
	s->stage = STAGE_DATA;
	session_wake(s);
}

/* The message will not be taken: the first reason counts. */
static void
give_up_for(struct session *s, const struct verdict *why)
{
	struct receipt *r = s->mail->receipt;

	if (r->failed)
		return;
	r->failed = true;
	r->why = *why;
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
	text_clear(&r->header);
	transaction_abort(s->mail);
}

static void
give_up(struct session *s, const struct refusal *why)
{
	struct verdict v;

	verdict_set(&v, why->code, why->status, why->reason);
	give_up_for(s, &v);
}

static void
put(struct session *s, struct span piece)
{
	struct receipt *r = s->mail->receipt;

	if (r->failed || piece.len == 0)
		return;
	if (r->discards) {
		r->written += piece.len;
		return;
	}
	if (write_all(r->fd, piece.at, piece.len) < 0) {
		log_error(s->id, "message-not-written", KEY_ID("message", s->mail->id),
			KEY_STR("in", r->last_write ? "Maildir" : "spool"),
			KEY_STR("to", s->mail->recipient), KEY_NUM("written", r->written), KEY_ERRNO);
		give_up(s, errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? &no_room
										: &cannot_write);
		return;
	}
	sha256_update(&r->hash, piece.len, piece.at);
	r->written += piece.len;
}

/* Where the world has reached us, as far as we know; never an address of the inside. */
static struct span
own_address(const struct session *s)
{
	if (s->service == SERVICE_LMTP || s->service == SERVICE_LOCAL)
		return SPAN_NONE;
	return ourselves_reached_at(span_has(span_str(s->ip), ':') ? 6 : 4);
}

static void
trace_put(struct session *s, struct text *to)
{
	struct receipt *r = s->mail->receipt;
	bool looked_up;
	const char *name = checks_name(s, &looked_up);
	struct received facts = {
		.helo = span_str(s->helo),
		.ip = span_str(s->ip),
		.hostname = s->server->daemon.settings->hostname,
		.own = own_address(s),
		.name = span_str(name),
		.looked_up = looked_up,
		.hidden = s->login && s->server->daemon.settings->hide_client_address,
		.extended = s->extended,
		.tls = s->tls != NULL,
		.tls_version = s->tls ? span_str(s->tls->version) : SPAN_NONE,
		.tls_cipher = s->tls ? span_str(s->tls->cipher) : SPAN_NONE,
		.login = s->login != NULL,
		.local = s->service == SERVICE_LOCAL,
		.uid = s->uid,
		.utf8 = s->mail->utf8,
		.lmtp = s->service == SERVICE_LMTP,
		.message = s->mail->id,
		.priority = s->mail->priority,
		.solicit = span_str(s->mail->solicit),
		.when = r->began,
	};

	/* With more than one, FOR would tell each of the others (RFC 5321 7.6). */
	if (s->mail->accepted == 1)
		facts.recipient = span_str(s->mail->recipient);
	if (r->last_write)
		return_path_put(to, span_str(s->mail->sender));
	received_put(to, &facts);
	r->traced = true;
}

/* RFC 6409 section 8: what the message lacks. */
static void
missing_fields_put(struct session *s, struct text *to)
{
	const struct receipt *r = s->mail->receipt;

	if (!r->scan.has_message_id)
		message_id_field_put(to, s->mail->id, s->server->daemon.settings->hostname);
	if (!r->scan.has_date)
		date_field_put(to, r->began);
}

/* Looks at what is known of the header by now. */
static void
judge_header(struct session *s)
{
	const struct header_scan *h = &s->mail->receipt->scan;
	struct verdict v;

	if (h->received > s->server->daemon.settings->received_fields)
		give_up(s, &loops);
	else if (h->size > HEADER_BYTES_MOST || s->mail->receipt->header.failed)
		give_up(s, &header_too_large);
	else if (h->starts_folded)
		give_up(s, &starts_folded);
	/* RFC 3865 2.3, of who did not say SOLICIT. */
	else if (h->place == HEADER_ENDED && s->mail->unsolicited &&
		checks_refuse_solicitation(s, span_of(h->solicitation, h->solicitation_len), &v))
		give_up_for(s, &v);
}

static bool
is_ascii(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] > 0x7f)
			return false;
	return true;
}

/* RFC 6409 section 8.6 and RFC 6531 3.6: what one of ours submits must be in order; its header is here
 * whole. A stranger's message is left as it is. */
static void
judge_submitted_header(struct session *s)
{
	struct span header = text_span(&s->mail->receipt->header);

	if (is_ascii(header))
		return;
	if (!s->mail->utf8)
		give_up(s, &eight_bit_header);
	else if (!span_is_utf8(header))
		give_up(s, &bad_utf8_header);
}

/* Writes what is known of the header: at once for a stranger's message, whole for a submission,
 * because only its end tells what it lacks. `behind` follows it, if the message is still taken: what is small is written at
 * one go. */
static void
header_flush(struct session *s, bool ended, struct span behind)
{
	struct receipt *r = s->mail->receipt;
	struct text top = TEXT_UP_TO(MOST_TRACE + HEADER_BYTES_MOST + 2 * READ_MOST + HEADER_NAME_MOST);

	if (r->failed || (session_submits(s) && !ended))
		return;
	/* What this machine's programs write (cron, scripts) knows no SMTPUTF8. */
	if (session_submits(s) && s->service != SERVICE_LOCAL)
		judge_submitted_header(s);
	if (r->failed)
		return;
	if (!r->traced) {
		trace_put(s, &top);
		r->trace = top.len;
		if (session_submits(s))
			missing_fields_put(s, &top);
		if (s->service == SERVICE_LOCAL)
			mailbox_list_qualify(text_span(&r->header),
				s->server->daemon.settings->local_domain, &top);
		else
			text_add(&top, text_span(&r->header));
		text_add(&top, behind);
		if (top.failed)
			give_up(s, &header_too_large);
		put(s, text_span(&top));
		text_clear(&top);
	} else {
		put(s, text_span(&r->header));
		put(s, behind);
	}
	if (ended)
		text_clear(&r->header);
	else
		text_reset(&r->header);
}

static void
take_text(struct session *s, struct span text)
{
	struct receipt *r = s->mail->receipt;

	if (r->failed)
		return;
	if (r->scan.place != HEADER_ENDED) {
		header_scan_feed(&r->scan, &text, &r->header);
		judge_header(s);
		header_flush(s, r->scan.place == HEADER_ENDED, text);
		return;
	}
	put(s, text);
}

/* What one recipient of LMTP hears. Its refusal is no error of the client's. */
static void
answer_lmtp(struct session *s, const struct lmtp_recipient *to, const struct verdict *v)
{
	if (to->result)
		v = to->result;
	if (!v->good)
		log_info(s->id, "refused", KEY_STR("ip", s->ip), KEY_STR("service", "lmtp"),
			KEY_NUM("code", v->code), KEY_STR("status", v->status),
			KEY_ID("message", s->mail->id), KEY_STR("reason", v->reason), KEY_STR("helo", s->helo),
			KEY_STR("from", s->mail->sender), KEY_STR("to", to->address));
	answer(s, v->code, v->status, v->reason);
}

void
receive_answer(struct session *s, const struct verdict *v)
{
	const struct transaction *t = s->mail;
	bool lmtp = t && t->lmtp;

	/* There may be more recipients now than when the session began. */
	if (lmtp && s->output.most < OUTPUT_MOST + (size_t)t->accepted * REPLY_LINE_MOST)
		s->output.most = OUTPUT_MOST + (size_t)t->accepted * REPLY_LINE_MOST;
	/* An answer that finds no room ends the session, and the transaction. */
	for (uint32_t i = 0; lmtp && s->mail == t && i < t->accepted; i++)
		answer_lmtp(s, &t->lmtp[i], v);
	if (lmtp)
		return;
	if (v->good)
		answer(s, v->code, v->status, v->reason);
	else
		refuse_verdict(s, v, SPAN_NONE);
}

static void
answer_queue_away(struct session *s)
{
	struct verdict v;

	verdict_set(&v, queue_away.code, queue_away.status, queue_away.reason);
	receive_answer(s, &v);
}

/* Whoever waits for the 250 waits no longer for it than he must; the log comes after. */
static void
accepted(struct session *s)
{
	const struct transaction *t = s->mail;
	uint64_t id = t->id, size = t->receipt->written;
	uint32_t recipients = t->accepted;
	int urgency = t->priority;
	char *sender = must_copy(span_str(t->sender));   /* an answer that finds no room ends the transaction */
	char *solicit = t->solicit ? must_copy(span_str(t->solicit)) : NULL;
	struct verdict v;
	char words[64], priority[8];

	snprintf(words, sizeof(words), "accepted as %s", id_name(id).str);
	s->messages++;
	s->since = time(NULL);
	s->idle_commands = 0;
	verdict_set(&v, 250, "2.0.0", words);
	receive_answer(s, &v);
	turn_say(s);
	snprintf(priority, sizeof(priority), "%d", urgency);
	log_info(s->id, "accepted", KEY_ID("message", id), KEY_STR("ip", s->ip),
		KEY_STR("service", service_name(s->service)), KEY_NUM("size", size),
		KEY_NUM("nrcpt", recipients), KEY_STR("tls", s->tls ? s->tls->version : NULL),
		KEY_STR("priority", priority),
		KEY_STR("login", s->login), KEY_STR("helo", s->helo), KEY_STR("from", sender),
		KEY_STR("solicit", solicit));
	xforward_log(s, id);
	free(sender);
	free(solicit);
}

struct dkim_job *
receive_dkim_job(const struct receipt *r)
{
	return r ? r->dkim : NULL;
}

static void sign_and_commit(struct session *s);

/* The message will not be taken: its answer, and the end of it. */
static void
answer_filters(struct session *s, const struct verdict *v)
{
	s->stage = STAGE_COMMANDS;
	s->verb = s->mail->chunked ? "BDAT" : "DATA";
	receive_answer(s, v);
	transaction_reset(s);
	session_wake(s);
}

/* There is no milter to ask. */
static void
filters_away(struct session *s)
{
	struct span policy = s->server->daemon.settings->milter_down;
	struct verdict v;

	log_warning(s->id, "milter-away", KEY_ID("message", s->mail->id),
		KEY_SPAN("then", policy));
	filter_cancel(s->mail);
	if (span_equal(policy, SPAN("accept"))) {
		s->mail->receipt->filtered = true;
		sign_and_commit(s);
		return;
	}
	if (span_equal(policy, SPAN("reject")))
		verdict_set(&v, 550, "5.7.1", "the filters of this server are not available");
	else
		verdict_set(&v, 451, "4.7.1",
			"the filters of this server are not available, try again later");
	answer_filters(s, &v);
}

void
receive_filtered(struct session *s, const struct msg_filter_told *m)
{
	struct receipt *r = s->mail->receipt;
	struct verdict v;

	/* Whoever was asked may have written half of what it wanted: accept is no choice here. */
	verdict_set(&v, 451, "4.3.0", "the filters of this server failed, try again later");
	if (m)
		verdict_read(&v, m->outcome, m->code, m->status, m->reason);
	if (!v.good || (m->changed && m->digest.len != sizeof(r->digest))) {
		answer_filters(s, &v);
		return;
	}
	r->filtered = true;
	r->discards = m->discard;
	if (m->changed) {
		r->changed = true;
		r->written = m->size;
		memcpy(r->digest, m->digest.at, sizeof(r->digest));
	}
	if (m->quarantine.len > 0 && !s->mail->hold)
		s->mail->hold = must_copy(m->quarantine);
	receive_go_on(s);
}

void
receive_go_on(struct session *s)
{
	struct verdict v;

	if (s->mail->adding > 0 || !s->mail->receipt || !s->mail->receipt->filtered)
		return;
	if (s->mail->add_failed) {
		verdict_set(&v, 451, "4.3.0", "a recipient of the filters is not known now, try again later");
		answer_filters(s, &v);
		return;
	}
	sign_and_commit(s);
	session_wake(s);
}

/* Queue decides. `top` goes ahead of the file, when the message leaves it for elsewhere. */
static void
commit(struct session *s, struct span top)
{
	struct receipt *r = s->mail->receipt;
	unsigned char digest[SHA256_DIGEST_SIZE];

	if (r->discards) {
		s->stage = STAGE_COMMANDS;
		log_info(s->id, "discarded", KEY_ID("message", s->mail->id), KEY_STR("ip", s->ip),
			KEY_NUM("size", r->written), KEY_STR("from", s->mail->sender));
		accepted(s);
		transaction_reset(s);
		return;
	}
	sha256_digest(&r->hash, sizeof(digest), digest);
	if (r->changed)
		memcpy(digest, r->digest, sizeof(digest));
	/* Closed before the commit: nobody can write the file any more (its lender makes sure). */
	close(r->fd);
	r->fd = -1;
	s->stage = STAGE_COMMITTED;
	if (transaction_commit(s, r->written, span_of(digest, sizeof(digest)), top,
		header_wants_no_tls(&r->scan)))
		return;
	s->stage = STAGE_COMMANDS;
	answer_queue_away(s);
	transaction_reset(s);
}

/* The message is whole and written: first the filters, then the signature. What is for mailboxes here alone is not signed: nobody would look. */
static void
sign_and_commit(struct session *s)
{
	struct receipt *r = s->mail->receipt;

	if (!r->discards && !r->filtered && filter_wanted(s)) {
		if (!filter_ask(s, r->fd, r->written, r->trace))
			filters_away(s);
		return;
	}
	if (!r->discards && !r->last_write && dkim_sign_begin(s, r->fd, r->written, &r->dkim))
		s->stage = STAGE_SIGNING;
	else
		commit(s, SPAN_NONE);
}

void
receive_signed(struct session *s, struct span top, bool good)
{
	struct dkim_job *job = s->mail->receipt->dkim;

	s->verb = s->mail->chunked ? "BDAT" : "DATA";
	if (good) {
		s->mail->receipt->dkim = NULL;
		commit(s, top);
		dkim_job_free(&job);         /* `top` lies in it */
	} else {
		s->stage = STAGE_COMMANDS;
		refuse_for(s, &cannot_sign, SPAN_NONE);
		transaction_reset(s);
	}
	session_wake(s);
}

/* Every way in which the octets so far can be wrong. */
static void
judge_data(struct session *s)
{
	const struct data *d = &s->mail->receipt->data;
	uint64_t most = s->server->daemon.settings->message_size_bytes;

	if (d->size > most)
		give_up(s, &too_large);
	if (d->bare_lf)
		give_up(s, &bare_lf);
	if (d->bare_cr)
		give_up(s, &bare_cr);
	if (d->nul)
		give_up(s, &has_nul);
}

/* BINARYMIME (RFC 3030 section 3): the body is what it is; the header has lines all the same. */
static void
take_binary(struct session *s, struct span in)
{
	struct receipt *r = s->mail->receipt;
	struct span all = in;

	r->data.size += in.len;
	if (!r->failed && r->scan.place != HEADER_ENDED) {
		header_scan_feed(&r->scan, &in, &r->header);
		data_look(&r->data, span_part(all, 0, all.len - in.len));
		judge_header(s);
		header_flush(s, r->scan.place == HEADER_ENDED, SPAN_NONE);
	}
	judge_data(s);
	put(s, in);
}

/* Takes from *in what is the message's. */
static void
take_octets(struct session *s, struct span *in)
{
	size_t len;

	if (s->mail->body == BODY_BINARYMIME) {
		take_binary(s, *in);
		*in = SPAN_NONE;
		return;
	}
	len = data_feed(&s->mail->receipt->data, in, s->server->plain);
	judge_data(s);
	take_text(s, span_of(s->server->plain, len));
}

/* The end of the last line of the last chunk. */
static void
take_octets_end(struct session *s)
{
	unsigned char end[DATA_END_ROOM];
	size_t len = data_finish(&s->mail->receipt->data, end);

	judge_data(s);
	take_text(s, span_of(end, len));
}

void
receive_finish(struct session *s, bool ended)
{
	struct receipt *r = s->mail->receipt;

	if (r->data.counted && s->mail->body != BODY_BINARYMIME)
		take_octets_end(s);
	if (!r->failed && r->scan.place != HEADER_ENDED) {
		header_scan_finish(&r->scan, &r->header);
		judge_header(s);
		header_flush(s, true, SPAN_NONE);
	}
	if (!r->failed) {
		sign_and_commit(s);
		return;
	}
	s->stage = STAGE_COMMANDS;
	/* A chunk that is not the last has one answer, whoever the recipients are. */
	if (ended)
		receive_answer(s, &r->why);
	else
		refuse_verdict(s, &r->why, SPAN_NONE);
	transaction_reset(s);
}

void
receive_feed(struct session *s, struct span *in)
{
	struct receipt *r = s->mail->receipt;
	uint64_t most = s->server->daemon.settings->message_size_bytes;
	size_t had = in->len;

	take_octets(s, in);
	s->progress += (uint32_t)(had - in->len);
	if (r->data.ended) {
		receive_finish(s, true);
	} else if (r->failed && r->data.size > 2 * most + DISCARD_SLACK_BYTES) {
		/* A client that heard SIZE and sends without end is no client. */
		struct verdict why = r->why; /* the receipt ends with the transaction */

		s->verb = "DATA";
		session_close(s, why.code, why.status, why.reason);
	} else if (receive_takes_too_long(s)) {
		session_close(s, 421, "4.4.2", "the message took too long");
	}
}

void
receive_chunk(struct session *s, struct span piece)
{
	while (piece.len > 0)
		take_octets(s, &piece);
}

bool
receive_has_failed(const struct session *s)
{
	return s->mail->receipt->failed;
}

bool
receive_takes_too_long(const struct session *s)
{
	return time(NULL) - s->mail->receipt->began > DATA_MOST_SECONDS;
}

void
receive_told(struct session *s, const struct verdict *v)
{
	enum stage stage = s->stage;
	struct verdict away;

	s->verb = s->mail->chunked ? "BDAT" : "DATA";
	if (stage == STAGE_FILE_ASKED && s->chunk) {
		verdict_set(&away, queue_away.code, queue_away.status, queue_away.reason);
		bdat_go_on(s, v->good ? &away : v); /* no yes is due yet */
		return;
	}
	if (stage == STAGE_DATA || stage == STAGE_CHUNK || stage == STAGE_COMMANDS) {
		/* queue lost the file, or itself. The client hears it when it has finished, or with
		 * its next chunk. */
		give_up(s, &queue_away);
		if (!v->good)
			s->mail->receipt->why = *v;
		return;
	}
	if (stage == STAGE_INVITED) {
		verdict_set(&away, queue_away.code, queue_away.status, queue_away.reason);
		receive_in_vain(s, v->good ? &away : v);
		return;
	}
	s->stage = STAGE_COMMANDS;
	if (stage == STAGE_COMMITTED && v->good)
		accepted(s);
	else if (stage == STAGE_FILTERED && v->good)
		answer_queue_away(s);
	else if (stage == STAGE_COMMITTED || stage == STAGE_FILTERED)
		receive_answer(s, v);
	else if (v->good)
		refuse_for(s, &queue_away, SPAN_NONE); /* yes to what was not yet asked */
	else
		refuse_verdict(s, v, SPAN_NONE);
	transaction_reset(s);
	session_wake(s);
}
