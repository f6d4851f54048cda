/*
 * pump - bytes between a client's TLS and the plaintext socket of its front end; see worker.h.
 *
 * Each direction: what one turn reads goes out at once; what does not fit is kept (pending), and
 * nothing more is read in that direction until it is gone. An idle connection keeps no buffer.
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
pending_keep(struct pending *p, const unsigned char *at, size_t len)
{
	p->at = must_alloc(len);
	memcpy(p->at, at, len);
	p->from = 0;
	p->len = len;
}

static void
pending_use(struct pending *p, size_t len)
{
	p->from += len;
	p->len -= len;
	if (p->len > 0)
		return;
	free(p->at);
	*p = (struct pending){ NULL, 0, 0 };
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

/* RFC 5246 7.2.2, 7.4.1.1: a warning, and the client may go on without. One that insists must go.
 */
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
	for (;;) {
		ssize_t got = gnutls_record_recv(c->tls, to, room);

		if (got > 0)
			return (size_t)got;
		if (got == GNUTLS_E_AGAIN)
			return 0;
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

static void
from_client(struct connection *c)
{
	unsigned char *round = c->worker->round;
	size_t len = 0, wrote;

	while (!c->client_done && sizeof(c->worker->round) - len >= RECORD_BYTES) {
		size_t got = read_record(c, round + len, sizeof(c->worker->round) - len);

		if (got == 0)
			break;
		len += got;
	}
	c->bytes_in += len;
	wrote = write_plain(c, round, len);
	if (wrote < len)
		pending_keep(&c->to_plain, round + wrote, len - wrote);
}

/* --- front end to client --- */

/* Sends what it can; returns the bytes that GnuTLS is done with. */
static size_t
write_client(struct connection *c, const unsigned char *at, size_t len)
{
	size_t done = 0;

	while (done < len && !c->client_broken) {
		size_t piece = len - done < RECORD_BYTES ? len - done : RECORD_BYTES;
		/* A record that was begun is gone on with, whatever the arguments say. */
		ssize_t sent = c->record_under_way ? gnutls_record_send(c->tls, NULL, 0)
						   : gnutls_record_send(c->tls, at + done, piece);

		c->record_under_way = sent == GNUTLS_E_AGAIN || sent == GNUTLS_E_INTERRUPTED;
		if (sent > 0)
			done += (size_t)sent;
		else if (sent == GNUTLS_E_AGAIN)
			break;
		else if (sent != GNUTLS_E_INTERRUPTED)
			c->client_broken = c->client_done = true;
	}
	c->bytes_out += done;
	return done;
}

static void
from_plain(struct connection *c)
{
	unsigned char *round = c->worker->round;
	ssize_t got = recv(c->plain, round, sizeof(c->worker->round), MSG_DONTWAIT);
	size_t wrote;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		c->plain_done = true; /* also a reset: the front end closed without reading all */
		return;
	}
	wrote = write_client(c, round, (size_t)got);
	if (wrote < (size_t)got && !c->client_broken)
		pending_keep(&c->to_client, round + wrote, (size_t)got - wrote);
}

/* --- both --- */

static bool
plain_is_closed(const struct connection *c)
{
	struct pollfd p = { .fd = c->plain, .events = 0 };

	return c->plain_deaf || (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)) != 0);
}

/* close_notify and the end of the TCP stream. False: it must wait for room in the socket. */
static bool
tell_client_end(struct connection *c)
{
	int error;

	do
		error = gnutls_bye(c->tls, GNUTLS_SHUT_WR);
	while (error == GNUTLS_E_INTERRUPTED);
	if (error == GNUTLS_E_AGAIN)
		return false;
	c->told_client_end = true;
	return true;
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

/* After each turn: ends what has ended, and says what to wait for. The connection may be gone. */
static void
settle(struct connection *c)
{
	bool bye_waits = false;
	short client = 0, plain = 0;
	unsigned int seconds = 0;

	if (c->client_broken && c->to_plain.len == 0) {
		finish(c);
		return;
	}
	if (c->client_done && c->to_plain.len == 0 && !c->told_plain_end) {
		shutdown(c->plain, SHUT_WR);
		c->told_plain_end = true;
	}
	if (c->plain_done && c->to_client.len == 0) {
		if (!c->told_client_end)
			bye_waits = !tell_client_end(c);
		if (!bye_waits && (c->client_done || plain_is_closed(c))) {
			finish(c);
			return;
		}
	}
	if (!c->client_done && !c->plain_deaf && c->to_plain.len == 0)
		client |= EV_READ;
	if ((c->to_client.len > 0 || bye_waits) && !c->client_broken)
		client |= EV_WRITE;
	if (!c->plain_done && c->to_client.len == 0 && !c->client_broken)
		plain |= EV_READ;
	if (c->to_plain.len > 0)
		plain |= EV_WRITE;
	connection_watch_client(c, client);
	connection_watch_plain(c, plain);
	if (c->to_client.len > 0 || c->to_plain.len > 0 || bye_waits)
		seconds = STALL_SECONDS;
	if (c->client_done || c->plain_done)
		seconds = HALF_CLOSED_SECONDS;
	if (seconds != 0 || event_pending(&c->timer, EV_TIMEOUT, NULL) != 0)
		connection_set_timer(c, seconds);
}

void
pump_begin(struct connection *c)
{
	/* The last flight of the handshake may have brought data along. */
	from_client(c);
	settle(c);
}

void
pump_client_ready(struct connection *c, short what)
{
	if ((what & EV_WRITE) != 0 && c->to_client.len > 0)
		pending_use(&c->to_client, write_client(c, c->to_client.at + c->to_client.from,
			c->to_client.len));
	if ((what & EV_READ) != 0 && !c->client_done && c->to_plain.len == 0)
		from_client(c);
	settle(c);
}

void
pump_plain_ready(struct connection *c, short what)
{
	if ((what & EV_WRITE) != 0 && c->to_plain.len > 0)
		pending_use(&c->to_plain,
			write_plain(c, c->to_plain.at + c->to_plain.from, c->to_plain.len));
	if ((what & EV_READ) != 0 && !c->plain_done && c->to_client.len == 0)
		from_plain(c);
	settle(c);
}

void
pump_timeout(struct connection *c)
{
	log_info(c->session, "tls-stalled",
		KEY_STR("peer", c->to_client.len > 0 || c->plain_done ? "client" : "front end"),
		KEY_NUM("in", c->bytes_in), KEY_NUM("out", c->bytes_out));
	connection_free(c);
}
