/* keywords - see keywords.h. */
#include "imapd/keywords.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_BUCKETS 16

void
keywords_init(struct keywords *k)
{
	memset(k, 0, sizeof(*k));
	k->set_room = 4;
	k->sets = must_alloc(k->set_room * sizeof(*k->sets));
	k->set_count = 1;        /* the empty set */
}

void
keywords_clear(struct keywords *k)
{
	for (unsigned int i = 0; i < k->count; i++)
		free(k->names[i]);
	free(k->sets);
	free(k->buckets);
	memset(k, 0, sizeof(*k));
}

int
keywords_find(const struct keywords *k, struct span name)
{
	for (unsigned int i = 0; i < k->count; i++) {
		if (span_equal_nocase(span_str(k->names[i]), name))
			return (int)i;
	}
	return NO_KEYWORD;
}

bool
keywords_fit(const struct keywords *k, const struct span *names, size_t count)
{
	size_t room = MOST_KEYWORDS - k->count;

	for (size_t i = 0; i < count; i++) {
		if (keywords_find(k, names[i]) == NO_KEYWORD && room-- == 0)
			return false;
	}
	return true;
}

int
keywords_add(struct keywords *k, struct span name)
{
	if (k->count == MOST_KEYWORDS)
		return NO_KEYWORD;
	k->names[k->count] = must_copy(name);
	return (int)k->count++;
}

struct span
keywords_name(const struct keywords *k, unsigned int number)
{
	return number < k->count ? span_str(k->names[number]) : SPAN_NONE;
}

struct keyword_bits
keywords_bits(const struct keywords *k, uint32_t set)
{
	return k->sets[set < k->set_count ? set : 0];
}

static uint32_t
bits_hash(const struct keyword_bits *bits)
{
	uint64_t h = 0;

	for (size_t i = 0; i < MOST_KEYWORDS / 64; i++)
		h = (h ^ bits->word[i]) * 0x9e3779b97f4a7c15u;
	return (uint32_t)(h >> 32);
}

/* The bucket where the set is, or where it would go. */
static uint32_t *
find_bucket(struct keywords *k, const struct keyword_bits *bits)
{
	uint32_t mask = k->bucket_count - 1;

	for (uint32_t i = bits_hash(bits) & mask;; i = (i + 1) & mask) {
		if (k->buckets[i] == 0 || memcmp(&k->sets[k->buckets[i]], bits, sizeof(*bits)) == 0)
			return &k->buckets[i];
	}
}

static void
grow_buckets(struct keywords *k)
{
	free(k->buckets);
	k->bucket_count = k->bucket_count == 0 ? FIRST_BUCKETS : k->bucket_count * 2;
	k->buckets = must_alloc(k->bucket_count * sizeof(*k->buckets));
	for (uint32_t i = 1; i < k->set_count; i++)
		*find_bucket(k, &k->sets[i]) = i;
}

uint32_t
keywords_set(struct keywords *k, struct keyword_bits bits)
{
	uint32_t *bucket;

	if (memcmp(&bits, &k->sets[0], sizeof(bits)) == 0)
		return 0;
	if (k->set_count * 2 >= k->bucket_count)
		grow_buckets(k);
	bucket = find_bucket(k, &bits);
	if (*bucket != 0)
		return *bucket;
	if (k->set_count == k->set_room) {
		k->set_room *= 2;
		k->sets = must_realloc(k->sets, k->set_room * sizeof(*k->sets));
	}
	k->sets[k->set_count] = bits;
	*bucket = k->set_count;
	return k->set_count++;
}

bool
keywords_has(const struct keywords *k, uint32_t set, unsigned int number)
{
	if (set == 0 || set >= k->set_count || number >= MOST_KEYWORDS)
		return false;
	return k->sets[set].word[number / 64] >> (number % 64) & 1;
}

void
keywords_write(const struct keywords *k, uint32_t set, bool first, struct text *out)
{
	if (set == 0)
		return;
	for (unsigned int i = 0; i < k->count; i++) {
		if (!keywords_has(k, set, i))
			continue;
		if (!first)
			text_add_byte(out, ' ');
		text_add_str(out, k->names[i]);
		first = false;
	}
}
