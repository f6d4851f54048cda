/*
 * net-records - the records of a domain: what should stand there.
 */
#include "master/net-records.h"

#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/dkim-entry.h"
#include "tlsproxy/certificate.h"
#include "tlsproxy/dkim-make.h"

#define STS_SECONDS 604800 /* a week: RFC 8461 3.2 wants weeks, and a first policy is not to be regretted */

/* --- what others need of the certificate and the policy --- */

static void
to_hex(const unsigned char *at, size_t len, char *hex)
{
	for (size_t i = 0; i < len; i++)
		snprintf(hex + 2 * i, 3, "%02x", at[i]);
}

bool
net_certificate_key(const struct survey *v, char hex[65])
{
	char *path = must_copy(net_certificate_file(v));
	unsigned char *pem = must_alloc(MOST_CERTIFICATE_FILE), key[32];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t n = fd < 0 ? -1 : read(fd, pem, MOST_CERTIFICATE_FILE);
	gnutls_x509_crt_t *list = NULL;
	unsigned int count = 0;
	size_t size = sizeof key;
	gnutls_datum_t data = { pem, n > 0 ? (unsigned int)n : 0 };
	bool good = false;

	if (n > 0 && gnutls_x509_crt_list_import2(&list, &count, &data, GNUTLS_X509_FMT_PEM, 0) >= 0) {
		good = count > 0 &&
			gnutls_x509_crt_get_key_id(list[0], GNUTLS_KEYID_USE_SHA256, key, &size) == 0 &&
			size == sizeof key;
		for (unsigned int i = 0; i < count; i++)
			gnutls_x509_crt_deinit(list[i]);
		gnutls_free(list);
	}
	if (good)
		to_hex(key, sizeof key, hex);
	if (fd >= 0)
		close(fd);
	free(pem);
	free(path);
	return good;
}

void
net_sts_policy(const struct survey *v, struct text *to)
{
	/* RFC 8461 3.2: CRLF, and testing until an administrator says enforce. */
	text_printf(to, "version: STSv1\r\nmode: testing\r\nmx: %s\r\nmax_age: %d\r\n", v->hostname,
		STS_SECONDS);
}

void
net_sts_id(const struct survey *v, char id[17])
{
	struct text policy = TEXT_UP_TO(2048);
	unsigned char digest[32];

	net_sts_policy(v, &policy);
	gnutls_hash_fast(GNUTLS_DIG_SHA256, policy.at, policy.len, digest);
	to_hex(digest, 8, id);
	text_clear(&policy);
}

/* The record of one key file. Root may read it, and it is wiped. */
static bool
record_of(const struct survey *v, const struct dkim_entry *e, struct text *record)
{
	struct text path = TEXT_UP_TO(4096), why = TEXT_UP_TO(512);
	unsigned char pem[MOST_DKIM_PEM];
	enum dkim_algorithm algorithm;
	ssize_t n = -1;
	bool good;
	int fd;

	text_add(&path, v->s->dkim_directory);
	text_printf(&path, "/%.*s/%.*s.key", SPAN_ARG(e->domain), SPAN_ARG(e->selector));
	fd = path.failed ? -1 : open(text_str(&path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd >= 0) {
		n = read(fd, pem, sizeof pem);
		close(fd);
	}
	good = n > 0 && dkim_record(span_of(pem, (size_t)n), &algorithm, record, &why) == 0;
	explicit_bzero(pem, sizeof pem);
	text_clear(&path);
	text_clear(&why);
	return good;
}

int
net_dkim_record(const struct survey *v, const char *domain, size_t i, char name[MOST_DNS_NAME + 1],
	struct text *record)
{
	struct dkim_entry e;

	for (size_t j = 0; j < v->s->dkim.count; j++) {
		if (!dkim_entry_parse(v->s->dkim.at[j], &e) ||
			!span_equal_nocase(e.domain, span_str(domain)) || i-- > 0)
			continue;
		snprintf(name, MOST_DNS_NAME + 1, "%.*s._domainkey.%.*s", SPAN_ARG(e.selector),
			SPAN_ARG(e.domain));
		return record_of(v, &e, record);
	}
	return -1;
}

/* --- the zone --- */

static void
put(struct text *to, const char *prefix, const char *name, const char *type, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

static void
put(struct text *to, const char *prefix, const char *name, const char *type, const char *format, ...)
{
	char owner[MOST_DNS_NAME + 64], value[1024];
	va_list ap;

	snprintf(owner, sizeof owner, "%s%s.", prefix, name);
	va_start(ap, format);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	/* The attribute has checked it. */
	vsnprintf(value, sizeof value, format, ap);
#pragma GCC diagnostic pop
	va_end(ap);
	text_printf(to, "%-36s %d IN %-5s %s\n", owner, ZONE_TTL, type, value);
}

static void
put_service(const struct survey *v, struct text *to, const char *domain, const char *service, int priority,
	enum service which)
{
	unsigned int port = 0;
	char prefix[40];

	snprintf(prefix, sizeof prefix, "_%s._tcp.", service);
	for (size_t i = 0; i < v->forward_count; i++)
		if (v->forwards[i].service == which)
			port = v->translated ? v->forwards[i].outside : v->forwards[i].inside;
	/* RFC 6186 3.4: a target of "." says that there is none. */
	if (port)
		put(to, prefix, domain, "SRV", "%d 1 %u %s.", priority, port, v->hostname);
	else
		put(to, prefix, domain, "SRV", "0 0 0 .");
}

static void
put_host(const struct survey *v, struct text *to)
{
	char key[65];
	bool any = false;

	for (size_t i = 0; i < v->public_count; i++) {
		put(to, "", v->hostname, v->publics[i].family == 4 ? "A" : "AAAA", "%s", v->publics[i].name);
		any = true;
	}
	if (!any)
		text_printf(to, "; %s needs an A record with the public address, which is not known here\n",
			v->hostname);
	for (size_t i = 0; i < v->public_count; i++)
		text_printf(to, "; PTR, which only the provider can set: %s -> %s.\n", v->publics[i].name,
			v->hostname);
	if (net_certificate_key(v, key)) {
		text_add_str(to, "; Only in a zone that is signed by DNSSEC; to be changed before the key is:\n");
		put(to, "_25._tcp.", v->hostname, "TLSA", "3 1 1 %s", key);
	}
}

#define TXT_STRING 200 /* octets of one string of a TXT record; 255 at most (RFC 1035 3.3.14) */

static void
put_dkim(const struct survey *v, struct text *to, const char *domain)
{
	char name[MOST_DNS_NAME + 1];
	int there;

	for (size_t i = 0; i < MOST_DKIM_KEYS; i++) {
		struct text record = TEXT_UP_TO(MOST_DKIM_PEM);
		struct span left;

		there = net_dkim_record(v, domain, i, name, &record);
		if (there > 0) {
			text_printf(to, "%s. %d IN TXT", name, ZONE_TTL);
			for (left = text_span(&record); left.len; left = span_part(left, TXT_STRING, left.len))
				text_printf(to, " \"%.*s\"", SPAN_ARG(span_part(left, 0, TXT_STRING)));
			text_add_byte(to, '\n');
		} else if (there < 0 && i == 0) {
			text_printf(to, "; mail is not signed yet: valija cert dkim %s\n", domain);
		}
		text_clear(&record);
		if (there < 0)
			return;
	}
}

void
net_zone_put(const struct survey *v, const char *domain, struct text *to)
{
	char id[17];

	text_printf(to, "; %s: its mail is kept by %s\n", domain, v->hostname);
	put_host(v, to);
	put(to, "", domain, "MX", "10 %s.", v->hostname);
	text_add_str(to, "; who sends for it: this server, and nobody else\n");
	put(to, "", domain, "TXT", "\"v=spf1 mx -all\"");
	if (!span_equal_nocase(span_str(domain), span_str(v->hostname)))
		put(to, "", v->hostname, "TXT", "\"v=spf1 a -all\"");
	put_dkim(v, to, domain);
	put(to, "_dmarc.", domain, "TXT", "\"v=DMARC1; p=quarantine; rua=mailto:postmaster@%s\"", domain);
	text_add_str(to, "; TLS between servers: `valija net autoconfig` writes the policy for https://mta-sts...\n");
	net_sts_id(v, id);
	put(to, "_mta-sts.", domain, "TXT", "\"v=STSv1; id=%s\"", id);
	put(to, "_smtp._tls.", domain, "TXT", "\"v=TLSRPTv1; rua=mailto:postmaster@%s\"", domain);
	text_add_str(to, "; for mail programs (RFC 6186, RFC 8314): what there is, and what there is not\n");
	put_service(v, to, domain, "submissions", 0, SERVICE_SUBMISSIONS);
	put_service(v, to, domain, "submission", 10, SERVICE_SUBMISSION);
	put_service(v, to, domain, "imaps", 0, SERVICE_IMAPS);
	put_service(v, to, domain, "imap", 10, SERVICE_IMAP);
	put_service(v, to, domain, "pop3s", 0, SERVICE_COUNT);
	put_service(v, to, domain, "pop3", 0, SERVICE_COUNT);
	text_add_str(to, "; with a web server that has what `valija net autoconfig` writes:\n");
	text_printf(to, ";%-35s %d IN CNAME WEBSERVER.\n", "autoconfig", ZONE_TTL);
	put(to, "_autodiscover._tcp.", domain, "SRV", "0 0 443 autodiscover.%s.", domain);
}
