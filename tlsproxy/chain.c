#include "chain.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/secret.h"
#include "token.h"

int
chain_read_file(int fd, const char *what, size_t most, struct text *to, struct text *why)
{
	unsigned char piece[4096];
	off_t at = 0;
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		text_printf(why, "%s is not a regular file", what);
		return -1;
	}
	if (st.st_size < 0 || (uint64_t)st.st_size > most) {
		text_printf(why, "%s is larger than %zu bytes", what, most);
		return -1;
	}
	/* A growing text would leave copies of a key behind at each step. */
	to->most = most + 1;
	to->at = must_alloc(to->most);
	to->room = to->most;
	for (;;) {
		ssize_t got = pread(fd, piece, sizeof(piece), at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			text_printf(why, "%s cannot be read: %s", what, strerror(errno));
			break;
		}
		if (got == 0)
			break;
		text_add(to, span_of(piece, (size_t)got));
		at += got;
	}
	secret_wipe(piece, sizeof(piece));
	if (to->failed) {
		text_printf(why, "%s is larger than %zu bytes", what, most);
		return -1;
	}
	if (why->len != 0)
		return -1;
	if (to->len == 0) {
		text_printf(why, "%s is empty", what);
		return -1;
	}
	return 0;
}

/* Is this a kind of key that we serve with? Fills kind, bits, curve, key_id. */
static int
chain_judge_key(struct chain *chain, struct text *why)
{
	gnutls_pubkey_t key = NULL;
	size_t size = sizeof(chain->key_id);
	int kind, result = -1;
	unsigned int bits = 0;

	if (gnutls_pubkey_init(&key) < 0 || gnutls_pubkey_import_x509(key, chain->at[0], 0) < 0 ||
	    gnutls_pubkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, chain->key_id, &size) < 0 ||
	    size != KEY_ID_SIZE) {
		text_printf(why, "the public key of the certificate cannot be read");
		goto out;
	}
	kind = gnutls_pubkey_get_pk_algorithm(key, &bits);
	chain->bits = bits;
	switch (kind) {
	case GNUTLS_PK_RSA:
		if (bits < LEAST_RSA_BITS) {
			text_printf(why, "the RSA key has %u bits, at least %d are needed", bits,
				LEAST_RSA_BITS);
			goto out;
		}
		break;
	case GNUTLS_PK_ECDSA:
		if (gnutls_pubkey_export_ecc_raw2(key, &chain->curve, NULL, NULL, 0) < 0 ||
		    (chain->curve != GNUTLS_ECC_CURVE_SECP256R1 &&
		     chain->curve != GNUTLS_ECC_CURVE_SECP384R1 &&
		     chain->curve != GNUTLS_ECC_CURVE_SECP521R1)) {
			text_printf(why,
				"the ECDSA key is on a curve other than P-256, P-384 or P-521");
			goto out;
		}
		break;
	case GNUTLS_PK_EDDSA_ED25519:
		break;
	default:
		text_printf(why, "keys of the kind %s are not supported: use ECDSA, RSA or Ed25519",
			kind < 0 ? "unknown" : gnutls_pk_get_name((gnutls_pk_algorithm_t)kind));
		goto out;
	}
	chain->kind = (gnutls_pk_algorithm_t)kind;
	result = 0;
out:
	if (key != NULL)
		gnutls_pubkey_deinit(key);
	return result;
}

/* Each certificate is signed by the next. Dates are no matter here: whoever serves an expired chain
 * may have a reason, and a warning tells. */
static int
chain_judge_order(const struct chain *chain, struct text *why)
{
	for (unsigned int i = 0; i + 1 < chain->count; i++) {
		unsigned int status = 0;

		if (gnutls_x509_crt_check_issuer(chain->at[i], chain->at[i + 1]) != 1 ||
		    gnutls_x509_crt_verify(chain->at[i], &chain->at[i + 1], 1,
			    GNUTLS_VERIFY_DISABLE_TIME_CHECKS | GNUTLS_VERIFY_DISABLE_CRL_CHECKS,
			    &status) < 0) {
			text_printf(why,
				"certificate %u of the chain was not issued by certificate %u",
				i + 1, i + 2);
			return -1;
		}
		if ((status & GNUTLS_CERT_INSECURE_ALGORITHM) != 0) {
			text_printf(why,
				"certificate %u of the chain is signed with a weak algorithm",
				i + 1);
			return -1;
		}
		if ((status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNATURE_FAILURE |
			       GNUTLS_CERT_SIGNER_NOT_CA)) != 0) {
			text_printf(why,
				"the signature of certificate %u by certificate %u of the chain"
				" is wrong",
				i + 1, i + 2);
			return -1;
		}
	}
	return 0;
}

int
chain_read(int fd, struct chain *chain, struct text *why)
{
	struct text pem = TEXT_UP_TO(0);
	gnutls_x509_crt_t *list = NULL;
	gnutls_datum_t datum;
	unsigned int count = 0, usage = 0, critical = 0;
	int error, result = -1;

	memset(chain, 0, sizeof(*chain));
	if (chain_read_file(fd, "the certificate file", MOST_CERTIFICATE_FILE, &pem, why) < 0)
		goto out;
	datum = (gnutls_datum_t){ pem.at, (unsigned int)pem.len };
	error = gnutls_x509_crt_list_import2(&list, &count, &datum, GNUTLS_X509_FMT_PEM, 0);
	if (error < 0 || count == 0) {
		text_printf(why, "the certificate file holds no readable PEM certificate: %s",
			error < 0 ? gnutls_strerror(error) : "empty");
		goto out;
	}
	for (unsigned int i = 0; i < count; i++) {
		if (i < MOST_CHAIN)
			chain->at[chain->count++] = list[i];
		else
			gnutls_x509_crt_deinit(list[i]);
	}
	if (count > MOST_CHAIN) {
		text_printf(
			why, "the certificate file holds more than %d certificates", MOST_CHAIN);
		goto out;
	}
	if (chain_judge_key(chain, why) < 0 || chain_judge_order(chain, why) < 0)
		goto out;
	/* An authority's own certificate is read with this too: it signs certificates only. */
	if (gnutls_x509_crt_get_ca_status(chain->at[0], NULL) <= 0 &&
	    gnutls_x509_crt_get_key_usage(chain->at[0], &usage, &critical) >= 0 &&
	    (usage & GNUTLS_KEY_DIGITAL_SIGNATURE) == 0) {
		text_printf(why, "the certificate does not allow digital signatures (key usage)");
		goto out;
	}
	result = 0;
out:
	gnutls_free(list);
	text_clear(&pem);
	if (result < 0)
		chain_clear(chain);
	return result;
}

void
chain_clear(struct chain *chain)
{
	for (unsigned int i = 0; i < chain->count; i++)
		gnutls_x509_crt_deinit(chain->at[i]);
	memset(chain, 0, sizeof(*chain));
}

/* A signature over a constant that nothing else signs, verified with the certificate. */
static bool
key_fits(gnutls_privkey_t key, const struct chain *chain)
{
	static unsigned char words[] = "valija: does this key fit this certificate?";
	gnutls_datum_t data = { words, sizeof(words) }, signature = { NULL, 0 };
	gnutls_sign_algorithm_t algorithm = chain->kind == GNUTLS_PK_RSA ? GNUTLS_SIGN_RSA_SHA256
					    : chain->kind == GNUTLS_PK_ECDSA
						    ? GNUTLS_SIGN_ECDSA_SHA256
						    : GNUTLS_SIGN_EDDSA_ED25519;
	gnutls_pubkey_t public = NULL;
	bool fits = false;

	if (gnutls_privkey_get_pk_algorithm(key, NULL) == (int)chain->kind &&
	    gnutls_pubkey_init(&public) >= 0 &&
	    gnutls_pubkey_import_x509(public, chain->at[0], 0) >= 0 &&
	    gnutls_privkey_sign_data2(key, algorithm, 0, &data, &signature) >= 0)
		fits = gnutls_pubkey_verify_data2(public, algorithm, 0, &data, &signature) >= 0;
	if (public != NULL)
		gnutls_pubkey_deinit(public);
	gnutls_free(signature.data);
	return fits;
}

int
chain_read_bare_key(int fd, gnutls_privkey_t *key, struct text *why)
{
	struct text pem = TEXT_UP_TO(0);
	gnutls_privkey_t found = NULL;
	gnutls_datum_t datum;
	int error, result = -1;

	if (chain_read_file(fd, "the key file", MOST_CERTIFICATE_FILE, &pem, why) < 0)
		goto out;
	if (span_find(text_span(&pem), SPAN("BEGIN ENCRYPTED PRIVATE KEY")) != pem.len ||
	    span_find(text_span(&pem), SPAN("Proc-Type: 4,ENCRYPTED")) != pem.len) {
		text_printf(why,
			"the key is encrypted: nobody is there at start to type its password;"
			" decrypt it (openssl pkey) and let file permissions guard it");
		goto out;
	}
	if (token_is_url(text_span(&pem))) {
		if (token_import(text_span(&pem), &found, why) < 0)
			goto out;
		goto found;
	}
	if (span_find(text_span(&pem), SPAN("PRIVATE KEY-----")) == pem.len) {
		text_printf(why, "the key file holds no PEM private key");
		goto out;
	}
	datum = (gnutls_datum_t){ pem.at, (unsigned int)pem.len };
	if ((error = gnutls_privkey_init(&found)) < 0 ||
		(error = gnutls_privkey_import_x509_raw(
			 found, &datum, GNUTLS_X509_FMT_PEM, NULL, 0)) < 0) {
		text_printf(why, "the key cannot be read: %s", gnutls_strerror(error));
		goto out;
	}
found:
	*key = found;
	found = NULL;
	result = 0;
out:
	if (found != NULL)
		gnutls_privkey_deinit(found);
	text_wipe(&pem);
	return result;
}

int
chain_read_key(int fd, const struct chain *chain, gnutls_privkey_t *key, struct text *why)
{
	gnutls_privkey_t found;

	if (chain_read_bare_key(fd, &found, why) < 0)
		return -1;
	if (!key_fits(found, chain)) {
		text_printf(why, "the key does not belong to the certificate");
		gnutls_privkey_deinit(found);
		return -1;
	}
	*key = found;
	return 0;
}
