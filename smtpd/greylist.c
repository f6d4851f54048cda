/*
 * greylist - see greylist.h.
 */
#include "smtpd/greylist.h"

#include <arpa/inet.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire.h"

#define VERSION 1
#define MOST_RECORD 64
#define KEY_SIZE (1 + SHA256_DIGEST_SIZE)

enum { TRIPLE = 't', NETWORK = 'n' };

struct record {
	uint64_t first, last;
	uint32_t passed;       /* a triple: messages; a network: triples */
};

struct key {
	unsigned char at[KEY_SIZE];
};

static void
hash_field(struct sha256_ctx *hash, struct span s)
{
	uint32_t len = (uint32_t)s.len;

	sha256_update(hash, sizeof(len), (const uint8_t *)&len);
	sha256_update(hash, s.len, s.at);
}

/* A /24 of IPv4, a /64 of IPv6: large senders come back from a neighbour. */
static void
hash_network(struct sha256_ctx *hash, struct span ip)
{
	char text[INET6_ADDRSTRLEN];
	unsigned char at[16] = { 0 };

	if (!span_copy(ip, text, sizeof(text)))
		return;
	if (inet_pton(AF_INET, text, at) == 1)
		sha256_update(hash, 3, at);
	else if (inet_pton(AF_INET6, text, at) == 1)
		sha256_update(hash, 8, at);
}

static struct key
key_of(const struct greylist_attempt *a, int kind)
{
	struct sha256_ctx hash;
	struct key key = { .at = { (unsigned char)kind } };

	sha256_init(&hash);
	hash_network(&hash, a->ip);
	if (kind == TRIPLE) {
		hash_field(&hash, a->sender);
		hash_field(&hash, a->recipient);
	}
	sha256_digest(&hash, SHA256_DIGEST_SIZE, key.at + 1);
	return key;
}

static bool
record_decode(struct span in, struct record *r)
{
	uint8_t version;

	return wire_take_u8(&in, &version, 1) && version == VERSION && wire_take_u64(&in, &r->first, 8) &&
		wire_take_u64(&in, &r->last, 8) && wire_take_u32(&in, &r->passed, 4) && in.len == 0;
}

/* False: there is none, or one that is damaged, which is the same. */
static bool
record_read(struct greylist *g, struct key key, struct record *r)
{
	struct text value = TEXT_UP_TO(TABLE_MOST_VALUE);
	bool found = table_get(g->table, span_of(key.at, KEY_SIZE), &value) == TABLE_FOUND &&
		record_decode(text_span(&value), r);

	text_clear(&value);
	return found;
}

static void
record_write(struct greylist *g, struct key key, const struct record *r)
{
	struct text value = TEXT_UP_TO(MOST_RECORD);

	wire_add_u8(&value, VERSION, 1);
	wire_add_u64(&value, r->first, 8);
	wire_add_u64(&value, r->last, 8);
	wire_add_u32(&value, r->passed, 4);
	table_put(g->table, span_of(key.at, KEY_SIZE), text_span(&value));
	text_clear(&value);
}

static uint64_t
since(uint64_t then, uint64_t now)
{
	return now > then ? now - then : 0;
}

static bool
is_expired(const struct record *r, const struct settings *s, uint64_t now)
{
	if (r->passed == 0)
		return since(r->first, now) > s->greylist_retry_seconds;
	return since(r->last, now) > s->greylist_keep_seconds;
}

/* One more triple of this network came back. */
static void
count_network(struct greylist *g, const struct settings *s, const struct greylist_attempt *a)
{
	struct key key = key_of(a, NETWORK);
	struct record r;

	if (!record_read(g, key, &r) || is_expired(&r, s, a->now)) {
		r = (struct record){ .first = a->now };
		g->records++;
	}
	r.last = a->now;
	if (r.passed < UINT32_MAX)
		r.passed++;
	record_write(g, key, &r);
}

static bool
is_known_network(struct greylist *g, const struct settings *s, const struct greylist_attempt *a)
{
	struct key key = key_of(a, NETWORK);
	struct record r;

	if (s->greylist_allow_after == 0 || !record_read(g, key, &r) || is_expired(&r, s, a->now) ||
		r.passed < s->greylist_allow_after)
		return false;
	/* That it is alive is written down once an hour. */
	if (since(r.last, a->now) > 3600) {
		r.last = a->now;
		record_write(g, key, &r);
	}
	return true;
}

uint32_t
greylist_judge(struct greylist *g, const struct settings *s, const struct greylist_attempt *a)
{
	struct key key = key_of(a, TRIPLE);
	struct record r;
	uint64_t waited;

	if (is_known_network(g, s, a))
		return 0;
	if (!record_read(g, key, &r) || is_expired(&r, s, a->now)) {
		if (g->records >= GREYLIST_MOST_RECORDS)
			return 0;
		r = (struct record){ .first = a->now, .last = a->now };
		record_write(g, key, &r);
		g->records++;
		return (uint32_t)s->greylist_delay_seconds;
	}
	waited = since(r.first, a->now);
	if (r.passed == 0 && waited < s->greylist_delay_seconds)
		return (uint32_t)(s->greylist_delay_seconds - waited);
	if (r.passed == 0)
		count_network(g, s, a);
	r.last = a->now;
	if (r.passed < UINT32_MAX)
		r.passed++;
	record_write(g, key, &r);
	return 0;
}

/* --- purge --- */

struct purge {
	const struct settings *s;
	uint64_t now, records;
	struct key *expired;
	size_t count;
};

static bool
look(void *me, struct span key, struct span value)
{
	struct purge *p = me;
	struct record r;

	p->records++;
	if (record_decode(value, &r) && !is_expired(&r, p->s, p->now))
		return true;
	if (key.len != KEY_SIZE || p->count == GREYLIST_PURGE_BATCH)
		return true;
	memcpy(p->expired[p->count++].at, key.at, KEY_SIZE);
	return true;
}

bool
greylist_purge(struct greylist *g, const struct settings *s, uint64_t now)
{
	struct purge p = { .s = s, .now = now };

	p.expired = must_alloc(GREYLIST_PURGE_BATCH * sizeof(*p.expired));
	table_each(g->table, look, &p);
	for (size_t i = 0; i < p.count; i++)
		table_remove(g->table, span_of(p.expired[i].at, KEY_SIZE));
	g->records = p.records - p.count;
	free(p.expired);
	return p.count == GREYLIST_PURGE_BATCH;
}
