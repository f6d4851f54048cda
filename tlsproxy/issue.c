#include "issue.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/pkcs12.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "ca-parts.h"
#include "ca.h"
#include "chain.h"
#include "common/secret.h"
#include "names.h"

#define SECONDS_A_DAY 86400

static int
fail(struct text *why, const char *what, int error)
{
	text_printf(why, "%s: %s", what, gnutls_strerror(error));
	return -1;
}

static int
check_names(const char *const *names, size_t count, struct text *why)
{
	if (count == 0 || count > MOST_NAMES) {
		text_printf(why, "a certificate has from 1 to %d names", MOST_NAMES);
		return -1;
	}
	for (size_t i = 0; i < count; i++) {
		struct span name = span_str(names[i]);

		if (name.len > 2 && name.at[0] == '*' && name.at[1] == '.')
			name = span_part(name, 2, name.len);
		if (!names_is_host(name)) {
			text_printf(why, "%s is not a host name", names[i]);
			return -1;
		}
	}
	return 0;
}

bool
issue_names_are_good(const char *const *names, size_t count, struct text *why)
{
	return check_names(names, count, why) == 0;
}

/* --- PEM --- */

static int
add_certificate(struct text *to, gnutls_x509_crt_t crt)
{
	gnutls_datum_t pem = { NULL, 0 };
	int error = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem);

	if (error >= 0)
		text_add(to, span_of(pem.data, pem.size));
	gnutls_free(pem.data);
	return error;
}

static int
add_key(struct text *to, gnutls_x509_privkey_t key)
{
	gnutls_datum_t pem = { NULL, 0 };
	int error = gnutls_x509_privkey_export2_pkcs8(
		key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &pem);

	if (error >= 0) {
		text_add(to, span_of(pem.data, pem.size));
		secret_wipe(pem.data, pem.size);
	}
	gnutls_free(pem.data);
	return error;
}

int
issue_key(struct text *to, struct text *why)
{
	gnutls_x509_privkey_t key = NULL;
	int error = ca_make_key(&key);

	if (error >= 0)
		error = add_key(to, key);
	if (key != NULL)
		gnutls_x509_privkey_deinit(key);
	return error < 0 ? fail(why, "cannot make a key", error) : 0;
}

/* --- servers --- */

static int
set_server(gnutls_x509_crt_t crt, const char *const *names, size_t count)
{
	int error = strlen(names[0]) > MOST_COMMON_NAME ? 0 : ca_set_common_name(crt, names[0]);

	for (size_t i = 0; i < count && error >= 0; i++)
		error = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, names[i],
			(unsigned int)strlen(names[i]), i == 0 ? GNUTLS_FSAN_SET : GNUTLS_FSAN_APPEND);
	if (error < 0 || (error = gnutls_x509_crt_set_basic_constraints(crt, 0, -1)) < 0 ||
		(error = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE)) < 0)
		return error;
	return gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
}

int
issue_self_signed(const char *const *names, size_t count, int days, struct text *crt,
	struct text *key, struct text *why)
{
	struct identity own = { NULL, NULL };
	int error;

	if (check_names(names, count, why) < 0)
		return -1;
	if ((error = ca_make_key(&own.key)) >= 0 && (error = ca_fill(&own, days)) >= 0 &&
		(error = set_server(own.crt, names, count)) >= 0 &&
		(error = gnutls_x509_crt_sign2(own.crt, own.crt, own.key, GNUTLS_DIG_SHA256, 0)) >= 0 &&
		(error = add_certificate(crt, own.crt)) >= 0)
		error = add_key(key, own.key);
	identity_clear(&own);
	return error < 0 ? fail(why, "cannot make the certificate", error) : 0;
}

int
issue_request(int directory, const char *key_name, const char *const *names, size_t count,
	struct text *pem, struct text *why)
{
	gnutls_x509_privkey_t key = NULL;
	gnutls_x509_crq_t request = NULL;
	gnutls_datum_t out = { NULL, 0 };
	int error = 0;

	if (check_names(names, count, why) < 0 || ca_get_key(directory, key_name, &key, why) < 0)
		return -1;
	if ((error = gnutls_x509_crq_init(&request)) < 0 ||
		(error = gnutls_x509_crq_set_version(request, 1)) < 0 ||
		(error = gnutls_x509_crq_set_key(request, key)) < 0 ||
		(strlen(names[0]) <= MOST_COMMON_NAME &&
			(error = gnutls_x509_crq_set_dn_by_oid(request, GNUTLS_OID_X520_COMMON_NAME, 0,
				 names[0], (unsigned int)strlen(names[0]))) < 0))
		goto out;
	for (size_t i = 0; i < count; i++)
		if ((error = gnutls_x509_crq_set_subject_alt_name(request, GNUTLS_SAN_DNSNAME, names[i],
			     (unsigned int)strlen(names[i]),
			     i == 0 ? GNUTLS_FSAN_SET : GNUTLS_FSAN_APPEND)) < 0)
			goto out;
	if ((error = gnutls_x509_crq_sign2(request, key, GNUTLS_DIG_SHA256, 0)) >= 0 &&
		(error = gnutls_x509_crq_export2(request, GNUTLS_X509_FMT_PEM, &out)) >= 0)
		text_add(pem, span_of(out.data, out.size));
out:
	gnutls_free(out.data);
	if (request != NULL)
		gnutls_x509_crq_deinit(request);
	gnutls_x509_privkey_deinit(key);
	return error < 0 ? fail(why, "cannot make the request", error) : 0;
}

/* --- by the authority --- */

static int
sign_by(struct identity *who, const struct identity *ca)
{
	unsigned char id[64];
	size_t size = sizeof(id);
	int error = gnutls_x509_crt_get_subject_key_id(ca->crt, id, &size, NULL);

	if (error < 0 || (error = gnutls_x509_crt_set_authority_key_id(who->crt, id, size)) < 0)
		return error;
	return gnutls_x509_crt_sign2(who->crt, ca->crt, ca->key, GNUTLS_DIG_SHA256, 0);
}

/* One at a time reads what was issued and writes what follows from it: two commands, or one and the renewal that
 * master begins. Waits; the lock, which close() gives back, or -1 with a sentence. */
static int
lock(int directory, struct text *why)
{
	int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), error;

	do
		error = fd < 0 ? -1 : flock(fd, LOCK_EX);
	while (error < 0 && fd >= 0 && errno == EINTR);
	if (error == 0)
		return fd;
	text_printf(why, "the directory of the authority cannot be locked: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static int
read_issued(int directory, struct text *to, struct text *why)
{
	int fd = openat(directory, CA_ISSUED, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK), result;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0) {
		text_printf(why, "%s: %s", CA_ISSUED, strerror(errno));
		return -1;
	}
	result = chain_read_file(fd, CA_ISSUED, MOST_ISSUED_FILE, to, why);
	close(fd);
	return result;
}

/* Before the certificate leaves our hands: what is not noted could not be revoked. */
static int
note_issued(int directory, const struct identity *who, const char *kind, const char *name,
	char serial[MOST_SERIAL_TEXT + 1], struct text *why)
{
	struct text all = TEXT_UP_TO(MOST_ISSUED_FILE), hex = TEXT_UP_TO(MOST_SERIAL_TEXT);
	unsigned char bytes[20];
	size_t size = sizeof(bytes);
	int held = lock(directory, why), result = -1;

	if (held < 0 || gnutls_x509_crt_get_serial(who->crt, bytes, &size) < 0 ||
		read_issued(directory, &all, why) < 0)
		goto out;
	text_add_hex(&hex, span_of(bytes, size));
	all.most = MOST_ISSUED_FILE;
	text_printf(&all, "%s %lld %s %s\n", text_str(&hex),
		(long long)gnutls_x509_crt_get_expiration_time(who->crt), kind, name);
	(void)span_copy(text_span(&hex), serial, MOST_SERIAL_TEXT + 1);
	if (all.failed)
		text_printf(why, "%s is full", CA_ISSUED);
	else
		result = ca_put_file(directory, CA_ISSUED, 0644, text_span(&all), why);
out:
	if (held >= 0)
		close(held);
	text_clear(&all);
	text_clear(&hex);
	return result;
}

int
issue_server(int directory, const char *const *names, size_t count, int days, struct text *crt,
	struct text *key, struct text *why)
{
	struct identity ca = { NULL, NULL }, own = { NULL, NULL };
	char serial[MOST_SERIAL_TEXT + 1];
	int error, result = -1;

	if (check_names(names, count, why) < 0 || ca_load(directory, &ca, why) < 0)
		goto out;
	if ((error = ca_make_key(&own.key)) < 0 || (error = ca_fill(&own, days)) < 0 ||
		(error = set_server(own.crt, names, count)) < 0 || (error = sign_by(&own, &ca)) < 0 ||
		(error = add_certificate(crt, own.crt)) < 0 ||
		(error = add_certificate(crt, ca.crt)) < 0 || (error = add_key(key, own.key)) < 0)
		fail(why, "cannot make the certificate", error);
	else
		result = note_issued(directory, &own, "server", names[0], serial, why);
out:
	identity_clear(&ca);
	identity_clear(&own);
	return result;
}

static int
set_client(gnutls_x509_crt_t crt, const char *address)
{
	int error = strlen(address) > MOST_COMMON_NAME ? 0 : ca_set_common_name(crt, address);

	if (error < 0 ||
		(error = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_RFC822NAME, address,
			 (unsigned int)strlen(address), GNUTLS_FSAN_SET)) < 0 ||
		(error = gnutls_x509_crt_set_basic_constraints(crt, 0, -1)) < 0 ||
		(error = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE)) < 0)
		return error;
	return gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_CLIENT, 0);
}

/* One bag into one part of the file, encrypted. */
static int
add_bag(gnutls_pkcs12_t p12, gnutls_pkcs12_bag_t bag, const char *password)
{
	int error = gnutls_pkcs12_bag_encrypt(bag, password, GNUTLS_PKCS_PBES2_AES_256);

	return error < 0 ? error : gnutls_pkcs12_set_bag(p12, bag);
}

static int
pack(const struct identity *who, gnutls_x509_crt_t authority, const char *name, const char *password,
	struct text *to)
{
	gnutls_pkcs12_bag_t certificates = NULL, keys = NULL;
	gnutls_pkcs12_t p12 = NULL;
	gnutls_datum_t key = { NULL, 0 }, der = { NULL, 0 };
	unsigned char id[20];
	size_t size = sizeof(id);
	int error, index;

	if ((error = gnutls_pkcs12_init(&p12)) < 0 ||
		(error = gnutls_pkcs12_bag_init(&certificates)) < 0 ||
		(error = gnutls_pkcs12_bag_init(&keys)) < 0 ||
		(error = gnutls_x509_privkey_get_key_id(who->key, 0, id, &size)) < 0 ||
		(error = index = gnutls_pkcs12_bag_set_crt(certificates, who->crt)) < 0 ||
		(error = gnutls_pkcs12_bag_set_key_id(certificates, (unsigned int)index,
			 &(gnutls_datum_t){ id, (unsigned int)size })) < 0 ||
		(error = gnutls_pkcs12_bag_set_friendly_name(certificates, (unsigned int)index, name)) < 0 ||
		(error = gnutls_pkcs12_bag_set_crt(certificates, authority)) < 0 ||
		(error = add_bag(p12, certificates, password)) < 0 ||
		(error = gnutls_x509_privkey_export2_pkcs8(who->key, GNUTLS_X509_FMT_DER, password,
			 GNUTLS_PKCS_PBES2_AES_256, &key)) < 0 ||
		(error = index = gnutls_pkcs12_bag_set_data(
			 keys, GNUTLS_BAG_PKCS8_ENCRYPTED_KEY, &key)) < 0 ||
		(error = gnutls_pkcs12_bag_set_key_id(keys, (unsigned int)index,
			 &(gnutls_datum_t){ id, (unsigned int)size })) < 0 ||
		(error = gnutls_pkcs12_bag_set_friendly_name(keys, (unsigned int)index, name)) < 0 ||
		(error = gnutls_pkcs12_set_bag(p12, keys)) < 0 ||
		(error = gnutls_pkcs12_generate_mac2(p12, GNUTLS_MAC_SHA256, password)) < 0)
		goto out;
	if ((error = gnutls_pkcs12_export2(p12, GNUTLS_X509_FMT_DER, &der)) >= 0)
		text_add(to, span_of(der.data, der.size));
out:
	if (certificates != NULL)
		gnutls_pkcs12_bag_deinit(certificates);
	if (keys != NULL)
		gnutls_pkcs12_bag_deinit(keys);
	if (p12 != NULL)
		gnutls_pkcs12_deinit(p12);
	gnutls_free(key.data);
	gnutls_free(der.data);
	return error < 0 ? error : 0;
}

int
issue_client(int directory, const char *address, int days, const char *password, struct text *p12,
	char serial[MOST_SERIAL_TEXT + 1], struct text *why)
{
	struct identity ca = { NULL, NULL }, own = { NULL, NULL };
	int error, result = -1;

	if (ca_load(directory, &ca, why) < 0)
		goto out;
	if ((error = ca_make_key(&own.key)) < 0 || (error = ca_fill(&own, days)) < 0 ||
		(error = set_client(own.crt, address)) < 0 || (error = sign_by(&own, &ca)) < 0 ||
		(error = pack(&own, ca.crt, address, password, p12)) < 0)
		fail(why, "cannot make the certificate", error);
	else
		result = note_issued(directory, &own, "client", address, serial, why);
out:
	identity_clear(&ca);
	identity_clear(&own);
	return result;
}

/* --- revoking --- */

/* One line of ca.issued. */
struct issued {
	struct span serial, until, kind, name, revoked;
};

static bool
take_issued(struct span *in, struct issued *i)
{
	struct span line, rest;

	*i = (struct issued){ .name = SPAN_NONE };
	if (!span_take_until(in, '\n', &line))
		return false;
	rest = line;
	if (!span_take_until(&rest, ' ', &i->serial) || !span_take_until(&rest, ' ', &i->until) ||
		!span_take_until(&rest, ' ', &i->kind))
		return true; /* what is no such line names nobody */
	if (span_take_until(&rest, ' ', &i->name)) {
		if (span_take_word(&rest, SPAN("revoked ")))
			i->revoked = rest;
	} else {
		i->name = rest;
	}
	return true;
}

static bool
is_meant(const struct issued *i, struct span which)
{
	return i->serial.len != 0 && (span_equal_nocase(i->serial, which) || span_equal_nocase(i->name, which));
}

int
issue_revoke(int directory, const char *which, struct text *why)
{
	struct text all = TEXT_UP_TO(MOST_ISSUED_FILE), next = TEXT_UP_TO(MOST_ISSUED_FILE + 64);
	struct span in, before;
	struct issued one;
	unsigned int found = 0, already = 0;
	int held = lock(directory, why), result = -1;

	if (held < 0 || read_issued(directory, &all, why) < 0)
		goto out;
	for (in = before = text_span(&all); take_issued(&in, &one); before = in) {
		if (is_meant(&one, span_str(which)) && one.revoked.len == 0) {
			found++;
			text_add(&next, span_part(before, 0, before.len - in.len - 1));
			text_printf(&next, " revoked %lld\n", (long long)time(NULL));
		} else {
			already += is_meant(&one, span_str(which));
			text_add(&next, span_part(before, 0, before.len - in.len));
		}
	}
	if (found == 1 && !next.failed)
		result = ca_put_file(directory, CA_ISSUED, 0644, text_span(&next), why);
	else if (found == 0)
		text_printf(why, already ? "%s is revoked already" : "no certificate %s was issued here",
			which);
	else
		text_printf(why, "%u certificates of %s: name one by its serial number (valija cert ca list)",
			found, which);
out:
	if (held >= 0)
		close(held);
	text_clear(&all);
	text_clear(&next);
	return result;
}

/* Hexadecimal to bytes; 0 when it is none. */
static size_t
unhex(struct span hex, unsigned char *to, size_t room)
{
	size_t len = hex.len / 2;

	if (hex.len % 2 != 0 || len > room)
		return 0;
	for (size_t i = 0; i < len; i++) {
		int high = span_hex_value(hex.at[2 * i]), low = span_hex_value(hex.at[2 * i + 1]);

		if (high < 0 || low < 0)
			return 0;
		to[i] = (unsigned char)(high << 4 | low);
	}
	return len;
}

static int
add_revoked(gnutls_x509_crl_t crl, struct span in)
{
	struct issued one;
	int error = 0;

	while (error >= 0 && take_issued(&in, &one)) {
		unsigned char serial[20];
		size_t len = unhex(one.serial, serial, sizeof(serial));
		uint64_t when = 0;

		if (one.revoked.len != 0 && len != 0 && span_take_number(&one.revoked, INT64_MAX, &when))
			error = gnutls_x509_crl_set_crt_serial(crl, serial, len, (time_t)when);
	}
	return error;
}

int
issue_crl(int directory, struct text *why)
{
	struct text all = TEXT_UP_TO(MOST_ISSUED_FILE);
	struct identity ca = { NULL, NULL };
	gnutls_x509_crl_t crl = NULL;
	gnutls_datum_t pem = { NULL, 0 };
	time_t now = time(NULL);
	/* RFC 5280 5.2.3: it only grows, as time does. */
	unsigned char number[5] = { (unsigned char)((uint64_t)now >> 32 & 0x7f), (unsigned char)(now >> 24),
		(unsigned char)(now >> 16), (unsigned char)(now >> 8), (unsigned char)now };
	int held = lock(directory, why), error, result = -1;

	if (held < 0 || ca_load(directory, &ca, why) < 0 || read_issued(directory, &all, why) < 0)
		goto out;
	if ((error = gnutls_x509_crl_init(&crl)) < 0 || (error = gnutls_x509_crl_set_version(crl, 2)) < 0 ||
		(error = gnutls_x509_crl_set_this_update(crl, now)) < 0 ||
		(error = gnutls_x509_crl_set_next_update(crl, now + CRL_DAYS * SECONDS_A_DAY)) < 0 ||
		(error = gnutls_x509_crl_set_number(crl, number, sizeof(number))) < 0 ||
		(error = add_revoked(crl, text_span(&all))) < 0 ||
		(error = gnutls_x509_crl_sign2(crl, ca.crt, ca.key, GNUTLS_DIG_SHA256, 0)) < 0 ||
		(error = gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_PEM, &pem)) < 0)
		fail(why, "cannot make the revocation list", error);
	else
		result = ca_put_file(directory, CA_REVOKED, 0644, span_of(pem.data, pem.size), why);
out:
	if (held >= 0)
		close(held);
	gnutls_free(pem.data);
	if (crl != NULL)
		gnutls_x509_crl_deinit(crl);
	identity_clear(&ca);
	text_clear(&all);
	return result;
}
