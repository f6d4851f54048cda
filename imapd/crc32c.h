/*
 * crc32c - Castagnoli's CRC (RFC 3720 appendix B.4), for records on disk.
 */
#ifndef VALIJA_IMAPD_CRC32C_H
#define VALIJA_IMAPD_CRC32C_H

#include "common/span.h"

uint32_t crc32c(struct span bytes);

#endif
