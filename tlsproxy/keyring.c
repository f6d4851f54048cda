#include "keyring.h"

#include <gnutls/crypto.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include "token.h"

static void
learn_dates(struct held_key *held, const struct chain *chain)
{
	held->not_before = INT64_MIN;
	held->not_after = INT64_MAX;
	for (unsigned int i = 0; i < chain->count; i++) {
		int64_t begin = gnutls_x509_crt_get_activation_time(chain->at[i]),
			end = gnutls_x509_crt_get_expiration_time(chain->at[i]);

		if (begin > held->not_before)
			held->not_before = begin;
		if (end < held->not_after)
			held->not_after = end;
	}
}

static void
learn_name(struct held_key *held, gnutls_x509_crt_t crt)
{
	size_t size = sizeof(held->name) - 1;

	memset(held->name, 0, sizeof(held->name));
	if (gnutls_x509_crt_get_subject_alt_name(crt, 0, held->name, &size, NULL) ==
		GNUTLS_SAN_DNSNAME)
		return;
	size = sizeof(held->name) - 1;
	memset(held->name, 0, sizeof(held->name));
	if (gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, held->name, &size) < 0)
		memset(held->name, 0, sizeof(held->name));
}

int
keyring_add(struct keyring *ring, int chain_fd, int key_fd, struct text *why)
{
	struct chain chain;
	struct held_key *held;
	int result;

	if (ring->count >= MOST_KEYS) {
		text_printf(why, "more than %d certificates", MOST_KEYS);
		return -1;
	}
	if (chain_read(chain_fd, &chain, why) < 0)
		return -1;
	held = &ring->held[ring->count];
	memset(held, 0, sizeof(*held));
	result = chain_read_key(key_fd, &chain, &held->key, why);
	if (result == 0) {
		held->kind = chain.kind;
		held->rsa = rsa_signer_new(held->key);
		size_t size = sizeof(held->fingerprint);

		memcpy(held->id, chain.key_id, sizeof(held->id));
		(void)gnutls_x509_crt_get_fingerprint(
			chain.at[0], GNUTLS_DIG_SHA256, held->fingerprint, &size);
		learn_dates(held, &chain);
		learn_name(held, chain.at[0]);
		held->told_days = INT_MAX;
		ring->count++;
	}
	chain_clear(&chain);
	return result;
}

struct held_key *
keyring_find(struct keyring *ring, struct span id)
{
	for (unsigned int i = 0; i < ring->count; i++)
		if (span_equal(id, span_of(ring->held[i].id, sizeof(ring->held[i].id))))
			return &ring->held[i];
	return NULL;
}

bool
keyring_holds(const struct keyring *ring, gnutls_privkey_t key)
{
	unsigned char id[KEY_ID_SIZE];
	size_t size = sizeof(id);
	gnutls_pubkey_t public = NULL;
	bool known = gnutls_pubkey_init(&public) >= 0 && gnutls_pubkey_import_privkey(public, key, 0, 0) >= 0 &&
		gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, id, &size) >= 0;
	bool held = !known;

	for (unsigned int i = 0; i < ring->count && !held; i++)
		held = memcmp(ring->held[i].id, id, sizeof(id)) == 0;
	if (public != NULL)
		gnutls_pubkey_deinit(public);
	return held;
}

bool
keyring_has_tokens(const struct keyring *ring)
{
	for (unsigned int i = 0; i < ring->count; i++)
		if (token_has(ring->held[i].key))
			return true;
	return false;
}

bool
keyring_has(const struct keyring *ring, const struct held_key *held)
{
	for (unsigned int i = 0; i < ring->count; i++)
		if (memcmp(ring->held[i].fingerprint, held->fingerprint,
			    sizeof(held->fingerprint)) == 0)
			return true;
	return false;
}

bool
keyring_is_in_time(const struct held_key *held, int64_t now, struct text *why)
{
	bool late = held->not_after < now;
	time_t when = late ? held->not_after : held->not_before;
	char date[32] = "?";
	struct tm tm;

	if (!late && held->not_before <= now)
		return true;
	if (gmtime_r(&when, &tm) != NULL)
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", &tm);
	if (late)
		text_printf(why, "the certificate of %s has expired on %s", held->name, date);
	else
		text_printf(why, "the certificate of %s is not valid before %s", held->name, date);
	return false;
}

int
keyring_sign(struct held_key *held, const struct signing *what, gnutls_datum_t *signature)
{
	return held->rsa != NULL ? rsa_signer_do(held->rsa, what, signature) : signing_do(held->key, what, signature);
}

void
keyring_clear(struct keyring *ring)
{
	for (unsigned int i = 0; i < ring->count; i++) {
		rsa_signer_free(&ring->held[i].rsa);
		gnutls_privkey_deinit(ring->held[i].key);
	}
	memset(ring, 0, sizeof(*ring));
}
