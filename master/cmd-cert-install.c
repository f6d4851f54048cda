/*
 * cmd-cert-install - puts certificates in place of the managed one, back again, or renews it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "master/cmd-cert.h"
#include "master/expiry-told.h"
#include "tlsproxy/authorities.h"
#include "tlsproxy/ca.h"
#include "tlsproxy/install.h"
#include "tlsproxy/issue.h"

static const struct option_row install_options[] = {
	{ "--any-name", NULL, "take it though it is not for the host name", false },
	{ NULL, NULL, NULL, false },
};
static const struct option_row renew_options[] = {
	{ "--if-due", NULL, "only when a third of its life is about to be left; likewise the revocation list in use", false },
	{ NULL, NULL, NULL, false },
};

static void
tell(const char *what, const struct certificate_facts *facts)
{
	printf("%s: %s, for %s, %d days left\nA running suite takes it into service within seconds.\n",
		what, facts->key, facts->names, facts->days_left);
}

/* Servers that the administrator never sees may refuse it, where his own browser knows the issuer. */
static void
warn_of_chain(const struct invocation *v, const struct settings *s)
{
	char *own = paths_join(v->paths.tls, SERVER_CERTIFICATE), *ca = paths_join(v->paths.tls, CA_CERTIFICATE),
	     *trust = must_copy(s->tls_trust);
	int fd = open(own, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0 && !certificate_chain_ends(fd, ca, trust))
		puts("warning: " INCOMPLETE_CHAIN);
	if (fd >= 0)
		close(fd);
	free(own);
	free(ca);
	free(trust);
}

static int
install(struct invocation *v)
{
	struct settings *s = cmd_settings(v, false);
	struct text crt = TEXT_UP_TO(0), key = TEXT_UP_TO(0), why = TEXT_UP_TO(MOST_SENTENCE);
	struct certificate_facts facts;
	char *hostname = s != NULL ? must_copy(s->hostname) : NULL;
	int directory = -1, status = EX_CONFIG;

	if (s == NULL || !cert_is_managed(v, s) || (directory = cert_directory(v)) < 0)
		goto out;
	status = EX_NOINPUT;
	if (!cert_read(v->arguments[0], &crt) ||
		(v->argument_count > 1 && !cert_read(v->arguments[1], &key)))
		goto out;
	if (install_pair(directory, text_span(&crt), text_span(&key), hostname,
		    cmd_option(v, "--any-name") != NULL, &facts, &why) < 0) {
		status = cmd_fail(EX_DATAERR, "%s: not installed: %s", v->arguments[0], text_str(&why));
	} else {
		tell("installed", &facts);
		warn_of_chain(v, s);
		status = EX_OK;
	}
out:
	if (directory >= 0)
		close(directory);
	text_clear(&crt);
	text_wipe(&key);
	text_clear(&why);
	free(hostname);
	settings_free(&s);
	return status;
}

static int
rollback(struct invocation *v)
{
	struct settings *s = cmd_settings(v, false);
	struct text why = TEXT_UP_TO(MOST_SENTENCE);
	struct certificate_facts facts;
	char *hostname = s != NULL ? must_copy(s->hostname) : NULL;
	int directory = -1, status = EX_CONFIG;

	if (s != NULL && cert_is_managed(v, s) && (directory = cert_directory(v)) >= 0) {
		if (install_rollback(directory, hostname, &facts, &why) < 0) {
			status = cmd_fail(EX_DATAERR, "nothing changed: %s", text_str(&why));
		} else {
			tell("back again", &facts);
			status = EX_OK;
		}
		close(directory);
	}
	text_clear(&why);
	free(hostname);
	settings_free(&s);
	return status;
}

/* A third of its life is about to be left. */
static bool
is_due(const char *path)
{
	struct certificate_facts facts;
	struct text why = TEXT_UP_TO(MOST_SENTENCE);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool due = true;

	if (fd >= 0 && certificate_check(fd, -1, NULL, &facts, &why) == 0)
		due = expiry_is_due(facts.not_before, facts.not_after, (int64_t)time(NULL));
	if (fd >= 0)
		close(fd);
	text_clear(&why);
	return due;
}

/* Is it of the authority that `valija init` made? */
static bool
is_of_ours(const struct invocation *v, const char *path)
{
	struct certificate_facts own = { .issuer = "" }, ca = { .subject = "" };
	struct text why = TEXT_UP_TO(MOST_SENTENCE);
	char *authority = paths_join(v->paths.tls, CA_CERTIFICATE);
	int fd = open(path, O_RDONLY | O_CLOEXEC), ca_fd = open(authority, O_RDONLY | O_CLOEXEC);
	bool ours = fd >= 0 && ca_fd >= 0 && certificate_check(fd, -1, NULL, &own, &why) == 0 &&
		certificate_check(ca_fd, -1, NULL, &ca, &why) == 0 && strcmp(own.issuer, ca.subject) == 0;

	if (fd >= 0)
		close(fd);
	if (ca_fd >= 0)
		close(ca_fd);
	free(authority);
	text_clear(&why);
	return ours;
}

static int
renew_certificate(struct invocation *v, const struct settings *s, bool if_due)
{
	struct text why = TEXT_UP_TO(MOST_SENTENCE);
	char *own = paths_join(v->paths.tls, SERVER_CERTIFICATE), *hostname = must_copy(s->hostname);
	int directory = -1, status = EX_CONFIG;

	if (if_due && (!cert_names_managed(v, s) || !is_of_ours(v, own) || !is_due(own))) {
		status = EX_OK; /* somebody else's matter, or too early */
	} else if (!cert_is_managed(v, s) || (directory = cert_directory(v)) < 0) {
		/* said */
	} else if (!is_of_ours(v, own)) {
		status = cmd_fail(EX_UNAVAILABLE,
			"%s is not of the authority that valija init made: whoever issued it renews it"
			" (valija cert csr, valija cert install)", own);
	} else if (ca_issue(directory, hostname, &why) < 0) {
		status = cmd_fail(EX_UNAVAILABLE, "not renewed: %s", text_str(&why));
	} else {
		printf("renewed: %s\nA running suite takes it into service within seconds.\n", own);
		status = EX_OK;
	}
	if (directory >= 0)
		close(directory);
	free(own);
	free(hostname);
	text_clear(&why);
	return status;
}

/* The revocation list of our authority, when it is in use and due: one that has ended lets nobody in who shows
 * a certificate. */
static int
renew_list(struct invocation *v, const struct settings *s)
{
	struct text why = TEXT_UP_TO(MOST_SENTENCE);
	char *own = paths_join(v->paths.tls, CA_REVOKED);
	int directory = -1, fd = -1, status = EX_OK;
	int64_t from, until;

	if (!span_equal(s->tls_client_crl, span_str(own)))
		goto out;
	fd = open(own, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0 && authorities_list_dates(fd, &from, &until, &why) == 0 &&
		(until < 0 || !expiry_is_due(from, until, (int64_t)time(NULL))))
		goto out;
	text_reset(&why);
	if ((directory = cert_directory(v)) < 0) {
		status = EX_NOINPUT;
	} else if (issue_crl(directory, &why) < 0) {
		status = cmd_fail(EX_UNAVAILABLE, "%s ends soon, and is not renewed: %s", own, text_str(&why));
	} else {
		printf("renewed: %s, good for %d days\n", own, CRL_DAYS);
	}
out:
	if (fd >= 0)
		close(fd);
	if (directory >= 0)
		close(directory);
	free(own);
	text_clear(&why);
	return status;
}

static int
renew(struct invocation *v)
{
	struct settings *s = cmd_settings(v, false);
	bool if_due = cmd_option(v, "--if-due") != NULL;
	int status, of_list;

	if (s == NULL)
		return EX_CONFIG;
	status = renew_certificate(v, s, if_due);
	of_list = if_due ? renew_list(v, s) : EX_OK;
	settings_free(&s);
	return status != EX_OK ? status : of_list;
}

const struct command cmd_cert_install = {
	.words = "cert install", .arguments = "CERTIFICATE [KEY]", .least = 1, .most = 2,
	.help = "check a certificate (PEM, with its chain) and put it in place of the managed one",
	.options = install_options, .run = install,
};
const struct command cmd_cert_rollback = {
	.words = "cert rollback", .arguments = "",
	.help = "put back the certificate, and its key, that the last install replaced", .run = rollback,
};
const struct command cmd_cert_renew = {
	.words = "cert renew", .arguments = "",
	.help = "issue the managed certificate anew by the instance's own authority",
	.options = renew_options, .run = renew,
};
