/* mail_root - see mail_root.h. */
#include "mail_root.h"

#include "common/beneath.h"
#include "common/log.h"
#include "common/maildir.h"
#include "common/secret.h"
#include "common/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* 0, or -1 with errno. */
static int
name_read(int mail, char name[MAIL_ROOT_NAME + 1])
{
	char line[MAIL_ROOT_NAME + 2];
	int fd = open_in(mail, MAIL_ROOT_FILE, O_RDONLY, 0);
	ssize_t got;

	if (fd < 0)
		return -1;
	got = read_at(fd, line, sizeof(line), 0);
	close(fd);
	if (got < 0)
		return -1;
	errno = EINVAL;
	if (got != MAIL_ROOT_NAME + 1 || line[MAIL_ROOT_NAME] != '\n')
		return -1;
	for (size_t i = 0; i < MAIL_ROOT_NAME; i++)
		if (span_hex_value((unsigned char)line[i]) < 0)
			return -1;
	memcpy(name, line, MAIL_ROOT_NAME);
	name[MAIL_ROOT_NAME] = '\0';
	return 0;
}

/* Whole or not at all, and durably; who comes second finds that of the first. 0, or -1 with errno. */
static int
name_make(int mail)
{
	unsigned char random[MAIL_ROOT_NAME / 2];
	struct text line = TEXT_UP_TO(MAIL_ROOT_NAME + 1);
	char aside[sizeof(MAIL_ROOT_FILE) + 24];
	int fd, result = -1, error;

	secret_random(random, sizeof(random));
	text_add_hex(&line, span_of(random, sizeof(random)));
	text_add_byte(&line, '\n');
	snprintf(aside, sizeof(aside), MAIL_ROOT_FILE ".%ld", (long)getpid());
	fd = open_in(mail, aside, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd >= 0 && write_all(fd, line.at, line.len) == 0 && fsync(fd) == 0)
		result = linkat(mail, aside, mail, MAIL_ROOT_FILE, 0) == 0 || errno == EEXIST ? 0 : -1;
	error = errno;
	if (fd >= 0) {
		unlinkat(mail, aside, 0);
		close(fd);
	}
	text_clear(&line);
	errno = error;
	return result == 0 ? maildir_sync(mail, ".") : -1;
}

bool
mail_root_name(int mail, char name[MAIL_ROOT_NAME + 1])
{
	name[0] = '\0';
	if (name_read(mail, name) == 0 ||
		(errno == ENOENT && name_make(mail) == 0 && name_read(mail, name) == 0))
		return true;
	log_warning(0, "mail-root-has-no-name", KEY_STR("file", MAIL_ROOT_FILE), KEY_ERRNO);
	return false;
}
