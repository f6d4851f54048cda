/* handshake - from the first byte of TLS to tls_ready or tls_failed; see worker.h. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/passport.h"
#include "common/secret.h"
#include "client-certificate.h"
#include "names.h"
#include "worker.h"

/* A ClientHello with room for post-quantum key shares, or a client's certificate with its chain. */
#define MOST_HANDSHAKE_BYTES 32768
#define CCS_RECORD_BYTES 6
#define RECORD_HANDSHAKE 22

/* What the front end and the passport hear of a session. */
struct seen {
	char version[17], cipher[65], sni[MOST_HOST + 1], alpn[33];
	char ip[INET6_ADDRSTRLEN], local_ip[INET6_ADDRSTRLEN], via[INET6_ADDRSTRLEN];
	gnutls_datum_t exporter, unique;
	struct span end_point;   /* inside the connection's credentials */
	struct client_certificate certificate;
};

void
handshake_fail_as(struct connection *c, const char *reason, const char *result)
{
	/* The text may lie in what is about to be freed. */
	char copy[MOST_REASON + 1];

	c->worker->arrived.from = c->worker->arrived.len = 0;
	pump_flush(c);
	snprintf(copy, sizeof(copy), "%s", reason);
	if (c->front != NULL)
		send_tls_failed(c->front, c->session, &(struct msg_tls_failed){
			.reason = span_str(copy), .result = span_str(result) }, NULL);
	connection_linger(c);
}

void
handshake_fail(struct connection *c, const char *reason)
{
	handshake_fail_as(c, reason, c->outgoing ? "validation-failure" : "");
}

/* What ended the handshake, for an administrator who reads one line. */
static void
explain(struct connection *c, int error, char *to, size_t room)
{
	const char *peer = c->outgoing ? "server" : "client";

	switch (error) {
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
		snprintf(to, room, "%s sent alert: %s", peer,
			gnutls_alert_get_name(gnutls_alert_get(c->tls)));
		break;
	case GNUTLS_E_PREMATURE_TERMINATION:
	case GNUTLS_E_PULL_ERROR:
	case GNUTLS_E_PUSH_ERROR:
		snprintf(to, room, "%s closed during handshake", peer);
		break;
	case GNUTLS_E_NO_CIPHER_SUITES:
	case GNUTLS_E_INSUFFICIENT_SECURITY:
		snprintf(to, room, "no cipher in common");
		break;
	case GNUTLS_E_NO_COMMON_KEY_SHARE:
		snprintf(to, room, "no key exchange group in common");
		break;
	case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
		snprintf(to, room, "%s offers no version from TLS 1.2 on", peer);
		break;
	case GNUTLS_E_NO_APPLICATION_PROTOCOL:
		snprintf(to, room, "client asks for another protocol than %s (ALPN)",
			names_protocol(c->service));
		break;
	case GNUTLS_E_UNEXPECTED_PACKET_LENGTH:
	case GNUTLS_E_UNEXPECTED_PACKET:
	case GNUTLS_E_RECORD_OVERFLOW:
		snprintf(to, room, "%s does not speak TLS, or not correctly", peer);
		break;
	case GNUTLS_E_PK_SIGN_FAILED:
		snprintf(to, room, "no signature: %.*s", MOST_REASON - 20,
			c->worker->ask.reason[0] != '\0' ? c->worker->ask.reason
							 : "tls-key gave none");
		break;
	default:
		snprintf(to, room, "%s", gnutls_strerror(error));
		break;
	}
}

/* The name that the client asks for (SNI), in lower case; empty when it is no host name. */
static void
see_name(gnutls_session_t tls, char *to, size_t room)
{
	size_t len = room - 1;
	unsigned int type = 0;

	if (gnutls_server_name_get(tls, to, &len, &type, 0) < 0 || type != GNUTLS_NAME_DNS)
		len = 0;
	/* GnuTLS counts the NUL that it adds, or not, by version. */
	while (len > 0 && to[len - 1] == '\0')
		len--;
	to[names_is_host(span_of(to, len)) ? len : 0] = '\0';
	for (char *c = to; *c != '\0'; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c | 0x20);
}

static void
see_names(struct connection *c, struct seen *seen)
{
	gnutls_datum_t alpn = { NULL, 0 };

	see_name(c->tls, seen->sni, sizeof(seen->sni));
	if (gnutls_alpn_get_selected_protocol(c->tls, &alpn) >= 0)
		span_copy(span_of(alpn.data, alpn.size), seen->alpn, sizeof(seen->alpn));
}

static void
write_address(const struct in6_addr *address, char to[INET6_ADDRSTRLEN])
{
	if (IN6_IS_ADDR_V4MAPPED(address))
		inet_ntop(AF_INET, address->s6_addr + 12, to, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, address, to, INET6_ADDRSTRLEN);
}

static void
see_addresses(struct connection *c, struct seen *seen)
{
	struct sockaddr_storage local;
	socklen_t len = sizeof(local);

	write_address(&c->address, seen->ip);
	if (!IN6_ARE_ADDR_EQUAL(&c->address, &c->via))
		write_address(&c->via, seen->via);
	if (getsockname(c->client, (struct sockaddr *)&local, &len) < 0)
		return;
	if (local.ss_family == AF_INET) {
		inet_ntop(AF_INET, &((struct sockaddr_in *)&local)->sin_addr, seen->local_ip,
			sizeof(seen->local_ip));
	} else if (local.ss_family == AF_INET6) {
		write_address(&((struct sockaddr_in6 *)&local)->sin6_addr, seen->local_ip);
	}
}

static void
see(struct connection *c, struct seen *seen)
{
	const char *cipher = gnutls_ciphersuite_get(c->tls);

	memset(seen, 0, sizeof(*seen));
	snprintf(seen->version, sizeof(seen->version), "%s",
		gnutls_protocol_get_name(gnutls_protocol_get_version(c->tls)));
	snprintf(seen->cipher, sizeof(seen->cipher), "%s", cipher != NULL ? cipher : "");
	see_names(c, seen);
	see_addresses(c, seen);
	/* RFC 9266 4.2: below TLS 1.3 only with the extended master secret, which GnuTLS checks. */
	(void)gnutls_session_channel_binding(c->tls, GNUTLS_CB_TLS_EXPORTER, &seen->exporter);
	/* RFC 9266 5, RFC 7627: no tls-unique in TLS 1.3, nor where two handshakes can share a master secret. */
	if (gnutls_protocol_get_version(c->tls) == GNUTLS_TLS1_2 &&
		gnutls_session_ext_master_secret_status(c->tls) != 0)
		(void)gnutls_session_channel_binding(c->tls, GNUTLS_CB_TLS_UNIQUE, &seen->unique);
	client_certificate_see(c->tls, &seen->certificate);
	/* A resumed session shows no certificate: the one that it was bound to may be gone. */
	if (gnutls_session_is_resumed(c->tls) == 0)
		seen->end_point = credentials_end_point(
			c->credentials, gnutls_certificate_get_ours(c->tls));
}

static void
seen_clear(struct seen *seen)
{
	gnutls_free(seen->exporter.data);
	gnutls_free(seen->unique.data);
}

static bool
seal(struct connection *c, const struct seen *seen, struct text *sealed)
{
	struct passport p = {
		.session = c->session, .issued = (uint64_t)time(NULL), .service = c->service,
		.ip = span_str(seen->ip), .via = span_str(seen->via), .local_ip = span_str(seen->local_ip),
		.version = span_str(seen->version), .cipher = span_str(seen->cipher),
		.sni = span_str(seen->sni), .alpn = span_str(seen->alpn),
		.certificate_valid = seen->certificate.valid,
		.certificate_hash = seen->certificate.shown
			? span_of(seen->certificate.hash, sizeof(seen->certificate.hash)) : SPAN_NONE,
		.certificate_key = seen->certificate.shown
			? span_of(seen->certificate.key, sizeof(seen->certificate.key)) : SPAN_NONE,
		.certificate_subject = span_str(seen->certificate.subject),
		.certificate_mail = span_str(seen->certificate.mail),
		.exporter = span_of(seen->exporter.data, seen->exporter.size),
		.unique = span_of(seen->unique.data, seen->unique.size),
		.end_point = seen->end_point,
	};

	return passport_seal(c->worker->daemon.passport_key, &p, sealed);
}

/* Tells of a certificate that was shown. False, and the handshake has failed: this service asks for a
 * valid one. */
static bool
client_is_welcome(struct connection *c, const struct client_certificate *seen)
{
	if (seen->shown)
		log_info(c->session, "client-certificate", KEY_STR("valid", seen->valid ? "yes" : "no"),
			KEY_STR("reason", seen->fault), KEY_STR("subject", seen->subject));
	if (seen->valid || c->worker->asks[c->service] != GNUTLS_CERT_REQUIRE)
		return true;
	(void)gnutls_alert_send(c->tls, GNUTLS_AL_FATAL,
		seen->shown ? GNUTLS_A_BAD_CERTIFICATE : GNUTLS_A_CERTIFICATE_REQUIRED);
	handshake_fail(c, seen->shown ? seen->fault : "client shows no certificate");
	return false;
}

/* Tells the front end, and gives it `fd`, which is taken. */
static bool
tell_ready(struct connection *c, const struct seen *seen, bool kernel, int fd)
{
	struct text sealed = TEXT_UP_TO(MOST_PASSPORT);
	bool told = false;

	if (seal(c, seen, &sealed)) {
		struct msg_tls_ready m = {
			.version = span_str(seen->version),
			.cipher = span_str(seen->cipher),
			.sni = span_str(seen->sni),
			.alpn = span_str(seen->alpn),
			.resumed = gnutls_session_is_resumed(c->tls) != 0,
			.passport = text_span(&sealed),
			.kernel = kernel,
		};

		told = send_tls_ready(c->front, c->session, &m, &fd);
	} else {
		close(fd);
	}
	text_clear(&sealed);
	return told;
}

/* From here on bytes go by this worker. */
static void
give_to_pump(struct connection *c, const struct seen *seen)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0) {
		handshake_fail(c, "no descriptors left");
	} else if (!tell_ready(c, seen, false, ends[1])) {
		close(ends[0]);
		connection_linger(c);
	} else {
		connection_to_pump(c, ends[0]);
		pump_begin(c);
	}
}

static void
handshake_done(struct connection *c)
{
	struct seen seen;

	if (c->front == NULL) {
		connection_linger(c);
		return;
	}
	see(c, &seen);
	if (!client_is_welcome(c, &seen.certificate)) {
		seen_clear(&seen);
		return;
	}
	c->ticket_due = gnutls_protocol_get_version(c->tls) == GNUTLS_TLS1_3;
	switch (kernel_take(c)) {
	case KERNEL_NOT:
		give_to_pump(c, &seen);
		break;
	case KERNEL_TOOK:
		event_del(&c->client_event);
		(void)tell_ready(c, &seen, true, c->client);
		connection_give_away(c);
		break;
	case KERNEL_BROKE:
		handshake_fail(c, "the kernel took one key and not the other");
		break;
	}
	seen_clear(&seen);
}

/* The ClientHello is there: the certificates that fit the name. GnuTLS takes one of them. */
static int
choose_certificates(gnutls_session_t tls)
{
	struct connection *c = gnutls_session_get_ptr(tls);
	char name[MOST_HOST + 1];
	gnutls_certificate_credentials_t chosen;

	see_name(tls, name, sizeof(name));
	chosen = credentials_choose(
		c->credentials, span_str(name), c->worker->otherwise[c->service]);
	return chosen == NULL ? GNUTLS_E_MEMORY_ERROR
		: gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, chosen);
}

/* Early data stays off (no anti-replay); GnuTLS ends sessions whose clients renegotiate. */
static int
prepare_session(struct connection *c)
{
	struct worker *w = c->worker;
	const char *protocol = names_protocol(c->service);
	gnutls_datum_t alpn = { (unsigned char *)(uintptr_t)protocol,
		(unsigned int)strlen(protocol) };
	gnutls_datum_t ticket_key = { w->ticket_key[c->service], TICKET_KEY_SIZE };
	int error;

	if ((error = gnutls_init(&c->tls, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL |
			GNUTLS_NO_AUTO_SEND_TICKET)) < 0)
		return error;
	c->credentials = credentials_hold(w->now);
	if ((error = gnutls_priority_set(c->tls, w->priorities)) < 0 ||
	    /* Until the name is known. */
	    (error = gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE,
		     credentials_choose(c->credentials, SPAN_NONE, w->otherwise[c->service]))) < 0 ||
	    (error = gnutls_session_ticket_enable_server(c->tls, &ticket_key)) < 0 ||
	    /* None, or the right one; GnuTLS's "mandatory" lets a client say none. */
	    (error = gnutls_alpn_set_protocols(c->tls, &alpn, 1, GNUTLS_ALPN_MANDATORY)) < 0)
		return error;
	gnutls_db_set_cache_expiration(c->tls, TICKET_SECONDS);
	gnutls_session_set_ptr(c->tls, c);
	gnutls_handshake_set_post_client_hello_function(c->tls, choose_certificates);
	/* One that is missing or bad is judged in client_is_welcome. */
	gnutls_certificate_server_set_request(c->tls, w->asks[c->service] == GNUTLS_CERT_IGNORE
		? GNUTLS_CERT_IGNORE : GNUTLS_CERT_REQUEST);
	gnutls_handshake_set_max_packet_length(c->tls, MOST_HANDSHAKE_BYTES);
	/* What was read ahead the kernel would never see. */
	pump_prepare(c, w->kernel_tls);
	return 0;
}

/* Our flight is out, and the client's Finished comes next, but before it, as a rule alone, the ChangeCipherSpec that
 * means nothing in TLS 1.3 (RFC 8446 D.4). Not to be woken for that: all else is longer. Only where what was read is the
 * record that ended the ClientHello and no more, or the rest of another could be taken for it; and for one wait. */
static void
wait_past_ccs(struct connection *c)
{
	const struct worker *w = c->worker;
	const unsigned char *hello = w->arrived.at;
	int mark = CCS_RECORD_BYTES + 1;

	if (c->outgoing || c->exact || c->to_client.len > 0 ||
		w->arrived.len < 5 || hello[0] != RECORD_HANDSHAKE ||
		w->arrived.len != 5u + (size_t)(hello[3] << 8 | hello[4]) ||
		gnutls_handshake_get_last_in(c->tls) != GNUTLS_HANDSHAKE_CLIENT_HELLO ||
		gnutls_handshake_get_last_out(c->tls) != GNUTLS_HANDSHAKE_FINISHED ||
		gnutls_protocol_get_version(c->tls) != GNUTLS_TLS1_3)
		return;
	c->past_ccs = setsockopt(c->client, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark)) == 0;
}

static void
wait_for_anything(struct connection *c)
{
	int mark = 1;

	if (c->past_ccs)
		(void)setsockopt(c->client, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark));
	c->past_ccs = false;
}

void
handshake_step(struct connection *c)
{
	struct worker *w = c->worker;
	char reason[MOST_REASON];
	size_t before;
	int error;

	if (!w->key_ready && !c->outgoing) {
		c->phase = HELD;
		connection_watch_client(c, 0);
		return;
	}
	c->phase = HANDSHAKE;
	/* Not before tls-key has given the ticket keys. */
	if (c->tls == NULL &&
		(error = c->outgoing ? outgoing_begin(c) : prepare_session(c)) < 0) {
		log_error(
			c->session, "tls-not-prepared", KEY_STR("reason", gnutls_strerror(error)));
		handshake_fail(c, "the TLS session cannot be prepared");
		return;
	}
	if (c->to_client.len > 0)
		(void)pump_write(c);
	wait_for_anything(c);
	pump_read(c);
	do {
		/* The signature callback does not hear for which session it is asked. */
		w->ask.session = c->session;
		w->ask.reason[0] = '\0';
		before = w->arrived.from;
		error = gnutls_handshake(c->tls);
		/* AGAIN is also said of a record that is passed over (early data, which is off). */
	} while (error == GNUTLS_E_INTERRUPTED ||
		(error == GNUTLS_E_AGAIN && w->arrived.from > before && w->arrived.from < w->arrived.len) ||
		(error == GNUTLS_E_WARNING_ALERT_RECEIVED && ++c->warnings <= MOST_WARNING_ALERTS));
	if (error == 0) {
		pump_flush(c);
		if (c->outgoing)
			outgoing_done(c);
		else
			handshake_done(c);
		return;
	}
	if (error == GNUTLS_E_AGAIN) {
		pump_flush(c);
		wait_past_ccs(c);
		connection_watch_client(c, (short)(EV_READ | (c->to_client.len > 0 ? EV_WRITE : 0)));
		return;
	}
	explain(c, error, reason, sizeof(reason));
	/* RFC 8446 6.2, RFC 7301 3.2: GnuTLS leaves the alert to its caller. */
	(void)gnutls_alert_send_appropriate(c->tls, error);
	handshake_fail(c, reason);
}

/* The newest comes in, the oldest of its address, or of all, gives way: a good handshake takes
 * milliseconds, so what is old here is stalled. */
static void
make_room(struct connection *newest)
{
	struct worker *w = newest->worker;
	struct connection *c, *oldest = NULL, *first = NULL;
	size_t same = 0;

	TAILQ_FOREACH(c, &w->handshakes, handshakes) {
		if (c->outgoing) /* relay bounds these itself */
			continue;
		if (first == NULL)
			first = c;
		if (c == newest || !connection_same_address(newest, c))
			continue;
		if (same++ == 0)
			oldest = c;
	}
	if (same >= MOST_HANDSHAKES_AN_ADDRESS)
		handshake_fail(oldest, "too many unfinished handshakes from this address");
	else if (w->handshake_count > MOST_HANDSHAKES)
		handshake_fail(first, "too many unfinished handshakes");
}

void
handshake_begin(struct connection *c)
{
	struct worker *w = c->worker;

	if (!c->outgoing) {
		make_room(c);
		if (w->now == NULL || credentials_count(w->now) == 0) {
			handshake_fail(c, "no certificate");
			return;
		}
	}
	connection_set_timer(c, (unsigned int)w->daemon.settings->tls_handshake_seconds);
	handshake_step(c);
}

void
handshake_resume_held(struct worker *w)
{
	struct connection *c, *next;

	/* A step may end this connection, never another; and tls-key may go again. */
	for (c = TAILQ_FIRST(&w->handshakes); c != NULL && w->key_ready; c = next) {
		next = TAILQ_NEXT(c, handshakes);
		if (c->phase == HELD)
			handshake_step(c);
	}
}
