#include "credentials.h"

#include <stdlib.h>
#include <string.h>

/* One certificate: what GnuTLS asks of its "private key". */
struct signer {
	const struct credentials *owner;
	unsigned char id[KEY_ID_SIZE];
	gnutls_pk_algorithm_t kind;
	unsigned int bits;
};

struct credentials {
	unsigned int holders;
	uint32_t generation;
	credentials_sign *sign;
	void *me;
	gnutls_certificate_credentials_t gnutls;
	struct signer *signer[MOST_CERTIFICATES];
	unsigned int count;
};

struct credentials *
credentials_new(uint32_t generation, credentials_sign *sign, void *me)
{
	struct credentials *c = must_alloc(sizeof(*c));

	c->holders = 1;
	c->generation = generation;
	c->sign = sign;
	c->me = me;
	if (gnutls_certificate_allocate_credentials(&c->gnutls) < 0)
		abort();
	/* The key cannot be asked for a trial signature: no session is announced for that. */
	gnutls_certificate_set_flags(c->gnutls, GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH |
		GNUTLS_CERTIFICATE_SKIP_OCSP_RESPONSE_CHECK);
	return c;
}

static int
sign_hash(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm, void *userdata,
	unsigned int flags, const gnutls_datum_t *hash, gnutls_datum_t *signature)
{
	const struct signer *s = userdata;

	(void)key;
	(void)flags;
	return s->owner->sign(s->owner->me, s->id, algorithm, true, hash, signature);
}

static int
sign_data(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm, void *userdata,
	unsigned int flags, const gnutls_datum_t *data, gnutls_datum_t *signature)
{
	const struct signer *s = userdata;

	(void)key;
	(void)flags;
	return s->owner->sign(s->owner->me, s->id, algorithm, false, data, signature);
}

static bool
curve_signs(unsigned int bits, gnutls_sign_algorithm_t algorithm)
{
	switch (algorithm) {
	case GNUTLS_SIGN_ECDSA_SECP256R1_SHA256:
		return bits == 256;
	case GNUTLS_SIGN_ECDSA_SECP384R1_SHA384:
		return bits == 384;
	case GNUTLS_SIGN_ECDSA_SECP521R1_SHA512:
		return bits == 521;
	default:
		return true;
	}
}

/* What the key can do; -1: we do not know that question. */
static int
tell(gnutls_privkey_t key, unsigned int flags, void *userdata)
{
	const struct signer *s = userdata;

	(void)key;
	if ((flags & GNUTLS_PRIVKEY_INFO_PK_ALGO) != 0)
		return (int)s->kind;
	if ((flags & GNUTLS_PRIVKEY_INFO_PK_ALGO_BITS) != 0)
		return (int)s->bits;
	if ((flags & GNUTLS_PRIVKEY_INFO_HAVE_SIGN_ALGO) != 0) {
		gnutls_sign_algorithm_t algorithm = GNUTLS_FLAGS_TO_SIGN_ALGO(flags);

		return gnutls_sign_supports_pk_algorithm(algorithm, s->kind) != 0 &&
			curve_signs(s->bits, algorithm);
	}
	return -1;
}

/* Chain and external key become GnuTLS's. */
static int
hand_to_gnutls(struct credentials *c, const struct chain *chain, struct signer *s)
{
	gnutls_pcert_st *certificates = gnutls_calloc(chain->count, sizeof(*certificates));
	gnutls_privkey_t key = NULL;
	unsigned int made = 0;
	int error = GNUTLS_E_MEMORY_ERROR;

	if (certificates == NULL)
		return error;
	while (made < chain->count &&
	       (error = gnutls_pcert_import_x509(&certificates[made], chain->at[made], 0)) >= 0)
		made++;
	/* Both callbacks: GnuTLS 3.7.9 calls a missing one. */
	if (made == chain->count && (error = gnutls_privkey_init(&key)) >= 0 &&
		(error = gnutls_privkey_import_ext4(
			 key, s, sign_data, sign_hash, NULL, NULL, tell, 0)) >= 0 &&
		(error = gnutls_certificate_set_key(
			 c->gnutls, NULL, 0, certificates, (int)chain->count, key)) >= 0) {
		/* The certificates were taken, the array was not. */
		gnutls_free(certificates);
		return 0;
	}
	for (unsigned int i = 0; i < made; i++)
		gnutls_pcert_deinit(&certificates[i]);
	gnutls_free(certificates);
	if (key != NULL)
		gnutls_privkey_deinit(key);
	return error;
}

int
credentials_add(struct credentials *c, int chain_fd, struct text *why)
{
	struct chain chain;
	struct signer *s;
	int error;

	if (c->count >= MOST_CERTIFICATES) {
		text_printf(why, "more than %d certificates", MOST_CERTIFICATES);
		return -1;
	}
	if (chain_read(chain_fd, &chain, why) < 0)
		return -1;
	s = must_alloc(sizeof(*s));
	s->owner = c;
	s->kind = chain.kind;
	s->bits = chain.bits;
	memcpy(s->id, chain.key_id, sizeof(s->id));
	error = hand_to_gnutls(c, &chain, s);
	chain_clear(&chain);
	if (error < 0) {
		text_printf(why, "the certificate cannot be served: %s", gnutls_strerror(error));
		free(s);
		return -1;
	}
	c->signer[c->count++] = s;
	return 0;
}

struct credentials *
credentials_hold(struct credentials *c)
{
	c->holders++;
	return c;
}

void
credentials_drop(struct credentials **held)
{
	struct credentials *c = *held;

	*held = NULL;
	if (c == NULL || --c->holders > 0)
		return;
	gnutls_certificate_free_credentials(c->gnutls);
	for (unsigned int i = 0; i < c->count; i++)
		free(c->signer[i]);
	free(c);
}

uint32_t
credentials_generation(const struct credentials *c)
{
	return c->generation;
}

unsigned int
credentials_count(const struct credentials *c)
{
	return c->count;
}

gnutls_certificate_credentials_t
credentials_gnutls(const struct credentials *c)
{
	return c->gnutls;
}
