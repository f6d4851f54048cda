/* dkim-make - see dkim-make.h. */
#include "dkim-make.h"

#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <string.h>

int
dkim_make_key(enum dkim_algorithm algorithm, struct text *pem, struct text *why)
{
	gnutls_x509_privkey_t key = NULL;
	gnutls_datum_t out = { NULL, 0 };
	int error;

	if ((error = gnutls_x509_privkey_init(&key)) >= 0)
		error = algorithm == DKIM_ED25519 ?
			gnutls_x509_privkey_generate(key, GNUTLS_PK_EDDSA_ED25519, 0, 0) :
			gnutls_x509_privkey_generate(key, GNUTLS_PK_RSA, DKIM_RSA_BITS, 0);
	if (error >= 0)
		error = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL,
			GNUTLS_PKCS_PLAIN, &out);
	if (error >= 0)
		text_add(pem, span_of(out.data, out.size));
	else
		text_printf(why, "the key cannot be made: %s", gnutls_strerror(error));
	if (out.data != NULL)
		gnutls_memset(out.data, 0, out.size);
	gnutls_free(out.data);
	if (key != NULL)
		gnutls_x509_privkey_deinit(key);
	return error < 0 || pem->failed ? -1 : 0;
}

/* The public half as p= has it: of RSA the SubjectPublicKeyInfo, of Ed25519 its 32 octets. */
static int
add_public(gnutls_pubkey_t public, enum dkim_algorithm algorithm, struct text *record)
{
	gnutls_ecc_curve_t curve;
	gnutls_datum_t bytes = { NULL, 0 }, y = { NULL, 0 };
	int error;

	if (algorithm == DKIM_ED25519)
		error = gnutls_pubkey_export_ecc_raw2(public, &curve, &bytes, &y, 0);
	else
		error = gnutls_pubkey_export2(public, GNUTLS_X509_FMT_DER, &bytes);
	if (error >= 0)
		text_add_base64(record, span_of(bytes.data, bytes.size));
	gnutls_free(bytes.data);
	gnutls_free(y.data);
	return error;
}

int
dkim_record(struct span pem, enum dkim_algorithm *algorithm, struct text *record, struct text *why)
{
	gnutls_datum_t in = { (unsigned char *)(uintptr_t)pem.at, (unsigned int)pem.len };
	gnutls_privkey_t key = NULL;
	gnutls_pubkey_t public = NULL;
	int error, kind = GNUTLS_PK_UNKNOWN;

	if ((error = gnutls_privkey_init(&key)) >= 0 && (error = gnutls_pubkey_init(&public)) >= 0 &&
		(error = gnutls_privkey_import_x509_raw(key, &in, GNUTLS_X509_FMT_PEM, NULL, 0)) >= 0 &&
		(error = gnutls_pubkey_import_privkey(public, key, 0, 0)) >= 0)
		kind = gnutls_privkey_get_pk_algorithm(key, NULL);
	if (error >= 0 && kind != GNUTLS_PK_RSA && kind != GNUTLS_PK_EDDSA_ED25519) {
		text_printf(why, "the key is neither of RSA nor of Ed25519");
		error = -1;
	} else if (error >= 0) {
		*algorithm = kind == GNUTLS_PK_RSA ? DKIM_RSA : DKIM_ED25519;
		text_add_str(record, kind == GNUTLS_PK_RSA ? "v=DKIM1; k=rsa; p=" :
			"v=DKIM1; k=ed25519; p=");
		error = add_public(public, *algorithm, record);
	}
	if (error < 0 && why->len == 0)
		text_printf(why, "the key cannot be read: %s", gnutls_strerror(error));
	if (public != NULL)
		gnutls_pubkey_deinit(public);
	if (key != NULL)
		gnutls_privkey_deinit(key);
	return error < 0 ? -1 : 0;
}
