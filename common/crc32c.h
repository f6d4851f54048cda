/*
 * crc32c - Castagnoli's CRC (RFC 3720 appendix B.4), for records on disk.
 *
 * It tells a torn or rotten record from a whole one. It is no proof against somebody who wrote the
 * record on purpose.
 */
#ifndef VALIJA_CRC32C_H
#define VALIJA_CRC32C_H

#include "span.h"

/* The checksum of all of `bytes`, which may be empty (0). Never fails. */
uint32_t crc32c(struct span bytes);

#endif
