/* rsa-sign - see rsa-sign.h. */
#include "rsa-sign.h"

#include <gmp.h>
#include <gnutls/crypto.h>
#include <nettle/nettle-meta.h>
#include <nettle/pkcs1.h>
#include <nettle/pss.h>
#include <nettle/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "common/secret.h"
#include "common/text.h"

#define MOST_USES 32               /* of one blinding, each time squared */
#define MOST_HASH_SIZE 64
#define MOST_RSA_BYTES 1024        /* of the modulus: 8192 bits */
#define MOST_DIGEST_INFO (19 + MOST_HASH_SIZE)

struct rsa_signer {
	struct rsa_public_key public;
	struct rsa_private_key private;
	mpz_t blind, unblind;      /* r^e and r^-1 modulo n */
	unsigned int uses;
};

/* One row for each algorithm of signing.c: the hash, and PSS or PKCS #1 v1.5. */
static const struct scheme {
	gnutls_sign_algorithm_t algorithm;
	bool pss;
	const struct nettle_hash *hash;
	unsigned char oid_end, size;       /* in the DigestInfo (RFC 8017 9.2 note 1) */
} schemes[] = {
	{ GNUTLS_SIGN_RSA_PSS_RSAE_SHA256, true, &nettle_sha256, 1, 32 },
	{ GNUTLS_SIGN_RSA_PSS_RSAE_SHA384, true, &nettle_sha384, 2, 48 },
	{ GNUTLS_SIGN_RSA_PSS_RSAE_SHA512, true, &nettle_sha512, 3, 64 },
	{ GNUTLS_SIGN_RSA_SHA256, false, &nettle_sha256, 1, 32 },
	{ GNUTLS_SIGN_RSA_SHA384, false, &nettle_sha384, 2, 48 },
	{ GNUTLS_SIGN_RSA_SHA512, false, &nettle_sha512, 3, 64 },
};

/* --- memory --- */

static void *
wiping_realloc(void *old, size_t old_size, size_t new_size)
{
	void *new = must_alloc(new_size);

	memcpy(new, old, old_size < new_size ? old_size : new_size);
	secret_wipe(old, old_size);
	free(old);
	return new;
}

static void
wiping_free(void *at, size_t size)
{
	secret_wipe(at, size);
	free(at);
}

void
rsa_signer_prepare(void)
{
	mp_set_memory_functions(must_alloc, wiping_realloc, wiping_free);
}

/* --- the key --- */

static void
take_number(mpz_t to, gnutls_datum_t *from)
{
	nettle_mpz_set_str_256_u(to, from->size, from->data);
	secret_wipe(from->data, from->size);
	gnutls_free(from->data);
}

static bool
take_key(struct rsa_signer *s, gnutls_privkey_t key)
{
	gnutls_datum_t n, e, d, p, q, c, a, b;

	if (gnutls_privkey_export_rsa_raw2(key, &n, &e, &d, &p, &q, &c, &a, &b, 0) < 0)
		return false;
	take_number(s->public.n, &n);
	take_number(s->public.e, &e);
	take_number(s->private.d, &d);
	take_number(s->private.p, &p);
	take_number(s->private.q, &q);
	take_number(s->private.a, &a);
	take_number(s->private.b, &b);
	take_number(s->private.c, &c);
	return rsa_public_key_prepare(&s->public) && rsa_private_key_prepare(&s->private) &&
		s->public.size == s->private.size && s->public.size <= MOST_RSA_BYTES && mpz_odd_p(s->public.n);
}

/* A new pair: another random number. */
static int
blinding_make(struct rsa_signer *s)
{
	unsigned char bytes[MOST_RSA_BYTES + 8];
	mpz_t r;
	int error;

	mpz_init(r);
	/* Eight bytes more than n, so that the rest of the division is as good as even. */
	while ((error = gnutls_rnd(GNUTLS_RND_KEY, bytes, s->public.size + 8)) >= 0) {
		nettle_mpz_set_str_256_u(r, s->public.size + 8, bytes);
		mpz_mod(r, r, s->public.n);
		if (mpz_invert(s->unblind, r, s->public.n) != 0)
			break;
	}
	secret_wipe(bytes, sizeof(bytes));
	if (error >= 0)
		mpz_powm(s->blind, r, s->public.e, s->public.n);
	s->uses = 0;
	mpz_clear(r);
	return error;
}

static int
blinding_next(struct rsa_signer *s)
{
	if (++s->uses >= MOST_USES)
		return blinding_make(s);
	mpz_mul(s->blind, s->blind, s->blind);
	mpz_mod(s->blind, s->blind, s->public.n);
	mpz_mul(s->unblind, s->unblind, s->unblind);
	mpz_mod(s->unblind, s->unblind, s->public.n);
	return 0;
}

void
rsa_signer_free(struct rsa_signer **held)
{
	struct rsa_signer *s = *held;

	*held = NULL;
	if (s == NULL)
		return;
	rsa_public_key_clear(&s->public);
	rsa_private_key_clear(&s->private);
	mpz_clears(s->blind, s->unblind, NULL);
	secret_wipe(s, sizeof(*s));
	free(s);
}

struct rsa_signer *
rsa_signer_new(gnutls_privkey_t key)
{
	static const unsigned char hash[32] = { 0 };
	struct signing trial = { GNUTLS_SIGN_RSA_SHA256, false, span_of(hash, sizeof(hash)) };
	gnutls_datum_t signature = { NULL, 0 };
	struct rsa_signer *s;

	if (gnutls_privkey_get_type(key) != GNUTLS_PRIVKEY_X509 ||
		gnutls_privkey_get_pk_algorithm(key, NULL) != GNUTLS_PK_RSA)
		return NULL;
	s = must_alloc(sizeof(*s));
	rsa_public_key_init(&s->public);
	rsa_private_key_init(&s->private);
	mpz_inits(s->blind, s->unblind, NULL);
	/* A key whose numbers do not belong together shows now. */
	if (!take_key(s, key) || blinding_make(s) < 0 || rsa_signer_do(s, &trial, &signature) < 0)
		rsa_signer_free(&s);
	gnutls_free(signature.data);
	return s;
}

/* --- signatures --- */

static bool
encode_pss(mpz_t m, const struct rsa_signer *s, const struct scheme *scheme, struct span hash)
{
	unsigned char salt[MOST_HASH_SIZE];

	/* RFC 8446 4.2.3: the salt is as long as the hash. */
	return gnutls_rnd(GNUTLS_RND_NONCE, salt, scheme->size) >= 0 &&
		pss_encode_mgf1(m, mpz_sizeinbase(s->public.n, 2) - 1, scheme->hash, scheme->size, salt, hash.at);
}

static bool
encode_pkcs1(mpz_t m, const struct rsa_signer *s, const struct scheme *scheme, struct span hash)
{
	unsigned char info[MOST_DIGEST_INFO] = { 0x30, (unsigned char)(17 + scheme->size), 0x30, 0x0d, 0x06, 0x09, 0x60,
		0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, scheme->oid_end, 0x05, 0x00, 0x04, scheme->size };

	memcpy(info + 19, hash.at, hash.len);
	return pkcs1_rsa_digest_encode(m, s->public.size, 19 + hash.len, info);
}

/* x = m^d mod n, blinded, and verified. */
static int
compute(struct rsa_signer *s, const mpz_t m, mpz_t x)
{
	mpz_t check;
	int error;

	mpz_init(check);
	mpz_mul(x, m, s->blind);
	mpz_mod(x, x, s->public.n);
	rsa_compute_root(&s->private, x, x);
	mpz_mul(x, x, s->unblind);
	mpz_mod(x, x, s->public.n);
	mpz_powm(check, x, s->public.e, s->public.n);
	error = mpz_cmp(check, m) == 0 ? 0 : GNUTLS_E_PK_SIGN_FAILED;
	mpz_clear(check);
	return error;
}

int
rsa_signer_do(struct rsa_signer *s, const struct signing *what, gnutls_datum_t *signature)
{
	const struct scheme *scheme = NULL;
	unsigned char *at;
	int error = GNUTLS_E_PK_SIGN_FAILED;
	mpz_t m, x;

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (schemes[i].algorithm == what->algorithm && what->input.len == schemes[i].size)
			scheme = &schemes[i];
	if (scheme == NULL || what->whole)
		return GNUTLS_E_INVALID_REQUEST;
	mpz_inits(m, x, NULL);
	if ((scheme->pss ? encode_pss : encode_pkcs1)(m, s, scheme, what->input))
		error = compute(s, m, x);
	if (error >= 0)
		error = blinding_next(s);
	if (error >= 0 && (at = gnutls_malloc(s->public.size)) == NULL)
		error = GNUTLS_E_MEMORY_ERROR;
	if (error >= 0) {
		nettle_mpz_get_str_256(s->public.size, at, x);
		*signature = (gnutls_datum_t){ at, (unsigned int)s->public.size };
	}
	mpz_clears(m, x, NULL);
	return error < 0 ? error : 0;
}
