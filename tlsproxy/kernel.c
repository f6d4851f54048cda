/*
 * kernel - hands a connection over to the kernel's TLS and to the front end; see worker.h.
 *
 * After the handshake the keys go into the kernel, and the client's own socket goes to the front end,
 * which reads and writes plain text on it (common/kernel-tls.h); this worker is out of it. Where kernel or
 * cipher do not allow that, the pump does the work.
 */
#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "common/log.h"
#include "common/secret.h"
#include "worker.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

#define SEQUENCE_BYTES 8

/* What GnuTLS tells of one direction. */
struct direction {
	gnutls_datum_t iv, key;
	unsigned char sequence[SEQUENCE_BYTES];
	unsigned short version;
};

/* RFC 5288: with TLS 1.2 the explicit part of the nonce is the sequence number; with 1.3 it is the rest of
 * the IV. The same for both sizes of key, whose structures differ in name only. */
#define FILL_GCM(to, kind, d) \
	do { \
		if ((d)->key.size != sizeof((to).key) || (d)->iv.size < sizeof((to).salt)) \
			return 0; \
		(to).info.version = (d)->version; \
		(to).info.cipher_type = (kind); \
		memcpy((to).key, (d)->key.data, sizeof((to).key)); \
		memcpy((to).salt, (d)->iv.data, sizeof((to).salt)); \
		memcpy((to).rec_seq, (d)->sequence, sizeof((to).rec_seq)); \
		if ((d)->version == TLS_1_2_VERSION) \
			memcpy((to).iv, (d)->sequence, sizeof((to).iv)); \
		else if ((d)->iv.size == sizeof((to).salt) + sizeof((to).iv)) \
			memcpy((to).iv, (d)->iv.data + sizeof((to).salt), sizeof((to).iv)); \
		else \
			return 0; \
	} while (0)

union keys {
	struct tls12_crypto_info_aes_gcm_128 gcm_128;
	struct tls12_crypto_info_aes_gcm_256 gcm_256;
};

/* What the kernel wants to know; the length, or 0 for a cipher that we do not hand over. */
static socklen_t
fill(gnutls_cipher_algorithm_t cipher, const struct direction *d, union keys *keys)
{
	memset(keys, 0, sizeof(*keys));
	if (cipher == GNUTLS_CIPHER_AES_128_GCM) {
		FILL_GCM(keys->gcm_128, TLS_CIPHER_AES_GCM_128, d);
		return sizeof(keys->gcm_128);
	}
	if (cipher == GNUTLS_CIPHER_AES_256_GCM) {
		FILL_GCM(keys->gcm_256, TLS_CIPHER_AES_GCM_256, d);
		return sizeof(keys->gcm_256);
	}
	return 0;
}

static bool
set_direction(struct connection *c, bool reading)
{
	struct direction d = { .version = gnutls_protocol_get_version(c->tls) == GNUTLS_TLS1_3
			? TLS_1_3_VERSION : TLS_1_2_VERSION };
	gnutls_datum_t mac;
	union keys keys;
	socklen_t len;
	bool good;

	if (gnutls_record_get_state(c->tls, reading, &mac, &d.iv, &d.key, d.sequence) < 0)
		return false;
	len = fill(gnutls_cipher_get(c->tls), &d, &keys);
	good = len != 0 && setsockopt(c->client, SOL_TLS, reading ? TLS_RX : TLS_TX, &keys, len) == 0;
	secret_wipe(&keys, sizeof(keys));
	return good;
}

/* May this connection be handed over? */
static bool
is_fit(const struct connection *c)
{
	gnutls_cipher_algorithm_t cipher = gnutls_cipher_get(c->tls);

	/* What GnuTLS has read ahead the kernel would never see. */
	return c->worker->kernel_tls && c->exact && c->to_client.len == 0 &&
		gnutls_record_check_pending(c->tls) == 0 &&
		(cipher == GNUTLS_CIPHER_AES_128_GCM || cipher == GNUTLS_CIPHER_AES_256_GCM);
}

void
kernel_learn(struct worker *w)
{
	w->kernel_tls = w->daemon.settings->tls_kernel;
}

enum kernel_outcome
kernel_take(struct connection *c)
{
	struct worker *w = c->worker;

	if (!is_fit(c))
		return KERNEL_NOT;
	if (setsockopt(c->client, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) < 0) {
		/* No module, or no such kernel: the same for all that follow. Anything else (the client has
		 * closed meanwhile: ENOTCONN) is of this connection alone. */
		if (errno == ENOENT || errno == ENOPROTOOPT || errno == EOPNOTSUPP) {
			w->kernel_tls = false;
			log_info(0, "kernel-tls-absent", KEY_ERRNO,
				KEY_STR("effect", "workers make the records"));
		}
		return KERNEL_NOT;
	}
	/* The last that this worker says. */
	pump_give_ticket(c);
	pump_flush(c);
	/* Until a key is set the socket is as before; after the first there is no way back. */
	if (c->to_client.len > 0 || c->client_broken || !set_direction(c, true))
		return KERNEL_NOT;
	return set_direction(c, false) ? KERNEL_TOOK : KERNEL_BROKE;
}
