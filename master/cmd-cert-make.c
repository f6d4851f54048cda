/*
 * cmd-cert-make - makes certificates: self-signed, requested, and of the instance's own authority.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/address.h"
#include "common/secret.h"
#include "master/cmd-cert.h"
#include "master/prompt.h"
#include "tlsproxy/ca.h"
#include "tlsproxy/certificate.h"
#include "tlsproxy/install.h"
#include "tlsproxy/issue.h"

#define PASSWORD_BYTES 15 /* 20 characters of base64 */

static const struct option_row client_options[] = {
	{ "--out", "FILE", "where the PKCS#12 file goes (ADDRESS.p12)", false },
	{ "--stdin", NULL, "its password is the first line of the standard input", false },
	{ NULL, NULL, NULL, false },
};
static const struct option_row csr_options[] = {
	{ "--next", NULL, "for a new key (kept as next.key until its certificate is installed)", false },
	{ NULL, NULL, NULL, false },
};

static int
self_signed(struct invocation *v)
{
	struct settings *s = cmd_settings(v, false);
	struct text crt = TEXT_UP_TO(MOST_CERTIFICATE_FILE), key = TEXT_UP_TO(MOST_CERTIFICATE_FILE),
		    why = TEXT_UP_TO(MOST_SENTENCE);
	char *hostname = s != NULL ? must_copy(s->hostname) : NULL;
	struct certificate_facts facts;
	const char **names = NULL;
	int directory = -1, status = EX_CONFIG;
	size_t count;

	if (s == NULL || !cert_is_managed(v, s) || (directory = cert_directory(v)) < 0)
		goto out;
	names = cert_names(v, hostname, &count);
	if (issue_self_signed(names, count, SELF_SIGNED_DAYS, &crt, &key, &why) < 0 ||
		install_pair(directory, text_span(&crt), text_span(&key), hostname, false, &facts, &why) < 0) {
		status = cmd_fail(EX_DATAERR, "nothing changed: %s", text_str(&why));
	} else {
		printf("installed: %s, self-signed, for %s, %d days\n", facts.key, facts.names,
			facts.days_left);
		status = EX_OK;
	}
out:
	if (directory >= 0)
		close(directory);
	free(names);
	free(hostname);
	text_clear(&crt);
	text_wipe(&key);
	text_clear(&why);
	settings_free(&s);
	return status;
}

/* next.key is there, made now if it was not. */
static bool
make_next_key(int directory, struct text *why)
{
	struct text key = TEXT_UP_TO(MOST_CERTIFICATE_FILE);
	int fd = openat(directory, NEXT_KEY, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
	bool made = false;

	if (fd < 0 && errno == EEXIST)
		return true;
	if (fd < 0) {
		text_printf(why, "%s: %s", NEXT_KEY, strerror(errno));
		return false;
	}
	if (issue_key(&key, why) == 0) {
		made = write(fd, key.at, key.len) == (ssize_t)key.len && fsync(fd) == 0;
		if (!made)
			text_printf(why, "%s: %s", NEXT_KEY, strerror(errno));
	}
	if (!made)
		unlinkat(directory, NEXT_KEY, 0);
	close(fd);
	text_wipe(&key);
	return made;
}

static int
csr(struct invocation *v)
{
	struct settings *s = cmd_settings(v, false);
	struct text pem = TEXT_UP_TO(MOST_CERTIFICATE_FILE), why = TEXT_UP_TO(MOST_SENTENCE);
	bool next = cmd_option(v, "--next") != NULL;
	char *hostname = s != NULL ? must_copy(s->hostname) : NULL;
	const char **names = NULL;
	int directory = -1, status = EX_CONFIG;
	size_t count;

	if (s == NULL || (directory = cert_directory(v)) < 0)
		goto out;
	names = cert_names(v, hostname, &count);
	if ((next && !make_next_key(directory, &why)) ||
		issue_request(directory, next ? NEXT_KEY : SERVER_KEY, names, count, &pem, &why) < 0)
		status = cmd_fail(EX_DATAERR, "%s", text_str(&why));
	else
		status = cert_write(NULL, 0, text_span(&pem));
out:
	if (directory >= 0)
		close(directory);
	free(names);
	free(hostname);
	text_clear(&pem);
	text_clear(&why);
	settings_free(&s);
	return status;
}

/* --- people --- */

/* The password of the file: asked for on a terminal, read, or made and told. */
static bool
choose_password(const struct invocation *v, struct text *password)
{
	struct text why = TEXT_UP_TO(MOST_SENTENCE);
	unsigned char bytes[PASSWORD_BYTES];
	bool chosen = true;

	if (cmd_option(v, "--stdin") != NULL) {
		chosen = prompt_password(v->arguments[0], true, password, &why);
		if (!chosen)
			cmd_fail(0, "%s", text_str(&why));
	} else {
		secret_random(bytes, sizeof bytes);
		text_add_base64(password, span_of(bytes, sizeof bytes));
		printf("password of the file: %s\n", text_str(password));
	}
	text_clear(&why);
	return chosen;
}

static int
client(struct invocation *v)
{
	struct text p12 = TEXT_UP_TO(MOST_CERTIFICATE_FILE), password = TEXT_UP_TO(1024),
		    why = TEXT_UP_TO(MOST_SENTENCE), path = TEXT_UP_TO(1024);
	char serial[MOST_SERIAL_TEXT + 1];
	struct span in = span_str(v->arguments[0]);
	struct address a;
	int directory, status = EX_DATAERR;

	if (address_take_mailbox(&in, false, &a) != ADDRESS_OK || in.len != 0 || a.domain.len == 0 ||
		span_has(span_str(v->arguments[0]), '/') || span_has(span_str(v->arguments[0]), ' '))
		return cmd_fail(EX_USAGE, "%s is not an address of the form NAME@DOMAIN", v->arguments[0]);
	if ((directory = cert_directory(v)) < 0)
		return EX_NOINPUT;
	text_printf(&path, "%s%s", cmd_option(v, "--out") ? cmd_option(v, "--out") : v->arguments[0],
		cmd_option(v, "--out") ? "" : ".p12");
	if (!choose_password(v, &password)) {
		status = EX_USAGE;
	} else if (issue_client(directory, v->arguments[0], CLIENT_DAYS, text_str(&password), &p12,
			   serial, &why) < 0) {
		cmd_fail(0, "%s", text_str(&why));
	} else if ((status = cert_write(text_str(&path), 0600, text_span(&p12))) == EX_OK) {
		printf("%s: certificate %s for %s, %d days\n", text_str(&path), serial,
			v->arguments[0], CLIENT_DAYS);
		printf("tls_client_ca = \"%s/%s\" lets the servers ask for it\n", v->paths.tls,
			CA_CERTIFICATE);
	}
	close(directory);
	text_wipe(&p12);
	text_wipe(&password);
	text_clear(&path);
	text_clear(&why);
	return status;
}

/* --- the authority --- */

static int
ca_init(const struct invocation *v, int directory, struct text *why)
{
	struct settings *s = cmd_settings(v, false);
	char *hostname = s != NULL ? must_copy(s->hostname) : NULL;
	bool there = faccessat(directory, CA_CERTIFICATE, F_OK, 0) == 0;
	int result = s == NULL ? -1 : ca_make(directory, hostname, why);

	if (result == 0)
		printf("%s/%s%s: clients trust this; %s may be kept offline\n", v->paths.tls,
			CA_CERTIFICATE, there ? " is there already, and stays" : "", CA_KEY);
	free(hostname);
	settings_free(&s);
	return result;
}

static int
ca_issue_for(const struct invocation *v, int directory, struct text *why)
{
	struct text crt = TEXT_UP_TO(MOST_CERTIFICATE_FILE), key = TEXT_UP_TO(MOST_CERTIFICATE_FILE),
		    name = TEXT_UP_TO(512);
	const char *const *names = (const char *const *)(v->arguments + 1);
	int result = -1;

	if (v->argument_count < 2) {
		text_printf(why, "cert ca issue needs the names of the server");
	} else if (issue_server(directory, names, (size_t)v->argument_count - 1, SERVER_DAYS, &crt, &key,
			   why) == 0) {
		text_printf(&name, "%s.key", names[0]);
		if (cert_write(text_str(&name), 0400, text_span(&key)) == EX_OK) {
			text_reset(&name);
			text_printf(&name, "%s.crt", names[0]);
			if (cert_write(text_str(&name), 0644, text_span(&crt)) == EX_OK) {
				printf("%s.crt and %s.key, here\n", names[0], names[0]);
				result = 0;
			}
		}
	}
	text_clear(&crt);
	text_wipe(&key);
	text_clear(&name);
	return result;
}

static int
ca_list(const struct invocation *v)
{
	struct text all = TEXT_UP_TO(0);
	char *path = paths_join(v->paths.tls, CA_ISSUED);

	if (access(path, F_OK) == 0 && cert_read(path, &all))
		fwrite(all.at, 1, all.len, stdout);
	free(path);
	text_clear(&all);
	return 0;
}

static int
ca_revoke(const struct invocation *v, int directory, struct text *why)
{
	if (v->argument_count != 2) {
		text_printf(why, "cert ca revoke needs a serial number, address or name");
		return -1;
	}
	if (issue_revoke(directory, v->arguments[1], why) < 0 || issue_crl(directory, why) < 0)
		return -1;
	printf("revoked; the list is %s/%s (tls_client_crl), good for %d days\n", v->paths.tls, CA_REVOKED,
		CRL_DAYS);
	return 0;
}

static int
ca(struct invocation *v)
{
	struct text why = TEXT_UP_TO(MOST_SENTENCE);
	const char *verb = v->arguments[0];
	int directory = cert_directory(v), result = -1;

	if (directory < 0)
		return EX_NOINPUT;
	if (strcmp(verb, "init") == 0)
		result = ca_init(v, directory, &why);
	else if (strcmp(verb, "issue") == 0)
		result = ca_issue_for(v, directory, &why);
	else if (strcmp(verb, "list") == 0)
		result = ca_list(v);
	else if (strcmp(verb, "revoke") == 0)
		result = ca_revoke(v, directory, &why);
	else if (strcmp(verb, "crl") == 0 && (result = issue_crl(directory, &why)) == 0)
		printf("%s/%s, good for %d days\n", v->paths.tls, CA_REVOKED, CRL_DAYS);
	else if (strcmp(verb, "crl") != 0)
		text_printf(&why, "there is no cert ca %s: init, issue, list, revoke, crl", verb);
	if (result < 0 && why.len != 0)
		cmd_fail(0, "%s", text_str(&why));
	close(directory);
	text_clear(&why);
	return result < 0 ? EX_DATAERR : EX_OK;
}

const struct command cmd_cert_self_signed = {
	.words = "cert self-signed", .arguments = "[NAME...]", .most = MOST_NAMES,
	.help = "make a new key with a certificate that it signs itself, and install both",
	.run = self_signed,
};
const struct command cmd_cert_csr = {
	.words = "cert csr", .arguments = "[NAME...]", .most = MOST_NAMES,
	.help = "print a request (PKCS#10) for an authority, for the key in service or the next one",
	.options = csr_options, .run = csr,
};
const struct command cmd_cert_client = {
	.words = "cert client", .arguments = "ADDRESS", .least = 1, .most = 1,
	.help = "make a certificate for a person's mail client, as PKCS#12 with a password",
	.options = client_options, .run = client,
};
const struct command cmd_cert_ca = {
	.words = "cert ca", .arguments = "init | issue NAME... | list | revoke WHICH | crl", .least = 1,
	.most = MOST_NAMES + 1,
	.help = "the instance's own authority: make it, issue for servers, revoke, list, revocation list",
	.run = ca,
};
