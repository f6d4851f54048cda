/*
 * chunk - what a BDAT command announces (RFC 3030 section 2).
 */
#ifndef VALIJA_SMTPD_CHUNK_H
#define VALIJA_SMTPD_CHUNK_H

#include "common/span.h"

/* Reads "SIZE" or "SIZE LAST", with blanks before it. A size beyond 64 bits becomes UINT64_MAX.
 * False when it is neither: nobody knows then how many octets follow; nothing has changed. */
bool chunk_parse(struct span in, uint64_t *size, bool *last);

#endif
