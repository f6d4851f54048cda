/* ocsp-cache - see ocsp-cache.h. */
#include "ocsp-cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/beneath.h"
#include "status.h"

#define ASIDE ".new"
#define MOST_SWEPT 10000           /* files looked at in one sweep */

char *
ocsp_cache_name(const unsigned char fingerprint[KEY_ID_SIZE])
{
	struct text hex = TEXT_UP_TO(2 * KEY_ID_SIZE + 1);
	char *name;

	text_add_hex(&hex, span_of(fingerprint, KEY_ID_SIZE));
	name = must_copy(text_span(&hex));
	text_clear(&hex);
	return name;
}

int
ocsp_cache_read(int directory, const unsigned char fingerprint[KEY_ID_SIZE], struct text *der)
{
	char *name = ocsp_cache_name(fingerprint);
	int fd = directory < 0 ? -1 : open_in(directory, name, O_RDONLY, 0), result = -1;
	unsigned char *at = fd < 0 ? NULL : must_alloc(MOST_STATUS_RESPONSE + 1);
	ssize_t got = fd < 0 ? -1 : read_at(fd, at, MOST_STATUS_RESPONSE + 1, 0);

	if (got > 0 && got <= MOST_STATUS_RESPONSE) {
		text_add(der, span_of(at, (size_t)got));
		result = 0;
	}
	if (fd >= 0)
		close(fd);
	free(at);
	free(name);
	return result;
}

int
ocsp_cache_write(int directory, const unsigned char fingerprint[KEY_ID_SIZE], struct span der)
{
	char *name = ocsp_cache_name(fingerprint);
	struct text aside = TEXT_UP_TO(2 * KEY_ID_SIZE + sizeof(ASIDE));
	int fd = -1, result = directory < 0 ? 0 : -1;

	text_printf(&aside, "%s%s", name, ASIDE);
	if (directory >= 0)
		(void)unlinkat(directory, text_str(&aside), 0);
	if (directory >= 0 &&
		(fd = open_in(directory, text_str(&aside), O_WRONLY | O_CREAT | O_EXCL, 0600)) >= 0 &&
		write_all(fd, der.at, der.len) == 0 &&
		renameat(directory, text_str(&aside), directory, name) == 0)
		result = 0;
	if (fd >= 0)
		close(fd);
	text_clear(&aside);
	free(name);
	return result;
}

static bool
is_ours(struct span name)
{
	if (name.len < 2 * KEY_ID_SIZE)
		return false;
	for (size_t i = 0; i < 2 * KEY_ID_SIZE; i++)
		if (span_hex_value(name.at[i]) < 0)
			return false;
	name = span_part(name, 2 * KEY_ID_SIZE, name.len);
	return name.len == 0 || span_equal(name, SPAN(ASIDE));
}

void
ocsp_cache_sweep(int directory, bool (*wanted)(void *arg, struct span name), void *arg)
{
	int fd = directory < 0 ? -1 : open_in(directory, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *all = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (all == NULL) {
		if (fd >= 0)
			close(fd);
		return;
	}
	for (int i = 0; i < MOST_SWEPT && (entry = readdir(all)) != NULL; i++) {
		struct span name = span_str(entry->d_name);

		if (is_ours(name) && !wanted(arg, name))
			(void)unlinkat(directory, entry->d_name, 0);
	}
	closedir(all);
}
