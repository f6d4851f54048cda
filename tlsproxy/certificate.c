#include "certificate.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "chain.h"

#define SECONDS_A_DAY 86400

/* Copies what is printable, for people; a stranger's bytes in a distinguished name become '?'. */
static void
copy_printable(struct span from, char *to, size_t room)
{
	size_t len = from.len < room - 1 ? from.len : room - 1;

	for (size_t i = 0; i < len; i++)
		to[i] = from.at[i] >= 0x20 && from.at[i] <= 0x7e ? (char)from.at[i] : '?';
	to[len] = '\0';
}

static void
look_at_dn(gnutls_x509_crt_t crt, bool issuer, char *to, size_t room)
{
	gnutls_datum_t dn = { NULL, 0 };
	int error = issuer ? gnutls_x509_crt_get_issuer_dn3(crt, &dn, 0)
			   : gnutls_x509_crt_get_dn3(crt, &dn, 0);

	to[0] = '\0';
	if (error >= 0 && dn.data != NULL)
		copy_printable(span_of(dn.data, dn.size), to, room);
	gnutls_free(dn.data);
}

static void
look_at_names(gnutls_x509_crt_t crt, char *to, size_t room)
{
	size_t used = 0;

	to[0] = '\0';
	for (unsigned int i = 0; i < MOST_CERTIFICATE_NAMES; i++) {
		unsigned char raw[256];
		char name[256];
		size_t size = sizeof(raw);
		int kind = gnutls_x509_crt_get_subject_alt_name(crt, i, raw, &size, NULL);
		int wrote;

		if (kind == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		if (kind == GNUTLS_SAN_DNSNAME)
			copy_printable(span_of(raw, size), name, sizeof(name));
		else if (kind != GNUTLS_SAN_IPADDRESS ||
			 inet_ntop(size == 4 ? AF_INET : AF_INET6, raw, name, sizeof(name)) == NULL)
			continue;
		if (used + strlen(name) + 3 > room)
			break;
		wrote = snprintf(to + used, room - used, "%s%s", used != 0 ? ", " : "", name);
		used += (size_t)(wrote > 0 ? wrote : 0);
	}
}

static void
look_at_key(const struct chain *chain, char *to, size_t room)
{
	if (chain->kind == GNUTLS_PK_RSA)
		snprintf(to, room, "RSA %u", chain->bits);
	else if (chain->kind == GNUTLS_PK_ECDSA)
		snprintf(to, room, "ECDSA %s",
			chain->curve == GNUTLS_ECC_CURVE_SECP256R1 ? "P-256"
			: chain->curve == GNUTLS_ECC_CURVE_SECP384R1 ? "P-384" : "P-521");
	else
		snprintf(to, room, "Ed25519");
}

int
certificate_check(int chain_fd, int key_fd, const char *hostname, struct certificate_facts *facts,
	struct text *why)
{
	struct chain chain;
	gnutls_privkey_t key = NULL;
	gnutls_x509_crt_t own;
	int64_t now = time(NULL);

	if (chain_read(chain_fd, &chain, why) < 0)
		return -1;
	if (key_fd >= 0 && chain_read_key(key_fd, &chain, &key, why) < 0) {
		chain_clear(&chain);
		return -1;
	}
	if (key != NULL)
		gnutls_privkey_deinit(key);
	own = chain.at[0];
	memset(facts, 0, sizeof(*facts));
	facts->not_before = gnutls_x509_crt_get_activation_time(own);
	facts->not_after = gnutls_x509_crt_get_expiration_time(own);
	/* A chain is worth nothing after the first of its certificates has expired. */
	for (unsigned int i = 1; i < chain.count; i++) {
		int64_t end = gnutls_x509_crt_get_expiration_time(chain.at[i]);

		if (end < facts->not_after)
			facts->not_after = end;
	}
	facts->days_left = (int)((facts->not_after - now) / SECONDS_A_DAY);
	if (facts->not_after < now && facts->days_left == 0)
		facts->days_left = -1;
	facts->not_yet = facts->not_before > now;
	facts->names_host = hostname != NULL && gnutls_x509_crt_check_hostname(own, hostname) != 0;
	memcpy(facts->key_digest, chain.key_id, sizeof(facts->key_digest));
	look_at_key(&chain, facts->key, sizeof(facts->key));
	look_at_dn(own, false, facts->subject, sizeof(facts->subject));
	look_at_dn(own, true, facts->issuer, sizeof(facts->issuer));
	look_at_names(own, facts->names, sizeof(facts->names));
	chain_clear(&chain);
	return 0;
}

bool
certificate_chain_ends(int chain_fd, const char *own, const char *trust)
{
	struct text why = TEXT_UP_TO(400);
	gnutls_x509_trust_list_t known = NULL;
	gnutls_x509_crt_t issuer;
	struct chain chain;
	bool ends = false;

	if (chain_read(chain_fd, &chain, &why) == 0) {
		gnutls_x509_crt_t last = chain.at[chain.count - 1];

		ends = gnutls_x509_crt_check_issuer(last, last) == 1;
		if (!ends && gnutls_x509_trust_list_init(&known, 0) >= 0) {
			(void)gnutls_x509_trust_list_add_trust_file(known, own, NULL, GNUTLS_X509_FMT_PEM, 0, 0);
			if (trust[0] == '\0')
				(void)gnutls_x509_trust_list_add_system_trust(known, 0, 0);
			else
				(void)gnutls_x509_trust_list_add_trust_file(known, trust, NULL, GNUTLS_X509_FMT_PEM, 0, 0);
			ends = gnutls_x509_trust_list_get_issuer(known, last, &issuer, 0) >= 0;
			gnutls_x509_trust_list_deinit(known, 1);
		}
		chain_clear(&chain);
	}
	text_clear(&why);
	return ends;
}

int
certificate_key_digest(int directory, const char *name, unsigned char digest[32])
{
	struct text pem = TEXT_UP_TO(0), why = TEXT_UP_TO(400);
	gnutls_x509_privkey_t key = NULL;
	size_t size = 32;
	int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK), result = -1;

	if (fd >= 0 && chain_read_file(fd, name, MOST_CERTIFICATE_FILE, &pem, &why) == 0 &&
		gnutls_x509_privkey_init(&key) >= 0 &&
		gnutls_x509_privkey_import2(key, &(gnutls_datum_t){ pem.at, (unsigned int)pem.len },
			GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN) >= 0 &&
		gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, digest, &size) >= 0)
		result = 0;
	if (key != NULL)
		gnutls_x509_privkey_deinit(key);
	if (fd >= 0)
		close(fd);
	text_wipe(&pem);
	text_clear(&why);
	return result;
}
