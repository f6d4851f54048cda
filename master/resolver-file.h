/*
 * resolver-file - the files that dns reads, opened for it by name.
 */
#ifndef VALIJA_MASTER_RESOLVER_FILE_H
#define VALIJA_MASTER_RESOLVER_FILE_H

#include "common/message.h"
#include "common/settings.h"

/* A descriptor to read (enum resolver_file), or -1 with errno: also for what is no regular file. */
int resolver_file_open(const struct settings *s, unsigned int kind);

#endif
