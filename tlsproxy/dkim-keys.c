/* dkim-keys - see dkim-keys.h. */
#include "dkim-keys.h"

#include <string.h>

#include "chain.h"

int
dkim_keys_add(struct dkim_keys *keys, unsigned int number, int fd, struct text *why)
{
	gnutls_privkey_t key;

	if (number >= MOST_DKIM_KEYS) {
		text_printf(why, "more than %d keys for DKIM", MOST_DKIM_KEYS);
		return -1;
	}
	if (chain_read_bare_key(fd, &key, why) < 0)
		return -1;
	if (keys->key[number] != NULL)
		gnutls_privkey_deinit(keys->key[number]);
	keys->key[number] = key;
	return 0;
}

static const char *
key_fits(gnutls_privkey_t key, enum dkim_algorithm algorithm)
{
	unsigned int bits = 0;
	int kind;

	if (key == NULL)
		return "dkim: a key is missing; see the log";
	kind = gnutls_privkey_get_pk_algorithm(key, &bits);
	if (algorithm == DKIM_ED25519)
		return kind == GNUTLS_PK_EDDSA_ED25519 ? NULL : "dkim: a key is not of Ed25519, as its member of the option says";
	if (kind != GNUTLS_PK_RSA)
		return "dkim: a key is not of RSA; write DOMAIN:SELECTOR:ed25519 for one of Ed25519";
	return bits >= DKIM_LEAST_RSA_BITS ? NULL : "dkim: an RSA key has fewer than 1024 bits";
}

const char *
dkim_keys_fit(const struct dkim_keys *keys, const struct settings *s)
{
	const char *why = NULL;

	for (size_t i = 0; i < s->dkim.count && i < MOST_DKIM_KEYS && why == NULL; i++) {
		struct dkim_entry e;

		why = dkim_entry_parse(s->dkim.at[i], &e) ? key_fits(keys->key[i], e.algorithm) :
			"dkim: a member is not DOMAIN:SELECTOR or DOMAIN:SELECTOR:ALGORITHM";
	}
	return why;
}

/* RFC 8463 section 3: Ed25519 signs the hash as its message. */
static int
sign(gnutls_privkey_t key, enum dkim_algorithm algorithm, struct span digest, gnutls_datum_t *signature)
{
	gnutls_datum_t input = { (unsigned char *)(uintptr_t)digest.at, (unsigned int)digest.len };

	if (algorithm == DKIM_ED25519)
		return gnutls_privkey_sign_data2(key, GNUTLS_SIGN_EDDSA_ED25519, 0, &input, signature);
	return gnutls_privkey_sign_hash2(key, GNUTLS_SIGN_RSA_SHA256, 0, &input, signature);
}

const char *
dkim_keys_sign(struct dkim_keys *keys, const struct settings *s, struct span domain,
	struct span selector, struct span digest, gnutls_datum_t *signature)
{
	if (digest.len != DKIM_DIGEST_SIZE)
		return "the input is no SHA-256 hash";
	for (size_t i = 0; i < s->dkim.count && i < MOST_DKIM_KEYS; i++) {
		struct dkim_entry e;

		if (!dkim_entry_parse(s->dkim.at[i], &e) || !span_equal_nocase(e.domain, domain) ||
			!span_equal_nocase(e.selector, selector) || keys->key[i] == NULL)
			continue;
		if (sign(keys->key[i], e.algorithm, digest, signature) < 0)
			return "GnuTLS cannot sign with the key";
		keys->signatures++;
		return NULL;
	}
	return "no such key for DKIM";
}

void
dkim_keys_clear(struct dkim_keys *keys)
{
	for (size_t i = 0; i < MOST_DKIM_KEYS; i++) {
		if (keys->key[i] != NULL)
			gnutls_privkey_deinit(keys->key[i]);
	}
	memset(keys, 0, sizeof(*keys));
}
