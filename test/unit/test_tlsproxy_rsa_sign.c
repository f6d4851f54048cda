/* RSA signatures: good ones of every kind and size, by keys that are here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/secret.h"
#include "tlsproxy/rsa-sign.h"

static const struct {
	gnutls_sign_algorithm_t algorithm;
	size_t size;
} kinds[] = {
	{ GNUTLS_SIGN_RSA_PSS_RSAE_SHA256, 32 }, { GNUTLS_SIGN_RSA_PSS_RSAE_SHA384, 48 },
	{ GNUTLS_SIGN_RSA_PSS_RSAE_SHA512, 64 }, { GNUTLS_SIGN_RSA_SHA256, 32 },
	{ GNUTLS_SIGN_RSA_SHA384, 48 }, { GNUTLS_SIGN_RSA_SHA512, 64 },
};

static gnutls_privkey_t
make_key(gnutls_pk_algorithm_t algorithm, unsigned int bits)
{
	gnutls_privkey_t key;

	assert_int_equal(gnutls_privkey_init(&key), 0);
	assert_int_equal(gnutls_privkey_generate(key, algorithm, bits, 0), 0);
	return key;
}

static int
verified(gnutls_pubkey_t public, gnutls_sign_algorithm_t algorithm, struct span hash, gnutls_datum_t *signature)
{
	gnutls_datum_t input = { (unsigned char *)(uintptr_t)hash.at, (unsigned int)hash.len };

	return gnutls_pubkey_verify_hash2(public, algorithm, 0, &input, signature);
}

/* Through more than two lives of a blinding; odd sizes too, where the encoding begins within an octet. */
static void
test_signatures_verify(void **state)
{
	static const unsigned int sizes[] = { 2048, 2049, 2052 };

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		gnutls_privkey_t key = make_key(GNUTLS_PK_RSA, sizes[i]);
		struct rsa_signer *signer = rsa_signer_new(key);
		gnutls_pubkey_t public;

		assert_non_null(signer);
		assert_int_equal(gnutls_pubkey_init(&public), 0);
		assert_int_equal(gnutls_pubkey_import_privkey(public, key, 0, 0), 0);
		for (int n = 0; n < (i == 0 ? 80 : 12); n++) {
			unsigned char hash[64], other[64];
			size_t k = (size_t)n % (sizeof kinds / sizeof kinds[0]);
			struct signing what = { kinds[k].algorithm, false, span_of(hash, kinds[k].size) };
			gnutls_datum_t signature = { NULL, 0 };

			secret_random(hash, sizeof hash);
			secret_random(other, sizeof other);
			assert_int_equal(rsa_signer_do(signer, &what, &signature), 0);
			assert_int_equal(signature.size, (sizes[i] + 7) / 8);
			assert_true(verified(public, kinds[k].algorithm, what.input, &signature) >= 0);
			assert_true(verified(public, kinds[k].algorithm, span_of(other, kinds[k].size), &signature) < 0);
			gnutls_free(signature.data);
		}
		gnutls_pubkey_deinit(public);
		rsa_signer_free(&signer);
		assert_null(signer);
		rsa_signer_free(&signer);
		gnutls_privkey_deinit(key);
	}
}

/* PKCS #1 v1.5 has one right answer: GnuTLS's. */
static void
test_same_as_gnutls(void **state)
{
	gnutls_privkey_t key = make_key(GNUTLS_PK_RSA, 2048);
	struct rsa_signer *signer = rsa_signer_new(key);

	(void)state;
	assert_non_null(signer);
	for (size_t k = 3; k < sizeof kinds / sizeof kinds[0]; k++) {
		unsigned char hash[64];
		struct signing what = { kinds[k].algorithm, false, span_of(hash, kinds[k].size) };
		gnutls_datum_t ours = { NULL, 0 }, theirs = { NULL, 0 };

		secret_random(hash, sizeof hash);
		assert_int_equal(rsa_signer_do(signer, &what, &ours), 0);
		assert_int_equal(signing_do(key, &what, &theirs), 0);
		assert_int_equal(ours.size, theirs.size);
		assert_memory_equal(ours.data, theirs.data, ours.size);
		gnutls_free(ours.data);
		gnutls_free(theirs.data);
	}
	rsa_signer_free(&signer);
	gnutls_privkey_deinit(key);
}

static void
test_what_is_not_signed(void **state)
{
	static const unsigned char hash[64];
	gnutls_privkey_t key = make_key(GNUTLS_PK_RSA, 2048), other = make_key(GNUTLS_PK_ECDSA,
		GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1));
	struct rsa_signer *signer = rsa_signer_new(key);
	struct signing what = { GNUTLS_SIGN_RSA_SHA256, false, span_of(hash, 32) };
	gnutls_datum_t signature = { NULL, 0 };

	(void)state;
	assert_null(rsa_signer_new(other));
	what.input.len = 31;
	assert_true(rsa_signer_do(signer, &what, &signature) < 0);
	what.input.len = 48;
	assert_true(rsa_signer_do(signer, &what, &signature) < 0);
	what = (struct signing){ GNUTLS_SIGN_RSA_SHA1, false, span_of(hash, 20) };
	assert_true(rsa_signer_do(signer, &what, &signature) < 0);
	what = (struct signing){ GNUTLS_SIGN_RSA_SHA256, true, span_of(hash, 32) };
	assert_true(rsa_signer_do(signer, &what, &signature) < 0);
	assert_null(signature.data);
	rsa_signer_free(&signer);
	gnutls_privkey_deinit(key);
	gnutls_privkey_deinit(other);
}

/* A key one of whose numbers is damaged: as after a fault of the machine, what it signs must not leave. */
static void
test_a_wrong_signature_does_not_leave(void **state)
{
	gnutls_privkey_t key = make_key(GNUTLS_PK_RSA, 2048), damaged;
	gnutls_datum_t n, e, d, p, q, u, e1, e2;
	struct rsa_signer *signer;

	(void)state;
	assert_int_equal(gnutls_privkey_export_rsa_raw2(key, &n, &e, &d, &p, &q, &u, &e1, &e2, 0), 0);
	for (int round = 0; round < 2; round++) {
		if (round == 1)
			d.data[d.size / 2] ^= 0x10; /* GnuTLS makes the exponents of the primes of it */
		assert_int_equal(gnutls_privkey_init(&damaged), 0);
		assert_int_equal(gnutls_privkey_import_rsa_raw(damaged, &n, &e, &d, &p, &q, &u, &e1, &e2), 0);
		signer = rsa_signer_new(damaged);
		assert_true((signer != NULL) == (round == 0));
		rsa_signer_free(&signer);
		gnutls_privkey_deinit(damaged);
	}
	gnutls_datum_t *all[] = { &n, &e, &d, &p, &q, &u, &e1, &e2 };
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		gnutls_free(all[i]->data);
	gnutls_privkey_deinit(key);
}

/* Whatever a file says that the numbers are: no signer, or one that signs rightly; never the end of the process. */
static void
test_keys_of_nonsense(void **state)
{
	gnutls_privkey_t key = make_key(GNUTLS_PK_RSA, 2048), damaged;
	gnutls_datum_t all[8];

	(void)state;
	assert_int_equal(gnutls_privkey_export_rsa_raw2(
		key, &all[0], &all[1], &all[2], &all[3], &all[4], &all[5], &all[6], &all[7], 0), 0);
	for (int which = 0; which < 8 * 4; which++) {
		gnutls_datum_t given[8];
		unsigned char one[2048];
		gnutls_datum_t *it = &given[which / 4];
		struct rsa_signer *signer;

		memcpy(given, all, sizeof given);
		memset(one, 0xff, sizeof one);
		memcpy(one, it->data, it->size);
		switch (which % 4) {
		case 0: one[it->size - 1] ^= 1; break;           /* even where it was odd */
		case 1: memset(one, 0, it->size); break;
		case 2: it->size *= 2; break;                    /* far too large */
		default: memset(one, 0, it->size); one[it->size - 1] = 1; break;
		}
		it->data = one;
		assert_int_equal(gnutls_privkey_init(&damaged), 0);
		if (gnutls_privkey_import_rsa_raw(damaged, &given[0], &given[1], &given[2], &given[3], &given[4],
			    &given[5], &given[6], &given[7]) >= 0 && (signer = rsa_signer_new(damaged)) != NULL) {
			unsigned char hash[32] = { 1, 2, 3 };
			struct signing what = { GNUTLS_SIGN_RSA_SHA256, false, span_of(hash, sizeof hash) };
			gnutls_datum_t signature = { NULL, 0 };

			(void)rsa_signer_do(signer, &what, &signature);
			gnutls_free(signature.data);
			rsa_signer_free(&signer);
		}
		gnutls_privkey_deinit(damaged);
	}
	for (size_t i = 0; i < 8; i++)
		gnutls_free(all[i].data);
	gnutls_privkey_deinit(key);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signatures_verify),
		cmocka_unit_test(test_same_as_gnutls),
		cmocka_unit_test(test_what_is_not_signed),
		cmocka_unit_test(test_a_wrong_signature_does_not_leave),
		cmocka_unit_test(test_keys_of_nonsense),
	};

	rsa_signer_prepare();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
