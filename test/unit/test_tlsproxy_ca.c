/*
 * The authority and its server certificate, judged by GnuTLS and by OpenSSL; and what is said of
 * certificate and key files that are not what they should be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tlsproxy/ca.h"
#include "tlsproxy/certificate.h"

static char directory[64];
static int at = -1;

static int
setup(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/valija-ca-XXXXXX");
	assert_non_null(mkdtemp(directory));
	at = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return 0;
}

static int
teardown(void **state)
{
	static const char *const files[] = { CA_CERTIFICATE, CA_KEY, SERVER_CERTIFICATE, SERVER_KEY,
		"x" };

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlinkat(at, files[i], 0);
	close(at);
	assert_int_equal(rmdir(directory), 0); /* nothing else was left, no half file */
	return 0;
}

static void
make(const char *host)
{
	struct text why = TEXT_UP_TO(MOST_WHY);

	if (ca_make(at, host, &why) < 0)
		fail_msg("%s", text_str(&why));
	text_clear(&why);
}

static gnutls_x509_crt_t
load(const char *name)
{
	unsigned char pem[MOST_CERTIFICATE_FILE];
	gnutls_x509_crt_t crt;
	int fd = openat(at, name, O_RDONLY | O_CLOEXEC);
	ssize_t len = read(fd, pem, sizeof(pem));

	assert_true(len > 0);
	close(fd);
	assert_int_equal(gnutls_x509_crt_init(&crt), 0);
	assert_int_equal(gnutls_x509_crt_import(crt, &(gnutls_datum_t){ pem, (unsigned int)len },
		GNUTLS_X509_FMT_PEM), 0);
	return crt;
}

static void
gnutls_agrees(void **state)
{
	gnutls_x509_crt_t ca, server;
	gnutls_x509_trust_list_t list;
	unsigned int status = 0, usage, critical, is_ca;
	unsigned char serial[2][32];
	size_t len[2] = { 32, 32 };
	int path;
	struct stat st;
	time_t days;

	(void)state;
	make("mail.example.org");
	ca = load(CA_CERTIFICATE);
	server = load(SERVER_CERTIFICATE);
	assert_int_equal(gnutls_x509_trust_list_init(&list, 0), 0);
	assert_int_equal(gnutls_x509_trust_list_add_cas(list, &ca, 1, 0), 1);
	assert_int_equal(gnutls_x509_trust_list_verify_crt(list, &server, 1, 0, &status, NULL), 0);
	assert_int_equal(status, 0);
	gnutls_x509_trust_list_deinit(list, 0);
	assert_true(gnutls_x509_crt_check_hostname(server, "mail.example.org"));
	assert_true(gnutls_x509_crt_check_hostname(server, "localhost"));
	assert_true(gnutls_x509_crt_check_hostname(server, "127.0.0.1"));
	assert_true(gnutls_x509_crt_check_hostname(server, "::1"));
	assert_false(gnutls_x509_crt_check_hostname(server, "example.org"));
	assert_int_equal(gnutls_x509_crt_get_basic_constraints(ca, &critical, &is_ca, &path), 1);
	assert_true(critical && is_ca && path == 0);
	assert_true(gnutls_x509_crt_get_basic_constraints(server, &critical, &is_ca, &path) == 0 &&
		    !is_ca);
	assert_int_equal(gnutls_x509_crt_get_key_usage(ca, &usage, &critical), 0);
	assert_int_equal(usage, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN);
	assert_int_equal(gnutls_x509_crt_get_key_usage(server, &usage, &critical), 0);
	assert_int_equal(usage, GNUTLS_KEY_DIGITAL_SIGNATURE);
	assert_int_equal(gnutls_x509_crt_get_serial(ca, serial[0], &len[0]), 0);
	assert_int_equal(gnutls_x509_crt_get_serial(server, serial[1], &len[1]), 0);
	assert_true(len[0] == 16 && len[1] == 16 && memcmp(serial[0], serial[1], 16) != 0);
	days = (gnutls_x509_crt_get_expiration_time(server) -
		       gnutls_x509_crt_get_activation_time(server)) /
	       86400;
	assert_true(days >= 397 && days <= 825);
	assert_int_equal(fstatat(at, CA_KEY, &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
	assert_int_equal(fstatat(at, SERVER_KEY, &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
	gnutls_x509_crt_deinit(ca);
	gnutls_x509_crt_deinit(server);
}

static void
openssl_agrees(void **state)
{
	char ca[100], server[100];
	pid_t pid;
	int status;

	(void)state;
	if (access("/usr/bin/openssl", X_OK) != 0)
		skip();
	make("mail.example.org");
	snprintf(ca, sizeof(ca), "%s/%s", directory, CA_CERTIFICATE);
	snprintf(server, sizeof(server), "%s/%s", directory, SERVER_CERTIFICATE);
	if ((pid = fork()) == 0) {
		close(STDOUT_FILENO);
		execl("/usr/bin/openssl", "openssl", "verify", "-x509_strict", "-purpose",
			"sslserver", "-verify_hostname", "mail.example.org", "-CAfile", ca, server,
			(char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int
check(const char *chain, const char *key, struct certificate_facts *facts, struct text *why)
{
	int chain_fd = openat(at, chain, O_RDONLY | O_CLOEXEC);
	int key_fd = key != NULL ? openat(at, key, O_RDONLY | O_CLOEXEC) : -1;
	int result = certificate_check(chain_fd, key_fd, "mail.example.org", facts, why);

	close(chain_fd);
	if (key_fd >= 0)
		close(key_fd);
	return result;
}

static void
facts_are_told(void **state)
{
	struct text why = TEXT_UP_TO(MOST_WHY);
	struct certificate_facts facts;

	(void)state;
	make("mail.example.org");
	assert_int_equal(check(SERVER_CERTIFICATE, SERVER_KEY, &facts, &why), 0);
	assert_int_equal(facts.days_left, SERVER_DAYS - 1);
	assert_true(facts.names_host);
	assert_false(facts.not_yet);
	assert_string_equal(facts.key, "ECDSA P-256");
	assert_string_equal(facts.subject, "CN=mail.example.org");
	assert_string_equal(facts.issuer, "CN=Valija CA for mail.example.org");
	assert_string_equal(facts.names, "mail.example.org, localhost, 127.0.0.1, ::1");
	text_clear(&why);
}

static void
what_is_there_is_kept(void **state)
{
	struct text why = TEXT_UP_TO(MOST_WHY);
	struct certificate_facts facts;
	struct stat first[4], second[4];
	static const char *const files[] = { CA_CERTIFICATE, CA_KEY, SERVER_CERTIFICATE,
		SERVER_KEY };

	(void)state;
	make("mail.example.org");
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(fstatat(at, files[i], &first[i], 0), 0);
	make("mail.example.org");
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(fstatat(at, files[i], &second[i], 0), 0);
		assert_true(first[i].st_ino == second[i].st_ino);
	}
	/* A crash between key and certificate: the next call completes it, with the same key. */
	assert_int_equal(unlinkat(at, SERVER_CERTIFICATE, 0), 0);
	make("mail.example.org");
	assert_int_equal(fstatat(at, SERVER_KEY, &second[3], 0), 0);
	assert_true(first[3].st_ino == second[3].st_ino);
	assert_int_equal(check(SERVER_CERTIFICATE, SERVER_KEY, &facts, &why), 0);
	/* A new certificate for the same key. */
	assert_int_equal(ca_issue(at, "new.example.org", &why), 0);
	assert_int_equal(check(SERVER_CERTIFICATE, SERVER_KEY, &facts, &why), 0);
	assert_false(facts.names_host);
	/* The authority's key was taken away: whole as long as nothing is issued. */
	assert_int_equal(unlinkat(at, CA_KEY, 0), 0);
	assert_int_equal(ca_make(at, "mail.example.org", &why), 0);
	assert_true(ca_issue(at, "mail.example.org", &why) < 0);
	assert_non_null(strstr(text_str(&why), CA_KEY));
	text_clear(&why);
}

static void
host_names_are_checked(void **state)
{
	static const char *const bad[] = { "", ".", "a..b", "-a", "a-", "a b", "a/b",
		"m\xc3\xbc.example", "a\nb", "*.example.org" };
	struct text why = TEXT_UP_TO(MOST_WHY);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_true(ca_make(at, bad[i], &why) < 0);
	text_clear(&why);
}

static void
put(const char *content)
{
	int fd = openat(at, "x", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, content, strlen(content)), strlen(content));
	close(fd);
}

static void
wrong_files_are_explained(void **state)
{
	static const struct {
		const char *content, *says;
	} keys[] = {
		{ "", "the key file is empty" },
		{ "hello\n", "the key file holds no PEM private key" },
		{ "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE "
		  "KEY-----\n",
			"the key is encrypted" },
		{ "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END EC "
		  "PRIVATE KEY-----\n",
			"the key is encrypted" },
		{ "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
			"the key cannot be read" },
	};
	struct text why = TEXT_UP_TO(MOST_WHY);
	struct certificate_facts facts;

	(void)state;
	make("mail.example.org");
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		put(keys[i].content);
		text_reset(&why);
		assert_true(check(SERVER_CERTIFICATE, "x", &facts, &why) < 0);
		if (strncmp(text_str(&why), keys[i].says, strlen(keys[i].says)) != 0)
			fail_msg("%s", text_str(&why));
	}
	text_reset(&why);
	assert_true(check(SERVER_CERTIFICATE, CA_KEY, &facts, &why) < 0);
	assert_string_equal(text_str(&why), "the key does not belong to the certificate");
	text_reset(&why);
	assert_true(check("x", NULL, &facts, &why) < 0);
	assert_non_null(strstr(text_str(&why), "no readable PEM certificate"));
	text_clear(&why);
}

int
main(void)
{
#define CA_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CA_TEST(gnutls_agrees), CA_TEST(openssl_agrees), CA_TEST(facts_are_told),
		CA_TEST(what_is_there_is_kept), CA_TEST(host_names_are_checked),
		CA_TEST(wrong_files_are_explained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
