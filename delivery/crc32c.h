/* crc32c - the checksum of RFC 3720 appendix B.4 (Castagnoli), for records on disk. */
#ifndef VALIJA_CRC32C_H
#define VALIJA_CRC32C_H

#include "common/span.h"

uint32_t crc32c(struct span s);

#endif
