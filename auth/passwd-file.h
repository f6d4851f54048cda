/*
 * passwd-file - passwords that somebody else keeps, in a file as Dovecot has them: NAME:{SCHEME}HASH:...
 *
 * master hands the file over, open, with the settings that it belongs to; it is read whole, and again
 * when master offers it again. Only names and hashes are taken: the mailbox is users.db's matter.
 */
#ifndef VALIJA_PASSWD_FILE_H
#define VALIJA_PASSWD_FILE_H

#include "common/settings.h"

#define PASSWD_FILE_MOST (64 * 1024 * 1024) /* bytes */

struct passwd_file;

/* Reads `fd` (borrowed) to its end. NULL when it cannot be read, is too long, or is no text (logged). */
struct passwd_file *passwd_file_read(int fd);
/* Wipes. */
void passwd_file_free(struct passwd_file **f);
/* The password field of `key`: of the row with that address or, for an address of the first domain, with
 * its local part. False when there is none. Lives as long as *f. */
bool passwd_file_find(const struct passwd_file *f, struct span key, const struct settings *s,
	struct span *field);

#endif
