/*
 * cmd-cert - shows and checks the certificates of the configuration. What makes certificates is in
 * cmd-cert-make.c, what puts them in place in cmd-cert-install.c.
 */
#include "master/cmd-cert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/secret.h"
#include "master/json.h"
#include "tlsproxy/authorities.h"
#include "tlsproxy/ca.h"
#include "tlsproxy/certificate.h"
#include "tlsproxy/chain.h"
#include "tlsproxy/install.h"

#define HIGHEST_STATUS 3
#define LIST_WARN_DAYS 3          /* a running suite renews its own ten days ahead and more */
#define SECONDS_A_DAY 86400

static const struct option_row json_options[] = {
	{ "--json", NULL, "as JSON", false },
	{ NULL, NULL, NULL, false },
};
static const struct option_row check_options[] = {
	{ "--days", "DAYS", "warn so long before the end (21)", false },
	{ NULL, NULL, NULL, false },
};

/* --- shared --- */

int
cert_directory(const struct invocation *v)
{
	int fd = open(v->paths.tls, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		cmd_fail(0, "%s: %s", v->paths.tls, strerror(errno));
	return fd;
}

bool
cert_names_managed(const struct invocation *v, const struct settings *s)
{
	char *own = paths_join(v->paths.tls, SERVER_CERTIFICATE), *key = paths_join(v->paths.tls, SERVER_KEY);
	bool managed = s->tls_certificate.count == 1 &&
		span_equal(s->tls_certificate.at[0], span_str(own)) &&
		span_equal(s->tls_key.at[0], span_str(key));

	free(own);
	free(key);
	return managed;
}

bool
cert_is_managed(const struct invocation *v, const struct settings *s)
{
	bool managed = cert_names_managed(v, s);

	if (!managed)
		cmd_fail(0,
			"the configuration names certificates of its own (tls_certificate): change those"
			" files; what changes is taken into service by itself");
	return managed;
}

const char **
cert_names(const struct invocation *v, const char *hostname, size_t *count)
{
	size_t given = (size_t)v->argument_count;
	const char **names = must_alloc((given + 1) * sizeof *names);

	for (size_t i = 0; i < given; i++)
		names[i] = v->arguments[i];
	if (given == 0)
		names[0] = hostname;
	*count = given == 0 ? 1 : given;
	return names;
}

int
cert_write(const char *path, unsigned int mode, struct span content)
{
	size_t done = 0;
	int fd = STDOUT_FILENO;

	if (path == NULL) {
		return fwrite(content.at, 1, content.len, stdout) == content.len
			? EX_OK : cmd_fail(EX_IOERR, "the output could not be written");
	}
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, (mode_t)mode);
	if (fd < 0)
		return cmd_fail(EX_CANTCREAT, "%s: %s", path, strerror(errno));
	while (done < content.len) {
		ssize_t wrote = write(fd, content.at + done, content.len - done);

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0)
			break;
		done += (size_t)wrote;
	}
	if (done < content.len || fsync(fd) < 0) {
		cmd_fail(0, "%s: %s", path, strerror(errno));
		close(fd);
		unlink(path);
		return EX_IOERR;
	}
	close(fd);
	return EX_OK;
}

bool
cert_read(const char *path, struct text *to)
{
	struct text why = TEXT_UP_TO(MOST_SENTENCE);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool read = false;

	if (fd < 0)
		cmd_fail(0, "%s: %s", path, strerror(errno));
	else if (!(read = chain_read_file(fd, path, MOST_CERTIFICATE_FILE, to, &why) == 0))
		cmd_fail(0, "%s", text_str(&why));
	if (fd >= 0)
		close(fd);
	text_clear(&why);
	return read;
}

/* --- looking --- */

/* One certificate of the configuration, as it is found on disk. */
struct found {
	struct span crt, key;
	bool good, ends;       /* ends: clients can get from it to an authority */
	struct certificate_facts facts;
	char reason[MOST_SENTENCE];
};

int
cert_open(struct span name)
{
	char *path = must_copy(name);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	free(path);
	return fd;
}

static void
look(const struct invocation *v, const struct settings *s, struct span crt, struct span key, const char *hostname,
	struct found *f)
{
	char *own = paths_join(v->paths.tls, CA_CERTIFICATE), *trust = must_copy(s->tls_trust);
	struct text why = TEXT_UP_TO(MOST_SENTENCE - 1);
	int chain_fd = cert_open(crt), key_fd = chain_fd < 0 ? -1 : cert_open(key);

	memset(f, 0, sizeof *f);
	f->crt = crt;
	f->key = key;
	if (chain_fd < 0 || (key_fd < 0 && errno != EACCES))
		text_printf(&why, "%.*s: %s", SPAN_ARG(chain_fd < 0 ? crt : key), strerror(errno));
	else
		/* Who may not read the key sees all but whether it fits. */
		f->good = certificate_check(chain_fd, key_fd, hostname, &f->facts, &why) == 0;
	(void)span_copy(text_span(&why), f->reason, sizeof f->reason);
	f->ends = f->good && certificate_chain_ends(chain_fd, own, trust);
	free(own);
	free(trust);
	if (chain_fd >= 0)
		close(chain_fd);
	if (key_fd >= 0)
		close(key_fd);
	text_clear(&why);
}

/* What is wrong with it, in words; "" for nothing. `days`: an end nearer than this is worth a word. */
static const char *
problem(const struct found *f, bool name_matters, int days, int *grade)
{
	*grade = 2;
	if (!f->good)
		return f->reason;
	if (f->facts.days_left < 0)
		return "it has expired";
	if (f->facts.not_yet)
		return "it is not valid yet";
	*grade = 1;
	if (f->facts.days_left < days)
		return "it ends soon";
	if (name_matters && !f->facts.names_host)
		return "it is not for the host name";
	if (!f->ends)
		return INCOMPLETE_CHAIN;
	*grade = 0;
	return "";
}

static void
date(int64_t seconds, char to[32])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL || strftime(to, 32, "%Y-%m-%d %H:%M", &tm) == 0)
		snprintf(to, 32, "?");
}

static void
show_one(const struct found *f, const struct settings *s, bool first, bool only)
{
	char from[32], to[32];
	int grade;
	const char *wrong = problem(f, only, WARN_DAYS, &grade);

	printf("%.*s\n  key       %.*s\n", SPAN_ARG(f->crt), SPAN_ARG(f->key));
	if (f->good) {
		date(f->facts.not_before, from);
		date(f->facts.not_after, to);
		printf("  kind      %s\n  names     %s\n  subject   %s\n  issuer    %s\n"
		       "  valid     %s to %s UTC, %d days left\n",
			f->facts.key, f->facts.names, f->facts.subject, f->facts.issuer, from, to,
			f->facts.days_left);
	}
	printf("  used by   %s", first ? "who asks for one of its names, and who names no server we know"
				    : "who asks for one of its names");
	for (size_t i = 0; i < s->tls_default.count; i++)
		printf("%s%.*s", i == 0 ? "; by default " : ", ", SPAN_ARG(s->tls_default.at[i]));
	printf("\n%s%s%s", wrong[0] ? "  problem   " : "", wrong, wrong[0] ? "\n" : "");
}

static void
json_one(struct json *j, const struct found *f, bool only)
{
	int grade;
	const char *wrong = problem(f, only, WARN_DAYS, &grade);

	json_open(j, NULL, '{');
	json_text(j, "certificate", f->crt);
	json_text(j, "key", f->key);
	if (f->good) {
		json_text(j, "kind", span_str(f->facts.key));
		json_text(j, "names", span_str(f->facts.names));
		json_text(j, "subject", span_str(f->facts.subject));
		json_text(j, "issuer", span_str(f->facts.issuer));
		json_number(j, "not_before", f->facts.not_before);
		json_number(j, "not_after", f->facts.not_after);
		json_number(j, "days_left", f->facts.days_left);
	}
	json_text(j, "problem", span_str(wrong));
	json_close(j, '}');
}

static int
show(struct invocation *v)
{
	struct settings *s = cmd_settings(v, false);
	struct json j = { .to = stdout };
	bool as_json = cmd_option(v, "--json") != NULL;
	char *hostname;

	if (s == NULL)
		return EX_CONFIG;
	hostname = must_copy(s->hostname);
	if (as_json)
		json_open(&j, NULL, '[');
	for (size_t i = 0; i < s->tls_certificate.count && i < s->tls_key.count; i++) {
		struct found f;

		look(v, s, s->tls_certificate.at[i], s->tls_key.at[i], hostname, &f);
		if (as_json)
			json_one(&j, &f, s->tls_certificate.count == 1);
		else
			show_one(&f, s, i == 0, s->tls_certificate.count == 1);
	}
	if (as_json) {
		json_close(&j, ']');
		putchar('\n');
	}
	free(hostname);
	settings_free(&s);
	return EX_OK;
}

/* A line about the revocation list that people's certificates are judged by; its grade. */
static int
check_list(const struct settings *s)
{
	struct text why = TEXT_UP_TO(MOST_SENTENCE);
	int64_t from, until = -1, left;
	int fd = cert_open(s->tls_client_crl), grade = 2;

	if (fd < 0) {
		text_printf(&why, "%s", strerror(errno));
	} else if (authorities_list_dates(fd, &from, &until, &why) == 0) {
		left = until - (int64_t)time(NULL);
		grade = until < 0 ? 0 : left < 0 ? 2 : left < LIST_WARN_DAYS * SECONDS_A_DAY ? 1 : 0;
		if (until < 0)
			text_printf(&why, "it has no end");
		else if (left < 0)
			text_printf(&why, "the revocation list has ended: certificates of people are refused"
				" (valija cert ca crl)");
		else
			text_printf(&why, "%lld days left%s", (long long)(left / SECONDS_A_DAY),
				grade == 1 ? "; it ends soon (valija cert ca crl)" : "");
	}
	printf("%s: %.*s: %s\n", grade == 2 ? "CRITICAL" : grade == 1 ? "WARNING" : "OK",
		SPAN_ARG(s->tls_client_crl), text_str(&why));
	if (fd >= 0)
		close(fd);
	text_clear(&why);
	return grade;
}

/* For monitoring: a line, and 0, 1 (warning), 2 (critical) or 3 (unknown), as its plug-ins do. */
static int
check(struct invocation *v)
{
	struct settings *s = cmd_settings(v, false);
	const char *said = cmd_option(v, "--days");
	struct span days_text = span_str(said);
	uint64_t days = WARN_DAYS;
	int worst = 0, grade;
	char *hostname;
	bool named = false;

	if (s == NULL || (said && (!span_take_number(&days_text, 10000, &days) || days_text.len != 0))) {
		puts("UNKNOWN: the configuration or --days cannot be understood");
		settings_free(&s);
		return HIGHEST_STATUS;
	}
	hostname = must_copy(s->hostname);
	for (size_t i = 0; i < s->tls_certificate.count && i < s->tls_key.count; i++) {
		struct found f;
		const char *wrong;

		look(v, s, s->tls_certificate.at[i], s->tls_key.at[i], hostname, &f);
		named = named || f.facts.names_host;
		wrong = problem(&f, false, (int)days, &grade);
		worst = grade > worst ? grade : worst;
		printf("%s: %.*s: ", grade == 2 ? "CRITICAL" : grade == 1 ? "WARNING" : "OK",
			SPAN_ARG(f.crt));
		if (f.good)
			printf("%d days left%s%s\n", f.facts.days_left, wrong[0] ? "; " : "", wrong);
		else
			printf("%s\n", wrong);
	}
	if (s->tls_client_crl.len != 0 && (grade = check_list(s)) > worst)
		worst = grade;
	if (!named && worst < 2) {
		printf("WARNING: no certificate is for %s\n", hostname);
		worst = worst < 1 ? 1 : worst;
	}
	free(hostname);
	settings_free(&s);
	return worst;
}

/* RFC 7672 3.1.1: 3 1 1 is what survives a renewal with the same key. */
static void
print_tlsa(const char *hostname, unsigned int port, const unsigned char digest[32], const char *comment)
{
	struct text hex = TEXT_UP_TO(65);

	text_add_hex(&hex, span_of(digest, 32));
	printf("_%u._tcp.%s. IN TLSA 3 1 1 %s ; %s\n", port, hostname, text_str(&hex), comment);
	text_clear(&hex);
}

static int
tlsa(struct invocation *v)
{
	struct settings *s = cmd_settings(v, false);
	struct text why = TEXT_UP_TO(MOST_SENTENCE);
	unsigned char digest[32];
	char *hostname;
	int status = EX_OK, directory;

	if (s == NULL)
		return EX_CONFIG;
	hostname = must_copy(s->hostname);
	for (size_t i = 0; i < s->tls_certificate.count && status == EX_OK; i++) {
		struct certificate_facts facts;
		int fd = cert_open(s->tls_certificate.at[i]);

		if (fd < 0 || certificate_check(fd, -1, NULL, &facts, &why) < 0)
			status = cmd_fail(EX_NOINPUT, "%.*s: %s", SPAN_ARG(s->tls_certificate.at[i]),
				fd < 0 ? strerror(errno) : text_str(&why));
		else
			print_tlsa(hostname, 25, facts.key_digest, "the key in service");
		if (fd >= 0)
			close(fd);
	}
	if (status == EX_OK && (directory = cert_directory(v)) >= 0) {
		if (certificate_key_digest(directory, NEXT_KEY, digest) == 0)
			print_tlsa(hostname, 25, digest, "the next key (valija cert csr)");
		close(directory);
	}
	text_clear(&why);
	free(hostname);
	settings_free(&s);
	return status;
}

const struct command cmd_cert_show = {
	.words = "cert show", .arguments = "",
	.help = "show the certificates in the configuration: names, dates, problems, who uses them",
	.options = json_options, .run = show,
};
const struct command cmd_cert_check = {
	.words = "cert check", .arguments = "",
	.help = "one line for each certificate; for monitoring: exit status 0 fine, 1 warning, 2 critical",
	.options = check_options, .run = check,
};
const struct command cmd_cert_tlsa = {
	.words = "cert tlsa", .arguments = "",
	.help = "print TLSA records (DANE) for the keys in service and the next one", .run = tlsa,
};
