#include "verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "names.h"

struct wanted *
wanted_new(const struct msg_tls_connect *m, const char **why)
{
	struct span names = m->names, name;
	struct wanted *w;

	if (m->level > TLS_DANE)
		*why = "there is no such level of TLS";
	else if (!tlsa_is_list(m->tlsa))
		*why = "the TLSA records are cut short";
	else if (m->server_name.len != 0 && !names_is_host(m->server_name))
		*why = "the server's name is no host name";
	else if (m->level != TLS_MAY && m->names.len == 0)
		*why = "there is no name that the certificate could have";
	else
		*why = NULL;
	while (*why == NULL && names.len != 0) {
		if (!span_take_until(&names, ',', &name)) {
			name = names;
			names = SPAN_NONE;
		}
		if (!names_is_host(name))
			*why = "a name that the certificate may have is no host name";
	}
	if (*why != NULL)
		return NULL;
	w = must_alloc(sizeof(*w) + m->names.len + m->tlsa.len);
	w->level = m->level;
	(void)span_copy(m->server_name, w->server_name, sizeof(w->server_name));
	if (m->names.len != 0)
		memcpy(w->bytes, m->names.at, m->names.len);
	if (m->tlsa.len != 0)
		memcpy(w->bytes + m->names.len, m->tlsa.at, m->tlsa.len);
	w->names = span_of(w->bytes, m->names.len);
	w->tlsa = span_of(w->bytes + m->names.len, m->tlsa.len);
	return w;
}

static void
fault(struct verdict *v, const char *result, const char *sentence)
{
	/* The first fault of a chain is the one that tells most. */
	if (v->fault[0] != '\0')
		return;
	v->result = result;
	snprintf(v->fault, sizeof(v->fault), "%s", sentence);
}

/* --- names --- */

/* RFC 8461 4.1 wants a DNS-ID; only RFC 7672 3.2.3 lets the common name stand in for it. */
static bool
has_dns_names(gnutls_x509_crt_t crt)
{
	for (unsigned int i = 0;; i++) {
		unsigned char name[MOST_HOST + 1];
		size_t size = sizeof(name);
		int kind = gnutls_x509_crt_get_subject_alt_name(crt, i, name, &size, NULL);

		if (kind == GNUTLS_SAN_DNSNAME)
			return true;
		if (kind < 0 && kind != GNUTLS_E_SHORT_MEMORY_BUFFER)
			return false;
	}
}

/* A wildcard stands for the whole first label only (RFC 6125 6.4.3), which GnuTLS heeds. */
static bool
has_name(gnutls_x509_crt_t crt, struct span names, bool common_name)
{
	struct span name;
	char host[MOST_HOST + 1];

	if (!common_name && !has_dns_names(crt))
		return false;
	while (names.len != 0) {
		if (!span_take_until(&names, ',', &name)) {
			name = names;
			names = SPAN_NONE;
		}
		if (span_copy(name, host, sizeof(host)) && gnutls_x509_crt_check_hostname2(crt, host,
			GNUTLS_VERIFY_DO_NOT_ALLOW_IP_MATCHES) != 0)
			return true;
	}
	return false;
}

static void
check_name(const struct wanted *w, gnutls_x509_crt_t own, bool common_name, struct verdict *v)
{
	char sentence[MOST_REASON + 1];

	if (has_name(own, w->names, common_name))
		return;
	if (w->names.len == 0) {
		fault(v, "certificate-host-mismatch", "no name was asked for");
		return;
	}
	snprintf(sentence, sizeof(sentence), "the certificate is not for %.*s",
		(int)(w->names.len < 300 ? w->names.len : 300), (const char *)w->names.at);
	fault(v, "certificate-host-mismatch", sentence);
}

/* --- chains --- */

static void
explain_status(unsigned int status, struct verdict *v)
{
	gnutls_datum_t said = { NULL, 0 };

	if ((status & GNUTLS_CERT_EXPIRED) != 0)
		fault(v, "certificate-expired", "a certificate has expired");
	else if ((status & GNUTLS_CERT_NOT_ACTIVATED) != 0)
		fault(v, "validation-failure", "a certificate is not valid yet");
	else if ((status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA)) != 0)
		fault(v, "certificate-not-trusted", "no trusted authority issued the certificate");
	else if (gnutls_certificate_verification_status_print(
			 status, GNUTLS_CRT_X509, &said, 0) >= 0)
		fault(v, "validation-failure", (const char *)said.data);
	else
		fault(v, "validation-failure", "the certificate does not verify");
	gnutls_free(said.data);
}

/* Does the chain lead to the list? Faults go into *v. */
static void
check_chain(gnutls_x509_trust_list_t trust, gnutls_x509_crt_t *chain, unsigned int count,
	struct verdict *v)
{
	static unsigned char server[] = GNUTLS_KP_TLS_WWW_SERVER;
	gnutls_typed_vdata_st data = { GNUTLS_DT_KEY_PURPOSE_OID, server, sizeof(server) - 1 };
	unsigned int status = 0;
	int error = gnutls_x509_trust_list_verify_crt2(
		trust, chain, count, &data, 1, 0, &status, NULL);

	if (error < 0)
		fault(v, "validation-failure", gnutls_strerror(error));
	else if (status != 0)
		explain_status(status, v);
}

static void
judge_by_authorities(const struct wanted *w, gnutls_x509_crt_t *chain, unsigned int count,
	gnutls_x509_trust_list_t trust, struct verdict *v)
{
	if (trust == NULL)
		fault(v, "certificate-not-trusted", "no trusted authorities are known here (tls_trust)");
	else
		check_chain(trust, chain, count, v);
	check_name(w, chain[0], false, v);
	if (v->fault[0] == '\0')
		v->verified = TLS_VERIFIED_PKI;
}

/* A trust anchor that stands whole in a record need not be sent (RFC 7672 3.1.2). */
static gnutls_x509_crt_t
anchor_of_record(const struct tlsa *record)
{
	gnutls_datum_t der = { (unsigned char *)(uintptr_t)record->data.at,
		(unsigned int)record->data.len };
	gnutls_x509_crt_t crt = NULL;

	if (record->usage != TLSA_TA || record->selector != 0 || record->matching != 0)
		return NULL;
	if (gnutls_x509_crt_init(&crt) >= 0 &&
		gnutls_x509_crt_import(crt, &der, GNUTLS_X509_FMT_DER) >= 0)
		return crt;
	if (crt != NULL)
		gnutls_x509_crt_deinit(crt);
	return NULL;
}

/* Are names and dates right below this anchor (RFC 7672 3.1.2)? */
static bool
is_below(const struct wanted *w, gnutls_x509_crt_t anchor, gnutls_x509_crt_t *chain,
	unsigned int count, struct verdict *v)
{
	gnutls_x509_trust_list_t list;
	struct verdict here = { .fault = "" };

	if (gnutls_x509_trust_list_init(&list, 0) < 0)
		return false;
	if (gnutls_x509_trust_list_add_cas(list, &anchor, 1, 0) == 1)
		check_chain(list, chain, count, &here);
	else
		fault(&here, "tlsa-invalid", "the TLSA record holds no usable certificate");
	gnutls_x509_trust_list_deinit(list, 0);
	check_name(w, chain[0], true, &here);
	if (here.fault[0] != '\0')
		fault(v, here.result, here.fault);
	return here.fault[0] == '\0';
}

static bool
fits_an_anchor(const struct wanted *w, gnutls_x509_crt_t *chain, unsigned int count,
	struct verdict *v)
{
	struct span rest = w->tlsa;
	struct tlsa record;

	for (unsigned int i = 1; i < count; i++)
		if (tlsa_list_fits(w->tlsa, TLSA_TA, chain[i]) && is_below(w, chain[i], chain, i, v))
			return true;
	for (unsigned int i = 0; i < MOST_TLSA_RECORDS && tlsa_take(&rest, &record); i++) {
		gnutls_x509_crt_t anchor = anchor_of_record(&record);
		bool good = anchor != NULL && is_below(w, anchor, chain, count, v);

		if (anchor != NULL)
			gnutls_x509_crt_deinit(anchor);
		if (good)
			return true;
	}
	return false;
}

static void
judge_by_dane(
	const struct wanted *w, gnutls_x509_crt_t *chain, unsigned int count, struct verdict *v)
{
	/* RFC 7672 2.2: then TLS is needed, but nobody can say who it is. */
	if (tlsa_count_usable(w->tlsa) == 0) {
		fault(v, "tlsa-invalid", "no TLSA record is usable");
		v->acceptable = true;
		return;
	}
	/* RFC 7672 3.1.1: neither names nor dates matter. */
	if (tlsa_list_fits(w->tlsa, TLSA_EE, chain[0]) || fits_an_anchor(w, chain, count, v))
		v->verified = TLS_VERIFIED_DANE;
	else
		fault(v, "validation-failure", "no TLSA record fits the certificate");
}

void
verify_server(const struct wanted *w, const gnutls_datum_t *der, unsigned int count,
	gnutls_x509_trust_list_t trust, struct verdict *v)
{
	gnutls_x509_crt_t chain[MOST_PEER_CHAIN];
	unsigned int made = 0;

	*v = (struct verdict){ .verified = TLS_VERIFIED_NO, .result = "" };
	if (count > MOST_PEER_CHAIN) {
		fault(v, "validation-failure", "the server shows too many certificates");
		count = 0;
	}
	while (made < count && gnutls_x509_crt_init(&chain[made]) >= 0) {
		made++;
		if (gnutls_x509_crt_import(chain[made - 1], &der[made - 1], GNUTLS_X509_FMT_DER) >= 0)
			continue;
		fault(v, "validation-failure", "a certificate of the server cannot be read");
		break;
	}
	if (made == 0)
		fault(v, "validation-failure", "the server shows no certificate");
	if (v->fault[0] == '\0' && w->level == TLS_DANE)
		judge_by_dane(w, chain, made, v);
	else if (v->fault[0] == '\0')
		judge_by_authorities(w, chain, made, trust, v);
	if (v->verified != TLS_VERIFIED_NO) {
		v->result = "";
		v->fault[0] = '\0';
	}
	v->acceptable = v->acceptable || w->level == TLS_MAY || v->verified != TLS_VERIFIED_NO;
	for (unsigned int i = 0; i < made; i++)
		gnutls_x509_crt_deinit(chain[i]);
}
