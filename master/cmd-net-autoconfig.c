/*
 * cmd-net-autoconfig - writes what mail programs fetch to set themselves up, below a directory for a web
 * server.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "master/cmd.h"
#include "master/net-autoconfig.h"
#include "master/net-records.h"

#define MOST_FILE_NAME 512

static const struct option_row options[] = {
	{ "--to", "DIR", "the directory, made where it is missing; below it one for each domain", true },
	{ NULL, NULL, NULL, false },
};

/* Makes the directories of "a/b/c" below `root`, but not c. False with errno. */
static bool
make_directories(int root, const char *name)
{
	char part[MOST_FILE_NAME];

	for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
		span_copy(span_of(name, (size_t)(slash - name)), part, sizeof part);
		if (mkdirat(root, part, 0755) < 0 && errno != EEXIST)
			return false;
	}
	return true;
}

/* A file that a web server reads: whole, or the old one. False after complaining. */
static bool
write_file(int root, const char *name, struct span bytes)
{
	char fresh[MOST_FILE_NAME];
	bool good = false;
	int fd;

	snprintf(fresh, sizeof fresh, "%s.new", name);
	if (!make_directories(root, name) ||
		(unlinkat(root, fresh, 0) < 0 && errno != ENOENT) ||
		(fd = openat(root, fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644)) < 0) {
		cmd_fail(EX_CANTCREAT, "%s: %s", name, strerror(errno));
		return false;
	}
	while (bytes.len) {
		ssize_t n = write(fd, bytes.at, bytes.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		bytes = span_part(bytes, (size_t)n, bytes.len);
	}
	good = bytes.len == 0 && fchmod(fd, 0644) == 0 && fsync(fd) == 0;
	good = close(fd) == 0 && good && renameat(root, fresh, root, name) == 0;
	if (!good) {
		cmd_fail(EX_IOERR, "%s: %s", name, strerror(errno));
		unlinkat(root, fresh, 0);
	} else {
		printf("%s\n", name);
	}
	return good;
}

typedef void put_settings(const struct survey *v, const char *domain, struct text *to);

static bool
write_settings(const struct survey *v, int root, const char *domain, const char *file, put_settings *put)
{
	struct text text = TEXT_UP_TO(MOST_AUTOCONFIG);
	char name[MOST_FILE_NAME];
	bool good;

	put(v, domain, &text);
	snprintf(name, sizeof name, "%s/%s", domain, file);
	good = !text.failed && write_file(root, name, text_span(&text));
	text_clear(&text);
	return good;
}

static void
put_policy(const struct survey *v, const char *domain, struct text *to)
{
	(void)domain;
	net_sts_policy(v, to);
}

/* Signed where that can be done; a device says then whom it is from. */
static bool
write_profile(const struct survey *v, int root, const char *domain)
{
	struct text plain = TEXT_UP_TO(MOST_AUTOCONFIG), sealed = TEXT_UP_TO(4 * MOST_AUTOCONFIG),
		    why = TEXT_UP_TO(512);
	char name[MOST_FILE_NAME];
	bool is_signed, good;

	net_apple_put(v, domain, &plain);
	is_signed = net_apple_sign(v, text_span(&plain), &sealed, &why);
	if (!is_signed)
		fprintf(stderr, "valija: %s.mobileconfig is not signed: %s\n", domain, text_str(&why));
	snprintf(name, sizeof name, "%s/%s.mobileconfig", domain, domain);
	good = write_file(root, name, text_span(is_signed ? &sealed : &plain));
	text_clear(&plain);
	text_clear(&sealed);
	text_clear(&why);
	return good;
}

static bool
write_server(const struct survey *v, int root, const char *domain, const char *place, const char *file,
	void (*put)(const struct survey *, const char *, const char *, struct text *))
{
	struct text text = TEXT_UP_TO(MOST_AUTOCONFIG);
	char name[MOST_FILE_NAME];
	bool good;

	put(v, domain, place, &text);
	snprintf(name, sizeof name, "%s/%s", domain, file);
	good = !text.failed && write_file(root, name, text_span(&text));
	text_clear(&text);
	return good;
}

static bool
write_domain(const struct survey *v, int root, const char *place, const char *domain)
{
	return write_settings(v, root, domain, "mail/config-v1.1.xml", net_thunderbird_put) &&
		write_settings(v, root, domain, ".well-known/autoconfig/mail/config-v1.1.xml",
			net_thunderbird_put) &&
		write_settings(v, root, domain, "autodiscover/autodiscover.xml", net_outlook_put) &&
		write_settings(v, root, domain, ".well-known/mta-sts.txt", put_policy) &&
		write_settings(v, root, domain, "records.zone", net_zone_put) &&
		write_profile(v, root, domain) &&
		write_server(v, root, domain, place, "nginx.conf", net_nginx_put) &&
		write_server(v, root, domain, place, "apache.conf", net_apache_put);
}

/* Domains come from valija.conf, which knows no slash in them; still nothing but a name may become one. */
static bool
is_plain(const char *domain)
{
	return domain[0] != '.' && !strchr(domain, '/') && strlen(domain) <= MOST_HOST;
}

static int
write_all(const struct survey *v, int root, const char *place)
{
	int status = EX_OK;

	for (size_t i = 0; i < v->s->domains.count && status == EX_OK; i++) {
		char *domain = must_copy(v->s->domains.at[i]);

		if (is_plain(domain) && !write_domain(v, root, place, domain))
			status = EX_CANTCREAT;
		free(domain);
	}
	if (v->s->domains.count == 0)
		status = cmd_fail(EX_CONFIG, "domains is empty in valija.conf");
	return status;
}

static int
run(struct invocation *in)
{
	struct survey *v = must_alloc(sizeof *v);
	const char *to = cmd_option(in, "--to");
	char *place = NULL;
	int status = EX_CONFIG, root = -1;

	if (!net_survey_begin(v, in, false))
		goto out;
	status = EX_CANTCREAT;
	if ((mkdir(to, 0755) < 0 && errno != EEXIST) ||
		(root = open(to, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0 || !(place = realpath(to, NULL))) {
		cmd_fail(status, "%s: %s", to, strerror(errno));
		goto out;
	}
	status = write_all(v, root, place);
out:
	if (root >= 0)
		close(root);
	free(place);
	net_survey_end(v);
	return status;
}

const struct command cmd_net_autoconfig = {
	.words = "net autoconfig",
	.arguments = "",
	.help = "write what Thunderbird, Outlook and Apple devices fetch to set themselves up, for a web server",
	.options = options,
	.run = run,
};
