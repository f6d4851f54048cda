/*
 * cache-payload - what is kept of one message, as bytes, and the header that says what that is: for cache*.c, gist.c and
 * their tests. Pure: no file, no mailbox.
 */
#ifndef VALIJA_IMAPD_CACHE_PAYLOAD_H
#define VALIJA_IMAPD_CACHE_PAYLOAD_H

#include "imapd/cache-file.h"

/* The header of a cache's file, CACHE_HEADER_BYTES. */
void cache_header_write(const struct cache *c, const struct index *ix, struct text *out);
/* Reads it into `c`, which has no names yet; the cache of another mailbox than `ix` is refused, and of none where `ix` is
 * NULL. False: it is none; cache_forget_wishes in any case. */
bool cache_header_read(struct cache *c, const struct index *ix, struct span whole);
/* Nothing is kept any more; frees the names. */
void cache_forget_wishes(struct cache *c);

/* The number of a field's name, or -1. */
int cache_find_name(const struct cache *c, struct span name);
/* The bits of all names. */
uint64_t cache_all_names(const struct cache *c);

/* Makes the payload of a message in `out`: `items` (CACHE_HAS) and the lines of all fields that are kept. `message` has
 * CRLF, `header` is its front with the blank line. */
void cache_payload_write(const struct cache *c, uint32_t uid, unsigned int items, struct span message, struct span header,
	struct text *out);
/* Takes a payload of message `uid` apart; spans lie inside of it. */
bool cache_payload_read(struct span in, uint32_t uid, struct cached *got);
/* Whose payload it is. */
uint32_t cache_uid(struct span payload);

#endif
