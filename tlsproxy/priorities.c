#include "priorities.h"

#include <stdlib.h>
#include <string.h>

/* TLS 1.3 and 1.2 with forward secrecy and authenticated encryption. No CBC, no static RSA, no DHE,
 * no anonymous suites, no SHA-1 signatures (RFC 9325). */
#define OURS \
	"NONE:+VERS-TLS1.3:+VERS-TLS1.2:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:+AEAD" \
	":+ECDHE-ECDSA:+ECDHE-RSA:+COMP-NULL" \
	":+SIGN-ECDSA-SECP256R1-SHA256:+SIGN-ECDSA-SECP384R1-SHA384:+SIGN-ECDSA-SECP521R1-SHA512" \
	":+SIGN-ECDSA-SHA256:+SIGN-ECDSA-SHA384:+SIGN-ECDSA-SHA512:+SIGN-EDDSA-ED25519" \
	":+SIGN-RSA-PSS-RSAE-SHA256:+SIGN-RSA-PSS-RSAE-SHA384:+SIGN-RSA-PSS-RSAE-SHA512" \
	":+SIGN-RSA-SHA256:+SIGN-RSA-SHA384:+SIGN-RSA-SHA512" \
	":+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:+GROUP-SECP521R1:+CTYPE-X509" \
	":%SERVER_PRECEDENCE"

static bool
is_old(unsigned int version)
{
	return version != GNUTLS_TLS1_2 && version != GNUTLS_TLS1_3;
}

static bool
is_weak_cipher(unsigned int cipher)
{
	switch (cipher) {
	case GNUTLS_CIPHER_AES_128_GCM:
	case GNUTLS_CIPHER_AES_256_GCM:
	case GNUTLS_CIPHER_AES_128_CCM:
	case GNUTLS_CIPHER_AES_256_CCM:
	case GNUTLS_CIPHER_CHACHA20_POLY1305:
	case GNUTLS_CIPHER_CAMELLIA_128_GCM:
	case GNUTLS_CIPHER_CAMELLIA_256_GCM:
		return false;
	default:
		return true;
	}
}

static bool
is_weak_exchange(unsigned int exchange)
{
	return exchange != GNUTLS_KX_ECDHE_RSA && exchange != GNUTLS_KX_ECDHE_ECDSA &&
		exchange != GNUTLS_KX_DHE_RSA;
}

/* Of what the string lets in only that counts which some version can use. */
static int
judge_suites(gnutls_priority_t made, struct text *why)
{
	unsigned int count = 0, suite;
	int error;

	for (unsigned int i = 0; (error = gnutls_priority_get_cipher_suite_index(made, i, &suite)) !=
		GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE; i++) {
		gnutls_kx_algorithm_t exchange;
		gnutls_cipher_algorithm_t cipher;
		gnutls_protocol_t version;
		const char *name;

		if (error < 0 || (name = gnutls_cipher_suite_info(suite, NULL, &exchange, &cipher, NULL,
			&version)) == NULL)
			continue;
		count++;
		if (is_weak_cipher(cipher)) {
			text_printf(why, "it lets %s in, which has no authenticated encryption", name);
			return -1;
		}
		if (version != GNUTLS_TLS1_3 && is_weak_exchange(exchange)) {
			text_printf(why, "it lets %s in, without forward secrecy or certificate", name);
			return -1;
		}
	}
	if (count == 0)
		text_printf(why, "it leaves no cipher");
	return count == 0 ? -1 : 0;
}

static int
judge(gnutls_priority_t made, struct text *why)
{
	const unsigned int *list;
	int versions = gnutls_priority_protocol_list(made, &list);

	if (versions <= 0) {
		text_printf(why, "it leaves no version");
		return -1;
	}
	for (int i = 0; i < versions; i++)
		if (is_old(list[i])) {
			text_printf(why, "it lets %s in: only TLS 1.2 and 1.3 are spoken here",
				gnutls_protocol_get_name(list[i]));
			return -1;
		}
	return judge_suites(made, why);
}

int
priorities_make(struct span said, gnutls_priority_t *made, struct text *why)
{
	char *string = said.len != 0 ? must_copy(said) : must_copy(SPAN(OURS));
	const char *wrong = NULL;
	gnutls_priority_t p;
	int error = gnutls_priority_init(&p, string, &wrong);

	if (error < 0) {
		text_printf(why, "GnuTLS does not understand it from \"%.40s\" on: %s",
			wrong != NULL ? wrong : "", gnutls_strerror(error));
		free(string);
		return -1;
	}
	free(string);
	if (judge(p, why) < 0) {
		gnutls_priority_deinit(p);
		return -1;
	}
	*made = p;
	return 0;
}
