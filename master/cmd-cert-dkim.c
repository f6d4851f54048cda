/*
 * cmd-cert-dkim - makes the key that signs mail of a domain, and prints its DNS record.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/settings.h"
#include "master/cmd.h"
#include "master/json.h"
#include "tlsproxy/dkim-make.h"

#define TXT_STRING 255               /* octets of one string of a TXT record (RFC 1035 3.3.14) */

static const struct option_row options[] = {
	{ "--selector", "NAME", "the key's name in DNS; default: the letter v and today's date", false },
	{ "--algorithm", "A", "rsa (default) or ed25519", false },
	{ "--json", NULL, "as JSON", false },
	{ NULL, NULL, NULL, false },
};

/* Makes the directories of `path` below an existing one, for their owner alone. */
static int
make_directories(const char *directory, struct span domain, struct text *path)
{
	text_add_str(path, directory);
	if (mkdir(text_str(path), 0700) < 0 && errno != EEXIST)
		return -1;
	text_add_byte(path, '/');
	text_add(path, domain);
	return mkdir(text_str(path), 0700) < 0 && errno != EEXIST ? -1 : 0;
}

static int
sync_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), result;

	if (fd < 0)
		return -1;
	result = fsync(fd);
	close(fd);
	return result;
}

/* A new file, durable; one that is there is never touched. */
static int
write_key(const char *path, const char *directory, struct span pem)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0400), saved;

	if (fd < 0)
		return -1;
	if (write_all(fd, pem.at, pem.len) == 0 && fsync(fd) == 0 && sync_directory(directory) == 0)
		return close(fd);
	saved = errno;
	close(fd);
	unlink(path);
	errno = saved;
	return -1;
}

static int
read_key(const char *path, struct text *pem)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	unsigned char bytes[MOST_DKIM_PEM];
	ssize_t got;

	if (fd < 0)
		return -1;
	got = read_at(fd, bytes, sizeof(bytes), 0);
	close(fd);
	if (got > 0)
		text_add(pem, span_of(bytes, (size_t)got));
	explicit_bzero(bytes, sizeof(bytes));
	return got < 0 ? -1 : 0;
}

static void
print_zone(const struct dkim_entry *e, struct span record)
{
	printf("%.*s._domainkey.%.*s. 3600 IN TXT", SPAN_ARG(e->selector), SPAN_ARG(e->domain));
	for (size_t at = 0; at < record.len; at += TXT_STRING)
		printf(" \"%.*s\"", SPAN_ARG(span_part(record, at, TXT_STRING)));
	putchar('\n');
}

static void
print_all(const struct invocation *v, const struct dkim_entry *e, struct span record, const char *path)
{
	const char *suffix = e->algorithm == DKIM_ED25519 ? ":ed25519" : "";

	if (cmd_option(v, "--json")) {
		struct json json = { .to = stdout };

		json_open(&json, NULL, '{');
		json_text(&json, "domain", e->domain);
		json_text(&json, "selector", e->selector);
		json_text(&json, "algorithm", span_str(dkim_algorithm_name(e->algorithm)));
		json_text(&json, "file", span_str(path));
		json_text(&json, "record", record);
		json_close(&json, '}');
		putchar('\n');
		return;
	}
	print_zone(e, record);
	printf("; The key is in %s. Publish this record, then add to %s\n"
		";     dkim = { \"%.*s:%.*s%s\" }\n; and type `valija reload`: what is submitted is signed from then on.\n",
		path, v->paths.conf, SPAN_ARG(e->domain), SPAN_ARG(e->selector), suffix);
}

static bool
entry_of(struct invocation *v, struct dkim_entry *e, struct text *text)
{
	const char *selector = cmd_option(v, "--selector"), *algorithm = cmd_option(v, "--algorithm");
	char today[20];
	time_t now = time(NULL);
	struct tm when;

	if (!selector && localtime_r(&now, &when)) {
		(void)strftime(today, sizeof(today), "v%Y%m%d", &when);
		selector = today;
	}
	text_printf(text, "%s:%s:%s", v->arguments[0], selector, algorithm ? algorithm : "rsa");
	return !text->failed && dkim_entry_parse(text_span(text), e);
}

/* The key's file, made unless it is there, and its content. A code of sysexits.h. */
static int
obtain_key(const struct settings *s, const struct dkim_entry *e, struct text *path, struct text *pem)
{
	struct text made = TEXT_UP_TO(MOST_DKIM_PEM), why = TEXT_UP_TO(500);
	char *root = must_copy(s->dkim_directory), *directory = NULL;
	int result = EX_OK;

	if (make_directories(root, e->domain, path) < 0) {
		result = cmd_fail(EX_CANTCREAT, "%s: %s", text_str(path), strerror(errno));
		goto out;
	}
	directory = must_copy(text_span(path));
	text_printf(path, "/%.*s.key", SPAN_ARG(e->selector));
	if (read_key(text_str(path), pem) == 0)
		goto out;
	if (dkim_make_key(e->algorithm, &made, &why) < 0)
		result = cmd_fail(EX_SOFTWARE, "%s", text_str(&why));
	else if (write_key(text_str(path), directory, text_span(&made)) < 0)
		result = cmd_fail(EX_CANTCREAT, "%s: %s", text_str(path), strerror(errno));
	else
		text_add(pem, text_span(&made));
out:
	text_wipe(&made);
	text_clear(&why);
	free(root);
	free(directory);
	return result;
}

static int
run(struct invocation *v)
{
	struct settings *s = cmd_settings(v, false);
	struct text text = TEXT_UP_TO(1000), path = TEXT_UP_TO(PATH_MAX), pem = TEXT_UP_TO(MOST_DKIM_PEM),
		record = TEXT_UP_TO(MOST_DKIM_PEM), why = TEXT_UP_TO(500);
	struct dkim_entry e;
	int result;

	if (!s)
		return EX_CONFIG;
	if (!entry_of(v, &e, &text))
		result = cmd_fail(EX_USAGE, "a domain, a selector (letters, digits, hyphens, dots), and rsa or ed25519 are wanted");
	else if ((result = obtain_key(s, &e, &path, &pem)) != EX_OK)
		;
	else if (dkim_record(text_span(&pem), &e.algorithm, &record, &why) < 0)
		result = cmd_fail(EX_DATAERR, "%s: %s", text_str(&path), text_str(&why));
	else
		print_all(v, &e, text_span(&record), text_str(&path));
	text_wipe(&pem);
	text_clear(&text);
	text_clear(&path);
	text_clear(&record);
	text_clear(&why);
	settings_free(&s);
	return result;
}

const struct command cmd_cert_dkim = { "cert dkim", "DOMAIN", 1, 1,
	"makes a key that signs the mail of a domain (DKIM), and prints its DNS record", options, run };
