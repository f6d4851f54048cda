#include "master/generation.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/dkim-entry.h"
#include "common/log.h"
#include "master/conf.h"

#define STATUS_SUFFIX ".ocsp"  /* beside a certificate: the OCSP response to staple */
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* Where systems keep the authorities that they trust. */
static const char *const trust_files[] = {
	"/etc/ssl/certs/ca-certificates.crt",   /* Debian, Arch, Alpine */
	"/etc/pki/tls/certs/ca-bundle.crt",     /* Fedora, RHEL */
	"/etc/ssl/ca-bundle.pem",               /* SUSE */
};

/* --- copies --- */

/* All bytes of `from` into `to`, without passing through this process. 0, or -1 with errno. */
static int
copy_bytes(int from, int to, off_t len)
{
	while (len > 0) {
		ssize_t moved = sendfile(to, from, NULL, (size_t)len);

		if (moved < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (moved < 0)
			return -1;
		if (moved == 0)
			break; /* it has become shorter: who reads the copy will mind, if need be */
		len -= moved;
	}
	return fcntl(to, F_ADD_SEALS, SEALS);
}

/* -1, with errno, or EFBIG or EINVAL for what is too large or no file. */
static int
copy_file(const char *path, off_t most)
{
	struct stat st;
	int saved, copy = -1, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0) {
		saved = errno;
	} else if (!S_ISREG(st.st_mode) || st.st_size > most) {
		saved = S_ISREG(st.st_mode) ? EFBIG : EINVAL;
	} else if ((copy = memfd_create("valija-tls", MFD_CLOEXEC | MFD_ALLOW_SEALING)) < 0 ||
		fchmod(copy, 0400) < 0 || copy_bytes(fd, copy, st.st_size) < 0) {
		saved = errno;
		if (copy >= 0)
			close(copy);
		copy = -1;
	} else {
		saved = 0;
	}
	close(fd);
	errno = saved;
	return copy;
}

static int
copy_named(const char *option, const char *path, off_t most, struct text *errors)
{
	int fd = copy_file(path, most);

	if (fd < 0 && errno == EFBIG)
		text_printf(errors, "%s: %s is larger than %lld bytes\n", option, path, (long long)most);
	else if (fd < 0 && errno == EINVAL)
		text_printf(errors, "%s: %s is not a regular file\n", option, path);
	else if (fd < 0)
		text_printf(errors, "%s: %s cannot be read: %s\n", option, path, strerror(errno));
	return fd;
}

int
generation_reopen(int fd)
{
	char name[40];
	int again;

	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	if ((again = open(name, O_RDONLY | O_CLOEXEC)) < 0)
		log_error(0, "no-descriptor", KEY_STR("name", name), KEY_ERRNO);
	return again;
}

/* --- which files --- */

/* Calls `each` for every file that the settings name; `option` is which, `number` of which certificate. */
enum file { FILE_CHAIN, FILE_KEY, FILE_STATUS, FILE_TRUST, FILE_CLIENT_CA, FILE_CLIENT_CRL, FILE_DKIM };
typedef void each_file(void *arg, enum file file, size_t number, const char *path);

static void
call(each_file *each, void *arg, enum file file, size_t number, struct span name, const char *suffix)
{
	struct text path = TEXT_UP_TO(PATH_MAX);

	text_add(&path, name);
	text_add_str(&path, suffix);
	if (!path.failed)
		each(arg, file, number, text_str(&path));
	text_clear(&path);
}

static void
for_each_file(const struct settings *s, each_file *each, void *arg)
{
	struct span trust = s->tls_trust;

	for (size_t i = 0; i < s->tls_certificate.count && i < s->tls_key.count; i++) {
		call(each, arg, FILE_CHAIN, i, s->tls_certificate.at[i], "");
		call(each, arg, FILE_KEY, i, s->tls_key.at[i], "");
		call(each, arg, FILE_STATUS, i, s->tls_certificate.at[i], STATUS_SUFFIX);
	}
	for (size_t i = 0; i < s->dkim.count; i++) {
		struct text file = TEXT_UP_TO(PATH_MAX);
		struct dkim_entry e;

		if (!dkim_entry_parse(s->dkim.at[i], &e))
			continue;
		text_printf(&file, "/%.*s/%.*s.key", SPAN_ARG(e.domain), SPAN_ARG(e.selector));
		call(each, arg, FILE_DKIM, i, s->dkim_directory, text_str(&file));
		text_clear(&file);
	}
	for (size_t i = 0; trust.len == 0 && i < sizeof trust_files / sizeof *trust_files; i++)
		if (access(trust_files[i], R_OK) == 0)
			trust = span_str(trust_files[i]);
	if (trust.len != 0)
		call(each, arg, FILE_TRUST, 0, trust, "");
	if (s->tls_client_ca.len != 0)
		call(each, arg, FILE_CLIENT_CA, 0, s->tls_client_ca, "");
	if (s->tls_client_ca.len != 0 && s->tls_client_crl.len != 0)
		call(each, arg, FILE_CLIENT_CRL, 0, s->tls_client_crl, "");
}

struct loading {
	struct generation *g;
	struct text *errors;
};

static void
load_one(void *arg, enum file file, size_t number, const char *path)
{
	struct loading *l = arg;
	struct generation *g = l->g;

	switch (file) {
	case FILE_CHAIN:
		g->files[number].chain =
			copy_named("tls_certificate", path, MOST_SMALL_FILE, l->errors);
		break;
	case FILE_KEY:
		g->files[number].key = copy_named("tls_key", path, MOST_SMALL_FILE, l->errors);
		break;
	case FILE_STATUS:
		/* Most certificates have none. */
		g->files[number].status = copy_file(path, MOST_SMALL_FILE);
		if (g->files[number].status < 0 && errno != ENOENT)
			log_warning(0, "ocsp-response-unused", KEY_STR("file", path), KEY_ERRNO);
		break;
	case FILE_TRUST:
		/* Without it no server can be verified by an authority: no reason not to serve. */
		g->trust[TRUST_SERVERS] = copy_file(path, MOST_TRUST_FILE);
		if (g->trust[TRUST_SERVERS] < 0)
			log_warning(0, "no-trust", KEY_STR("file", path), KEY_ERRNO);
		break;
	case FILE_CLIENT_CA:
		g->trust[TRUST_CLIENTS] = copy_named("tls_client_ca", path, MOST_TRUST_FILE, l->errors);
		break;
	case FILE_DKIM:
		g->dkim[number] = copy_named("dkim", path, MOST_SMALL_FILE, l->errors);
		break;
	case FILE_CLIENT_CRL:
		g->trust[TRUST_REVOKED] = copy_named("tls_client_crl", path, MOST_TRUST_FILE, l->errors);
		break;
	}
}

/* FNV-1a: a change is not an enemy. */
static void
digest(uint64_t *sum, const void *at, size_t len)
{
	const unsigned char *bytes = at;

	for (size_t i = 0; i < len; i++)
		*sum = (*sum ^ bytes[i]) * 0x100000001b3;
}

static void
look_at_one(void *arg, enum file file, size_t number, const char *path)
{
	uint64_t *sum = arg;
	struct stat st;
	int error = stat(path, &st) < 0 ? errno : 0;

	digest(sum, &file, sizeof file);
	digest(sum, &number, sizeof number);
	digest(sum, &error, sizeof error);
	if (error != 0)
		return;
	digest(sum, &st.st_dev, sizeof st.st_dev);
	digest(sum, &st.st_ino, sizeof st.st_ino);
	digest(sum, &st.st_size, sizeof st.st_size);
	digest(sum, &st.st_mtim, sizeof st.st_mtim);
	digest(sum, &st.st_ctim, sizeof st.st_ctim);
}

uint64_t
generation_look(const struct settings *s)
{
	uint64_t sum = 0xcbf29ce484222325;

	for_each_file(s, look_at_one, &sum);
	return sum;
}

/* --- generations --- */

/* Takes `settings`. */
static bool
load(struct settings *settings, uint32_t number, struct generation *g, struct text *errors)
{
	struct generation loaded = GENERATION_NONE(number);
	struct loading l = { &loaded, errors };
	size_t before = errors->len;

	loaded.settings = settings;
	/* Before they are copied: a change in between is then seen later. */
	loaded.looked = generation_look(settings);
	loaded.count = settings->tls_certificate.count;
	loaded.files = must_alloc((loaded.count + 1) * sizeof *loaded.files);
	for (size_t i = 0; i < loaded.count; i++)
		loaded.files[i] = (struct certificate_files){ -1, -1, -1 };
	loaded.dkim = must_alloc((settings->dkim.count + 1) * sizeof *loaded.dkim);
	for (size_t i = 0; i < settings->dkim.count; i++)
		loaded.dkim[i] = -1;
	for_each_file(settings, load_one, &l);
	if (errors->len != before) {
		generation_clear(&loaded);
		return false;
	}
	*g = loaded;
	return true;
}

bool
generation_load(
	const struct supervisor *s, uint32_t number, struct generation *g, struct text *errors)
{
	struct settings *settings = conf_read(&s->paths, number, true, errors);

	return settings != NULL && load(settings, number, g, errors);
}

bool
generation_renew(
	const struct generation *from, uint32_t number, struct generation *g, struct text *errors)
{
	int fd = settings_to_file(from->settings);
	struct settings *settings = fd < 0 ? NULL : settings_from_file(fd, number);

	if (fd >= 0)
		close(fd);
	if (settings == NULL) {
		text_printf(errors, "the settings cannot be copied: %s\n", strerror(errno));
		return false;
	}
	return load(settings, number, g, errors);
}

static void
close_if(int fd)
{
	if (fd >= 0)
		close(fd);
}

void
generation_clear(struct generation *g)
{
	for (size_t i = 0; i < g->count; i++) {
		close_if(g->files[i].chain);
		close_if(g->files[i].key);
		close_if(g->files[i].status);
	}
	free(g->files);
	for (size_t i = 0; g->dkim != NULL && g->settings != NULL && i < g->settings->dkim.count; i++)
		close_if(g->dkim[i]);
	free(g->dkim);
	for (size_t i = 0; i < TRUST_COUNT; i++)
		close_if(g->trust[i]);
	settings_free(&g->settings);
	*g = GENERATION_NONE(0);
}
