#include "signing.h"

#include <string.h>

#define N_ROWS(table) (sizeof(table) / sizeof((table)[0]))
#define SHA256_SIZE 32
#define SHA384_SIZE 48
#define SHA512_SIZE 64

/* Bare hashes. What is not here is refused: SHA-1, SHA-224, RSA without padding, decryption. */
static const struct {
	gnutls_sign_algorithm_t algorithm;
	gnutls_pk_algorithm_t kind;
	size_t size;
} hashes[] = {
	{ GNUTLS_SIGN_ECDSA_SHA256,           GNUTLS_PK_ECDSA, SHA256_SIZE },
	{ GNUTLS_SIGN_ECDSA_SHA384,           GNUTLS_PK_ECDSA, SHA384_SIZE },
	{ GNUTLS_SIGN_ECDSA_SHA512,           GNUTLS_PK_ECDSA, SHA512_SIZE },
	{ GNUTLS_SIGN_ECDSA_SECP256R1_SHA256, GNUTLS_PK_ECDSA, SHA256_SIZE },
	{ GNUTLS_SIGN_ECDSA_SECP384R1_SHA384, GNUTLS_PK_ECDSA, SHA384_SIZE },
	{ GNUTLS_SIGN_ECDSA_SECP521R1_SHA512, GNUTLS_PK_ECDSA, SHA512_SIZE },
	{ GNUTLS_SIGN_RSA_PSS_RSAE_SHA256,    GNUTLS_PK_RSA,   SHA256_SIZE },
	{ GNUTLS_SIGN_RSA_PSS_RSAE_SHA384,    GNUTLS_PK_RSA,   SHA384_SIZE },
	{ GNUTLS_SIGN_RSA_PSS_RSAE_SHA512,    GNUTLS_PK_RSA,   SHA512_SIZE },
};

/* DER in front of the hash, RFC 8017 9.2 note 1. */
static const struct {
	gnutls_sign_algorithm_t algorithm;
	size_t size;
	unsigned char prefix[19];
} digest_infos[] = {
	{ GNUTLS_SIGN_RSA_SHA256, SHA256_SIZE,
		{ 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
			0x02, 0x01, 0x05, 0x00, 0x04, 0x20 } },
	{ GNUTLS_SIGN_RSA_SHA384, SHA384_SIZE,
		{ 0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
			0x02, 0x02, 0x05, 0x00, 0x04, 0x30 } },
	{ GNUTLS_SIGN_RSA_SHA512, SHA512_SIZE,
		{ 0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
			0x02, 0x03, 0x05, 0x00, 0x04, 0x40 } },
};

bool
signing_take_digest_info(struct span input, gnutls_sign_algorithm_t *algorithm, struct span *hash)
{
	for (size_t i = 0; i < N_ROWS(digest_infos); i++) {
		size_t prefix = sizeof(digest_infos[i].prefix);

		if (input.len != prefix + digest_infos[i].size ||
		    memcmp(input.at, digest_infos[i].prefix, prefix) != 0)
			continue;
		*algorithm = digest_infos[i].algorithm;
		*hash = span_part(input, prefix, digest_infos[i].size);
		return true;
	}
	return false;
}

bool
signing_is_server_verify(struct span input)
{
	/* The literal's own NUL is the separator. */
	static const unsigned char context[] = "TLS 1.3, server CertificateVerify";
	struct span part;

	for (int i = 0; i < 64; i++)
		if (!span_take(&input, ' '))
			return false;
	return span_take_bytes(&input, sizeof(context), &part) &&
		memcmp(part.at, context, sizeof(context)) == 0 &&
		(input.len == SHA256_SIZE || input.len == SHA384_SIZE);
}

bool
signing_is_server_exchange(struct span input)
{
	static const struct {
		unsigned int group, point;
	} groups[] = { { 23, 65 }, { 24, 97 }, { 25, 133 }, { 29, 32 } };
	struct span randoms, head;

	/* RFC 8422 5.4: a named curve, and a point of its size. */
	if (!span_take_bytes(&input, 64, &randoms) || !span_take_bytes(&input, 4, &head) ||
		head.at[0] != 3 || head.at[3] != input.len)
		return false;
	for (size_t i = 0; i < N_ROWS(groups); i++)
		if ((unsigned int)(head.at[1] << 8 | head.at[2]) == groups[i].group)
			return input.len == groups[i].point;
	return false;
}

const char *
signing_check(gnutls_pk_algorithm_t kind, uint32_t algorithm, bool hashed, struct span input,
	struct signing *what)
{
	what->input = input;
	what->whole = !hashed;
	if (algorithm == GNUTLS_SIGN_EDDSA_ED25519) {
		what->algorithm = GNUTLS_SIGN_EDDSA_ED25519;
		if (kind != GNUTLS_PK_EDDSA_ED25519)
			return "the algorithm does not fit the key";
		return !hashed && (signing_is_server_verify(input) || signing_is_server_exchange(input))
			? NULL : "the input is not what a TLS server signs";
	}
	if (!hashed)
		return "only Ed25519 signs a whole message";
	if (algorithm == GNUTLS_SIGN_RSA_RAW) {
		if (kind != GNUTLS_PK_RSA)
			return "the algorithm does not fit the key";
		return signing_take_digest_info(input, &what->algorithm, &what->input)
			       ? NULL
			       : "the input is not a well-formed DigestInfo of SHA-256, SHA-384 or "
				 "SHA-512";
	}
	for (size_t i = 0; i < N_ROWS(hashes); i++) {
		if ((uint32_t)hashes[i].algorithm != algorithm)
			continue;
		what->algorithm = hashes[i].algorithm;
		if (hashes[i].kind != kind)
			return "the algorithm does not fit the key";
		return input.len == hashes[i].size ? NULL
						   : "the input has not the size of the hash";
	}
	return "the algorithm is not one that a TLS server here signs with";
}

int
signing_do(gnutls_privkey_t key, const struct signing *what, gnutls_datum_t *signature)
{
	gnutls_datum_t input = { (unsigned char *)(uintptr_t)what->input.at,
		(unsigned int)what->input.len };

	if (what->whole)
		return gnutls_privkey_sign_data2(key, what->algorithm, 0, &input, signature);
	return gnutls_privkey_sign_hash2(key, what->algorithm, 0, &input, signature);
}
