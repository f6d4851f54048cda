#include "client-certificate.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>

#include "certificate.h"

static void
see_subject(gnutls_x509_crt_t crt, char *to, size_t room)
{
	gnutls_datum_t dn = { NULL, 0 };
	size_t len;

	if (gnutls_x509_crt_get_dn3(crt, &dn, 0) < 0)
		return;
	len = dn.size < room - 1 ? dn.size : room - 1;
	for (size_t i = 0; i < len; i++)
		to[i] = dn.data[i] >= 0x20 && dn.data[i] <= 0x7e ? (char)dn.data[i] : '?';
	to[len] = '\0';
	gnutls_free(dn.data);
}

/* Whoever reads the list splits it at commas and compares with addresses: what could be read in two
 * ways (quoted local parts, blanks, 8-bit) is left out. */
static bool
is_plain_address(struct span s)
{
	size_t at = span_index(s, '@');

	if (at == 0 || at + 1 >= s.len || span_rindex(s, '@') != at)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] <= 0x20 || s.at[i] >= 0x7f || strchr(",\"\\()<>[]:;", s.at[i]) != NULL)
			return false;
	return true;
}

static void
see_mail(gnutls_x509_crt_t crt, char *to, size_t room)
{
	size_t used = 0;

	to[0] = '\0';
	for (unsigned int i = 0; i < MOST_CERTIFICATE_NAMES; i++) {
		unsigned char name[330];
		size_t size = sizeof(name), at;
		int kind = gnutls_x509_crt_get_subject_alt_name(crt, i, name, &size, NULL);

		if (kind == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		if (kind != GNUTLS_SAN_RFC822NAME || !is_plain_address(span_of(name, size)) ||
			used + size + 2 > room)
			continue;
		at = span_index(span_of(name, size), '@');
		if (used > 0)
			to[used++] = ',';
		for (size_t k = 0; k < size; k++)
			to[used++] = (char)(k > at && name[k] >= 'A' && name[k] <= 'Z' ? name[k] | 0x20
										  : name[k]);
		to[used] = '\0';
	}
}

static bool
see_key(gnutls_x509_crt_t crt, unsigned char key[32])
{
	gnutls_pubkey_t public = NULL;
	size_t size = 32;
	bool good = gnutls_pubkey_init(&public) >= 0 &&
		gnutls_pubkey_import_x509(public, crt, 0) >= 0 &&
		gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, key, &size) >= 0 &&
		size == 32;

	if (public != NULL)
		gnutls_pubkey_deinit(public);
	return good;
}

static void
explain(unsigned int status, char *to, size_t room)
{
	const char *why = (status & GNUTLS_CERT_REVOKED) != 0 ? "it is revoked"
		: (status & GNUTLS_CERT_EXPIRED) != 0 ? "it has expired"
		: (status & GNUTLS_CERT_NOT_ACTIVATED) != 0 ? "it is not valid yet"
		: (status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA)) != 0
			? "no trusted authority issued it"
		: (status & GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED) != 0
			? "the revocation list is out of date (tls_client_crl)"
		: (status & GNUTLS_CERT_PURPOSE_MISMATCH) != 0 ? "it is not for TLS clients"
		: "it does not verify";

	snprintf(to, room, "client's certificate: %s", why);
}

static void
judge(gnutls_session_t tls, struct client_certificate *seen)
{
	static unsigned char client[] = GNUTLS_KP_TLS_WWW_CLIENT;
	gnutls_typed_vdata_st data = { GNUTLS_DT_KEY_PURPOSE_OID, client, sizeof(client) - 1 };
	unsigned int status = 0;

	if (gnutls_certificate_verify_peers(tls, &data, 1, &status) < 0)
		snprintf(seen->fault, sizeof(seen->fault), "client's certificate cannot be verified");
	else if (status != 0)
		explain(status, seen->fault, sizeof(seen->fault));
	else
		seen->valid = true;
}

void
client_certificate_see(gnutls_session_t tls, struct client_certificate *seen)
{
	unsigned int count = 0;
	const gnutls_datum_t *der = gnutls_certificate_get_peers(tls, &count);
	gnutls_x509_crt_t crt = NULL;

	memset(seen, 0, sizeof(*seen));
	if (der == NULL || count == 0)
		return;
	seen->shown = true;
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, der[0].data, der[0].size, seen->hash) < 0 ||
		gnutls_x509_crt_init(&crt) < 0 ||
		gnutls_x509_crt_import(crt, &der[0], GNUTLS_X509_FMT_DER) < 0 ||
		!see_key(crt, seen->key)) {
		snprintf(seen->fault, sizeof(seen->fault), "client's certificate cannot be read");
	} else {
		see_subject(crt, seen->subject, sizeof(seen->subject));
		see_mail(crt, seen->mail, sizeof(seen->mail));
		judge(tls, seen);
	}
	if (crt != NULL)
		gnutls_x509_crt_deinit(crt);
}

void
client_certificate_mail(const gnutls_datum_t *der, char to[MOST_CERTIFICATE_MAIL + 1])
{
	gnutls_x509_crt_t crt;

	to[0] = '\0';
	if (gnutls_x509_crt_init(&crt) < 0)
		return;
	if (gnutls_x509_crt_import(crt, der, GNUTLS_X509_FMT_DER) >= 0)
		see_mail(crt, to, MOST_CERTIFICATE_MAIL + 1);
	gnutls_x509_crt_deinit(crt);
}
