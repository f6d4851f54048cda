/*
 * generation - one configuration, whole: the values, and copies of the files that belong to it.
 *
 * The files are copied into sealed memory (memfd), by the kernel: the bytes of a private key never
 * stand in master's own memory. What happens to the files afterwards, in place or by renaming, does not
 * touch the generation: a process that is started later gets the same bytes as the others.
 */
#ifndef VALIJA_GENERATION_H
#define VALIJA_GENERATION_H

#include "common/settings.h"
#include "common/text.h"
#include "master/paths.h"
#include "master/supervisor.h"

#define MOST_SMALL_FILE 65536             /* certificate chain, key, OCSP response: bytes */
#define MOST_TRUST_FILE (4 * 1024 * 1024) /* authorities, revocation lists */

/* Reads the configuration and copies its files. False with every complaint in *errors. */
bool generation_load(
	const struct supervisor *s, uint32_t number, struct generation *g, struct text *errors);
/* The values of `from` with the files as they are now. */
bool generation_renew(
	const struct generation *from, uint32_t number, struct generation *g, struct text *errors);
void generation_clear(struct generation *g);
/* A digest of what the file system says of the files: which, how large, when changed. Another one means
 * that something has changed on disk. */
uint64_t generation_look(const struct settings *s);
/* The same copy with a read position of its own, or -1 (logged). */
int generation_reopen(int fd);

#endif
