/* notice - see notice.h. */
#include "notice.h"

#include "common/beneath.h"
#include "common/id.h"
#include "common/log.h"

#include "report.h"

#include <event2/event.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MILLISECONDS 200            /* for names that somebody was asked for */
#define MOST_WAITS 100
#define MOST_NOTICE_LOSSES 3             /* deaths of spool workers that one may cost */

enum notice_step { RESOLVING, LENDING, SPOOLING, OVER_WELL, OVER_BADLY };

struct notice {
	struct conversation c;
	struct queue *queue;
	enum notice_step step;
	char *to;
	struct text content;
	unsigned char digest[SHA256_DIGEST_SIZE];
	bool eight_bit, utf8, may_relay, require_tls;
	uint8_t priority;
	struct resolution places;
	unsigned int waits, losses;
	struct event *timer;
	void (*done)(struct queue *q, void *me, bool good);
	void *me;
};

static struct notice *
notice_of(struct conversation *c)
{
	return (struct notice *)(void *)c;
}

static void
turn_soon(struct notice *n, unsigned int milliseconds)
{
	struct timeval wait = { .tv_usec = (suseconds_t)milliseconds * 1000 };

	evtimer_add(n->timer, &wait);
}

static void
over(struct notice *n, bool well)
{
	conversation_leave(&n->c);
	n->step = well ? OVER_WELL : OVER_BADLY;
	turn_soon(n, 0);
}

static void
finish(struct notice *n)
{
	struct queue *q = n->queue;
	void (*done)(struct queue *, void *, bool) = n->done;
	void *me = n->me;
	bool well = n->step == OVER_WELL;

	idmap_remove(&q->conversations, n->c.id);
	q->notices--;
	event_free(n->timer);
	resolution_clear(&n->places);
	text_clear(&n->content);
	free(n->to);
	free(n);
	done(q, me, well);
}

static bool
feed_lend(struct queue *q, struct conversation *c)
{
	(void)q;
	send_lend(c->worker->channel, c->id, &(struct msg_lend){ .home = SPAN("") }, NULL);
	return true;
}

/* Where it goes: an alias may stand there. */
static void
find_places(struct notice *n)
{
	struct queue *q = n->queue;
	struct worker *w;

	resolve(&q->resolver, q->daemon.settings, span_str(n->to), true, n->may_relay, &n->places);
	if (n->places.waits) {
		if (n->waits++ < MOST_WAITS)
			turn_soon(n, WAIT_MILLISECONDS);
		else
			over(n, false);
		return;
	}
	if (n->places.count == 0) {
		log_notice(0, "notice-undeliverable", KEY_STR("to", n->to),
			KEY_SPAN("dsn", n->places.verdict.status),
			KEY_SPAN("reason", n->places.verdict.reason));
		over(n, n->places.verdict.outcome == NEVER);
		return;
	}
	if ((w = worker_for(q, PROGRAM_SPOOL, n->c.id)) == NULL) {
		over(n, false);
		return;
	}
	n->step = LENDING;
	conversation_join(&n->c, w);
	conversation_say(q, &n->c, feed_lend);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct notice *n = arg;

	(void)fd;
	(void)what;
	if (n->step == RESOLVING)
		find_places(n);
	else if (n->step == OVER_WELL || n->step == OVER_BADLY)
		finish(n);
}

static struct notice *
post(struct queue *q, struct span to, struct text *content, bool eight_bit, bool utf8,
	void (*done)(struct queue *q, void *me, bool good), void *me)
{
	struct notice *n = must_alloc(sizeof(*n));
	struct sha256_ctx hash;

	n->c.kind = NOTICE;
	n->c.id = id_new();
	n->queue = q;
	n->to = must_copy(to);
	n->content = *content;
	*content = TEXT_UP_TO(content->most);
	n->eight_bit = eight_bit;
	n->utf8 = utf8;
	n->priority = PRIORITY_NORMAL;
	n->done = done;
	n->me = me;
	resolution_init(&n->places);
	sha256_init(&hash);
	sha256_update(&hash, n->content.len, n->content.at);
	sha256_digest(&hash, sizeof(n->digest), n->digest);
	n->timer = evtimer_new(q->daemon.base, on_timer, n);
	if (n->timer == NULL)
		abort();
	idmap_put(&q->conversations, n->c.id, n);
	n->step = q->notices++ < MOST_NOTICES && !n->content.failed ? RESOLVING : OVER_BADLY;
	turn_soon(n, 0);
	return n;
}

void
notice_post(struct queue *q, struct span to, struct text *content, bool eight_bit, bool utf8, const struct wishes *of,
	void (*done)(struct queue *q, void *me, bool good), void *me)
{
	struct notice *n = post(q, to, content, eight_bit, utf8, done, me);

	n->may_relay = true;
	n->require_tls = of->require_tls;
	n->priority = of->priority;
}

/* --- into the spool --- */

static bool
feed_spool(struct queue *q, struct conversation *c)
{
	struct notice *n = notice_of(c);
	struct span to = span_str(n->to);

	(void)q;
	if (c->cursor < n->places.count) {
		uint32_t i = c->cursor++;
		const struct resolved *p = &n->places.at[i];
		struct span address = span_str(p->address);

		send_spool_recipient(c->worker->channel, c->id,
			&(struct msg_spool_recipient){ .number = i,
				.address = address, .home = span_str(p->home), .uid = p->uid,
				.gid = p->gid, .notify = NOTIFY_NEVER,
				.given = span_equal_nocase(address, to) ? SPAN_NONE : to },
			NULL);
		return false;
	}
	send_spool(c->worker->channel, c->id,
		&(struct msg_spool){ .size = n->content.len,
			.digest = span_of(n->digest, sizeof(n->digest)), .service = SERVICE_SMTP,
			.body = n->eight_bit ? BODY_8BITMIME : BODY_7BIT, .utf8 = n->utf8, .require_tls = n->require_tls,
			.priority = n->priority },
		NULL);
	return true;
}

void
notice_lent(struct queue *q, struct conversation *c, int fd)
{
	struct notice *n = notice_of(c);
	bool written = write_all(fd, n->content.at, n->content.len) == 0;

	close(fd);
	if (!written) {
		struct worker *w = c->worker;

		log_error(0, "spool-failed", KEY_STR("at", "notice"), KEY_ERRNO);
		over(n, false);
		worker_give_back(q, w, c->id);
		return;
	}
	n->step = SPOOLING;
	conversation_say(q, c, feed_spool);
}

void
notice_refused(struct queue *q, struct conversation *c)
{
	(void)q;
	over(notice_of(c), false);
}

void
notice_spooled(struct queue *q, struct conversation *c)
{
	struct notice *n = notice_of(c);
	uint64_t id = c->id;

	log_info(0, "notice", KEY_ID("message", id), KEY_STR("to", n->to), KEY_NUM("size", n->content.len));
	conversation_leave(c);
	/* The id belongs to the queued message from now on. */
	idmap_remove(&q->conversations, id);
	c->id = id_new();
	idmap_put(&q->conversations, c->id, n);
	over(n, true);
	queue_accept(q, id, queue_sender(SPAN_NONE, SPAN_NONE), PRIORITY_NORMAL);
}

void
notice_lost(struct queue *q, struct conversation *c)
{
	struct notice *n = notice_of(c);

	if (n->step == SPOOLING)
		recover_unpromised(q, c->id);
	if (++n->losses >= MOST_NOTICE_LOSSES) {
		over(n, false);
		return;
	}
	n->step = RESOLVING;
	resolution_clear(&n->places);
	turn_soon(n, WAIT_MILLISECONDS);
}

uint32_t
notice_hour(const struct conversation *c)
{
	const struct notice *n = (const struct notice *)(const void *)c;

	return n->step == LENDING ? HOUR_WAITING : n->step == SPOOLING ? HOUR_PLACING : HOUR_NONE;
}

/* --- what other programs want told --- */

static void
nobody_asks(struct queue *q, void *me, bool good)
{
	(void)q;
	(void)me;
	if (!good)
		log_warning(0, "notice-lost", KEY_STR("reason", "it did not get into the spool"));
}

/* RFC 2047: as it is, where that is ASCII; else base64 in pieces that are whole characters. */
static void
add_subject(struct text *to, struct span subject)
{
	struct text clean = TEXT_UP_TO(400);
	struct span rest;
	bool ascii = true;

	report_clean(&clean, subject, 200);
	rest = text_span(&clean);
	for (size_t i = 0; i < rest.len; i++)
		ascii &= rest.at[i] < 0x80;
	if (ascii) {
		text_add(to, rest);
		text_clear(&clean);
		return;
	}
	for (size_t len; rest.len > 0; rest = span_part(rest, len, rest.len)) {
		len = rest.len < 42 ? rest.len : 42;
		while (len > 1 && len < rest.len && (rest.at[len] & 0xc0) == 0x80)
			len--;
		text_add_str(to, "=?utf-8?B?");
		text_add_base64(to, span_part(rest, 0, len));
		text_add_str(to, len < rest.len ? "?=\r\n " : "?=");
	}
	text_clear(&clean);
}

void
notice_hear(struct queue *q, const struct msg_notice *m, bool may_relay)
{
	struct text content = TEXT_UP_TO(MOST_REPORT), to = TEXT_UP_TO(MOST_ADDRESS + 1);
	struct span host = q->daemon.settings->hostname, body = m->body, line;
	uint64_t now = (uint64_t)time(NULL);

	text_add(&to, m->recipient.len > 0 ? m->recipient : SPAN("postmaster"));
	text_add_str(&content, "Date: ");
	report_date(&content, now);
	text_printf(&content, "\r\nFrom: Valija <MAILER-DAEMON@%.*s>\r\nTo: ", SPAN_ARG(host));
	report_clean(&content, text_span(&to), MOST_ADDRESS);
	text_add_str(&content, "\r\nSubject: ");
	add_subject(&content, m->subject);
	text_printf(&content, "\r\nMessage-ID: <%s@%.*s>\r\nAuto-Submitted: auto-generated\r\n"
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
		"Content-Transfer-Encoding: 8bit\r\n\r\n",
		id_name(id_new()).str, SPAN_ARG(host));
	while (body.len > 0) {
		line = body;
		if (!span_take_until(&body, '\n', &line))
			body = SPAN_NONE;
		if (line.len > 0 && line.at[line.len - 1] == '\r')
			line.len--;
		report_clean(&content, line, 990);
		text_add_str(&content, "\r\n");
	}
	post(q, text_span(&to), &content, true, false, nobody_asks, NULL)->may_relay = may_relay;
	text_clear(&to);
}
