/*
 * signer - asks tls-key for the one signature of a handshake, and waits for it.
 *
 * GnuTLS 3.7 has no asynchronous private key operation, so the whole worker waits here: the
 * documented exception to "no event loop blocks", SIGNATURE_WAIT_MILLISECONDS at most. After a wait
 * in vain no handshake begins for a while, so that a tls-key that hangs does not stop the pump.
 */
#include <string.h>

#include "common/log.h"
#include "tickets.h"
#include "worker.h"

int
signer_ask(void *arg, const unsigned char *id, gnutls_sign_algorithm_t algorithm, bool hashed,
	const gnutls_datum_t *data, gnutls_datum_t *signature)
{
	struct worker *w = arg;
	struct channel *key = daemon_peer(&w->daemon, PROGRAM_TLS_KEY, 0);
	struct msg_tls_sign m = { .key = span_of(id, KEY_ID_SIZE), .algorithm = (uint32_t)algorithm,
		.hashed = hashed, .input = span_of(data->data, data->size) };

	w->ask.done = false;
	w->ask.reason[0] = '\0';
	w->ask.signature = (gnutls_datum_t){ NULL, 0 };
	if (key == NULL || data->size > MOST_SIGNED_DATA ||
		!send_tls_sign(key, w->ask.session, &m, NULL)) {
		span_copy(SPAN("tls-key is away"), w->ask.reason, sizeof(w->ask.reason));
		return GNUTLS_E_PK_SIGN_FAILED;
	}
	w->ask.waiting = true;
	if (!channel_wait(key, &w->ask.done, SIGNATURE_WAIT_MILLISECONDS) && !w->ask.done) {
		span_copy(SPAN("tls-key did not answer"), w->ask.reason, sizeof(w->ask.reason));
		if (w->key_ready) {
			log_error(w->ask.session, "no-signature",
				KEY_STR("reason", "tls-key did not answer"));
			w->key_ready = false;
			event_add(w->key_back, &(struct timeval){ .tv_sec = 1 });
		}
	}
	w->ask.waiting = false;
	if (w->ask.signature.data == NULL)
		return GNUTLS_E_PK_SIGN_FAILED;
	*signature = w->ask.signature;
	return 0;
}

static uint32_t
signer_hour(void *arg, struct channel *from, enum message m, uint64_t id)
{
	struct worker *w = arg;

	(void)from;
	if (m != MSG_tls_signed && m != MSG_tls_sign_refused)
		return HOUR_SERVING;
	return w->ask.waiting && !w->ask.done && w->ask.session == id ? HOUR_WAITING : HOUR_NONE;
}

static void
on_tls_signed(
	void *arg, struct channel *from, uint64_t id, const struct msg_tls_signed *m, const int *fd)
{
	struct worker *w = arg;

	(void)from;
	(void)id;
	(void)fd;
	w->ask.done = true;
	if (m->signature.len == 0 ||
	    (w->ask.signature.data = gnutls_malloc(m->signature.len)) == NULL)
		return;
	memcpy(w->ask.signature.data, m->signature.at, m->signature.len);
	w->ask.signature.size = (unsigned int)m->signature.len;
}

static void
on_tls_sign_refused(void *arg, struct channel *from, uint64_t id,
	const struct msg_tls_sign_refused *m, const int *fd)
{
	struct worker *w = arg;

	(void)from;
	(void)id;
	(void)fd;
	w->ask.done = true;
	span_copy(m->reason, w->ask.reason, sizeof(w->ask.reason));
}

static void
on_ticket_key(
	void *arg, struct channel *from, uint64_t id, const struct msg_ticket_key *m, const int *fd)
{
	struct worker *w = arg;

	(void)from;
	(void)id;
	(void)fd;
	if (m->key.len != TICKET_MASTER_SIZE)
		return;
	for (int i = 0; i < SERVICE_COUNT; i++)
		tickets_derive(m->key.at, (enum service)i, w->ticket_key[i]);
	if (!w->key_ready)
		event_add(
			w->key_back, &(struct timeval){ .tv_usec = KEY_PAUSE_MILLISECONDS * 1000 });
}

static void
key_gone(void *arg, struct channel *from)
{
	struct worker *w = arg;

	(void)from;
	log_notice(0, "tls-key-away", KEY_STR("effect", "new handshakes wait"));
	w->key_ready = false;
	event_del(w->key_back);
}

const struct hearing signer_hearing = {
	.hour = signer_hour, .gone = key_gone, .on_tls_signed = on_tls_signed,
	.on_tls_sign_refused = on_tls_sign_refused, .on_ticket_key = on_ticket_key,
};
