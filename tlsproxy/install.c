#include "install.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ca-parts.h"
#include "ca.h"
#include "chain.h"

#define NEW ".new"
#define OLD ".old"

static int
open_in(int directory, const char *name)
{
	return openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
}

/* 0, or -1: the two files are no pair that could serve. */
static int
check(int directory, const char *crt, const char *key, const char *hostname,
	struct certificate_facts *facts, struct text *why)
{
	int chain_fd = open_in(directory, crt), key_fd = open_in(directory, key), result = -1;

	if (chain_fd < 0 || key_fd < 0)
		text_printf(why, "%s: %s", chain_fd < 0 ? crt : key, strerror(errno));
	else
		result = certificate_check(chain_fd, key_fd, hostname, facts, why);
	if (chain_fd >= 0)
		close(chain_fd);
	if (key_fd >= 0)
		close(key_fd);
	return result;
}

/* 0: a certificate that can be read, whatever its key. */
static int
check_alone(int directory, const char *crt)
{
	struct text why = TEXT_UP_TO(MOST_WHY);
	struct certificate_facts facts;
	int fd = open_in(directory, crt), result = -1;

	if (fd >= 0) {
		result = certificate_check(fd, -1, NULL, &facts, &why);
		close(fd);
	}
	text_clear(&why);
	return result;
}

static int
read_file(int directory, const char *name, struct text *to, struct text *why)
{
	int fd = open_in(directory, name), result;

	if (fd < 0) {
		text_printf(why, "%s: %s", name, strerror(errno));
		return -1;
	}
	result = chain_read_file(fd, name, MOST_CERTIFICATE_FILE, to, why);
	close(fd);
	return result;
}

static void
forget_new(int directory)
{
	(void)unlinkat(directory, SERVER_CERTIFICATE NEW, 0);
	(void)unlinkat(directory, SERVER_KEY NEW, 0);
}

static int
sync_directory(int directory)
{
	int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result;

	if (fd < 0)
		return -1;
	result = fsync(fd);
	close(fd);
	return result;
}

/* What is in service gets a second name, then the new takes the first. */
static int
take_place(int directory, const char *name, const char *old, const char *new)
{
	(void)unlinkat(directory, old, 0);
	if (linkat(directory, name, directory, old, 0) < 0 && errno != ENOENT)
		return -1;
	return renameat(directory, new, directory, name);
}

/* Which key goes with server.crt.new? Leaves server.key.new there where it is not the one in service. */
static int
find_key(int directory, struct span key, const char *hostname, struct certificate_facts *facts,
	struct text *why)
{
	struct text next = TEXT_UP_TO(0), other = TEXT_UP_TO(MOST_WHY);
	int result;

	if (key.len != 0) {
		if (ca_put_file(directory, SERVER_KEY NEW, 0400, key, why) < 0)
			return -1;
		return check(directory, SERVER_CERTIFICATE NEW, SERVER_KEY NEW, hostname, facts, why);
	}
	if (check(directory, SERVER_CERTIFICATE NEW, SERVER_KEY, hostname, facts, why) == 0)
		return 0;
	result = -1;
	if (ca_has_file(directory, NEXT_KEY) &&
		check(directory, SERVER_CERTIFICATE NEW, NEXT_KEY, hostname, facts, &other) == 0 &&
		read_file(directory, NEXT_KEY, &next, &other) == 0) {
		text_reset(why);
		result = ca_put_file(directory, SERVER_KEY NEW, 0400, text_span(&next), why);
	} else if (check_alone(directory, SERVER_CERTIFICATE NEW) == 0) {
		/* The certificate is fine: it is the key that is missing. */
		text_reset(why);
		text_printf(why, "it belongs neither to the key in service (%s)%s: name its key too, after the"
			" certificate", SERVER_KEY, ca_has_file(directory, NEXT_KEY)
				? " nor to the next one (" NEXT_KEY ")" : ", nor is there a next one (" NEXT_KEY ")");
	}
	text_wipe(&next);
	text_clear(&other);
	return result;
}

static int
judge(const struct certificate_facts *facts, const char *hostname, bool any_name, struct text *why)
{
	if (facts->days_left < 0)
		text_printf(why, "the certificate, or one of its chain, has expired");
	else if (facts->not_yet)
		text_printf(why, "the certificate is not valid yet");
	else if (!any_name && !facts->names_host)
		text_printf(why, "the certificate is not for %s but for %s (--any-name takes it all the same)",
			hostname, facts->names);
	else
		return 0;
	return -1;
}

static int
swap(int directory, struct text *why)
{
	bool new_key = ca_has_file(directory, SERVER_KEY NEW);

	/* A certificate that is renewed for the same key leaves no old key to come back. */
	(void)unlinkat(directory, SERVER_KEY OLD, 0);
	if ((new_key && take_place(directory, SERVER_KEY, SERVER_KEY OLD, SERVER_KEY NEW) < 0) ||
		take_place(directory, SERVER_CERTIFICATE, SERVER_CERTIFICATE OLD,
			SERVER_CERTIFICATE NEW) < 0 ||
		sync_directory(directory) < 0) {
		text_printf(why, "the files cannot be renamed: %s", strerror(errno));
		return -1;
	}
	return 0;
}

int
install_pair(int directory, struct span crt, struct span key, const char *hostname, bool any_name,
	struct certificate_facts *facts, struct text *why)
{
	struct text reason = TEXT_UP_TO(MOST_WHY);

	install_recover(directory);
	if (ca_put_file(directory, SERVER_CERTIFICATE NEW, 0644, crt, why) < 0)
		return -1;
	if (find_key(directory, key, hostname, facts, why) < 0 ||
		judge(facts, hostname, any_name, why) < 0) {
		forget_new(directory);
		return -1;
	}
	if (swap(directory, why) < 0)
		return -1;
	/* The key that was made ahead is in service now. */
	if (ca_has_file(directory, NEXT_KEY) &&
		check(directory, SERVER_CERTIFICATE, NEXT_KEY, hostname, facts, &reason) == 0)
		(void)unlinkat(directory, NEXT_KEY, 0);
	text_clear(&reason);
	return 0;
}

int
install_rollback(int directory, const char *hostname, struct certificate_facts *facts, struct text *why)
{
	struct text crt = TEXT_UP_TO(0), key = TEXT_UP_TO(0);
	int result = -1;

	if (!ca_has_file(directory, SERVER_CERTIFICATE OLD))
		text_printf(why, "there is no earlier certificate");
	else if (read_file(directory, SERVER_CERTIFICATE OLD, &crt, why) == 0 &&
		(!ca_has_file(directory, SERVER_KEY OLD) ||
			read_file(directory, SERVER_KEY OLD, &key, why) == 0))
		result = install_pair(
			directory, text_span(&crt), text_span(&key), hostname, true, facts, why);
	text_clear(&crt);
	text_wipe(&key);
	return result;
}

void
install_recover(int directory)
{
	struct certificate_facts facts;
	struct text why = TEXT_UP_TO(MOST_WHY);

	/* The key had been renamed, its certificate had not. */
	if (ca_has_file(directory, SERVER_CERTIFICATE NEW) && !ca_has_file(directory, SERVER_KEY NEW) &&
		check(directory, SERVER_CERTIFICATE, SERVER_KEY, NULL, &facts, &why) < 0) {
		text_reset(&why);
		if (check(directory, SERVER_CERTIFICATE NEW, SERVER_KEY, NULL, &facts, &why) == 0)
			(void)take_place(directory, SERVER_CERTIFICATE, SERVER_CERTIFICATE OLD,
				SERVER_CERTIFICATE NEW);
	}
	text_clear(&why);
	forget_new(directory);
}
