/*
 * keyed-hash - SipHash-1-3 with a key of this process: names from mail cannot be chosen to collide.
 */
#ifndef VALIJA_KEYED_HASH_H
#define VALIJA_KEYED_HASH_H

#include "common/span.h"

uint64_t keyed_hash(struct span bytes);

#endif
