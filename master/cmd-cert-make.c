/*
 * cmd-cert-make - makes certificates: self-signed, requested, and of the instance's own authority.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

	/* Also the next key comes into service as the managed one, or not at all. */
	if (s == NULL || !cert_is_managed(v, s) || (directory = cert_directory(v)) < 0)
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

/* Nothing of this name is there, over which nothing is written: asked before a certificate is made and noted,
 * and once more by cert_write. */
static bool
is_new(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0 && errno == ENOENT)
		return true;
	cmd_fail(0, "%s is there already", path);
	return false;
}

/* --- people --- */

/* The password of the file: asked for on a terminal, read, or made (and told when there is a file). */
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
		secret_wipe(bytes, sizeof bytes);
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
	if (!is_new(text_str(&path))) {
		status = EX_CANTCREAT;
	} else if (!choose_password(v, &password)) {
		status = EX_USAGE;
	} else if (issue_client(directory, v->arguments[0], CLIENT_DAYS, text_str(&password), &p12,
			   serial, &why) < 0) {
		cmd_fail(0, "%s", text_str(&why));
	} else if ((status = cert_write(text_str(&path), 0600, text_span(&p12))) == EX_OK) {
		if (cmd_option(v, "--stdin") == NULL)
			printf("password of the file: %s\n", text_str(&password));
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

/* Each verb: 0 or a status of sysexits.h; what goes wrong is in `why`, or was said. */

static int
ca_init(const struct invocation *v, int directory, struct text *why)
{
	struct settings *s = cmd_settings(v, false);
	char *hostname = s != NULL ? must_copy(s->hostname) : NULL;
	bool there = faccessat(directory, CA_CERTIFICATE, F_OK, 0) == 0;
	int status = s == NULL ? EX_CONFIG : ca_make(directory, hostname, why) < 0 ? EX_DATAERR : EX_OK;

	if (status == EX_OK)
		printf("%s/%s%s: clients trust this; %s may be kept offline\n", v->paths.tls,
			CA_CERTIFICATE, there ? " is there already, and stays" : "", CA_KEY);
	free(hostname);
	settings_free(&s);
	return status;
}

static int
ca_issue_for(const struct invocation *v, int directory, struct text *why)
{
	struct text crt = TEXT_UP_TO(MOST_CERTIFICATE_FILE), key = TEXT_UP_TO(MOST_CERTIFICATE_FILE),
		    crt_name = TEXT_UP_TO(512), key_name = TEXT_UP_TO(512);
	const char *const *names = (const char *const *)(v->arguments + 1);
	int status = EX_DATAERR;

	text_printf(&crt_name, "%s.crt", names[0]);
	text_printf(&key_name, "%s.key", names[0]);
	if (!issue_names_are_good(names, (size_t)v->argument_count - 1, why))
		goto out;
	status = EX_CANTCREAT;
	if (!is_new(text_str(&crt_name)) || !is_new(text_str(&key_name)))
		goto out;
	status = EX_DATAERR;
	if (issue_server(directory, names, (size_t)v->argument_count - 1, SERVER_DAYS, &crt, &key, why) < 0 ||
		(status = cert_write(text_str(&key_name), 0400, text_span(&key))) != EX_OK)
		goto out;
	if ((status = cert_write(text_str(&crt_name), 0644, text_span(&crt))) == EX_OK)
		printf("%s and %s, here\n", text_str(&crt_name), text_str(&key_name));
	else
		(void)unlink(text_str(&key_name));
out:
	text_clear(&crt);
	text_wipe(&key);
	text_clear(&crt_name);
	text_clear(&key_name);
	return status;
}

static int
ca_list(const struct invocation *v, int directory, struct text *why)
{
	struct text all = TEXT_UP_TO(0);
	char *path = paths_join(v->paths.tls, CA_ISSUED);
	int status = EX_OK;

	(void)directory;
	(void)why;
	if (access(path, F_OK) == 0)
		status = cert_read(path, &all) ? cert_write(NULL, 0, text_span(&all)) : EX_NOINPUT;
	free(path);
	text_clear(&all);
	return status;
}

static int
ca_crl(const struct invocation *v, int directory, struct text *why)
{
	if (issue_crl(directory, why) < 0)
		return EX_DATAERR;
	printf("%s/%s, good for %d days\n", v->paths.tls, CA_REVOKED, CRL_DAYS);
	return EX_OK;
}

static int
ca_revoke(const struct invocation *v, int directory, struct text *why)
{
	if (issue_revoke(directory, v->arguments[1], why) < 0 || issue_crl(directory, why) < 0)
		return EX_DATAERR;
	printf("revoked; the list is %s/%s (tls_client_crl), good for %d days\n", v->paths.tls, CA_REVOKED,
		CRL_DAYS);
	return EX_OK;
}

static const struct ca_verb {
	const char *word, *arguments;
	int least, most;
	int (*run)(const struct invocation *v, int directory, struct text *why);
} ca_verbs[] = {
	{ "init", "nothing more", 0, 0, ca_init },
	{ "issue", "the names of the server, the first of which names the files", 1, MOST_NAMES, ca_issue_for },
	{ "list", "nothing more", 0, 0, ca_list },
	{ "revoke", "one serial number, address or name (valija cert ca list)", 1, 1, ca_revoke },
	{ "crl", "nothing more", 0, 0, ca_crl },
};

static int
ca(struct invocation *v)
{
	struct text why = TEXT_UP_TO(MOST_SENTENCE);
	const struct ca_verb *verb = NULL;
	int directory, status, given = v->argument_count - 1;

	for (size_t i = 0; i < sizeof ca_verbs / sizeof ca_verbs[0]; i++)
		if (strcmp(ca_verbs[i].word, v->arguments[0]) == 0)
			verb = &ca_verbs[i];
	if (verb == NULL)
		return cmd_fail(EX_USAGE, "there is no cert ca %s: init, issue, list, revoke, crl", v->arguments[0]);
	if (given < verb->least || given > verb->most)
		return cmd_fail(EX_USAGE, "cert ca %s wants %s", verb->word, verb->arguments);
	if ((directory = cert_directory(v)) < 0)
		return EX_NOINPUT;
	status = verb->run(v, directory, &why);
	if (why.len != 0)
		cmd_fail(0, "%s", text_str(&why));
	close(directory);
	text_clear(&why);
	return status;
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
