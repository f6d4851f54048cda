/* dkim-sign - see dkim-sign.h. */
#include "smtpd/dkim-sign.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/beneath.h"
#include "common/log.h"
#include "smtpd/dkim.h"
#include "smtpd/header.h"
#include "smtpd/receive.h"
#include "smtpd/transaction.h"

#define MOST_SIGNED_HEADER (HEADER_BYTES_MOST + MOST_TRACE)

struct signer {
	char domain[256], selector[MOST_SELECTOR + 1];
	enum dkim_algorithm algorithm;
};

struct dkim_job {
	struct session *session;
	struct event *turn;
	int fd;
	uint64_t size, at;               /* of the file: how much is read */
	struct text header;
	bool in_body;
	struct dkim_body body;
	unsigned char body_hash[DKIM_HASH_SIZE];
	/* Who signs (copied: the option may change meanwhile); where it stands. */
	struct signer signers[MOST_DKIM_SIGNATURES];
	size_t count, next;
	bool asked;                      /* tls-key owes an answer */
	struct text field;               /* of the signature that is under way */
	struct text top;                 /* those that are made */
};

void
dkim_job_free(struct dkim_job **job)
{
	struct dkim_job *j = *job;

	if (!j)
		return;
	event_free(j->turn);
	text_clear(&j->header);
	text_clear(&j->field);
	text_clear(&j->top);
	free(j);
	*job = NULL;
}

static struct dkim_job *
job_of(const struct session *s)
{
	return s->mail ? receive_dkim_job(s->mail->receipt) : NULL;
}

/* --- who signs --- */

/* Is `domain` below `parent`? */
static bool
is_below(struct span domain, struct span parent)
{
	return domain.len > parent.len && domain.at[domain.len - parent.len - 1] == '.' &&
		span_equal_nocase(span_part(domain, domain.len - parent.len, parent.len), parent);
}

/* The members of the option for the domain itself, or, without any, for the nearest one above it. */
static void
find_entries(struct dkim_job *j, const struct settings *settings, struct span domain)
{
	size_t best = 0;

	for (size_t i = 0; i < settings->dkim.count; i++) {
		struct dkim_entry e;

		if (!dkim_entry_parse(settings->dkim.at[i], &e) || e.domain.len < best ||
			(!span_equal_nocase(e.domain, domain) && !is_below(domain, e.domain)))
			continue;
		if (e.domain.len > best)
			j->count = 0;
		best = e.domain.len;
		if (j->count < MOST_DKIM_SIGNATURES) {
			struct signer *to = &j->signers[j->count++];

			(void)span_copy(e.domain, to->domain, sizeof(to->domain));
			(void)span_copy(e.selector, to->selector, sizeof(to->selector));
			to->algorithm = e.algorithm;
		}
	}
}

/* The header is whole: is there a key for it? */
static bool
find_signers(struct dkim_job *j)
{
	struct text domain = TEXT_UP_TO(255);

	if (dkim_from_domain(text_span(&j->header), &domain))
		find_entries(j, j->session->server->daemon.settings, text_span(&domain));
	text_clear(&domain);
	return j->count > 0;
}

/* --- reading --- */

/* Up to and with the blank line it is header. False: too much of it. */
static bool
feed(struct dkim_job *j, struct span piece)
{
	size_t before = j->header.len < 3 ? 0 : j->header.len - 3, end;

	if (j->in_body) {
		dkim_body_feed(&j->body, piece);
		return true;
	}
	text_add(&j->header, piece);
	if (j->header.failed)
		return false;
	end = span_find(span_part(text_span(&j->header), before, j->header.len), SPAN("\r\n\r\n"));
	if (before + end == j->header.len)
		return true;
	end += before + 4;
	j->in_body = true;
	dkim_body_feed(&j->body, span_part(text_span(&j->header), end, j->header.len));
	j->header.len = end - 2;
	return true;
}

static void
fail(struct dkim_job *j, const char *why)
{
	struct session *s = j->session;

	log_error(s->id, "not-signed", KEY_ID("message", s->mail->id), KEY_STR("reason", why));
	receive_signed(s, SPAN_NONE, false);
}

static void
ask(struct dkim_job *j)
{
	struct session *s = j->session;
	struct channel *key = daemon_peer(&s->server->daemon, PROGRAM_TLS_KEY, 0);
	unsigned char digest[DKIM_HASH_SIZE];
	const struct signer *signer = &j->signers[j->next < MOST_DKIM_SIGNATURES ? j->next : 0];
	struct dkim_entry e;

	if (j->next == j->count) {
		log_info(s->id, "signed", KEY_ID("message", s->mail->id), KEY_NUM("signatures", j->count));
		receive_signed(s, text_span(&j->top), true);
		return;
	}
	e = (struct dkim_entry){ span_str(signer->domain), span_str(signer->selector), signer->algorithm };
	text_reset(&j->field);
	if (!dkim_field_begin(&e, text_span(&j->header), j->body_hash, time(NULL), &j->field, digest))
		fail(j, "the signature is too long");
	else if (!key || !send_dkim_ask(key, s->mail->id, &(struct msg_dkim_ask){ .domain = e.domain,
				.selector = e.selector, .digest = span_of(digest, sizeof(digest)) }, NULL))
		fail(j, "tls-key is away");
	else
		j->asked = true;
}

static void
on_turn(evutil_socket_t fd, short what, void *me)
{
	static const struct timeval at_once;
	static unsigned char piece[DKIM_READ_BYTES];
	struct dkim_job *j = me;
	ssize_t got;

	(void)fd;
	(void)what;
	got = read_at(j->fd, piece, sizeof(piece), (off_t)j->at);
	if (got < 0 || (got == 0 && j->at < j->size)) {
		fail(j, got < 0 ? strerror(errno) : "the file became shorter");
		return;
	}
	j->at += (uint64_t)got;
	if (!feed(j, span_of(piece, (size_t)got))) {
		fail(j, "the header is too long");
		return;
	}
	if (j->in_body && j->count == 0 && !find_signers(j)) {
		receive_signed(j->session, SPAN_NONE, true);
		return;
	}
	if (j->at < j->size) {
		/* Not event_active: the loop would not look at anything else before this is done. */
		event_add(j->turn, &at_once);
		return;
	}
	dkim_body_finish(&j->body, j->body_hash);
	if (!j->in_body && !find_signers(j))     /* all of it is header */
		receive_signed(j->session, SPAN_NONE, true);
	else
		ask(j);
}

bool
dkim_sign_begin(struct session *s, int fd, uint64_t size, struct dkim_job **job)
{
	struct dkim_job *j;

	if (s->server->daemon.settings->dkim.count == 0 || !session_submits(s))
		return false;
	j = must_alloc(sizeof(*j));
	j->session = s;
	j->fd = fd;
	j->size = size;
	j->header = TEXT_UP_TO(MOST_SIGNED_HEADER + DKIM_READ_BYTES);
	j->field = TEXT_UP_TO(MOST_DKIM_FIELD);
	j->top = TEXT_UP_TO(MOST_TRACE);
	dkim_body_init(&j->body);
	j->turn = event_new(s->server->daemon.base, -1, 0, on_turn, j);
	if (!j->turn) {
		free(j);
		return false;
	}
	event_active(j->turn, EV_TIMEOUT, 0);
	*job = j;
	return true;
}

/* --- what tls-key says --- */

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	const struct transaction *t = transaction_find(me, id);
	const struct dkim_job *j = t ? job_of(t->session) : NULL;

	(void)from;
	(void)m;
	return j && j->asked ? HOUR_WAITING : HOUR_NONE;
}

static void
on_dkim_signed(void *me, struct channel *from, uint64_t id, const struct msg_dkim_signed *m, const int *fd)
{
	struct dkim_job *j = job_of(transaction_find(me, id)->session);

	(void)from;
	(void)fd;
	j->asked = false;
	dkim_field_end(&j->field, m->signature);
	text_add(&j->top, text_span(&j->field));
	j->next++;
	if (j->field.failed || j->top.failed)
		fail(j, "the signatures are too long");
	else
		ask(j);
}

static void
on_dkim_refused(
	void *me, struct channel *from, uint64_t id, const struct msg_dkim_refused *m, const int *fd)
{
	struct dkim_job *j = job_of(transaction_find(me, id)->session);
	char reason[MOST_REASON + 1];

	(void)from;
	(void)fd;
	j->asked = false;
	if (!span_is_printable(m->reason) || !span_copy(m->reason, reason, sizeof(reason)))
		(void)span_copy(SPAN("tls-key refused"), reason, sizeof(reason));
	fail(j, reason);
}

/* What waits for it hears "later"; a new one will be there soon. */
static void
tls_key_gone(void *me, struct channel *from)
{
	struct server *server = me;
	struct session *s, *next;

	(void)from;
	for (s = LIST_FIRST(&server->sessions); s; s = next) {
		struct dkim_job *j = job_of(s);

		next = LIST_NEXT(s, in_all);
		if (j && j->asked)
			fail(j, "tls-key is gone");
	}
}

const struct hearing hearing_tls_key = {
	.hour = hour,
	.gone = tls_key_gone,
	.on_dkim_signed = on_dkim_signed,
	.on_dkim_refused = on_dkim_refused,
};
