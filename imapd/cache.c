/* cache - see cache.h. The file: opened, looked up, appended to. What goes into it is
 * cache-content.c. */
#include "imapd/cache-file.h"

#include "common/beneath.h"
#include "common/crc32c.h"
#include "common/log.h"
#include "common/wire.h"
#include "imapd/cache-payload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CACHE_NEW "cache.new"
#define RECORD_HEAD 8
#define BLOCK_BYTES (64u * 1024)       /* read in one go */
#define PENDING_BYTES (256u * 1024)    /* written in one go */
#define COMPACT_SPARE 1000u            /* records of no message that do not matter */

/* --- the header --- */

static int
header_put(const struct cache *c, const struct index *ix, int fd)
{
	struct text header = TEXT_UP_TO(CACHE_HEADER_BYTES);
	int result;

	cache_header_write(c, ix, &header);
	result = !header.failed && pwrite(fd, header.at, header.len, 0) == (ssize_t)header.len ?
		0 : -1;
	text_clear(&header);
	return result;
}

/* --- records --- */

static uint64_t
record_bytes(uint32_t len)
{
	return RECORD_HEAD + ((uint64_t)len + 7) / 8 * 8;
}

/* `len` bytes of the file, in the block. False: they are not there. */
static bool
block_at(struct cache *c, uint64_t at, size_t len, struct span *bytes)
{
	ssize_t got;
	size_t room = len > BLOCK_BYTES ? len : BLOCK_BYTES;

	if (at < c->block_from || at + len > c->block_from + c->block_len) {
		if (room > c->block_room) {
			c->block = must_realloc(c->block, room);
			c->block_room = room;
		}
		c->block_from = at;
		got = read_at(c->fd, c->block, c->block_room, (off_t)at);
		c->block_len = got < 0 ? 0 : (size_t)got;
		if (c->block_len < len)
			return false;
	}
	*bytes = span_of(c->block + (at - c->block_from), len);
	return true;
}

/* `len` bytes at `at`, of the file or of what is not written yet. */
static bool
bytes_at(struct cache *c, uint64_t at, size_t len, struct span *bytes)
{
	if (at < c->size)
		return at + len <= c->size && block_at(c, at, len, bytes);
	if (at - c->size + len > c->pending.len)
		return false;
	*bytes = span_of(c->pending.at + (at - c->size), len);
	return true;
}

/* The whole and undamaged record at `at`. */
static bool
record_at(struct cache *c, uint64_t at, struct span *payload)
{
	struct span head, bytes;
	uint32_t len, crc;

	if (!bytes_at(c, at, RECORD_HEAD, &head) || !wire_take_u32(&head, &len, 4) ||
		!wire_take_u32(&head, &crc, 4) || len < CACHE_FIXED || len > MOST_CACHE_RECORD ||
		!bytes_at(c, at, RECORD_HEAD + (size_t)len, &bytes))
		return false;
	*payload = span_part(bytes, RECORD_HEAD, len);
	return crc32c(*payload) == crc;
}

bool
cache_record(struct cache *c, const struct index_record *r, struct span *payload)
{
	return r->cache != 0 && record_at(c, (uint64_t)r->cache * 8, payload);
}

static void
write_pending(struct cache *c)
{
	size_t done = 0;

	while (done < c->pending.len) {
		ssize_t n = pwrite(c->fd, c->pending.at + done, c->pending.len - done,
			(off_t)(c->size + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			log_warning(0, "cache-not-written", KEY_ERRNO);
			c->broken = true;
			break;
		}
		done += (size_t)n;
	}
	if (!c->broken)
		c->size += done;
	text_reset(&c->pending);
}

void
cache_append(struct cache *c, struct index_record *r, struct span payload)
{
	uint64_t at = c->size + c->pending.len;
	size_t end;

	if (c->broken || payload.len > MOST_CACHE_RECORD || at > MOST_CACHE)
		return;
	end = c->pending.len + (size_t)record_bytes((uint32_t)payload.len);
	wire_add_u32(&c->pending, (uint32_t)payload.len, 4);
	wire_add_u32(&c->pending, crc32c(payload), 4);
	text_add(&c->pending, payload);
	while (c->pending.len < end)
		text_add_byte(&c->pending, 0);
	r->cache = (uint32_t)(at / 8);
	c->records++;
	c->stale_header = true;
	if (c->pending.len >= PENDING_BYTES)
		write_pending(c);
}

/* --- opening --- */

static void
forget_places(struct index *ix)
{
	for (size_t i = 0; i < ix->count; i++) {
		if (ix->records[i].cache != 0)
			ix->records[i].cache = 0;
	}
}

/* Finds what was appended since the index last knew; a torn end is cut. */
static void
scan(struct cache *c, struct index *ix, uint64_t end)
{
	uint64_t at = ix->cache_covered;
	struct span payload;

	c->size = end;
	while (record_at(c, at, &payload)) {
		size_t place = index_find(ix, cache_uid(payload));

		if (place != NO_RECORD)
			ix->records[place].cache = (uint32_t)(at / 8);
		at += record_bytes((uint32_t)payload.len);
	}
	if (at < end && ftruncate(c->fd, (off_t)at) < 0)
		c->broken = true;
	c->size = at;
	c->block_len = 0;
}

static bool
open_there(struct cache *c, struct index *ix)
{
	unsigned char *header = must_alloc(CACHE_HEADER_BYTES);
	struct stat st;
	bool good;

	good = fstat(c->fd, &st) == 0 && (uint64_t)st.st_size <= 2 * MOST_CACHE &&
		read_at(c->fd, header, CACHE_HEADER_BYTES, 0) == CACHE_HEADER_BYTES &&
		cache_header_read(c, ix, span_of(header, CACHE_HEADER_BYTES));
	free(header);
	if (!good)
		return false;
	if (ix->cache_made != c->made || ix->cache_covered < CACHE_HEADER_BYTES ||
		ix->cache_covered > (uint64_t)st.st_size || ix->cache_covered % 8 != 0) {
		forget_places(ix);
		ix->cache_covered = ix->cache_known = CACHE_HEADER_BYTES;
	}
	ix->cache_made = c->made;
	scan(c, ix, (uint64_t)st.st_size);
	return true;
}

/* An empty one, in the place of whatever was there. */
static int
begin(struct cache *c, struct index *ix)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	c->made = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	c->fd = open_in(ix->directory, CACHE_NEW, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (c->fd < 0 || header_put(c, ix, c->fd) < 0 ||
		renameat(ix->directory, CACHE_NEW, ix->directory, CACHE_NAME) < 0)
		return -1;
	c->size = CACHE_HEADER_BYTES;
	forget_places(ix);
	ix->cache_made = c->made;
	ix->cache_covered = ix->cache_known = CACHE_HEADER_BYTES;
	return 0;
}

struct cache *
cache_open(struct mailbox *m)
{
	struct cache *c = m->cache;

	if (c != NULL)
		return c;
	c = must_alloc(sizeof(*c));
	c->pending = TEXT_UP_TO(PENDING_BYTES + 2 * MOST_CACHE_RECORD);
	c->work = TEXT_UP_TO(SIZE_MAX / 2);
	m->cache = c;
	c->fd = open_in(m->index.directory, CACHE_NAME, O_RDWR, 0);
	if (c->fd >= 0 && open_there(c, &m->index))
		return c;
	if (c->fd >= 0)
		close(c->fd);
	cache_forget_wishes(c);
	if (begin(c, &m->index) < 0) {
		log_warning(0, "cache-not-written", KEY_STR("folder", m->folder), KEY_ERRNO);
		c->broken = true;
	}
	return c;
}

/* --- closing --- */

void
cache_flush(struct mailbox *m)
{
	struct cache *c = m->cache;

	if (c == NULL)
		return;
	if (!c->broken)
		write_pending(c);
	if (!c->broken && c->stale_header && header_put(c, &m->index, c->fd) < 0)
		c->broken = true;
	c->stale_header = false;
	free(c->block);
	c->block = NULL;
	c->block_room = c->block_len = 0;
	text_clear(&c->work);
	text_clear(&c->pending);
	c->work = TEXT_UP_TO(SIZE_MAX / 2);
	c->pending = TEXT_UP_TO(PENDING_BYTES + 2 * MOST_CACHE_RECORD);
	/* What the index will say of the file must be there. */
	if (!c->broken)
		m->index.cache_covered = c->size;
}

static uint64_t
count_kept(const struct index *ix)
{
	uint64_t kept = 0;

	for (size_t i = 0; i < ix->count; i++)
		kept += ix->records[i].cache != 0;
	return kept;
}

/* Those that messages still have, into a new file. */
static void
compact(struct cache *c, struct index *ix)
{
	struct cache fresh = { .fd = -1, .wanted = c->wanted, .pending = c->pending };
	uint32_t *places = must_alloc((ix->count + 1) * sizeof(*places));
	struct span payload;

	for (size_t i = 0; i < ix->count; i++)
		places[i] = ix->records[i].cache;
	memcpy(fresh.names, c->names, sizeof(fresh.names));
	fresh.name_count = c->name_count;
	if (begin(&fresh, ix) == 0) {
		for (size_t i = 0; i < ix->count; i++) {
			if (places[i] != 0 && record_at(c, (uint64_t)places[i] * 8, &payload))
				cache_append(&fresh, &ix->records[i], payload);
		}
		close(c->fd);
		c->fd = fresh.fd;
		c->size = fresh.size;
		c->made = fresh.made;
		c->records = fresh.records;
		c->broken = fresh.broken;
		c->stale_header = true;
	} else {
		c->broken = true;
		if (fresh.fd >= 0)
			close(fresh.fd);
	}
	c->pending = fresh.pending;
	c->block_len = 0;
	free(places);
}

void
cache_close(struct mailbox *m)
{
	struct cache *c = m->cache;

	if (c == NULL)
		return;
	cache_flush(m);
	if (!c->broken && !m->gone && c->records > 2 * count_kept(&m->index) + COMPACT_SPARE) {
		compact(c, &m->index);
		cache_flush(m);
	}
	cache_forget_wishes(c);
	free(c->block);
	text_clear(&c->work);
	text_clear(&c->pending);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
	m->cache = NULL;
}
