/*
 * gist-record - what gist says of a message, made and judged. Pure: no file.
 *
 *   u64   when the cache was made whose header the wishes were: bits of fields mean that one's
 *   rest  the payload of a record of the cache, of UID 0
 */
#ifndef VALIJA_IMAPD_GIST_RECORD_H
#define VALIJA_IMAPD_GIST_RECORD_H

#include "common/filled.h"
#include "imapd/cache-payload.h"

#define MOST_GIST_MESSAGE (16u * 1024 * 1024)  /* larger messages are left to whoever asks */
#define MOST_GIST_HEADER (256u * 1024)         /* so are those with a longer header */

/* Works out of `message` what `wishes`, the header of a cache, asks for. What needs converters of the C library (PREVIEW
 * of some charsets) is left out. False, `out` to be forgotten: nothing is asked for, the wishes are none, the message is
 * too large, has lines without CR, or the gist would be over the ceiling of `out`. */
bool gist_make(struct span wishes, struct span message, struct text *out);
/* The payload for cache `c` in what somebody calls a gist, to be given a UID; inside of `gist`. False: it is of another
 * cache, malformed, or has what must not get into a response as it stands. */
bool gist_take(struct span gist, const struct cache *c, struct span *payload);

#endif
