/* name-table - see name-table.h. */
#include "imapd/name-table.h"

#include "common/secret.h"

#include <stdlib.h>

#define LEAST_SIZE 64

/* Keyed, so that nobody can choose names that collide. */
static uint32_t
name_hash(struct span base)
{
	static uint64_t key;
	uint64_t h;

	if (key == 0) {
		secret_random(&key, sizeof(key));
		key |= 1;
	}
	h = key;
	for (size_t i = 0; i < base.len; i++) {
		h = (h ^ base.at[i]) * 0x9fb21c651e98df25u;
		h ^= h >> 28;
	}
	h = (h ^ key) * 0x9fb21c651e98df25u;
	return (uint32_t)(h >> 32);
}

static void
insert(struct name_table *t, uint32_t hash, uint32_t uid)
{
	size_t mask = t->size - 1, i = hash & mask;

	while (t->entries[i].uid != 0)
		i = (i + 1) & mask;
	t->entries[i] = (struct name_entry){ hash, uid };
	t->used++;
}

/* All messages, into a table with room to grow; entries of those that went are left behind. */
static void
rebuild(struct name_table *t, const struct index *ix)
{
	name_table_clear(t);
	t->size = LEAST_SIZE;
	while (t->size < ix->count * 2 + LEAST_SIZE)
		t->size *= 2;
	t->entries = must_alloc(t->size * sizeof(*t->entries));
	for (size_t i = 0; i < ix->count; i++)
		insert(t, name_hash(index_name(ix, &ix->records[i])), ix->records[i].uid);
	t->next_uid = ix->uidnext;
}

static void
follow(struct name_table *t, const struct index *ix)
{
	size_t from;

	if (t->next_uid == ix->uidnext && t->size > 0)
		return;
	from = index_from(ix, t->next_uid);
	if (t->size == 0 || (t->used + ix->count - from) * 4 > t->size * 3) {
		rebuild(t, ix);
		return;
	}
	for (; from < ix->count; from++)
		insert(t, name_hash(index_name(ix, &ix->records[from])), ix->records[from].uid);
	t->next_uid = ix->uidnext;
}

size_t
name_table_find(struct name_table *t, const struct index *ix, struct span base)
{
	uint32_t hash = name_hash(base);
	size_t mask;

	follow(t, ix);
	mask = t->size - 1;
	for (size_t i = hash & mask; t->entries[i].uid != 0; i = (i + 1) & mask) {
		size_t at;

		if (t->entries[i].hash != hash)
			continue;
		at = index_find(ix, t->entries[i].uid);
		if (at != NO_RECORD && span_equal(index_name(ix, &ix->records[at]), base))
			return at;
	}
	return NO_RECORD;
}

void
name_table_clear(struct name_table *t)
{
	free(t->entries);
	*t = (struct name_table){ NULL, 0, 0, 0 };
}
