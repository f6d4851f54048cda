/*
 * outgoing - the client's part: relay's connections to other mail servers; see worker.h.
 *
 * No certificate of our own, no ticket, no ALPN (a server that knows none for port 25 may refuse it),
 * and tls-key has no part in it. The server is judged when the handshake is done, before a byte of
 * relay's is sent.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "names.h"
#include "worker.h"

/* Encrypting to whoever it is, weak is better than clear (RFC 7435); but not older than TLS 1.2. */
#define PRIORITIES_MAY "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-3DES-CBC:-ARCFOUR-128"
/* Who can be verified is held to what we ask of ourselves (RFC 9325). */
#define PRIORITIES_VERIFIED \
	"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM" \
	":+CHACHA20-POLY1305:-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA:+DHE-RSA:-SIGN-RSA-SHA1:-SIGN-ECDSA-SHA1"
#define MOST_SERVER_HANDSHAKE_BYTES 65536  /* chains of sixteen fit */

bool
outgoing_prepare(struct worker *w)
{
	const char *wrong = NULL;
	int error;

	if ((error = gnutls_priority_init(&w->outgoing_may, PRIORITIES_MAY, &wrong)) >= 0 &&
		(error = gnutls_priority_init(&w->outgoing_verified, PRIORITIES_VERIFIED,
			 &wrong)) >= 0 &&
		(error = gnutls_certificate_allocate_credentials(&w->outgoing)) >= 0)
		return true;
	log_error(0, "tls-priorities", KEY_STR("reason", gnutls_strerror(error)),
		KEY_STR("at", wrong != NULL ? wrong : ""));
	return false;
}

int
outgoing_begin(struct connection *c)
{
	struct worker *w = c->worker;
	const struct wanted *wanted = c->wanted;
	int error;

	if ((error = gnutls_init(&c->tls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL |
			GNUTLS_NO_TICKETS)) < 0)
		return error;
	if ((error = gnutls_priority_set(c->tls, wanted->level == TLS_MAY ? w->outgoing_may
			: w->outgoing_verified)) < 0 ||
	    (error = gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, w->outgoing)) < 0 ||
	    (wanted->server_name[0] != '\0' &&
		    (error = gnutls_server_name_set(c->tls, GNUTLS_NAME_DNS, wanted->server_name,
			     strlen(wanted->server_name))) < 0))
		return error;
	gnutls_handshake_set_max_packet_length(c->tls, MOST_SERVER_HANDSHAKE_BYTES);
	pump_prepare(c, false);
	return 0;
}

static void
judge_server(struct connection *c, struct verdict *v)
{
	unsigned int count = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(c->tls, &count);
	bool by_authority = c->wanted->level != TLS_DANE;

	verify_server(c->wanted, chain, chain != NULL ? count : 0,
		by_authority ? trust_list(c->worker->trust) : NULL, v);
}

/* The plaintext socket and what was found go to relay. */
static void
tell_connected(struct connection *c, const struct verdict *v)
{
	const char *cipher = gnutls_ciphersuite_get(c->tls);
	struct msg_tls_connected m = {
		.version = span_str(gnutls_protocol_get_name(gnutls_protocol_get_version(c->tls))),
		.cipher = span_str(cipher != NULL ? cipher : ""),
		.verified = (uint8_t)v->verified,
		.fault = span_str(v->fault),
		.result = span_str(v->result),
	};
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0) {
		handshake_fail(c, "no descriptors left");
		return;
	}
	if (!send_tls_connected(c->front, c->session, &m, &ends[1])) {
		close(ends[0]);
		connection_linger(c);
		return;
	}
	connection_to_pump(c, ends[0]);
	pump_begin(c);
}

void
outgoing_done(struct connection *c)
{
	struct verdict v;

	if (c->front == NULL) {
		connection_linger(c);
		return;
	}
	judge_server(c, &v);
	if (v.acceptable) {
		tell_connected(c, &v);
		return;
	}
	(void)gnutls_alert_send(c->tls, GNUTLS_AL_FATAL, GNUTLS_A_BAD_CERTIFICATE);
	handshake_fail_as(c, v.fault, v.result);
}
