/* status - see status.h. */
#include "status.h"

#include <gnutls/crypto.h>
#include <gnutls/ocsp.h>
#include <gnutls/x509-ext.h>
#include <string.h>

#define MOST_ACCESS_ENTRIES 16
#define MOST_ANSWERS 64                 /* certificates in one response */
#define STATUS_REQUEST_FEATURE 5        /* RFC 7633: status_request */
#define MOST_FEATURES 16

static bool
is_usable_url(struct span url)
{
	struct span rest = url;

	return url.len <= MOST_STATUS_URL && span_is_printable(url) && !span_has(url, ' ') &&
		(span_take_word(&rest, SPAN("http://")) || span_take_word(&rest, SPAN("https://")));
}

bool
status_url(const struct chain *chain, struct text *url)
{
	for (unsigned int i = 0; i < MOST_ACCESS_ENTRIES; i++) {
		gnutls_datum_t data = { NULL, 0 };
		bool found = false;
		int error = gnutls_x509_crt_get_authority_info_access(
			chain->at[0], i, GNUTLS_IA_OCSP_URI, &data, NULL);

		if (error == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			return false;
		if (error >= 0 && (found = is_usable_url(span_of(data.data, data.size))))
			text_add(url, span_of(data.data, data.size));
		gnutls_free(data.data);
		if (found)
			return true;
	}
	return false;
}

bool
status_is_owed(const struct chain *chain)
{
	gnutls_x509_tlsfeatures_t features;
	unsigned int feature = 0;
	bool owed = false;

	if (gnutls_x509_tlsfeatures_init(&features) < 0)
		return false;
	if (gnutls_x509_crt_get_tlsfeatures(chain->at[0], features, 0, NULL) >= 0)
		for (unsigned int i = 0; i < MOST_FEATURES && !owed &&
			gnutls_x509_tlsfeatures_get(features, i, &feature) >= 0; i++)
			owed = feature == STATUS_REQUEST_FEATURE;
	gnutls_x509_tlsfeatures_deinit(features);
	return owed;
}

int
status_request(const struct chain *chain, struct text *der, struct text *why)
{
	gnutls_ocsp_req_t request = NULL;
	gnutls_datum_t out = { NULL, 0 };
	int error;

	if (chain->count < 2) {
		text_printf(why, "the file holds no certificate of the issuer");
		return -1;
	}
	if ((error = gnutls_ocsp_req_init(&request)) >= 0 &&
		(error = gnutls_ocsp_req_add_cert(request, GNUTLS_DIG_SHA1, chain->at[1], chain->at[0])) >= 0 &&
		(error = gnutls_ocsp_req_export(request, &out)) >= 0)
		text_add(der, span_of(out.data, out.size));
	if (request != NULL)
		gnutls_ocsp_req_deinit(request);
	gnutls_free(out.data);
	if (error >= 0 && !der->failed)
		return 0;
	text_printf(why, "no request can be made: %s", gnutls_strerror(error));
	return -1;
}

/* --- responses --- */

/* Which of its answers is about this certificate; -1: none. */
static int
find_answer(gnutls_ocsp_resp_t response, gnutls_x509_crt_t crt)
{
	for (int i = 0; i < MOST_ANSWERS; i++) {
		int error = gnutls_ocsp_resp_check_crt(response, (unsigned int)i, crt);

		if (error == GNUTLS_E_SUCCESS)
			return i;
		if (error == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
	}
	return -1;
}

/* Signed by the issuer, or by a certificate in the response that the issuer signed for this purpose. */
static int
check_signature(gnutls_ocsp_resp_t response, gnutls_x509_crt_t issuer, struct text *why)
{
	gnutls_x509_trust_list_t anchors = NULL;
	unsigned int verdict = ~0u;
	int error;

	if ((error = gnutls_x509_trust_list_init(&anchors, 0)) >= 0 &&
		(error = gnutls_x509_trust_list_add_cas(anchors, &issuer, 1, 0)) >= 0)
		error = gnutls_ocsp_resp_verify(response, anchors, &verdict, 0);
	if (anchors != NULL)
		gnutls_x509_trust_list_deinit(anchors, 0);
	if (error >= 0 && verdict == 0)
		return 0;
	text_printf(why, "the OCSP response is not signed by the certificate's authority, nor by whom it lets sign");
	return -1;
}

static int
check_times(const struct status_facts *facts, int64_t now, struct text *why)
{
	if (facts->from > now + STATUS_SLACK_SECONDS)
		text_printf(why, "the OCSP response begins in the future");
	else if (facts->until <= now)
		text_printf(why, "the OCSP response is out of date");
	else
		return 0;
	return -1;
}

/* What one answer says. */
static int
read_answer(gnutls_ocsp_resp_t response, unsigned int index, struct status_facts *facts, struct text *why)
{
	time_t from = -1, next = -1, revoked = -1;
	unsigned int word = GNUTLS_OCSP_CERT_UNKNOWN;

	if (gnutls_ocsp_resp_get_single(response, index, NULL, NULL, NULL, NULL, &word, &from, &next, &revoked,
		    NULL) < 0 || from == -1) {
		text_printf(why, "the OCSP response cannot be read");
		return -1;
	}
	facts->from = from;
	facts->until = next != -1 ? next : from + STATUS_WITHOUT_END_SECONDS;
	facts->revoked = revoked;
	facts->word = word == GNUTLS_OCSP_CERT_GOOD ? STATUS_GOOD
		: word == GNUTLS_OCSP_CERT_REVOKED  ? STATUS_REVOKED : STATUS_UNUSABLE;
	if (facts->word != STATUS_UNUSABLE)
		return 0;
	text_printf(why, "the authority does not know the certificate");
	return -1;
}

static int
judge(gnutls_ocsp_resp_t response, const struct chain *chain, int64_t now, struct status_facts *facts,
	struct text *why)
{
	int index, status = gnutls_ocsp_resp_get_status(response);

	if (status != GNUTLS_OCSP_RESP_SUCCESSFUL) {
		text_printf(why, "the authority's OCSP service answers: error %d (RFC 6960 4.2.1)", status);
		return -1;
	}
	if ((index = find_answer(response, chain->at[0])) < 0) {
		text_printf(why, "the OCSP response is not of this certificate");
		return -1;
	}
	if (chain->count < 2) {
		text_printf(why, "the file holds no certificate of the issuer, who must have signed the OCSP response");
		return -1;
	}
	return check_signature(response, chain->at[1], why) < 0 ||
		read_answer(response, (unsigned int)index, facts, why) < 0 ||
		check_times(facts, now, why) < 0 ? -1 : 0;
}

int
status_judge(struct span der, const struct chain *chain, int64_t now, struct status_facts *facts,
	struct text *why)
{
	gnutls_datum_t datum = { (unsigned char *)(uintptr_t)der.at, (unsigned int)der.len };
	struct status_facts found = { .word = STATUS_UNUSABLE };
	gnutls_ocsp_resp_t response = NULL;
	int result = -1;

	if (der.len == 0 || der.len > MOST_STATUS_RESPONSE || gnutls_ocsp_resp_init(&response) < 0 ||
		gnutls_ocsp_resp_import2(response, &datum, GNUTLS_X509_FMT_DER) < 0)
		text_printf(why, "the OCSP response cannot be read");
	else
		result = judge(response, chain, now, &found, why);
	if (response != NULL)
		gnutls_ocsp_resp_deinit(response);
	if (result == 0)
		*facts = found;
	return result;
}
