/*
 * mapping - a file that is mapped to be read, whatever becomes of it meanwhile.
 *
 * Where the file is cut, or the disk does not give it back, the kernel sends SIGBUS to who reads on. Zeros are read there
 * instead, and the mapping is damaged: what was made of its bytes is not to be believed, and nobody else is hurt.
 */
#ifndef VALIJA_IMAPD_MAPPING_H
#define VALIJA_IMAPD_MAPPING_H

#include <stdbool.h>
#include <stddef.h>

struct mapping;

/* Maps the first `len` bytes, at least one. NULL with errno. */
struct mapping *mapping_new(int fd, size_t len);
const void *mapping_bytes(const struct mapping *m);
/* To be asked behind each use of the bytes. False for NULL. */
bool mapping_is_damaged(const struct mapping *m);
/* Accepts NULL inside. */
void mapping_free(struct mapping **m);

#endif
