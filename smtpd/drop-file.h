/*
 * drop-file - one file of the drop directory, judged: is it what the sendmail command leaves?
 */
#ifndef VALIJA_SMTPD_DROP_FILE_H
#define VALIJA_SMTPD_DROP_FILE_H

#include <sys/types.h>

#include "smtpd/drop.h"

#define DROP_NAME_MOST 80

struct drop_file {
	int fd;                    /* -1: none */
	uint32_t uid;              /* its owner, of whom the kernel tells */
	uint64_t size;             /* of the message */
	struct drop envelope;
	struct text fields;        /* what the envelope points into */
};

enum drop_file_state { DROP_FILE_GOOD, DROP_FILE_BAD, DROP_FILE_GONE };

/* Opens `name` in `directory`. Only a regular file with one name counts, whose group is the
 * directory's: it was made there, and not moved there from elsewhere (a link to another's file, or a
 * file that others wrote). No link is followed, nothing that hangs is opened. BAD: *why tells; f->uid is
 * filled in where it is known. GONE: it is no more, or cannot be read now. */
enum drop_file_state drop_file_open(
	struct drop_file *f, int directory, const char *name, uint64_t most, const char **why);
void drop_file_close(struct drop_file *f);
/* Octets of the message from `at`. 0 or -1: its owner has cut it off meanwhile. */
ssize_t drop_file_read(const struct drop_file *f, void *to, size_t len, uint64_t at);

#endif
