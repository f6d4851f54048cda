/* relay-dialogue - see relay.h. */
#include "relay.h"

#include "common/id.h"
#include "common/kernel-tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_OUT (1024 * 1024)
#define PIECE 32768                    /* of a body, between two looks at the socket */
#define CHUNK 65536                    /* BDAT */
#define QUIT_SECONDS 5
#define TLS_SECONDS 60
#define FLUSH_TURNS 16                 /* pieces before others have their turn */

#define V_LOST VERDICT_IS(LATER, 451, "4.4.2", "connection lost")
#define V_SLOW VERDICT_IS(LATER, 451, "4.4.2", "no answer in time")

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void on_timer(evutil_socket_t fd, short what, void *arg);

struct dialogue *
dialogue_find(struct relay *r, uint64_t id)
{
	struct dialogue *d;

	TAILQ_FOREACH(d, &r->dialogues, all)
		if (d->id == id)
			return d;
	return NULL;
}

void
dialogue_set_timer(struct dialogue *d, uint64_t seconds)
{
	struct timeval wait = { .tv_sec = (time_t)seconds };

	evtimer_add(d->timer, &wait);
}

/* --- the socket --- */

static void
socket_install(struct dialogue *d, int fd)
{
	d->fd = fd;
	d->readable = event_new(d->relay->daemon.base, fd, EV_READ | EV_PERSIST, on_readable, d);
	d->writable = event_new(d->relay->daemon.base, fd, EV_WRITE, on_writable, d);
	if (d->readable == NULL || d->writable == NULL)
		abort();
	event_add(d->readable, NULL);
}

/* Ours no more; the caller closes it or gives it away. */
static int
socket_take(struct dialogue *d)
{
	int fd = d->fd;

	if (fd >= 0) {
		event_free(d->readable);
		event_free(d->writable);
	}
	d->fd = -1;
	return fd;
}

void
dialogue_free(struct dialogue *d)
{
	int fd = socket_take(d);

	if (fd >= 0) {
		if (d->tls)
			stream_bye(fd);
		close(fd);
	}
	if (d->job != NULL)
		d->job->dialogue = NULL;
	TAILQ_REMOVE(&d->relay->dialogues, d, all);
	d->relay->dialogue_count--;
	event_free(d->timer);
	smtp_reply_clear(&d->reply);
	text_clear(&d->out);
	free(d->expected);
	sasl_free(&d->sasl);
	free(d);
}

/* Nothing was answered in this use of an old connection: it was closed meanwhile, which says nothing
 * of the server. */
static bool
went_stale(const struct dialogue *d)
{
	return d->uses > 1 && !d->heard;
}

void
dialogue_failed(struct dialogue *d, struct verdict why)
{
	struct job *j = d->job;
	struct text reason = TEXT_UP_TO(MOST_REASON);
	bool begun = d->step >= STEP_ENVELOPE && d->step <= STEP_VERDICT;
	bool stale = went_stale(d);
	char where[sizeof(d->where)];

	memcpy(where, d->where, sizeof(where));
	if (j == NULL) {
		dialogue_free(d);
		return;
	}
	text_printf(&reason, "%s: ", d->where);
	text_add(&reason, span_part(why.reason, 0, MOST_REASON - reason.len));
	why.reason = text_span(&reason);
	dialogue_free(d);
	if (stale) {
		for (uint32_t i = 0; i < j->count; i++)
			if (j->recipient[i].state != OVER)
				j->recipient[i].state = WAITING;
		route_begin(j);
	} else if (begun) {
		job_note_fault(j, why);
		j->health = HEALTH_BUSY;
		job_end_all(j, why, where);
	} else {
		memcpy(j->fault_server, where, sizeof(j->fault_server));
		job_next_server(j, why, HEALTH_DEAD);
	}
	text_clear(&reason);
}

/* From inside a command or a write, whose caller goes on with `d`: fails in the next turn of the loop. */
static void
fail_soon(struct dialogue *d, struct verdict why)
{
	d->doom = why;
	dialogue_set_timer(d, 0);
}

/* --- reading --- */

/* False: the dialogue is gone. */
static bool
take_replies(struct dialogue *d, struct span in)
{
	while (in.len > 0) {
		enum reply_state state = smtp_reply_feed(&d->reply, &in);

		if (state == REPLY_MORE)
			return true;
		if (state == REPLY_BROKEN) {
			dialogue_failed(d, VERDICT_IS(LATER, 451, "4.5.0",
				"what the server answers is not SMTP"));
			return false;
		}
		/* What comes before TLS behind the answer to STARTTLS was put there by somebody else. */
		if (d->step == STEP_STARTTLS && in.len > 0) {
			dialogue_failed(d, VERDICT_IS(LATER, 451, "4.7.0",
				"the server spoke between its answer to STARTTLS and TLS"));
			return false;
		}
		if (!commands_reply(d))
			return false;
		smtp_reply_reset(&d->reply);
	}
	return true;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct dialogue *d = arg;
	unsigned char buffer[8192];
	ssize_t len = stream_recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);

	(void)what;
	if (len > 0)
		(void)take_replies(d, span_of(buffer, (size_t)len));
	else if (len == 0 || (errno != EAGAIN && errno != EINTR))
		dialogue_failed(d, V_LOST);
}

/* --- writing --- */

/* Puts the next chunk into d->out. False: the message cannot be read. */
static bool
put_chunk(struct dialogue *d)
{
	unsigned char *chunk = must_alloc(CHUNK);
	size_t len = 0;

	while (!d->body.whole && !d->body.failed && CHUNK - len >= 1024)
		len += outgoing_next(&d->body, chunk + len, CHUNK - len);
	if (!d->body.failed) {
		text_printf(&d->out, "BDAT %zu%s\r\n", len, d->body.whole ? " LAST" : "");
		text_add(&d->out, span_of(chunk, len));
		d->expected[d->expected_to++].said = d->body.whole ? SAID_LAST_CHUNK : SAID_CHUNK;
	}
	free(chunk);
	return !d->body.failed;
}

static bool
put_piece(struct dialogue *d)
{
	unsigned char piece[PIECE];
	size_t len = outgoing_next(&d->body, piece, sizeof(piece));

	text_add(&d->out, span_of(piece, len));
	if (d->body.whole)
		text_add_str(&d->out, ".\r\n");
	return !d->body.failed;
}

/* Room for one more expected reply. */
static void
expected_grow(struct dialogue *d)
{
	if (d->expected_from == d->expected_to)
		d->expected_from = d->expected_to = 0;
	if (d->expected_to < d->expected_room)
		return;
	d->expected_room = d->expected_room == 0 ? 16 : d->expected_room * 2;
	d->expected = must_realloc(d->expected, d->expected_room * sizeof(*d->expected));
}

/* More of the body, when everything before has left. False: there is none to be had. */
static bool
refill(struct dialogue *d)
{
	text_reset(&d->out);
	d->out_at = 0;
	if (d->step != STEP_BODY || d->body.whole)
		return true;
	expected_grow(d);
	if (!(d->chunking ? put_chunk(d) : put_piece(d))) {
		fail_soon(d, VERDICT_IS(LATER, 451, "4.3.0", "the message cannot be read"));
		return false;
	}
	return true;
}

void
dialogue_flush(struct dialogue *d)
{
	static const struct timeval at_once = { 0, 0 };

	for (unsigned int turns = 0; d->fd >= 0 && d->doom.outcome == 0; turns++) {
		ssize_t sent;

		if (d->out_at == d->out.len && !refill(d))
			return;
		if (d->out_at == d->out.len)
			break;
		sent = turns == FLUSH_TURNS ? 0 : send(d->fd, d->out.at + d->out_at,
			d->out.len - d->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno != EAGAIN && errno != EINTR) {
			/* What the peer said before it closed counts: it will be read. */
			if (errno == EPIPE || errno == ECONNRESET)
				break;
			fail_soon(d, V_LOST);
			return;
		}
		if (sent <= 0) {
			event_add(d->writable, turns == FLUSH_TURNS ? &at_once : NULL);
			break;
		}
		d->out_at += (size_t)sent;
		if (d->step == STEP_BODY)
			dialogue_set_timer(d, d->relay->daemon.settings->relay_data_seconds);
	}
	if (d->step == STEP_BODY && d->body.whole && d->out_at == d->out.len)
		commands_body_sent(d);
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	dialogue_flush(arg);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct dialogue *d = arg;

	(void)fd;
	(void)what;
	if (d->doom.outcome != 0)
		dialogue_failed(d, d->doom);
	else if (d->step == STEP_LOOK)
		commands_envelope(d);
	else if (d->step == STEP_IDLE)
		dialogue_quit(d);
	else
		dialogue_failed(d, V_SLOW);
}

/* --- beginning and end --- */

static void
own_address(struct dialogue *d, int fd)
{
	struct sockaddr_storage own = { 0 };
	socklen_t len = sizeof(own);

	if (getsockname(fd, (struct sockaddr *)&own, &len) == 0 && own.ss_family != AF_UNSPEC)
		address_text(&own, d->own_ip, sizeof(d->own_ip));
}

void
dialogue_new(struct job *j, int fd, const struct sockaddr_storage *address)
{
	struct dialogue *d = must_alloc(sizeof(*d));
	struct text where = TEXT_UP_TO(sizeof(d->where) - 1);

	d->relay = j->relay;
	d->job = j;
	j->dialogue = d;
	d->id = id_new();
	memcpy(d->key, j->key, sizeof(d->key));
	memcpy(d->host, j->server[j->current].name, sizeof(d->host));
	d->port = j->port;
	if (address != NULL) {
		address_text(address, d->ip, sizeof(d->ip));
		own_address(d, fd);
		text_printf(&where, "%s[%s]:%u", d->host, d->ip, d->port);
	} else {
		text_add_str(&where, d->host);
	}
	span_copy(text_span(&where), d->where, sizeof(d->where));
	text_clear(&where);
	memcpy(j->fault_server, d->where, sizeof(j->fault_server));
	d->lmtp = j->way == WAY_LMTP;
	d->out = TEXT_UP_TO(MOST_OUT);
	d->uses = 1;
	smtp_reply_init(&d->reply);
	d->timer = evtimer_new(d->relay->daemon.base, on_timer, d);
	if (d->timer == NULL)
		abort();
	TAILQ_INSERT_TAIL(&d->relay->dialogues, d, all);
	d->relay->dialogue_count++;
	expected_grow(d);
	socket_install(d, fd);
	hello_begin(d);
}

bool
dialogue_reuse(struct job *j)
{
	struct dialogue *d;

	TAILQ_FOREACH(d, &j->relay->dialogues, all) {
		if (d->step != STEP_IDLE || strcmp(d->key, j->key) != 0)
			continue;
		d->job = j;
		j->dialogue = d;
		d->uses++;
		d->heard = false;
		memcpy(j->fault_server, d->where, sizeof(j->fault_server));
		commands_envelope(d);
		return true;
	}
	return false;
}

void
dialogue_quit(struct dialogue *d)
{
	d->step = STEP_QUIT;
	smtp_reply_reset(&d->reply);
	d->expected_from = d->expected_to = 0;
	dialogue_set_timer(d, QUIT_SECONDS);
	text_add_str(&d->out, "QUIT\r\n");
	dialogue_flush(d);
}

void
dialogue_done(struct dialogue *d)
{
	const struct settings *s = d->relay->daemon.settings;
	struct job *j = d->job;

	if (j != NULL) {
		d->job = NULL;
		j->dialogue = NULL;
	}
	if (d->uses >= s->relay_reuse_messages || s->relay_reuse_seconds == 0 ||
	    d->relay->daemon.leaving) {
		dialogue_quit(d);
	} else {
		d->step = STEP_IDLE;
		text_clear(&d->out);
		d->out_at = 0;
		dialogue_set_timer(d, s->relay_reuse_seconds);
	}
	if (j != NULL)
		job_end(j);
}

/* --- TLS --- */

/* The names that a certificate may have, with commas. */
static void
names_of(const struct dialogue *d, struct text *names)
{
	const struct job *j = d->job;
	const struct server *s = &j->server[j->current];

	if (j->policy.names[0] != '\0') {
		text_add_str(names, j->policy.names);
		return;
	}
	text_add_str(names, s->name);
	if (!j->dane)
		return;
	/* RFC 7672 3.2.2: the TLSA base domain, and the next hop. */
	if (s->base[0] != '\0' && strcmp(s->base, s->name) != 0)
		text_printf(names, ",%s", s->base);
	if (j->way == WAY_MX)
		text_printf(names, ",%s", j->next_hop);
}

void
dialogue_start_tls(struct dialogue *d)
{
	struct job *j = d->job;
	const struct server *s = &j->server[j->current];
	struct channel *worker = daemon_any_peer(&d->relay->daemon, PROGRAM_TLS);
	struct text names = TEXT_UP_TO(1024);
	int fd;

	if (worker == NULL) {
		fail_soon(d, VERDICT_IS(LATER, 451, "4.3.0", "no TLS worker is there"));
		return;
	}
	d->tls_level = j->dane ? TLS_DANE : j->policy.wanted == WANT_VERIFY || j->sts == STS_ENFORCE ? TLS_PKI : TLS_MAY;
	names_of(d, &names);
	fd = socket_take(d);
	d->step = STEP_TLS;
	d->tls_worker = worker;
	dialogue_set_timer(d, TLS_SECONDS);
	if (!send_tls_connect(worker, d->id,
		    &(struct msg_tls_connect){ .level = d->tls_level,
			    .server_name = s->literal ? SPAN("") :
				span_str(j->dane && s->base[0] != '\0' ? s->base : s->name),
			    .names = text_span(&names),
			    .tlsa = span_of(j->tlsa, j->dane ? j->tlsa_len : 0) },
		    &fd)) {
		d->tls_worker = NULL;
		fail_soon(d, VERDICT_IS(LATER, 451, "4.3.0", "no TLS worker is there"));
	}
	text_clear(&names);
}

void
dialogue_tls_connected(struct relay *r, struct channel *from, uint64_t id,
	const struct msg_tls_connected *m, int fd)
{
	struct dialogue *d = dialogue_find(r, id);

	if (d == NULL || d->step != STEP_TLS || d->tls_worker != from) {
		close(fd);
		return;
	}
	d->tls_worker = NULL;
	d->tls = true;
	d->verified = m->verified != TLS_VERIFIED_NO;
	span_copy(m->version, d->tls_version, sizeof(d->tls_version));
	span_copy(m->cipher, d->tls_cipher, sizeof(d->tls_cipher));
	log_info(d->job->session, "relay-tls", KEY_ID("message", d->job->message),
		KEY_STR("relay", d->where), KEY_SPAN("version", m->version), KEY_SPAN("cipher", m->cipher),
		KEY_STR("verified", m->verified == TLS_VERIFIED_DANE  ? "dane"
				    : m->verified == TLS_VERIFIED_PKI ? "pki"
								      : "no"),
		KEY_SPAN("fault", m->fault));
	/* Whoever it is does, where nothing is to be proved. */
	sts_report(d->job, d->ip, d->own_ip, d->verified || (d->job->sts == STS_NONE && !d->job->dane) ? SPAN("")
		: m->result.len > 0 ? m->result : SPAN("validation-failure"), m->fault);
	socket_install(d, fd);
	hello_say(d);
}

/* Is mail without TLS better than none, to this server? */
static bool
may_go_plain(const struct job *j)
{
	return !j->dane && !j->require_tls && j->sts != STS_ENFORCE &&
		(j->policy.wanted == WANT_MAY || j->policy.wanted == WANT_DANE);
}

static void
tls_gave_up(struct dialogue *d, struct span reason, struct span result, bool ours)
{
	struct job *j = d->job;
	struct text why = TEXT_UP_TO(MOST_REASON);

	d->tls_worker = NULL;
	log_notice(j->session, "relay-tls-failed", KEY_ID("message", j->message),
		KEY_STR("relay", d->where), KEY_SPAN("reason", reason),
		KEY_STR("next", ours || !may_go_plain(j) ? "other servers, or later" : "without TLS"));
	if (!ours)
		sts_report(j, d->ip, d->own_ip, result.len > 0 ? result : SPAN("validation-failure"), reason);
	if (!ours && may_go_plain(j)) {
		dialogue_free(d);
		j->plain_again = true;
		connect_begin(j);
		return;
	}
	text_add_str(&why, "TLS failed: ");
	text_add(&why, span_part(reason, 0, MOST_REASON - why.len));
	dialogue_failed(d, (struct verdict){ LATER, 451, SPAN("4.7.5"), text_span(&why) });
	text_clear(&why);
}

void
dialogue_tls_failed(
	struct relay *r, struct channel *from, uint64_t id, const struct msg_tls_failed *m)
{
	struct dialogue *d = dialogue_find(r, id);

	if (d != NULL && d->step == STEP_TLS && d->tls_worker == from)
		tls_gave_up(d, m->reason, m->result, false);
}

void
dialogue_tls_gone(struct relay *r, struct channel *worker)
{
	struct dialogue *d, *next;

	for (d = TAILQ_FIRST(&r->dialogues); d != NULL; d = next) {
		next = TAILQ_NEXT(d, all);
		if (d->tls_worker == worker)
			tls_gave_up(d, SPAN("the TLS worker is gone"), SPAN(""), true);
	}
}
