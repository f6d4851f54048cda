/*
 * cache-file - the file behind the cache: for cache*.c and their tests alone.
 *
 * A header of CACHE_HEADER_BYTES, rewritten in place: "VALIJAC1", u32 byte order, u32 version, u32
 * uidvalidity, the mailbox id, u64 nanoseconds when it was made, u64 records, u32 items that are
 * wanted, u16 count and texts of the fields that are wanted; zeros; u32 CRC32C. Then records, each
 * at a multiple of eight bytes: u32 length, u32 CRC32C of the payload; payload: u32 uid, u32 items
 * that are there, u64 fields that were looked for, an octets for each item, an octets of the lines.
 */
#ifndef VALIJA_IMAPD_CACHE_FILE_H
#define VALIJA_IMAPD_CACHE_FILE_H

#include "imapd/cache.h"

#define CACHE_FIXED 16    /* bytes of a payload before its items */

struct cache {
	int fd;
	uint64_t size;                    /* bytes of the file that are records */
	struct text pending;              /* records that will be written behind them */
	uint64_t made, records;
	unsigned int wanted;
	char *names[MOST_CACHE_NAMES];
	unsigned int name_count;
	bool stale_header;
	bool broken;                      /* it cannot be written: nothing more is */
	unsigned char *block;             /* what was read last */
	size_t block_len, block_room;
	uint64_t block_from;
	struct text work;                 /* the payload that was made last */
};

/* The mailbox's cache, opened now if need be. Never NULL; one without a file is `broken`. */
struct cache *cache_open(struct mailbox *m);
/* The undamaged payload that `r` points to; valid until the next call. */
bool cache_record(struct cache *c, const struct index_record *r, struct span *payload);
/* Adds a payload and lets `r` point to it; or does not, if it is too large. */
void cache_append(struct cache *c, struct index_record *r, struct span payload);
/* Takes what was worked out at delivery (common/filled.h) of messages of which nothing is kept yet, when some came
 * since it was looked for last. False: nothing was taken. */
bool cache_take_filled(struct mailbox *m);

#endif
