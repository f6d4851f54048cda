/*
 * cmd-init - makes a self-contained instance: users, directories, configuration, certificates.
 *
 * What is there already is kept, so that it completes an interrupted one and harms a running one
 * not.
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
#include "master/cmd.h"
#include "master/conf.h"
#include "master/layout.h"
#include "tlsproxy/ca.h"

#define MOST_CONF_TEXT 65536
#define MOST_PORT_BASE 64000

static const struct option_row options[] = {
	{ "--hostname", "NAME", "the server's full name (default: the machine's)", false },
	{ "--domain", "DOMAIN", "a domain whose mail it keeps; may be given more than once", true },
	{ "--port-base", "NUMBER", "added to every port: 10000 makes 10025, 10587 ...", false },
	{ NULL, NULL, NULL, false },
};

/* Nothing that could end a quoted string of the configuration may come in by an argument. */
static bool
is_plain(const char *s)
{
	return *s && !strpbrk(s, "\"\\\n\r${}");
}

static bool
compose(const struct invocation *v, struct text *conf, struct text *why)
{
	const char *hostname = cmd_option(v, "--hostname"), *base = cmd_option(v, "--port-base");
	struct span digits = span_str(base);
	uint64_t number = 0;
	bool first = true;

	text_add_str(conf,
		"# valija.conf(5). `valija check` looks it over, `valija reload` puts it in force.\n");
	if (hostname && !is_plain(hostname)) {
		text_printf(why, "--hostname %s: not a host name", hostname);
		return false;
	}
	if (hostname)
		text_printf(conf, "hostname = \"%s\"\n", hostname);
	text_add_str(conf, "domains = {");
	for (size_t i = 0; i < v->given_count; i++) {
		if (strcmp(v->given[i].row->name, "--domain") != 0)
			continue;
		if (!is_plain(v->given[i].value)) {
			text_printf(why, "--domain %s: not a domain", v->given[i].value);
			return false;
		}
		text_printf(conf, "%s\"%s\"", first ? "" : ", ", v->given[i].value);
		first = false;
	}
	text_add_str(conf, "}\n");
	if (base && (!span_take_number(&digits, MOST_PORT_BASE, &number) || digits.len)) {
		text_printf(
			why, "--port-base %s: needs a number from 0 to %d", base, MOST_PORT_BASE);
		return false;
	}
	if (number)
		text_printf(conf, "port_base = %llu\n", (unsigned long long)number);
	return !conf->failed;
}

/* Written aside, tried, and only then given its name. 0, or the exit code, told. */
static int
write_conf(const struct invocation *v, const struct text *conf)
{
	char *aside = paths_join(v->paths.conf_dir, "valija.conf.new");
	struct invocation trial = *v;
	struct settings *s = NULL;
	int status = EX_CANTCREAT, fd;

	unlink(aside);
	fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0 || fchmod(fd, 0644) < 0 || write_all(fd, conf->at, conf->len) < 0 ||
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
	if (link(aside, v->paths.conf) == 0 || errno == EEXIST)
		status = EX_OK;
	else
		cmd_fail(0, "%s: %s", v->paths.conf, strerror(errno));
out:
	if (fd >= 0)
		close(fd);
	unlink(aside);
	settings_free(&s);
	free(aside);
	return status;
}

/* The authority and the server's certificate, unless the configuration names others. */
static int
make_certificates(const struct invocation *v, const struct settings *s)
{
	struct text why = TEXT_UP_TO(MOST_WHY);
	char *hostname = must_copy(s->hostname),
	     *own = paths_join(v->paths.tls, SERVER_CERTIFICATE);
	int directory = open(v->paths.tls, O_RDONLY | O_DIRECTORY | O_CLOEXEC), status = EX_OK;

	if (!span_equal(s->tls_certificate, span_str(own)))
		printf("certificate: %.*s, as the configuration says\n",
			SPAN_ARG(s->tls_certificate));
	else if (directory < 0)
		status = cmd_fail(EX_CANTCREAT, "%s: %s", v->paths.tls, strerror(errno));
	else if (ca_make(directory, hostname, &why) < 0)
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

static int
complete(const struct invocation *v, const struct text *conf)
{
	struct settings *s;
	int status;

	if (access(v->paths.conf, F_OK) == 0)
		printf("configuration: %s is there already and was kept\n", v->paths.conf);
	else if ((status = write_conf(v, conf)) != EX_OK)
		return status;
	else
		printf("configuration: %s\n", v->paths.conf);
	if (!(s = cmd_settings(v, false)))
		return EX_CONFIG;
	status = make_certificates(v, s);
	settings_free(&s);
	return status;
}

static int
run(struct invocation *v)
{
	struct text conf = TEXT_UP_TO(MOST_CONF_TEXT), why = TEXT_UP_TO(MOST_WHY);
	int status;

	if (!compose(v, &conf, &why))
		status = cmd_fail(EX_USAGE, "%s", text_str(&why));
	else if (!layout_make_users(&why) || !layout_make(&v->paths, &why))
		status = cmd_fail(EX_CANTCREAT, "%s", text_str(&why));
	else
		status = complete(v, &conf);
	if (status == EX_OK)
		printf("next: valija%s%s user add NAME@DOMAIN, then valija%s%s start\n",
			v->dir ? " --dir " : "", v->dir ? v->dir : "", v->dir ? " --dir " : "",
			v->dir ? v->dir : "");
	text_clear(&conf);
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
