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
/* The checksum of what `crc` is the checksum of, followed by `bytes`: piece by piece, from 0 on. */
uint32_t crc32c_more(uint32_t crc, struct span bytes);
/* Another checksum, for megabytes: of four CRCs, each of every fourth eight bytes, which a processor
 * can make at once. Bytes behind the last 32 count for all four. Not to be continued. */
uint32_t crc32c_lanes(struct span bytes);
/* The same without the processor's instruction: for its test. */
uint32_t crc32c_by_tables(uint32_t crc, struct span bytes);
uint32_t crc32c_lanes_by_tables(struct span bytes);

#endif
