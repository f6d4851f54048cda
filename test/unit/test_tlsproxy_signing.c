/*
 * What tls-key signs: each row of the policy, and everything beside it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "tlsproxy/signing.h"

#define ROWS_OF(table) (sizeof(table) / sizeof((table)[0]))

static const unsigned char sha256_info[19 + 32] = { 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86,
	0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20, 0xaa };
static const unsigned char sha384_info[19 + 48] = { 0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86,
	0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04, 0x30, 0xaa };
static const unsigned char sha512_info[19 + 64] = { 0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86,
	0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40, 0xaa };
static const unsigned char sha1_info[15 + 20] = { 0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e,
	0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14, 0xaa };

static void
digest_info_is_exact(void **state)
{
	gnutls_sign_algorithm_t algorithm;
	unsigned char bad[80];
	struct span hash;

	(void)state;
	assert_true(signing_take_digest_info(
		span_of(sha256_info, sizeof(sha256_info)), &algorithm, &hash));
	assert_int_equal(algorithm, GNUTLS_SIGN_RSA_SHA256);
	assert_int_equal(hash.len, 32);
	assert_int_equal(hash.at[0], 0xaa);
	assert_true(signing_take_digest_info(
		span_of(sha384_info, sizeof(sha384_info)), &algorithm, &hash));
	assert_int_equal(algorithm, GNUTLS_SIGN_RSA_SHA384);
	assert_true(signing_take_digest_info(
		span_of(sha512_info, sizeof(sha512_info)), &algorithm, &hash));
	assert_int_equal(algorithm, GNUTLS_SIGN_RSA_SHA512);
	assert_false(
		signing_take_digest_info(span_of(sha1_info, sizeof(sha1_info)), &algorithm, &hash));
	/* Every changed byte of the prefix, every other length (Bleichenbacher 2006: bytes behind).
	 */
	for (size_t i = 0; i < 19; i++) {
		memcpy(bad, sha256_info, sizeof(sha256_info));
		bad[i] ^= 1;
		assert_false(signing_take_digest_info(
			span_of(bad, sizeof(sha256_info)), &algorithm, &hash));
	}
	memset(bad, 0, sizeof(bad));
	memcpy(bad, sha256_info, sizeof(sha256_info));
	for (size_t len = 0; len <= sizeof(bad); len++)
		if (len != sizeof(sha256_info))
			assert_false(
				signing_take_digest_info(span_of(bad, len), &algorithm, &hash));
}

static size_t
server_verify(unsigned char *to, const char *context, size_t hash)
{
	memset(to, ' ', 64);
	memcpy(to + 64, context, strlen(context) + 1);
	memset(to + 64 + strlen(context) + 1, 0xaa, hash);
	return 64 + strlen(context) + 1 + hash;
}

/* What a TLS 1.2 server signs: randoms, a named curve, a point of exactly its size. */
static void
server_exchange_is_exact(void **state)
{
	static const struct {
		unsigned int kind, group, point;
		bool good;
	} rows[] = {
		{ 3, 29, 32, true }, { 3, 23, 65, true }, { 3, 24, 97, true }, { 3, 25, 133, true },
		{ 3, 29, 33, false }, { 3, 23, 32, false }, { 3, 30, 56, false }, { 1, 29, 32, false },
		{ 3, 29, 0, false }, { 3, 0, 32, false },
	};
	unsigned char message[64 + 4 + 256];

	(void)state;
	memset(message, ' ', sizeof(message));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = 68 + rows[i].point;

		message[64] = (unsigned char)rows[i].kind;
		message[65] = (unsigned char)(rows[i].group >> 8);
		message[66] = (unsigned char)rows[i].group;
		message[67] = (unsigned char)rows[i].point;
		assert_int_equal(signing_is_server_exchange(span_of(message, len)), rows[i].good);
		assert_false(signing_is_server_exchange(span_of(message, len - 1)));
		assert_false(signing_is_server_exchange(span_of(message, len + 1)));
		assert_false(signing_is_server_exchange(span_of(message, i)));
		/* It is never taken for the other kind. */
		assert_false(signing_is_server_verify(span_of(message, len)));
	}
}

static void
server_verify_is_exact(void **state)
{
	unsigned char message[256];
	size_t len;

	(void)state;
	len = server_verify(message, "TLS 1.3, server CertificateVerify", 32);
	assert_true(signing_is_server_verify(span_of(message, len)));
	assert_false(signing_is_server_verify(span_of(message, len - 1)));
	assert_false(signing_is_server_verify(span_of(message, len + 1)));
	assert_false(signing_is_server_verify(span_of(message, 97)));
	assert_false(signing_is_server_verify(SPAN_NONE));
	message[63] = 0;
	assert_false(signing_is_server_verify(span_of(message, len)));
	len = server_verify(message, "TLS 1.3, server CertificateVerify", 48);
	assert_true(signing_is_server_verify(span_of(message, len)));
	len = server_verify(message, "TLS 1.3, server CertificateVerify", 64);
	assert_false(signing_is_server_verify(span_of(message, len)));
	len = server_verify(message, "TLS 1.3, client CertificateVerify", 32);
	assert_false(signing_is_server_verify(span_of(message, len)));
}

static void
policy(void **state)
{
	static const unsigned char bytes[256];
	unsigned char verify[256];
	size_t verify_len = server_verify(verify, "TLS 1.3, server CertificateVerify", 32);
	const struct {
		gnutls_pk_algorithm_t kind;
		uint32_t algorithm;
		bool hashed;
		struct span input;
		bool good;
	} rows[] = {
		{ GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA256, true, span_of(bytes, 32), true },
		{ GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA384, true, span_of(bytes, 48), true },
		{ GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA512, true, span_of(bytes, 64), true },
		{ GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SECP256R1_SHA256, true, span_of(bytes, 32),
			true },
		{ GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SECP384R1_SHA384, true, span_of(bytes, 48),
			true },
		{ GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SECP521R1_SHA512, true, span_of(bytes, 64),
			true },
		{ GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA256, true, span_of(bytes, 31), false },
		{ GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA256, true, span_of(bytes, 33), false },
		{ GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA256, true, span_of(bytes, 0), false },
		{ GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA256, false, span_of(bytes, 32), false },
		{ GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA1, true, span_of(bytes, 20), false },
		{ GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA224, true, span_of(bytes, 28), false },
		{ GNUTLS_PK_ECDSA, GNUTLS_SIGN_RSA_RAW, true, span_of(sha256_info, 51), false },
		{ GNUTLS_PK_ECDSA, GNUTLS_SIGN_RSA_PSS_RSAE_SHA256, true, span_of(bytes, 32),
			false },
		{ GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_PSS_RSAE_SHA256, true, span_of(bytes, 32), true },
		{ GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_PSS_RSAE_SHA384, true, span_of(bytes, 48), true },
		{ GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_PSS_RSAE_SHA512, true, span_of(bytes, 64), true },
		{ GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_RAW, true, span_of(sha256_info, 51), true },
		{ GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_RAW, true, span_of(sha1_info, 35), false },
		{ GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_RAW, true, span_of(bytes, 36),
			false }, /* MD5 and SHA-1 */
		{ GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_RAW, true, span_of(bytes, 256), false },
		{ GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_RAW, false, span_of(sha256_info, 51), false },
		{ GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_SHA256, true, span_of(bytes, 32), false },
		{ GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_SHA1, true, span_of(bytes, 20), false },
		{ GNUTLS_PK_RSA, GNUTLS_SIGN_ECDSA_SHA256, true, span_of(bytes, 32), false },
		{ GNUTLS_PK_RSA, 0, true, span_of(bytes, 32), false },
		{ GNUTLS_PK_RSA, 0xffffffff, true, span_of(bytes, 32), false },
		{ GNUTLS_PK_EDDSA_ED25519, GNUTLS_SIGN_EDDSA_ED25519, false,
			span_of(verify, verify_len), true },
		{ GNUTLS_PK_EDDSA_ED25519, GNUTLS_SIGN_EDDSA_ED25519, true,
			span_of(verify, verify_len), false },
		{ GNUTLS_PK_EDDSA_ED25519, GNUTLS_SIGN_EDDSA_ED25519, false, span_of(bytes, 130),
			false },
		{ GNUTLS_PK_ECDSA, GNUTLS_SIGN_EDDSA_ED25519, false, span_of(verify, verify_len),
			false },
		{ GNUTLS_PK_EDDSA_ED25519, GNUTLS_SIGN_ECDSA_SHA256, true, span_of(bytes, 32),
			false },
	};

	(void)state;
	for (size_t i = 0; i < ROWS_OF(rows); i++) {
		struct signing what;
		const char *reason = signing_check(rows[i].kind, rows[i].algorithm, rows[i].hashed,
			rows[i].input, &what);

		if ((reason == NULL) != rows[i].good)
			fail_msg("row %zu: %s", i, reason != NULL ? reason : "signed");
	}
}

/* What was checked is what is signed: the signatures verify as TLS would verify them. */
static void
signatures_verify(void **state)
{
	unsigned char verify[256];
	size_t verify_len = server_verify(verify, "TLS 1.3, server CertificateVerify", 48);
	const struct {
		gnutls_pk_algorithm_t kind;
		unsigned int bits;
		uint32_t asked;
		gnutls_sign_algorithm_t verified;
		struct span input, hash;
		bool hashed;
	} rows[] = {
		{ GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
			GNUTLS_SIGN_ECDSA_SHA256, GNUTLS_SIGN_ECDSA_SHA256, span_of(verify, 32),
			span_of(verify, 32), true },
		{ GNUTLS_PK_RSA, 2048, GNUTLS_SIGN_RSA_RAW, GNUTLS_SIGN_RSA_SHA256,
			span_of(sha256_info, 51), span_of(sha256_info + 19, 32), true },
		{ GNUTLS_PK_RSA, 2048, GNUTLS_SIGN_RSA_PSS_RSAE_SHA256,
			GNUTLS_SIGN_RSA_PSS_RSAE_SHA256, span_of(verify, 32), span_of(verify, 32),
			true },
		{ GNUTLS_PK_EDDSA_ED25519, 0, GNUTLS_SIGN_EDDSA_ED25519, GNUTLS_SIGN_EDDSA_ED25519,
			span_of(verify, verify_len), span_of(verify, verify_len), false },
	};

	(void)state;
	for (size_t i = 0; i < ROWS_OF(rows); i++) {
		gnutls_privkey_t key;
		gnutls_pubkey_t public;
		gnutls_datum_t signature = { NULL, 0 },
			       hash = { (unsigned char *)(uintptr_t)rows[i].hash.at,
				       (unsigned int)rows[i].hash.len };
		struct signing what;

		assert_int_equal(gnutls_privkey_init(&key), 0);
		assert_int_equal(gnutls_privkey_generate(key, rows[i].kind, rows[i].bits, 0), 0);
		assert_int_equal(gnutls_pubkey_init(&public), 0);
		assert_int_equal(gnutls_pubkey_import_privkey(public, key, 0, 0), 0);
		assert_null(signing_check(
			rows[i].kind, rows[i].asked, rows[i].hashed, rows[i].input, &what));
		assert_int_equal(signing_do(key, &what, &signature), 0);
		if (rows[i].hashed)
			assert_true(gnutls_pubkey_verify_hash2(
					    public, rows[i].verified, 0, &hash, &signature) >= 0);
		else
			assert_true(gnutls_pubkey_verify_data2(
					    public, rows[i].verified, 0, &hash, &signature) >= 0);
		gnutls_free(signature.data);
		gnutls_pubkey_deinit(public);
		gnutls_privkey_deinit(key);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digest_info_is_exact), cmocka_unit_test(server_verify_is_exact),
		cmocka_unit_test(server_exchange_is_exact),
		cmocka_unit_test(policy), cmocka_unit_test(signatures_verify),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
