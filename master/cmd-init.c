/*
 * cmd-init - makes a self-contained instance: users, directories, configuration, certificates.
 *
 * What is there already is kept, so that it completes an interrupted one and harms a running one
 * not. Two things are made anew: a configuration that init (or a package by it) made, nobody changed
 * and nobody has a mailbox by; and our own certificate, when it is for another name or about to end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/settings.h"
#include "master/client.h"
#include "master/cmd.h"
#include "master/conf.h"
#include "master/layout.h"
#include "master/userbase.h"
#include "tlsproxy/ca.h"
#include "tlsproxy/certificate.h"

#define MOST_CONF_TEXT 65536
#define MOST_PORT_BASE 64000

static const struct option_row options[] = {
	{ "--hostname", "NAME", "the server's full name (default: the machine's)", false },
	{ "--domain", "DOMAIN", "a domain whose mail it keeps; may be given more than once",
		false },
	{ "--port-base", "NUMBER", "added to every port: 10000 makes 10025, 10587 ...", false },
	{ NULL, NULL, NULL, false },
};

/* What a configuration says that init makes. */
struct draft {
	struct span hostname; /* empty: not said, the machine's */
	struct span domains[MOST_OPTIONS];
	size_t domain_count;
	uint64_t port_base;
	bool says_port_base;
};

/* Nothing that could end a quoted string of the configuration may come in by an argument. */
static bool
is_plain(const char *s)
{
	return *s && !strpbrk(s, "\"\\\n\r${}");
}

/* What the command line says. False with a sentence. */
static bool
draft_take(struct draft *d, const struct invocation *v, struct text *why)
{
	const char *hostname = cmd_option(v, "--hostname"), *base = cmd_option(v, "--port-base");
	struct span digits = span_str(base);

	if (hostname && !is_plain(hostname)) {
		text_printf(why, "--hostname %s: not a host name", hostname);
		return false;
	}
	d->hostname = span_str(hostname);
	for (size_t i = 0; i < v->given_count; i++) {
		if (strcmp(v->given[i].row->name, "--domain") != 0)
			continue;
		if (!is_plain(v->given[i].value)) {
			text_printf(why, "--domain %s: not a domain", v->given[i].value);
			return false;
		}
		d->domains[d->domain_count++] = span_str(v->given[i].value);
	}
	d->says_port_base = base != NULL;
	if (base && (!span_take_number(&digits, MOST_PORT_BASE, &d->port_base) || digits.len)) {
		text_printf(
			why, "--port-base %s: needs a number from 0 to %d", base, MOST_PORT_BASE);
		return false;
	}
	return true;
}

static void
draft_write(const struct draft *d, struct text *conf)
{
	text_add_str(conf,
		"# valija.conf(5). `valija check` looks it over, `valija reload` puts it in force.\n");
	if (d->hostname.len)
		text_printf(conf, "hostname = \"%.*s\"\n", SPAN_ARG(d->hostname));
	text_add_str(conf, "domains = {");
	for (size_t i = 0; i < d->domain_count; i++)
		text_printf(conf, "%s\"%.*s\"", i ? ", " : "", SPAN_ARG(d->domains[i]));
	text_add_str(conf, "}\n");
	if (d->port_base)
		text_printf(conf, "port_base = %llu\n", (unsigned long long)d->port_base);
}

/* --- a configuration that is there already --- */

/* Does it say what the command line says, as far as that says anything? */
static bool
draft_fits(const struct draft *d, const struct settings *s)
{
	bool fits = (!d->hostname.len || span_equal_nocase(d->hostname, s->hostname)) &&
		(!d->domain_count || d->domain_count == s->domains.count) &&
		(!d->says_port_base || d->port_base == s->port_base);

	for (size_t i = 0; fits && i < d->domain_count; i++)
		fits = span_equal_nocase(d->domains[i], s->domains.at[i]);
	return fits;
}

static bool
is_text_of(const struct draft *d, struct span file)
{
	struct text conf = TEXT_UP_TO(MOST_CONF_TEXT);
	bool same;

	draft_write(d, &conf);
	same = span_equal(text_span(&conf), file);
	text_clear(&conf);
	return same;
}

/* Is it, to the byte, what init made (or a package by it), with nobody's work in it? */
static bool
is_untouched(const struct invocation *v, const struct settings *s)
{
	struct draft d = { .hostname = s->hostname, .port_base = s->port_base };
	char at[MOST_CONF_TEXT];
	int fd = open(v->paths.conf, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, at, sizeof at);

	if (fd >= 0)
		close(fd);
	if (n < 0 || s->domains.count > MOST_OPTIONS)
		return false;
	while (d.domain_count < s->domains.count) {
		d.domains[d.domain_count] = s->domains.at[d.domain_count];
		d.domain_count++;
	}
	if (is_text_of(&d, span_of(at, (size_t)n)))
		return true;
	d.hostname = span_str("");
	return is_text_of(&d, span_of(at, (size_t)n));
}

static bool
one_is_enough(void *me, const struct user *u)
{
	(void)u;
	*(bool *)me = true;
	return false;
}

/* True when that cannot be told. */
static bool
has_users(const struct invocation *v)
{
	struct text why = TEXT_UP_TO(MOST_WHY);
	struct userbase *base = userbase_open(&v->paths, &why);
	bool any = false;

	any = !base || !userbase_each(base, one_is_enough, &any) || any;
	userbase_close(&base);
	text_clear(&why);
	return any;
}

static int
tell_difference(const struct invocation *v, const struct settings *s)
{
	struct text domains = TEXT_UP_TO(1024);

	for (size_t i = 0; i < s->domains.count; i++)
		text_printf(&domains, "%s%.*s", i ? ", " : "", SPAN_ARG(s->domains.at[i]));
	cmd_fail(0,
		"%s is there already, with hostname %.*s, domains %s and port_base %llu: change it there; `valija init` then makes a certificate for a new name",
		v->paths.conf, SPAN_ARG(s->hostname), text_str(&domains),
		(unsigned long long)s->port_base);
	text_clear(&domains);
	return EX_CANTCREAT;
}

/* --- making --- */

/* Written aside, tried, and only then given its name. 0, or the exit code, told. */
static int
write_conf(const struct invocation *v, const struct draft *d, bool replace)
{
	struct text conf = TEXT_UP_TO(MOST_CONF_TEXT);
	char *aside = paths_join(v->paths.conf_dir, "valija.conf.new");
	struct invocation trial = *v;
	struct settings *s = NULL;
	int status = EX_CANTCREAT, fd;

	draft_write(d, &conf);
	unlink(aside);
	fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0 || conf.failed || fchmod(fd, 0644) < 0 || write_all(fd, conf.at, conf.len) < 0 ||
		fsync(fd) < 0) {
		cmd_fail(0, "%s: %s", aside, strerror(errno));
		goto out;
	}
	trial.paths.conf = aside;
	status = EX_USAGE;
	if (!(s = cmd_settings(&trial, false)))
		goto out;
	status = EX_CANTCREAT;
	/* link, not rename: a configuration that came meanwhile is not overwritten. */
	if (replace ? rename(aside, v->paths.conf) == 0
		    : link(aside, v->paths.conf) == 0 || errno == EEXIST)
		status = EX_OK;
	else
		cmd_fail(0, "%s: %s", v->paths.conf, strerror(errno));
out:
	if (fd >= 0)
		close(fd);
	unlink(aside);
	settings_free(&s);
	text_clear(&conf);
	free(aside);
	return status;
}

/* The certificate of our own authority that is there: is it for another name, or about to end? */
static bool
needs_another(const char *certificate, const char *hostname)
{
	struct certificate_facts facts;
	struct text why = TEXT_UP_TO(MOST_WHY);
	int fd = open(certificate, O_RDONLY | O_CLOEXEC);
	bool needs = fd >= 0 && certificate_check(fd, -1, hostname, &facts, &why) == 0 &&
		(!facts.names_host || facts.days_left < WARN_DAYS);

	if (fd >= 0)
		close(fd);
	text_clear(&why);
	return needs;
}

/* The authority and the server's certificate, unless the configuration names others. */
static int
make_certificates(const struct invocation *v, const struct settings *s)
{
	struct text why = TEXT_UP_TO(MOST_WHY);
	char *hostname = must_copy(s->hostname),
	     *own = paths_join(v->paths.tls, SERVER_CERTIFICATE);
	int directory = open(v->paths.tls, O_RDONLY | O_DIRECTORY | O_CLOEXEC), status = EX_OK;

	if (s->tls_certificate.count != 1 || !span_equal(s->tls_certificate.at[0], span_str(own)))
		printf("certificate: %.*s%s, as the configuration says\n",
			SPAN_ARG(s->tls_certificate.at[0]),
			s->tls_certificate.count > 1 ? " and others" : "");
	else if (directory < 0)
		status = cmd_fail(EX_CANTCREAT, "%s: %s", v->paths.tls, strerror(errno));
	else if (ca_make(directory, hostname, &why) < 0 ||
		(needs_another(own, hostname) && ca_issue(directory, hostname, &why) < 0))
		status = cmd_fail(EX_CANTCREAT, "%s: %s", v->paths.tls, text_str(&why));
	else
		printf("certificate: %s, for %s, of the authority %s/%s\n", own, hostname,
			v->paths.tls, CA_CERTIFICATE);
	if (directory >= 0)
		close(directory);
	text_clear(&why);
	free(hostname);
	free(own);
	return status;
}

/* The configuration: kept, replaced where nobody's work is lost, or made. */
static int
make_conf(const struct invocation *v, const struct draft *d)
{
	struct settings *s;
	int status;

	if (access(v->paths.conf, F_OK) < 0) {
		if ((status = write_conf(v, d, false)) == EX_OK)
			printf("configuration: %s\n", v->paths.conf);
		return status;
	}
	if (!(s = cmd_settings(v, false)))
		return EX_CONFIG;
	if (draft_fits(d, s)) {
		printf("configuration: %s is there already and was kept\n", v->paths.conf);
		status = EX_OK;
	} else if (d->domain_count == 0 || !is_untouched(v, s) || has_users(v)) {
		status = tell_difference(v, s);
	} else if ((status = write_conf(v, d, true)) == EX_OK) {
		printf("configuration: %s, in place of the one for %.*s, which had no users\n",
			v->paths.conf, SPAN_ARG(s->hostname));
	}
	settings_free(&s);
	return status;
}

static int
complete(const struct invocation *v, const struct draft *d)
{
	struct settings *s;
	int status = make_conf(v, d);

	if (status != EX_OK)
		return status;
	if (!(s = cmd_settings(v, false)))
		return EX_CONFIG;
	status = make_certificates(v, s);
	settings_free(&s);
	return status;
}

static int
run(struct invocation *v)
{
	struct draft d = { .domain_count = 0 };
	struct text why = TEXT_UP_TO(MOST_WHY);
	const char *dir = v->dir ? v->dir : "", *option = v->dir ? " --dir " : "";
	int status;

	if (!draft_take(&d, v, &why))
		status = cmd_fail(EX_USAGE, "%s", text_str(&why));
	else if (d.domain_count == 0 && access(v->paths.conf, F_OK) < 0)
		status = cmd_fail(EX_USAGE, "init needs --domain DOMAIN");
	else if (!layout_make_users(&why) || !layout_make(&v->paths, &why))
		status = cmd_fail(EX_CANTCREAT, "%s", text_str(&why));
	else
		status = complete(v, &d);
	if (status == EX_OK && client_is_locked(&v->paths))
		printf("next: valija%s%s reload\n", option, dir);
	else if (status == EX_OK)
		printf("next: valija%s%s user add NAME@DOMAIN, then valija%s%s start\n", option,
			dir, option, dir);
	text_clear(&why);
	return status;
}

const struct command cmd_init = {
	.words = "init",
	.arguments = "",
	.help = "make an instance, or complete one: directories, configuration, certificates",
	.options = options,
	.run = run,
};
