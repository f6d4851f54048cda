#include "ca.h"
#include "ca-parts.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "chain.h"
#include "common/secret.h"

#define SECONDS_A_DAY 86400
#define CLOCK_SLACK      3600 /* clients whose clock is behind by less than an hour still accept */
#define SERIAL_SIZE 16
#define MOST_FILE_NAME 64

void
identity_clear(struct identity *who)
{
	if (who->crt != NULL)
		gnutls_x509_crt_deinit(who->crt);
	if (who->key != NULL)
		gnutls_x509_privkey_deinit(who->key);
	memset(who, 0, sizeof(*who));
}

static int
fail(struct text *why, const char *what, int error)
{
	text_printf(why, "%s: %s", what, gnutls_strerror(error));
	return -1;
}

static bool
hostname_is_valid(const char *hostname)
{
	size_t label = 0, len = strlen(hostname);

	if (len == 0 || len > 253)
		return false;
	for (size_t i = 0; i <= len; i++) {
		char c = hostname[i];

		if (c == '.' || c == '\0') {
			if (label == 0 || label > 63 || hostname[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      (c == '-' && label > 0)))
			return false;
		label++;
	}
	return true;
}

/* --- files --- */

bool
ca_has_file(int directory, const char *name)
{
	struct stat st;

	return fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Writes aside, makes durable, renames, makes the directory durable. */
int
ca_put_file(int directory, const char *name, mode_t mode, struct span content, struct text *why)
{
	char aside[MOST_FILE_NAME];
	size_t done = 0;
	int fd;

	snprintf(aside, sizeof(aside), ".%s.new", name);
	(void)unlinkat(directory, aside, 0);
	fd = openat(directory, aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
	if (fd < 0) {
		text_printf(why, "cannot create %s: %s", aside, strerror(errno));
		return -1;
	}
	while (done < content.len) {
		ssize_t wrote = write(fd, content.at + done, content.len - done);

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0)
			goto bad;
		done += (size_t)wrote;
	}
	if (fchmod(fd, mode) < 0 || fsync(fd) < 0 ||
		renameat(directory, aside, directory, name) < 0)
		goto bad;
	close(fd);
	/* An O_PATH descriptor cannot be synced itself: open the directory anew through it. */
	if ((fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
		fsync(fd) < 0) {
		text_printf(why, "cannot make %s durable: %s", name, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	close(fd);
	return 0;
bad:
	text_printf(why, "cannot write %s: %s", name, strerror(errno));
	close(fd);
	(void)unlinkat(directory, aside, 0);
	return -1;
}

int
ca_put_key(int directory, const char *name, gnutls_x509_privkey_t key, struct text *why)
{
	gnutls_datum_t pem = { NULL, 0 };
	int error = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL,
		GNUTLS_PKCS_PLAIN, &pem);
	int result;

	if (error < 0)
		return fail(why, "cannot encode the key", error);
	result = ca_put_file(directory, name, 0400, span_of(pem.data, pem.size), why);
	secret_wipe(pem.data, pem.size);
	gnutls_free(pem.data);
	return result;
}

int
ca_put_certificates(int directory, const char *name, gnutls_x509_crt_t first, gnutls_x509_crt_t second,
	struct text *why)
{
	struct text all = TEXT_UP_TO(MOST_CERTIFICATE_FILE);
	gnutls_x509_crt_t list[2] = { first, second };
	int result = -1;

	for (size_t i = 0; i < 2 && list[i] != NULL; i++) {
		gnutls_datum_t pem = { NULL, 0 };
		int error = gnutls_x509_crt_export2(list[i], GNUTLS_X509_FMT_PEM, &pem);

		if (error < 0) {
			fail(why, "cannot encode the certificate", error);
			goto out;
		}
		text_add(&all, span_of(pem.data, pem.size));
		gnutls_free(pem.data);
	}
	result = ca_put_file(directory, name, 0644, text_span(&all), why);
out:
	text_clear(&all);
	return result;
}

static int
open_file(int directory, const char *name, struct text *why)
{
	int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		text_printf(why, "cannot open %s: %s", name, strerror(errno));
	return fd;
}

static int
get_file(int directory, const char *name, struct text *to, struct text *why)
{
	int fd = open_file(directory, name, why);
	int result;

	if (fd < 0)
		return -1;
	result = chain_read_file(fd, name, MOST_CERTIFICATE_FILE, to, why);
	close(fd);
	return result;
}

int
ca_get_key(int directory, const char *name, gnutls_x509_privkey_t *key, struct text *why)
{
	struct text pem = TEXT_UP_TO(0);
	int error, result = -1;

	if (get_file(directory, name, &pem, why) < 0)
		goto out;
	if ((error = gnutls_x509_privkey_init(key)) < 0 ||
	    (error = gnutls_x509_privkey_import2(*key,
		     &(gnutls_datum_t){ pem.at, (unsigned int)pem.len }, GNUTLS_X509_FMT_PEM, NULL,
		     GNUTLS_PKCS_PLAIN)) < 0) {
		text_printf(why, "%s cannot be read: %s", name, gnutls_strerror(error));
		goto out;
	}
	result = 0;
out:
	text_wipe(&pem);
	return result;
}

static int
get_certificate(int directory, const char *name, gnutls_x509_crt_t *crt, struct text *why)
{
	struct text pem = TEXT_UP_TO(0);
	int error, result = -1;

	if (get_file(directory, name, &pem, why) < 0)
		goto out;
	if ((error = gnutls_x509_crt_init(crt)) < 0 ||
		(error = gnutls_x509_crt_import(*crt,
			 &(gnutls_datum_t){ pem.at, (unsigned int)pem.len }, GNUTLS_X509_FMT_PEM)) <
			0) {
		text_printf(why, "%s cannot be read: %s", name, gnutls_strerror(error));
		goto out;
	}
	result = 0;
out:
	text_clear(&pem);
	return result;
}

/* Is what lies there a pair that fits? */
static int
check_pair(int directory, const char *certificate, const char *key, struct text *why)
{
	struct certificate_facts facts;
	struct text reason = TEXT_UP_TO(MOST_WHY);
	int chain_fd = -1, key_fd = -1, result = -1;

	if ((chain_fd = open_file(directory, certificate, why)) < 0 ||
	    (key_fd = open_file(directory, key, why)) < 0)
		goto out;
	result = certificate_check(chain_fd, key_fd, NULL, &facts, &reason);
	if (result < 0)
		text_printf(why, "%s and %s are there but cannot be used: %s", certificate, key,
			text_str(&reason));
out:
	if (chain_fd >= 0)
		close(chain_fd);
	if (key_fd >= 0)
		close(key_fd);
	text_clear(&reason);
	return result;
}

/* --- certificates --- */

int
ca_make_key(gnutls_x509_privkey_t *key)
{
	int error = gnutls_x509_privkey_init(key);

	if (error < 0)
		return error;
	return gnutls_x509_privkey_generate(*key, GNUTLS_PK_ECDSA,
		GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
}

/* What both kinds of certificate have: version, serial, dates, key and its identifier. */
int
ca_fill(struct identity *who, int days)
{
	unsigned char serial[SERIAL_SIZE], id[64];
	size_t size = sizeof(id);
	time_t now = time(NULL);
	int error;

	/* RFC 5280 4.1.2.2: positive, at most 20 octets. */
	secret_random(serial, sizeof(serial));
	serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40);
	if ((error = gnutls_x509_crt_init(&who->crt)) < 0 ||
	    (error = gnutls_x509_crt_set_version(who->crt, 3)) < 0 ||
	    (error = gnutls_x509_crt_set_serial(who->crt, serial, sizeof(serial))) < 0 ||
	    (error = gnutls_x509_crt_set_activation_time(who->crt, now - CLOCK_SLACK)) < 0 ||
	    (error = gnutls_x509_crt_set_expiration_time(who->crt,
		     now - CLOCK_SLACK + (time_t)days * SECONDS_A_DAY)) < 0 ||
	    (error = gnutls_x509_crt_set_key(who->crt, who->key)) < 0 ||
	    /* RFC 5280 4.2.1.2, method 1: the SHA-1 of the key, as an identifier only. */
	    (error = gnutls_x509_crt_get_key_id(who->crt, 0, id, &size)) < 0 ||
	    (error = gnutls_x509_crt_set_subject_key_id(who->crt, id, size)) < 0)
		return error;
	return 0;
}

int
ca_set_common_name(gnutls_x509_crt_t crt, const char *name)
{
	return gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
		(unsigned int)strlen(name));
}

static int
make_authority(struct identity *ca, const char *hostname)
{
	static const char title[] = "Valija CA for ";
	char name[MOST_COMMON_NAME + 1];
	int error;

	snprintf(
		name, sizeof(name), "%s%.*s", title, (int)(sizeof(name) - sizeof(title)), hostname);
	if ((error = ca_make_key(&ca->key)) < 0 || (error = ca_fill(ca, CA_DAYS)) < 0 ||
	    (error = ca_set_common_name(ca->crt, name)) < 0 ||
	    /* RFC 5280 4.2.1.9: it signs servers, never another authority. */
	    (error = gnutls_x509_crt_set_basic_constraints(ca->crt, 1, 0)) < 0 ||
	    (error = gnutls_x509_crt_set_key_usage(ca->crt,
		     GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN)) < 0 ||
	    (error = gnutls_x509_crt_sign2(ca->crt, ca->crt, ca->key, GNUTLS_DIG_SHA256, 0)) < 0)
		return error;
	return 0;
}

static int
set_names(gnutls_x509_crt_t crt, const char *hostname)
{
	static const unsigned char v4[4] = { 127, 0, 0, 1 }, v6[16] = { [15] = 1 };
	int error;

	if ((error = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, hostname,
		     (unsigned int)strlen(hostname), GNUTLS_FSAN_SET)) < 0)
		return error;
	if (strcmp(hostname, "localhost") != 0 &&
	    (error = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, "localhost", 9,
		     GNUTLS_FSAN_APPEND)) < 0)
		return error;
	if ((error = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, v4, sizeof(v4),
		     GNUTLS_FSAN_APPEND)) < 0)
		return error;
	return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, v6, sizeof(v6),
		GNUTLS_FSAN_APPEND);
}

static int
make_server(struct identity *server, const struct identity *ca, const char *hostname)
{
	unsigned char id[64];
	size_t size = sizeof(id);
	int error;

	if ((error = ca_fill(server, SERVER_DAYS)) < 0 ||
		/* A name too long for the subject stands in the alternative names alone. */
		(error = strlen(hostname) > MOST_COMMON_NAME
				 ? 0
				 : ca_set_common_name(server->crt, hostname)) < 0 ||
		(error = set_names(server->crt, hostname)) < 0 ||
		(error = gnutls_x509_crt_set_basic_constraints(server->crt, 0, -1)) < 0 ||
		(error = gnutls_x509_crt_set_key_usage(server->crt, GNUTLS_KEY_DIGITAL_SIGNATURE)) <
			0 ||
		(error = gnutls_x509_crt_set_key_purpose_oid(
			 server->crt, GNUTLS_KP_TLS_WWW_SERVER, 0)) < 0 ||
		(error = gnutls_x509_crt_get_subject_key_id(ca->crt, id, &size, NULL)) < 0 ||
		(error = gnutls_x509_crt_set_authority_key_id(server->crt, id, size)) < 0 ||
		(error = gnutls_x509_crt_sign2(
			 server->crt, ca->crt, ca->key, GNUTLS_DIG_SHA256, 0)) < 0)
		return error;
	return 0;
}

/* --- what init asks for --- */

int
ca_load(int directory, struct identity *ca, struct text *why)
{
	if (check_pair(directory, CA_CERTIFICATE, CA_KEY, why) < 0)
		return -1;
	return get_certificate(directory, CA_CERTIFICATE, &ca->crt, why) < 0 ||
			ca_get_key(directory, CA_KEY, &ca->key, why) < 0 ? -1 : 0;
}

static int
authority_make(int directory, const char *hostname, struct identity *ca, struct text *why)
{
	int error = make_authority(ca, hostname);

	if (error < 0)
		return fail(why, "cannot make the certificate authority", error);
	/* The key first: a certificate without its key could never be mended. */
	if (ca_put_key(directory, CA_KEY, ca->key, why) < 0)
		return -1;
	return ca_put_certificates(directory, CA_CERTIFICATE, ca->crt, NULL, why);
}

static int
server_issue(int directory, const char *hostname, const struct identity *ca, struct text *why)
{
	struct identity server = { NULL, NULL };
	int error, result = -1;

	if (ca_has_file(directory, SERVER_KEY)) {
		if (ca_get_key(directory, SERVER_KEY, &server.key, why) < 0)
			goto out;
	} else if ((error = ca_make_key(&server.key)) < 0) {
		fail(why, "cannot make a key", error);
		goto out;
	} else if (ca_put_key(directory, SERVER_KEY, server.key, why) < 0)
		goto out;
	if ((error = make_server(&server, ca, hostname)) < 0) {
		fail(why, "cannot make the server certificate", error);
		goto out;
	}
	result = ca_put_certificates(directory, SERVER_CERTIFICATE, server.crt, ca->crt, why);
out:
	identity_clear(&server);
	return result;
}

int
ca_issue(int directory, const char *hostname, struct text *why)
{
	struct identity ca = { NULL, NULL };
	int result = -1;

	if (!hostname_is_valid(hostname)) {
		text_printf(why, "the host name is not one that a certificate can carry");
		return -1;
	}
	if (ca_load(directory, &ca, why) == 0)
		result = server_issue(directory, hostname, &ca, why);
	identity_clear(&ca);
	return result;
}

int
ca_make(int directory, const char *hostname, struct text *why)
{
	struct identity ca = { NULL, NULL };
	int result = -1;

	if (!hostname_is_valid(hostname)) {
		text_printf(why, "the host name is not one that a certificate can carry");
		return -1;
	}
	/* An authority whose key was taken away is whole, as long as nothing must be issued. */
	if (ca_has_file(directory, SERVER_CERTIFICATE))
		return check_pair(directory, SERVER_CERTIFICATE, SERVER_KEY, why);
	if (ca_has_file(directory, CA_CERTIFICATE)) {
		if (ca_load(directory, &ca, why) < 0)
			goto out;
	} else if (authority_make(directory, hostname, &ca, why) < 0)
		goto out;
	result = server_issue(directory, hostname, &ca, why);
out:
	identity_clear(&ca);
	return result;
}
