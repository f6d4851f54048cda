#include "dane.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <string.h>

enum { WHOLE_CERTIFICATE = 0, PUBLIC_KEY = 1 };          /* selectors */
enum { AS_IT_IS = 0, SHA_256 = 1, SHA_512 = 2 };         /* matching types */

#define SHA256_SIZE 32
#define SHA512_SIZE 64

bool
tlsa_take(struct span *in, struct tlsa *record)
{
	struct span rest = *in, head, data;
	uint16_t len;

	if (!span_take_bytes(&rest, 5, &head))
		return false;
	memcpy(&len, head.at + 3, sizeof(len));
	if (!span_take_bytes(&rest, len, &data))
		return false;
	*record = (struct tlsa){ head.at[0], head.at[1], head.at[2], data };
	*in = rest;
	return true;
}

bool
tlsa_is_list(struct span list)
{
	struct tlsa record;

	while (list.len != 0)
		if (!tlsa_take(&list, &record))
			return false;
	return true;
}

bool
tlsa_is_usable(const struct tlsa *record)
{
	if (record->usage != TLSA_TA && record->usage != TLSA_EE)
		return false;
	if (record->selector != WHOLE_CERTIFICATE && record->selector != PUBLIC_KEY)
		return false;
	switch (record->matching) {
	case AS_IT_IS:
		return record->data.len != 0;
	case SHA_256:
		return record->data.len == SHA256_SIZE;
	case SHA_512:
		return record->data.len == SHA512_SIZE;
	default:
		return false;
	}
}

unsigned int
tlsa_count_usable(struct span list)
{
	struct tlsa record;
	unsigned int count = 0;

	for (unsigned int i = 0; i < MOST_TLSA_RECORDS && tlsa_take(&list, &record); i++)
		count += tlsa_is_usable(&record);
	return count;
}

/* What the record speaks of, as DER; gnutls_free. */
static bool
selected(const struct tlsa *record, gnutls_x509_crt_t crt, gnutls_datum_t *der)
{
	gnutls_pubkey_t key = NULL;
	bool good;

	if (record->selector == WHOLE_CERTIFICATE)
		return gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, der) >= 0;
	good = gnutls_pubkey_init(&key) >= 0 && gnutls_pubkey_import_x509(key, crt, 0) >= 0 &&
		gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, der) >= 0;
	if (key != NULL)
		gnutls_pubkey_deinit(key);
	return good;
}

bool
tlsa_fits(const struct tlsa *record, gnutls_x509_crt_t crt)
{
	gnutls_datum_t der = { NULL, 0 };
	unsigned char hash[SHA512_SIZE];
	bool fits = false;

	if (!tlsa_is_usable(record) || !selected(record, crt, &der))
		return false;
	if (record->matching == AS_IT_IS)
		fits = span_equal(record->data, span_of(der.data, der.size));
	else if (gnutls_hash_fast(record->matching == SHA_256 ? GNUTLS_DIG_SHA256 : GNUTLS_DIG_SHA512,
			 der.data, der.size, hash) >= 0)
		fits = span_equal(record->data,
			span_of(hash, record->matching == SHA_256 ? SHA256_SIZE : SHA512_SIZE));
	gnutls_free(der.data);
	return fits;
}

/* A stronger hash stands beside it. */
static bool
is_outdone(const struct tlsa *record, struct span list)
{
	struct tlsa other;

	for (unsigned int i = 0; record->matching == SHA_256 && i < MOST_TLSA_RECORDS &&
		tlsa_take(&list, &other); i++)
		if (other.usage == record->usage && other.selector == record->selector &&
			other.matching == SHA_512 && tlsa_is_usable(&other))
			return true;
	return false;
}

bool
tlsa_list_fits(struct span list, uint8_t usage, gnutls_x509_crt_t crt)
{
	struct span rest = list;
	struct tlsa record;

	for (unsigned int i = 0; i < MOST_TLSA_RECORDS && tlsa_take(&rest, &record); i++)
		if (record.usage == usage && !is_outdone(&record, list) && tlsa_fits(&record, crt))
			return true;
	return false;
}
