/*
 * pump - bytes between a client's TLS and the plaintext socket of its front end; see worker.h.
 *
 * Each direction: what one turn reads goes out at once; what does not fit is kept (pending), and
 * nothing more is read in that direction until it is gone. An idle connection keeps no buffer. When
 * MOST_WAITING_BYTES wait in all connections together, one turn reads a record's length, and not a round.
 *
 * GnuTLS reads and writes, in the handshake too, through two buffers of the worker: one call reads many
 * records (arrived), one call writes many (leaving), and it never finds the socket full. Both are empty when
 * a turn ends: GnuTLS itself keeps a record that has come in part, `to_client` what did not fit.
 *
 * Ends. close_notify from the client becomes the end of file for the front end, which may still
 * answer; the front end's end of file becomes close_notify. Anything else that ends TLS ends the
 * connection both ways. Bytes behind the end of TLS are never read as anything.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "worker.h"

#define MOST_RENEGOTIATIONS 2

static void
pending_drop(struct worker *w, struct pending *p)
{
	w->waiting -= p->from + p->len;
	free(p->at);
	*p = (struct pending){ NULL, 0, 0 };
}

/* Puts bytes behind those that wait already. */
static void
pending_keep(struct worker *w, struct pending *p, const unsigned char *at, size_t len)
{
	size_t before = p->len;
	unsigned char *all = must_alloc(before + len);

	if (before > 0)
		memcpy(all, p->at + p->from, before);
	memcpy(all + before, at, len);
	pending_drop(w, p);
	*p = (struct pending){ all, 0, before + len };
	w->waiting += p->len;
}

static void
pending_use(struct worker *w, struct pending *p, size_t len)
{
	p->from += len;
	p->len -= len;
	if (p->len == 0)
		pending_drop(w, p);
}

static size_t
round_bytes(const struct worker *w)
{
	return w->waiting < MOST_WAITING_BYTES ? ROUND_BYTES : RECORD_BYTES;
}

/* --- what GnuTLS reads and writes --- */

/* Writes what it can to the client: the bytes taken. */
static size_t
write_records(struct connection *c, const unsigned char *at, size_t len)
{
	/* The end of the connection goes with its last bytes. */
	int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (c->ends ? MSG_MORE : 0);
	size_t done = 0;

	while (done < len) {
		ssize_t wrote = send(c->client, at + done, len - done, flags);

		if (wrote >= 0) {
			done += (size_t)wrote;
		} else if (errno == EAGAIN) {
			break;
		} else if (errno != EINTR) {
			c->client_broken = c->client_done = true;
			break;
		}
	}
	return done;
}

void
pump_flush(struct connection *c)
{
	struct worker *w = c->worker;
	size_t sent = 0;

	if (w->leaving.len > 0 && c->to_client.len == 0)
		sent = write_records(c, w->leaving.at, w->leaving.len);
	if (sent < w->leaving.len && !c->client_broken)
		pending_keep(w, &c->to_client, w->leaving.at + sent, w->leaving.len - sent);
	w->leaving.len = 0;
}

/* A gnutls_vec_push_func: takes everything. More than a turn makes is not kept here, but sent. */
static ssize_t
push_records(gnutls_transport_ptr_t arg, const giovec_t *piece, int count)
{
	struct connection *c = arg;
	struct worker *w = c->worker;
	size_t taken = 0;

	for (int i = 0; i < count; i++) {
		const unsigned char *at = piece[i].iov_base;
		size_t len = piece[i].iov_len;

		while (len > 0) {
			size_t room = sizeof(w->leaving.at) - w->leaving.len;
			size_t part = len < room ? len : room;

			memcpy(w->leaving.at + w->leaving.len, at, part);
			w->leaving.len += part;
			at += part;
			len -= part;
			taken += part;
			if (w->leaving.len == sizeof(w->leaving.at))
				pump_flush(c);
		}
	}
	return (ssize_t)taken;
}

/* A gnutls_pull_func: from what has arrived in this turn; the socket is read in pump_read. */
static ssize_t
pull_records(gnutls_transport_ptr_t arg, void *to, size_t room)
{
	struct connection *c = arg;
	struct worker *w = c->worker;
	size_t have = w->arrived.len - w->arrived.from, part = have < room ? have : room;

	if (have == 0 && c->client_done)
		return 0;
	if (have == 0) {
		gnutls_transport_set_errno(c->tls, EAGAIN);
		return -1;
	}
	memcpy(to, w->arrived.at + w->arrived.from, part);
	w->arrived.from += part;
	return (ssize_t)part;
}

/* As GnuTLS's own, but whoever gave us the socket may have made it one that waits. */
static ssize_t
pull_exactly(gnutls_transport_ptr_t arg, void *to, size_t room)
{
	return recv((int)(intptr_t)arg, to, room, MSG_DONTWAIT);
}

void
pump_prepare(struct connection *c, bool exact)
{
	c->exact = exact;
	if (exact)
		evutil_make_socket_nonblocking(c->client);
	gnutls_transport_set_ptr2(c->tls, exact ? (gnutls_transport_ptr_t)(intptr_t)c->client : c, c);
	gnutls_transport_set_vec_push_function(c->tls, push_records);
	gnutls_transport_set_pull_function(c->tls, exact ? pull_exactly : pull_records);
}

void
pump_read(struct connection *c)
{
	struct worker *w = c->worker;
	ssize_t got;

	w->arrived.from = w->arrived.len = 0;
	if (c->exact)
		return;
	got = recv(c->client, w->arrived.at, round_bytes(w), MSG_DONTWAIT);
	w->arrived.len = got > 0 ? (size_t)got : 0;
	/* An end without close_notify. */
	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
		c->client_done = c->client_broken = true;
}

size_t
pump_write(struct connection *c)
{
	size_t took = write_records(c, c->to_client.at + c->to_client.from, c->to_client.len);

	pending_use(c->worker, &c->to_client, took);
	return took;
}

/* --- client to front end --- */

/* Writes what it can to the front end: the bytes taken, all of them when it reads no more. */
static size_t
write_plain(struct connection *c, const unsigned char *at, size_t len)
{
	size_t done = 0;

	while (done < len && !c->plain_deaf) {
		ssize_t wrote = send(c->plain, at + done, len - done, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (wrote >= 0)
			done += (size_t)wrote;
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR)
			c->plain_deaf = true; /* it may still have said something that we have to
						 deliver */
	}
	return c->plain_deaf ? len : done;
}

/* RFC 5246 7.2.2, 7.4.1.1: a server of TLS 1.2 that relay talks to asks for another handshake. A warning,
 * and it may go on without; one that insists must go. Clients that ask GnuTLS itself turns away. */
static bool
refuse_renegotiation(struct connection *c)
{
	if (++c->renegotiations > MOST_RENEGOTIATIONS)
		return false;
	return gnutls_alert_send(c->tls, GNUTLS_AL_WARNING, GNUTLS_A_NO_RENEGOTIATION) >= 0;
}

/* One record: its bytes, 0 nothing now (or the end: client_done). */
static size_t
read_record(struct connection *c, unsigned char *to, size_t room)
{
	const struct worker *w = c->worker;

	for (;;) {
		size_t before = w->arrived.from;
		ssize_t got = gnutls_record_recv(c->tls, to, room);

		if (got > 0)
			return (size_t)got;
		if (got == GNUTLS_E_AGAIN) {
			/* Also said of what is no data (a ticket of another server). */
			if (w->arrived.from > before && w->arrived.from < w->arrived.len)
				continue;
			return 0;
		}
		if (got == GNUTLS_E_INTERRUPTED ||
			(got == GNUTLS_E_WARNING_ALERT_RECEIVED &&
				++c->warnings <= MOST_WARNING_ALERTS) ||
			(got == GNUTLS_E_REHANDSHAKE && refuse_renegotiation(c)))
			continue;
		c->client_done = true;
		if (got == 0)
			return 0;
		c->client_broken = true;
		if (got != GNUTLS_E_PREMATURE_TERMINATION && got != GNUTLS_E_PULL_ERROR) {
			log_info(c->session, "tls-broken",
				KEY_STR("reason", gnutls_strerror((int)got)));
			(void)gnutls_alert_send_appropriate(c->tls, (int)got);
		}
		return 0;
	}
}

/* The plain bytes are fewer than the records that they come in: all that has arrived fits into a round. */
static void
from_client(struct connection *c)
{
	struct worker *w = c->worker;
	size_t len = 0, got, wrote;

	while (!c->client_done &&
		(got = read_record(c, w->round + len, sizeof(w->round) - len)) > 0)
		len += got;
	w->arrived.from = w->arrived.len = 0;     /* behind the end of TLS nothing is read */
	c->bytes_in += len;
	wrote = write_plain(c, w->round, len);
	if (wrote < len)
		pending_keep(w, &c->to_plain, w->round + wrote, len - wrote);
}

/* --- front end to client --- */

/* Makes records of all of it. */
static void
write_client(struct connection *c, const unsigned char *at, size_t len)
{
	size_t done = 0;

	while (done < len && !c->client_broken) {
		size_t piece = len - done < RECORD_BYTES ? len - done : RECORD_BYTES;
		ssize_t sent = gnutls_record_send(c->tls, at + done, piece);

		if (sent > 0)
			done += (size_t)sent;
		else if (sent != GNUTLS_E_INTERRUPTED)
			c->client_broken = c->client_done = true;
	}
	c->bytes_out += done;
}

/* One, where GnuTLS by itself would make two: each session that is resumed gets another. */
void
pump_give_ticket(struct connection *c)
{
	bool due = c->ticket_due;

	c->ticket_due = false;
	if (due && gnutls_session_ticket_send(c->tls, 1, 0) < 0)
		c->client_broken = c->client_done = true;
}

static void
take_plain(struct connection *c)
{
	unsigned char *round = c->worker->round;
	ssize_t got = recv(c->plain, round, round_bytes(c->worker), MSG_DONTWAIT);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		c->plain_done = true; /* also a reset: the front end closed without reading all */
		return;
	}
	pump_give_ticket(c);
	write_client(c, round, (size_t)got);
}

/* `closed`: the front end says no more than what lies there. */
static void
from_plain(struct connection *c, bool closed)
{
	do
		take_plain(c);
	while (closed && !c->plain_done && !c->client_broken && c->to_client.len == 0);
}

/* --- both --- */

static bool
plain_is_closed(const struct connection *c)
{
	struct pollfd p = { .fd = c->plain, .events = 0 };

	return c->plain_deaf || (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)) != 0);
}

/* close_notify, behind all that was said. */
static void
tell_client_end(struct connection *c)
{
	int error;

	do
		error = gnutls_bye(c->tls, GNUTLS_SHUT_WR);
	while (error == GNUTLS_E_INTERRUPTED);
	c->told_client_end = true;
}

static void
finish(struct connection *c)
{
	log_debug(c->session, "tls-end", KEY_NUM("in", c->bytes_in), KEY_NUM("out", c->bytes_out));
	if (c->client_broken)
		connection_free(c);
	else
		connection_linger(c);
}

/* After each turn: ends what has ended, and says what to wait for. The connection may be gone. A client
 * that does not take what waits for it (`moves`) is not given more time because it talks. */
static void
settle(struct connection *c, bool moves)
{
	short client = 0, plain = 0;
	unsigned int seconds = 0;

	if (c->plain_done && !c->told_client_end && !c->client_broken)
		tell_client_end(c);
	c->ends = c->plain_done && (c->client_done || plain_is_closed(c));
	pump_flush(c);
	if (c->client_broken) {
		pending_drop(c->worker, &c->to_client);
		if (c->to_plain.len == 0) {
			finish(c);
			return;
		}
	}
	if (c->client_done && c->to_plain.len == 0 && !c->told_plain_end) {
		shutdown(c->plain, SHUT_WR);
		c->told_plain_end = true;
	}
	if (c->ends && c->to_client.len == 0) {
		finish(c);
		return;
	}
	if (!c->client_done && !c->plain_deaf && c->to_plain.len == 0)
		client |= EV_READ;
	if (c->to_client.len > 0)
		client |= EV_WRITE;
	if (!c->plain_done && c->to_client.len == 0 && !c->client_broken)
		plain |= EV_READ;
	if (c->to_plain.len > 0)
		plain |= EV_WRITE;
	connection_watch_client(c, client);
	connection_watch_plain(c, plain);
	if (c->to_client.len > 0 || c->to_plain.len > 0)
		seconds = STALL_SECONDS;
	if (c->client_done || c->plain_done)
		seconds = HALF_CLOSED_SECONDS;
	if (event_pending(&c->timer, EV_TIMEOUT, NULL) != 0 ? moves || seconds == 0 : seconds != 0)
		connection_set_timer(c, seconds);
}

void
pump_begin(struct connection *c)
{
	pump_prepare(c, false);
	/* The last flight of the handshake may have brought data along, in `arrived` or in GnuTLS. */
	from_client(c);
	settle(c, true);
}

void
pump_end(struct connection *c)
{
	pending_drop(c->worker, &c->to_plain);
	pending_drop(c->worker, &c->to_client);
}

void
pump_client_ready(struct connection *c, short what)
{
	bool moves = true;

	if (c->to_client.len > 0)
		moves = (what & EV_WRITE) != 0 && pump_write(c) > 0;
	if ((what & EV_READ) != 0 && !c->client_done && c->to_plain.len == 0) {
		pump_read(c);
		from_client(c);
	}
	settle(c, moves || c->client_done);
}

void
pump_plain_ready(struct connection *c, short what)
{
	bool moves = c->to_client.len == 0;

	if ((what & EV_WRITE) != 0 && c->to_plain.len > 0)
		pending_use(c->worker, &c->to_plain,
			write_plain(c, c->to_plain.at + c->to_plain.from, c->to_plain.len));
	if ((what & (EV_READ | EV_CLOSED)) != 0 && !c->plain_done && c->to_client.len == 0)
		from_plain(c, (what & EV_CLOSED) != 0);
	settle(c, moves);
}

void
pump_timeout(struct connection *c)
{
	log_info(c->session, "tls-stalled",
		KEY_STR("peer", c->to_client.len > 0 || c->plain_done ? "client" : "front end"),
		KEY_NUM("in", c->bytes_in), KEY_NUM("out", c->bytes_out));
	connection_free(c);
}
