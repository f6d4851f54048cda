/*
 * fetch - asks web servers, by HTTPS, for others of the suite.
 *   inherits    channels to master, log, dns, every TLS worker, and those who ask
 *   keeps       nothing: _fetch, an empty root, sockets of IPv4 and IPv6
 *   may be lied to by    every web server, dns and TLS workers. May lie to: those who ask, about what a
 *               server said; they must read it as a stranger's
 *   while away  its askers ask the next one again, and do without after a time
 *
 * A question: the URL is taken apart (fetch-url.c), dns asked for addresses, one after the other tried;
 * a TLS worker, which has authorities and judges certificates, makes a plaintext socket of the
 * connection; libcurl speaks HTTP over it (fetch-http.c). One time limit for all of that.
 */
#include "common/daemon.h"
#include "common/dns-ask.h"
#include "common/id.h"
#include "common/log.h"
#include "common/network.h"
#include "common/text.h"
#include "fetch-http.h"
#include "fetch-url.h"
#include "own-address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST_FETCHES 400               /* under way, of all askers */
#define MOST_OF_ONE 200                /* of one asker */
#define MOST_ADDRESSES 8               /* of one host */
#define ADDRESS_MILLISECONDS 5000      /* how long one may take to connect */
#define MOST_MILLISECONDS 120000

enum stage { RESOLVING, CONNECTING, SECURING, TALKING };

struct fetching {
	LIST_ENTRY(fetching) all;
	struct channel *from;
	uint64_t id, tls_id;           /* the asker's, and ours at the TLS worker */
	char *text;                    /* the URL; url lies in it */
	struct fetch_url url;
	bool post;
	char *content_type;
	struct text authorization, body;
	size_t most_bytes;
	enum stage stage;
	struct dns_question *ask;
	struct sockaddr_storage address[MOST_ADDRESSES];
	socklen_t len[MOST_ADDRESSES];
	size_t addresses, next;
	bool dns_later;
	const char *fault;             /* of the last address: static memory */
	int fd;                        /* while connecting */
	struct event *connected, *address_timer, *timer;
	struct channel *tls_worker;    /* has our socket */
	struct http_request *http;
};

static struct {
	struct daemon daemon;
	bool for_auth;                 /* we are auth-fetch */
	struct http_client *http;
	LIST_HEAD(, fetching) all;
	unsigned int count, of[PROGRAM_COUNT][MOST_PEERS_OF_A_KIND];
	uint64_t served;
} me;

static void try_next(struct fetching *f);

/* libcurl 7.88 connects a socket again although it was told CURL_SOCKOPT_ALREADY_CONNECTED, which a socket
 * pair answers with EINVAL. So this program's connect(), which stands before the C library's, knows better:
 * once, for that descriptor. Every other call is the system's. */
int connect(int fd, const struct sockaddr *address, socklen_t len);

int
connect(int fd, const struct sockaddr *address, socklen_t len)
{
	return http_socket_connected(fd) ? 0 : (int)syscall(SYS_connect, fd, address, len);
}

/* --- the end --- */

static void
socket_close(struct fetching *f)
{
	if (f->connected != NULL)
		event_free(f->connected);
	f->connected = NULL;
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

static void
fetching_free(struct fetching *f)
{
	socket_close(f);
	dns_cancel(&f->ask);
	http_cancel(&f->http);
	event_free(f->address_timer);
	event_free(f->timer);
	me.of[channel_peer(f->from)][channel_peer_index(f->from)]--;
	me.count--;
	LIST_REMOVE(f, all);
	text_wipe(&f->authorization);
	text_wipe(&f->body);
	free(f->content_type);
	free(f->text);
	free(f);
}

static void
tell_fault(struct channel *to, uint64_t id, struct span url, struct span fault, struct span result)
{
	log_info(id, "fetch", KEY_SPAN("url", url), KEY_NUM("status", 0), KEY_SPAN("fault", fault));
	send_fetch_told(to, id,
		&(struct msg_fetch_told){ .fault = span_part(fault, 0, MOST_REASON), .result = result }, NULL);
}

/* No answer, for this reason. */
static void
fail_as(struct fetching *f, struct span fault, struct span result)
{
	me.served++;
	tell_fault(f->from, f->id, span_str(f->text), fault, result);
	fetching_free(f);
}

static void
fail(struct fetching *f, const char *fault)
{
	fail_as(f, span_str(fault), SPAN(""));
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	static const char *const late[] = { [RESOLVING] = "name servers do not answer in time",
		[CONNECTING] = "no connection in time", [SECURING] = "no TLS in time",
		[TALKING] = "the answer does not come in time" };
	struct fetching *f = arg;

	(void)fd;
	(void)what;
	fail(f, late[f->stage]);
}

/* --- talking --- */

static void
on_answer(void *arg, const struct http_answer *a)
{
	struct fetching *f = arg;

	f->http = NULL;
	if (a->status == 0) {
		fail(f, a->fault);
		return;
	}
	me.served++;
	log_info(f->id, "fetch", KEY_STR("url", f->text), KEY_NUM("status", a->status),
		KEY_NUM("bytes", a->body.len));
	send_fetch_told(f->from, f->id, &(struct msg_fetch_told){ .status = a->status,
		.content_type = text_span(&a->content_type), .body = text_span(&a->body) }, NULL);
	fetching_free(f);
}

/* A plaintext socket, taken. */
static void
talk(struct fetching *f, int fd)
{
	f->stage = TALKING;
	f->http = http_begin(me.http, fd, &f->url, f->post,
		text_span(&f->authorization), span_str(f->content_type), text_span(&f->body),
		f->most_bytes, f->url.tls, on_answer, f);
}

/* --- TLS --- */

static void
secure(struct fetching *f, int fd)
{
	struct channel *worker = daemon_any_peer(&me.daemon, PROGRAM_TLS);

	f->stage = SECURING;
	f->tls_id = id_new();
	f->tls_worker = worker;
	if (worker == NULL) {
		close(fd);
		fail(f, "no TLS worker is there");
		return;
	}
	if (!send_tls_connect(worker, f->tls_id,
		    &(struct msg_tls_connect){ .level = TLS_PKI,
			    .server_name = f->url.literal ? SPAN("") : f->url.host,
			    .names = f->url.host },
		    &fd))
		fail(f, "no TLS worker is there");
}

static struct fetching *
securing_find(const struct channel *worker, uint64_t id)
{
	struct fetching *f;

	LIST_FOREACH(f, &me.all, all)
		if (f->tls_id == id && f->stage == SECURING && f->tls_worker == worker)
			return f;
	return NULL;
}

static uint32_t
tls_hour(void *arg, struct channel *from, enum message m, uint64_t id)
{
	(void)arg;
	(void)m;
	return securing_find(from, id) != NULL ? HOUR_WAITING : HOUR_NONE;
}

static void
on_tls_connected(void *arg, struct channel *from, uint64_t id, const struct msg_tls_connected *m,
	const int *fd)
{
	struct fetching *f = securing_find(from, id);

	(void)arg;
	if (m->verified != TLS_VERIFIED_PKI) {
		close(fd[0]);
		fail_as(f, m->fault, m->result);
		return;
	}
	talk(f, fd[0]);
}

static void
on_tls_failed(void *arg, struct channel *from, uint64_t id, const struct msg_tls_failed *m, const int *fd)
{
	struct fetching *f = securing_find(from, id);

	(void)arg;
	(void)fd;
	fail_as(f, m->reason.len > 0 ? m->reason : SPAN("TLS failed"), m->result);
}

static void
tls_gone(void *arg, struct channel *from)
{
	struct fetching *f, *next;

	(void)arg;
	for (f = LIST_FIRST(&me.all); f != NULL; f = next) {
		next = LIST_NEXT(f, all);
		if (f->stage == SECURING && f->tls_worker == from)
			fail(f, "the TLS worker is gone");
	}
}

/* --- connecting --- */

static void
on_connected(evutil_socket_t socket, short what, void *arg)
{
	struct fetching *f = arg;
	int error = 0, fd;
	socklen_t len = sizeof(error);

	(void)what;
	if (getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error != 0) {
		f->fault = "no connection: the server refuses it, or cannot be reached";
		try_next(f);
		return;
	}
	evtimer_del(f->address_timer);
	fd = f->fd;
	f->fd = -1;
	socket_close(f);
	if (f->url.tls)
		secure(f, fd);
	else
		talk(f, fd);
}

static void
on_address_timer(evutil_socket_t fd, short what, void *arg)
{
	struct fetching *f = arg;

	(void)fd;
	(void)what;
	if (f->stage == CONNECTING)
		f->fault = "no connection in time";
	try_next(f);
}

/* Why no URL may lead there, which a stranger wrote into DNS, a certificate or a policy: NULL, it may. What is behind our
 * firewall is not his to speak with, nor is this machine; but where an administrator wrote the URL, or named the
 * network, and (this machine) in trials. */
static const char *
refused(const struct sockaddr_storage *a)
{
	const struct settings *s = me.daemon.settings;
	char text[INET6_ADDRSTRLEN];

	if (address_is_nobodys(a))
		return "the server's address is nobody's";
	address_text(a, text, sizeof(text));
	if (me.for_auth || networks_have(&s->fetch_networks, text))
		return NULL;
	if (address_is_private(a))
		return "the server's address is of a private network (see fetch_networks)";
	if (!s->relay_loopback && (address_is_loopback(a) || address_is_ours(a)))
		return "the server's address is this machine's own";
	return NULL;
}

/* Begins to connect to the next address; false when that fails at once. */
static bool
try_address(struct fetching *f, struct sockaddr_storage a, socklen_t len)
{
	static const struct timeval wait = { .tv_sec = ADDRESS_MILLISECONDS / 1000 };

	const char *why = refused(&a);

	if (why != NULL) {
		f->fault = why;
		return false;
	}
	if (a.ss_family == AF_INET)
		((struct sockaddr_in *)(void *)&a)->sin_port = htons(f->url.port);
	else
		((struct sockaddr_in6 *)(void *)&a)->sin6_port = htons(f->url.port);
	f->fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (f->fd < 0 || (connect(f->fd, (struct sockaddr *)&a, len) < 0 && errno != EINPROGRESS)) {
		f->fault = "no connection: the server cannot be reached";
		return false;
	}
	f->connected = event_new(me.daemon.base, f->fd, EV_WRITE, on_connected, f);
	if (f->connected == NULL)
		abort();
	event_add(f->connected, NULL);
	evtimer_add(f->address_timer, &wait);
	return true;
}

static void
try_next(struct fetching *f)
{
	f->stage = CONNECTING;
	socket_close(f);
	while (f->next < f->addresses) {
		size_t i = f->next++;

		if (try_address(f, f->address[i], f->len[i]))
			return;
		socket_close(f);
	}
	fail(f, f->fault);
}

/* --- addresses --- */

static void
take_addresses(struct fetching *f, const struct dns_answer *a, size_t most)
{
	struct span answers = a->answers;

	f->ask = NULL;
	if (a->outcome == DNS_LATER || a->outcome == DNS_BOGUS)
		f->dns_later = true;
	while (a->outcome == DNS_FOUND && f->addresses < most &&
		dns_take_address(&answers, &f->address[f->addresses], &f->len[f->addresses]))
		f->addresses++;
}

static void
on_ipv6(void *arg, const struct dns_answer *a)
{
	struct fetching *f = arg;

	take_addresses(f, a, MOST_ADDRESSES);
	f->fault = f->dns_later ? "the host's address cannot be looked up now" : "the host has no address";
	try_next(f);
}

static void
on_ipv4(void *arg, const struct dns_answer *a)
{
	struct fetching *f = arg;

	take_addresses(f, a, MOST_ADDRESSES / 2);
	f->ask = dns_ask(&me.daemon, DNS_AAAA, f->url.host, true, on_ipv6, f);
}

/* An address is written in the URL: tried in the next turn of the loop. */
static void
use_literal(struct fetching *f)
{
	static const struct timeval at_once = { 0, 0 };
	char text[INET6_ADDRSTRLEN];
	struct sockaddr_storage *a = &f->address[0];

	f->addresses = 1;
	f->fault = "the host has no address";
	if (!span_copy(f->url.host, text, sizeof(text)))
		f->addresses = 0;
	else if (inet_pton(AF_INET, text, &((struct sockaddr_in *)(void *)a)->sin_addr) == 1)
		a->ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)(void *)a)->sin6_addr) == 1)
		a->ss_family = AF_INET6;
	else
		f->addresses = 0;
	f->len[0] = a->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	evtimer_add(f->address_timer, &at_once);
}

/* --- questions --- */

static const char *
refusal(struct channel *from, const struct msg_fetch_ask *m, struct fetch_url *url)
{
	const char *fault = fetch_url_read(m->url, url);

	if (fault != NULL)
		return fault;
	if (!url->tls && !m->plain_allowed)
		return "not https";
	if ((m->method != FETCH_GET && m->method != FETCH_POST) || !span_is_printable(m->content_type) || !span_is_printable(m->authorization) ||
		m->most_bytes > MOST_FETCH_BODY || m->milliseconds > MOST_MILLISECONDS)
		return "not a request that is made here";
	if (me.count >= MOST_FETCHES || me.of[channel_peer(from)][channel_peer_index(from)] >= MOST_OF_ONE)
		return "too many requests at a time";
	return NULL;
}

static void
on_fetch_ask(void *arg, struct channel *from, uint64_t id, const struct msg_fetch_ask *m, const int *fd)
{
	struct timeval wait = { .tv_sec = m->milliseconds / 1000, .tv_usec = m->milliseconds % 1000 * 1000 };
	struct fetch_url url;
	const char *why = refusal(from, m, &url);
	struct fetching *f;

	(void)arg;
	(void)fd;
	if (why != NULL) {
		tell_fault(from, id, m->url, span_str(why), SPAN(""));
		return;
	}
	f = must_alloc(sizeof(*f));
	f->from = from;
	f->id = id;
	f->fd = -1;
	f->text = must_copy(m->url);
	(void)fetch_url_read(span_str(f->text), &f->url);
	f->post = m->method == FETCH_POST;
	f->content_type = must_copy(m->content_type);
	f->authorization = TEXT_UP_TO(MOST_AUTHORIZATION);
	text_add(&f->authorization, m->authorization);
	f->body = TEXT_UP_TO(MOST_FETCH_BODY_SENT);
	text_add(&f->body, m->body);
	f->most_bytes = m->most_bytes;
	f->timer = evtimer_new(me.daemon.base, on_timer, f);
	f->address_timer = evtimer_new(me.daemon.base, on_address_timer, f);
	if (f->timer == NULL || f->address_timer == NULL)
		abort();
	evtimer_add(f->timer, &wait);
	LIST_INSERT_HEAD(&me.all, f, all);
	me.count++;
	me.of[channel_peer(from)][channel_peer_index(from)]++;
	if (f->url.literal)
		use_literal(f);
	else
		f->ask = dns_ask(&me.daemon, DNS_A, f->url.host, true, on_ipv4, f);
}

static uint32_t
asker_hour(void *arg, struct channel *from, enum message m, uint64_t id)
{
	struct fetching *f;

	(void)arg;
	(void)m;
	LIST_FOREACH(f, &me.all, all)
		if (f->from == from && f->id == id)
			return HOUR_SERVING;
	return HOUR_NONE;
}

static void
asker_gone(void *arg, struct channel *from)
{
	struct fetching *f, *next;

	(void)arg;
	for (f = LIST_FIRST(&me.all); f != NULL; f = next) {
		next = LIST_NEXT(f, all);
		if (f->from == from)
			fetching_free(f);
	}
}

/* A TLS worker is both: whom we ask for TLS, and one who may ask for something. */
/* --- life --- */

static bool
prepare(void *arg)
{
	(void)arg;
	LIST_INIT(&me.all);
	me.http = http_client_new(me.daemon.base);
	return me.http != NULL;
}

static void
peer_came(void *arg, struct channel *peer)
{
	(void)arg;
	dns_peer_came(&me.daemon, peer);
}

static void
load(void *arg, uint32_t *connections, uint64_t *served)
{
	(void)arg;
	*connections = me.count;
	*served = me.served;
}

static const int syscalls[] = { -1 };

static const struct room fetch_room = {
	.name = "fetch",
	.chrooted = true,
	.files = false,
	.internet = true,
	.syscalls = syscalls,
	.most_descriptors = 2048,
};
static const struct hearing from_askers = {
	.hour = asker_hour, .gone = asker_gone, .on_fetch_ask = on_fetch_ask,
};
static const struct hearing from_tls = {
	.hour = tls_hour, .gone = tls_gone, .on_tls_connected = on_tls_connected, .on_tls_failed = on_tls_failed,
};
static const struct peer_kind peers[] = {
	{ PROGRAM_COMMAND, &from_askers },
	{ PROGRAM_STS, &from_askers },
	{ PROGRAM_AUTH_TOKEN, &from_askers },
	{ PROGRAM_DNS, &dns_hearing },
	{ PROGRAM_TLS, &from_tls },
	{ PROGRAM_OCSP, &from_askers },
	{ 0, NULL },
};
static const struct daemon_kind kind = {
	.program = PROGRAM_FETCH, .room = &fetch_room, .peers = peers, .prepare = prepare,
	.peer_came = peer_came, .load = load,
};

/* The same for auth alone: a process of its own, since tokens and the secret of a client pass through it, and the web
 * servers of strangers speak with the other one. */
static const struct room auth_fetch_room = {
	.name = "auth-fetch",
	.chrooted = true,
	.files = false,
	.secret_memory = true,
	.internet = true,
	.syscalls = syscalls,
	.most_descriptors = 256,
};
static const struct daemon_kind auth_kind = {
	.program = PROGRAM_AUTH_FETCH, .room = &auth_fetch_room, .peers = peers, .prepare = prepare,
	.peer_came = peer_came, .load = load,
};

int
main(int argc, char **argv)
{
	me.for_auth = argc > 0 && strcmp(argv[0], "valija-auth-fetch") == 0;
	return daemon_run(&me.daemon, me.for_auth ? &auth_kind : &kind, &me);
}
