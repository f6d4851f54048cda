/*
 * net-autoconfig - settings for mail programs, in the three tongues that they speak.
 */
#include "master/net-autoconfig.h"

#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/pkcs7.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tlsproxy/certificate.h"

#define MOST_UUID 37

/* RFC 9562 6.6: the name space of names of the DNS. */
static const unsigned char dns_space[16] = { 0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4,
	0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8 };

/* One way in: a service at the port where the world finds it. */
struct way {
	enum service service;
	unsigned int port;
	bool tls; /* from the first byte; else by STARTTLS */
};

/* The ways of one kind, the best first; how many. */
static size_t
ways(const struct survey *v, bool incoming, struct way list[2])
{
	static const enum service wanted[2][2] = { { SERVICE_SUBMISSIONS, SERVICE_SUBMISSION },
		{ SERVICE_IMAPS, SERVICE_IMAP } };
	size_t n = 0;

	for (size_t i = 0; i < 2; i++)
		for (size_t j = 0; j < v->forward_count; j++)
			if (v->forwards[j].service == wanted[incoming][i])
				list[n++] = (struct way){ wanted[incoming][i],
					v->translated ? v->forwards[j].outside : v->forwards[j].inside,
					service_is_tls(wanted[incoming][i]) != 0 };
	return n;
}

static void
put_escaped(struct text *to, const char *s)
{
	for (; *s; s++)
		switch (*s) {
		case '&':
			text_add_str(to, "&amp;");
			break;
		case '<':
			text_add_str(to, "&lt;");
			break;
		case '>':
			text_add_str(to, "&gt;");
			break;
		case '"':
			text_add_str(to, "&quot;");
			break;
		default:
			text_add_byte(to, (unsigned char)*s);
		}
}

/* <name>value</name>, with so many tabs before it. */
static void
element(struct text *to, int tabs, const char *name, const char *value)
{
	while (tabs--)
		text_add_byte(to, '\t');
	text_printf(to, "<%s>", name);
	put_escaped(to, value);
	text_printf(to, "</%s>\n", name);
}

static void
element_port(struct text *to, int tabs, const char *name, unsigned int port)
{
	char digits[16];

	snprintf(digits, sizeof digits, "%u", port);
	element(to, tabs, name, digits);
}

/* --- Thunderbird --- */

static void
thunderbird_server(const struct survey *v, struct text *to, const struct way *w, bool incoming)
{
	text_printf(to, "\t\t<%sServer type=\"%s\">\n", incoming ? "incoming" : "outgoing",
		incoming ? "imap" : "smtp");
	element(to, 3, "hostname", v->hostname);
	element_port(to, 3, "port", w->port);
	element(to, 3, "socketType", w->tls ? "SSL" : "STARTTLS");
	element(to, 3, "authentication", "password-cleartext");
	element(to, 3, "username", "%EMAILADDRESS%");
	text_printf(to, "\t\t</%sServer>\n", incoming ? "incoming" : "outgoing");
}

void
net_thunderbird_put(const struct survey *v, const char *domain, struct text *to)
{
	struct way list[2];

	text_add_str(to, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<clientConfig version=\"1.1\">\n"
			 "\t<emailProvider id=\"");
	put_escaped(to, domain);
	text_add_str(to, "\">\n");
	element(to, 2, "domain", domain);
	element(to, 2, "displayName", domain);
	element(to, 2, "displayShortName", domain);
	for (int incoming = 1; incoming >= 0; incoming--) {
		size_t n = ways(v, incoming, list);

		for (size_t i = 0; i < n; i++)
			thunderbird_server(v, to, &list[i], incoming);
	}
	text_add_str(to, "\t</emailProvider>\n</clientConfig>\n");
}

/* --- Outlook --- */

static void
outlook_protocol(const struct survey *v, struct text *to, const struct way *w, bool incoming)
{
	text_add_str(to, "\t\t\t<Protocol>\n");
	element(to, 4, "Type", incoming ? "IMAP" : "SMTP");
	element(to, 4, "Server", v->hostname);
	element_port(to, 4, "Port", w->port);
	element(to, 4, "DomainRequired", "off");
	element(to, 4, "SPA", "off");
	element(to, 4, "SSL", "on");
	if (!w->tls)
		element(to, 4, "Encryption", "TLS");
	element(to, 4, "AuthRequired", "on");
	if (!incoming) {
		element(to, 4, "UsePOPAuth", "off");
		element(to, 4, "SMTPLast", "off");
	}
	text_add_str(to, "\t\t\t</Protocol>\n");
}

void
net_outlook_put(const struct survey *v, const char *domain, struct text *to)
{
	struct way list[2];

	(void)domain;
	text_add_str(to,
		"<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
		"<Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006\">\n"
		"\t<Response xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a\">\n"
		"\t\t<Account>\n");
	element(to, 3, "AccountType", "email");
	element(to, 3, "Action", "settings");
	for (int incoming = 1; incoming >= 0; incoming--) {
		size_t n = ways(v, incoming, list);

		/* Outlook takes the first of a kind, and refuses two. */
		if (n)
			outlook_protocol(v, to, &list[0], incoming);
	}
	text_add_str(to, "\t\t</Account>\n\t</Response>\n</Autodiscover>\n");
}

/* --- Apple --- */

/* A UUID of version 5 (RFC 9562 5.5) for WHAT.DOMAIN.HOST. */
static void
uuid_of(const struct survey *v, const char *domain, const char *what, char uuid[MOST_UUID])
{
	struct text name = TEXT_UP_TO(2048);
	unsigned char d[20];

	text_add(&name, span_of(dns_space, sizeof dns_space));
	text_printf(&name, "%s.%s.%s", what, domain, v->hostname);
	gnutls_hash_fast(GNUTLS_DIG_SHA1, name.at, name.len, d);
	text_clear(&name);
	d[6] = (unsigned char)((d[6] & 0x0f) | 0x50);
	d[8] = (unsigned char)((d[8] & 0x3f) | 0x80);
	snprintf(uuid, MOST_UUID, "%02X%02X%02X%02X-%02X%02X-%02X%02X-%02X%02X-%02X%02X%02X%02X%02X%02X", d[0], d[1],
		d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], d[10], d[11], d[12], d[13], d[14], d[15]);
}

static void
key_text(struct text *to, int tabs, const char *key, const char *value)
{
	element(to, tabs, "key", key);
	element(to, tabs, "string", value);
}

static void
key_number(struct text *to, int tabs, const char *key, unsigned int value)
{
	element(to, tabs, "key", key);
	element_port(to, tabs, "integer", value);
}

static void
key_true(struct text *to, int tabs, const char *key)
{
	element(to, tabs, "key", key);
	while (tabs--)
		text_add_byte(to, '\t');
	text_add_str(to, "<true/>\n");
}

/* "org.example.mail": the host's name from behind. */
static void
identifier_put(const struct survey *v, const char *domain, const char *what, struct text *to)
{
	struct span left = span_str(v->hostname);

	while (left.len) {
		size_t dot = span_rindex(left, '.');
		bool last = dot == left.len;

		text_add(to, span_part(left, last ? 0 : dot + 1, left.len));
		text_add_byte(to, '.');
		left = last ? SPAN_NONE : span_part(left, 0, dot);
	}
	text_printf(to, "%s.%s", domain, what);
}

static void
payload_head(const struct survey *v, const char *domain, const char *what, const char *type,
	struct text *to, int tabs)
{
	struct text identifier = TEXT_UP_TO(2048);
	char uuid[MOST_UUID];

	uuid_of(v, domain, what, uuid);
	identifier_put(v, domain, what, &identifier);
	key_text(to, tabs, "PayloadType", type);
	key_number(to, tabs, "PayloadVersion", 1);
	key_text(to, tabs, "PayloadIdentifier", text_str(&identifier));
	key_text(to, tabs, "PayloadUUID", uuid);
	key_text(to, tabs, "PayloadDisplayName", domain);
	text_clear(&identifier);
}

static void
apple_server(const struct survey *v, struct text *to, const char *kind, const struct way *w)
{
	char key[64];

	snprintf(key, sizeof key, "%sMailServerAuthentication", kind);
	key_text(to, 3, key, "EmailAuthPassword");
	snprintf(key, sizeof key, "%sMailServerHostName", kind);
	key_text(to, 3, key, v->hostname);
	snprintf(key, sizeof key, "%sMailServerPortNumber", kind);
	key_number(to, 3, key, w->port);
	/* On the port of STARTTLS this asks for STARTTLS. */
	snprintf(key, sizeof key, "%sMailServerUseSSL", kind);
	key_true(to, 3, key);
}

void
net_apple_put(const struct survey *v, const char *domain, struct text *to)
{
	struct way in[2], out[2];
	size_t incoming = ways(v, true, in), outgoing = ways(v, false, out);

	text_add_str(to, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
			 "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" "
			 "\"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n"
			 "<plist version=\"1.0\">\n<dict>\n");
	payload_head(v, domain, "profile", "Configuration", to, 1);
	text_add_str(to, "\t<key>PayloadContent</key>\n\t<array>\n\t\t<dict>\n");
	payload_head(v, domain, "mail", "com.apple.mail.managed", to, 3);
	key_text(to, 3, "EmailAccountDescription", domain);
	key_text(to, 3, "EmailAccountType", "EmailTypeIMAP");
	/* Address, name and password are left out: the device asks for them. */
	if (incoming)
		apple_server(v, to, "Incoming", &in[0]);
	if (outgoing)
		apple_server(v, to, "Outgoing", &out[0]);
	key_true(to, 3, "OutgoingPasswordSameAsIncomingPassword");
	text_add_str(to, "\t\t</dict>\n\t</array>\n</dict>\n</plist>\n");
}

/* A PEM file, whole; empty when it cannot be read. */
static gnutls_datum_t
read_file(struct span name)
{
	char *path = must_copy(name);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	unsigned char *bytes = must_alloc(MOST_CERTIFICATE_FILE);
	ssize_t n = fd < 0 ? -1 : read(fd, bytes, MOST_CERTIFICATE_FILE);

	if (fd >= 0)
		close(fd);
	free(path);
	return (gnutls_datum_t){ bytes, n > 0 ? (unsigned int)n : 0 };
}

/* The key that stands beside the certificate in the configuration. */
static struct span
key_file(const struct survey *v)
{
	struct span certificate = net_certificate_file(v);

	for (size_t i = 0; i < v->s->tls_certificate.count && i < v->s->tls_key.count; i++)
		if (span_equal(v->s->tls_certificate.at[i], certificate))
			return v->s->tls_key.at[i];
	return SPAN_NONE;
}

bool
net_apple_sign(const struct survey *v, struct span profile, struct text *to, struct text *why)
{
	gnutls_datum_t chain = read_file(net_certificate_file(v)), pem = read_file(key_file(v)),
		       data = { (unsigned char *)(uintptr_t)profile.at, (unsigned int)profile.len },
		       der = { NULL, 0 };
	gnutls_x509_crt_t *list = NULL;
	gnutls_privkey_t key = NULL;
	gnutls_pkcs7_t message = NULL;
	unsigned int count = 0;
	int error;

	if ((error = gnutls_x509_crt_list_import2(&list, &count, &chain, GNUTLS_X509_FMT_PEM, 0)) < 0 ||
		(error = gnutls_privkey_init(&key)) < 0 ||
		(error = gnutls_privkey_import_x509_raw(key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0)) < 0 ||
		(error = gnutls_pkcs7_init(&message)) < 0 ||
		(error = gnutls_pkcs7_sign(message, list[0], key, &data, NULL, NULL, GNUTLS_DIG_SHA256,
			 GNUTLS_PKCS7_EMBED_DATA | GNUTLS_PKCS7_INCLUDE_TIME | GNUTLS_PKCS7_INCLUDE_CERT)) < 0)
		goto out;
	for (unsigned int i = 1; error >= 0 && i < count; i++)
		error = gnutls_pkcs7_set_crt(message, list[i]);
	if (error >= 0)
		error = gnutls_pkcs7_export2(message, GNUTLS_X509_FMT_DER, &der);
out:
	if (error >= 0)
		text_add(to, span_of(der.data, der.size));
	else
		text_add_str(why, gnutls_strerror(error));
	gnutls_free(der.data);
	if (message)
		gnutls_pkcs7_deinit(message);
	if (key)
		gnutls_privkey_deinit(key);
	for (unsigned int i = 0; i < count; i++)
		gnutls_x509_crt_deinit(list[i]);
	gnutls_free(list);
	explicit_bzero(pem.data, pem.size);
	free(pem.data);
	free(chain.data);
	return error >= 0 && !to->failed;
}

/* --- web servers --- */

void
net_nginx_put(const struct survey *v, const char *domain, const char *place, struct text *to)
{
	(void)v;
	text_printf(to,
		"# Into the server block of autoconfig.%s, autodiscover.%s, mta-sts.%s and %s, by HTTPS.\n"
		"location ~ ^/(mail/config-v1\\.1\\.xml|\\.well-known/autoconfig/mail/config-v1\\.1\\.xml)$ {\n"
		"\troot %s/%s; default_type text/xml;\n}\n"
		"# Outlook asks by POST, and in any case of letters.\n"
		"location ~* ^/autodiscover/autodiscover\\.xml$ {\n"
		"\troot %s/%s; default_type text/xml; error_page 405 =200 $uri;\n"
		"\trewrite ^ /autodiscover/autodiscover.xml break;\n}\n"
		"location = /.well-known/mta-sts.txt {\n\troot %s/%s; default_type text/plain;\n}\n"
		"location = /%s.mobileconfig {\n\troot %s/%s; default_type application/x-apple-aspen-config;\n}\n",
		domain, domain, domain, domain, place, domain, place, domain, place, domain, domain, place,
		domain);
}

void
net_apache_put(const struct survey *v, const char *domain, const char *place, struct text *to)
{
	(void)v;
	text_printf(to,
		"# Into the virtual host of autoconfig.%s, autodiscover.%s, mta-sts.%s and %s, by HTTPS.\n"
		"Alias /mail/config-v1.1.xml %s/%s/mail/config-v1.1.xml\n"
		"Alias /.well-known/autoconfig/mail/config-v1.1.xml %s/%s/mail/config-v1.1.xml\n"
		"AliasMatch (?i)^/autodiscover/autodiscover\\.xml$ %s/%s/autodiscover/autodiscover.xml\n"
		"Alias /.well-known/mta-sts.txt %s/%s/.well-known/mta-sts.txt\n"
		"Alias /%s.mobileconfig %s/%s/%s.mobileconfig\n"
		"AddType application/x-apple-aspen-config .mobileconfig\n"
		"<Directory %s/%s>\n\tRequire all granted\n</Directory>\n",
		domain, domain, domain, domain, place, domain, place, domain, place, domain, place, domain, domain,
		place, domain, domain, place, domain);
}
