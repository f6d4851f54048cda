/* connection - what all phases of a connection have in common; see worker.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/door.h"
#include "worker.h"

static bool connection_throw_away(struct connection *c);

static void
on_client(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;

	(void)fd;
	switch (c->phase) {
	case HELD:
		break;
	case HANDSHAKE:
		handshake_step(c);
		break;
	case PUMP:
		pump_client_ready(c, what);
		break;
	case LINGER:
		(void)connection_throw_away(c);
		break;
	}
}

static void
on_plain(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;

	(void)fd;
	if (c->phase == PUMP)
		pump_plain_ready(c, what);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;

	(void)fd;
	(void)what;
	switch (c->phase) {
	case HELD:
	case HANDSHAKE:
		handshake_fail(c, c->phase == HELD ? "tls-key is away"
			: c->outgoing ? "handshake timeout"
			: c->tls == NULL || gnutls_handshake_get_last_in(c->tls) ==
					(gnutls_handshake_description_t)-1
			? "handshake timeout: no complete ClientHello" : "handshake timeout");
		break;
	case PUMP:
		pump_timeout(c);
		break;
	case LINGER:
		connection_free(c);
		break;
	}
}

/* The client's address, from the kernel: no front end is asked. IPv4 becomes ::ffff:a.b.c.d. */
static bool
take_address(int client, struct in6_addr *address)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	if (getpeername(client, (struct sockaddr *)&peer, &len) < 0)
		return false;
	if (peer.ss_family == AF_INET6) {
		*address = ((struct sockaddr_in6 *)&peer)->sin6_addr;
		return true;
	}
	if (peer.ss_family != AF_INET)
		return false;
	memcpy(address->s6_addr, mapped, sizeof(mapped));
	memcpy(address->s6_addr + sizeof(mapped), &((struct sockaddr_in *)&peer)->sin_addr, 4);
	return true;
}

void
connection_told_address(struct connection *c, struct span ip)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	char string[INET6_ADDRSTRLEN];
	struct in6_addr address;

	if (!span_copy(ip, string, sizeof(string)))
		return;
	if (inet_pton(AF_INET6, string, &address) == 1) {
		c->address = address;
	} else if (inet_pton(AF_INET, string, address.s6_addr + sizeof(mapped)) == 1) {
		memcpy(address.s6_addr, mapped, sizeof(mapped));
		c->address = address;
	}
}

void
connection_set_options(struct connection *c)
{
	int on = 1, idle = KEEPALIVE_IDLE_SECONDS, step = KEEPALIVE_STEP_SECONDS,
	    tries = KEEPALIVE_TRIES;

	/* A record is sent whole: waiting for more would only delay answers. */
	setsockopt(c->client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(c->client, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(c->client, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(c->client, IPPROTO_TCP, TCP_KEEPINTVL, &step, sizeof(step));
	setsockopt(c->client, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof(tries));
}

struct connection *
connection_new(
	struct worker *w, struct channel *front, uint64_t session, uint8_t service, int client)
{
	struct in6_addr address;
	struct connection *c;

	if (!take_address(client, &address)) {
		close(client);
		return NULL;
	}
	c = must_alloc(sizeof(*c));
	c->worker = w;
	c->front = front;
	c->session = session;
	c->service = service;
	c->client = client;
	c->plain = -1;
	c->address = c->via = address;
	event_assign(&c->client_event, w->daemon.base, client, 0, on_client, c);
	event_assign(&c->plain_event, w->daemon.base, -1, 0, on_plain, c);
	evtimer_assign(&c->timer, w->daemon.base, on_timer, c);
	LIST_INSERT_HEAD(&w->all, c, all);
	LIST_INSERT_HEAD(&w->bucket[session & (BUCKETS - 1)], c, bucket);
	TAILQ_INSERT_TAIL(&w->handshakes, c, handshakes);
	w->handshake_count++;
	w->connection_count++;
	w->served++;
	return c;
}

struct connection *
connection_find(const struct worker *w, uint64_t session)
{
	struct connection *c;

	LIST_FOREACH(c, &w->bucket[session & (BUCKETS - 1)], bucket)
		if (c->session == session)
			return c;
	return NULL;
}

static void
leave_handshakes(struct connection *c)
{
	if (c->phase != HELD && c->phase != HANDSHAKE)
		return;
	TAILQ_REMOVE(&c->worker->handshakes, c, handshakes);
	c->worker->handshake_count--;
}

void
connection_to_pump(struct connection *c, int plain)
{
	leave_handshakes(c);
	c->phase = PUMP;
	free(c->wanted);
	c->wanted = NULL;
	c->plain = plain;
	connection_set_timer(c, 0);
}

/* The session id is known no longer: the front end's conversation about it is over. */
static void
leave_bucket(struct connection *c)
{
	if (c->session == 0)
		return;
	LIST_REMOVE(c, bucket);
	c->session = 0;
}

static void
close_plain(struct connection *c)
{
	event_del(&c->plain_event);
	if (c->plain >= 0)
		close(c->plain);
	c->plain = -1;
}

static void
free_tls(struct connection *c)
{
	if (c->tls != NULL)
		gnutls_deinit(c->tls);
	c->tls = NULL;
	credentials_drop(&c->credentials);
	free(c->wanted);
	c->wanted = NULL;
	pump_end(c);
}

void
connection_free(struct connection *c)
{
	struct worker *w = c->worker;

	leave_handshakes(c);
	if (c->blind)
		TAILQ_REMOVE(&w->lingering, c, handshakes);
	leave_bucket(c);
	LIST_REMOVE(c, all);
	w->connection_count--;
	event_del(&c->timer);
	event_del(&c->client_event);
	close_plain(c);
	if (c->client >= 0)
		close(c->client);
	free_tls(c);
	free(c);
	if (w->daemon.leaving && w->connection_count == 0)
		daemon_exit(&w->daemon);
}

void
connection_give_away(struct connection *c)
{
	event_del(&c->client_event);
	c->client = -1;
	connection_free(c);
}

static void
watch(struct event *e, struct worker *w, int fd, short what, event_callback_fn call,
	struct connection *c)
{
	short now = (short)(event_get_events(e) & (EV_READ | EV_WRITE | EV_CLOSED));

	if (now == what && event_get_fd(e) == fd &&
	    (what == 0 || event_pending(e, EV_READ | EV_WRITE | EV_CLOSED, NULL) != 0))
		return;
	event_del(e);
	event_assign(e, w->daemon.base, fd, (short)(what | EV_PERSIST), call, c);
	if (what != 0 && event_add(e, NULL) < 0)
		abort();
}

void
connection_watch_client(struct connection *c, short what)
{
	watch(&c->client_event, c->worker, c->client, what, on_client, c);
}

void
connection_watch_plain(struct connection *c, short what)
{
	/* With the last bytes the end is heard, so that both go to the client at once. */
	if ((what & EV_READ) != 0)
		what |= EV_CLOSED;
	watch(&c->plain_event, c->worker, c->plain, what, on_plain, c);
}

void
connection_set_timer(struct connection *c, unsigned int seconds)
{
	if (seconds == 0)
		event_del(&c->timer);
	else
		event_add(&c->timer, &(struct timeval){ .tv_sec = (time_t)seconds });
}

void
connection_linger(struct connection *c)
{
	/* A socket that is closed while bytes of the client's lie unread resets the connection, and
	 * the client may lose the alert or the last answer. */
	leave_handshakes(c);
	leave_bucket(c);
	close_plain(c);
	free_tls(c);
	c->phase = LINGER;
	c->front = NULL;
	if (shutdown(c->client, SHUT_WR) < 0) {
		connection_free(c);
		return;
	}
	event_del(&c->client_event);
	connection_set_timer(c, 0);
	c->blind = true;
	TAILQ_INSERT_TAIL(&c->worker->lingering, c, handshakes);
	if (event_pending(c->worker->linger_end, EV_TIMEOUT, NULL) == 0)
		event_add(c->worker->linger_end,
			&(struct timeval){ .tv_usec = LINGER_BLIND_MILLISECONDS * 1000 });
}

/* Ends those whose clients have gone; the others are watched. */
static void
on_linger_end(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	struct connection *c;

	(void)fd;
	(void)what;
	while ((c = TAILQ_FIRST(&w->lingering)) != NULL) {
		TAILQ_REMOVE(&w->lingering, c, handshakes);
		c->blind = false;
		if (connection_throw_away(c)) {
			connection_watch_client(c, EV_READ);
			connection_set_timer(c, LINGER_SECONDS);
		}
	}
}

bool
connection_prepare(struct worker *w)
{
	TAILQ_INIT(&w->lingering);
	w->linger_end = evtimer_new(w->daemon.base, on_linger_end, w);
	return w->linger_end != NULL;
}

/* Reads what still comes. False: it has ended, or was too much, and the connection is gone. */
static bool
connection_throw_away(struct connection *c)
{
	ssize_t got = recv(c->client, c->worker->round, sizeof(c->worker->round), MSG_DONTWAIT);

	if (got > 0)
		c->trash += (size_t)got;
	if ((got > 0 && c->trash <= LINGER_BYTES) || (got < 0 && (errno == EAGAIN || errno == EINTR)))
		return true;
	connection_free(c);
	return false;
}

bool
connection_same_address(const struct connection *a, const struct connection *b)
{
	size_t len = IN6_IS_ADDR_V4MAPPED(&a->address) ? 16 : 8;

	return memcmp(&a->address, &b->address, len) == 0;
}
