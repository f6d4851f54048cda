/* idmap - see idmap.h. Open addressing, linear probing, never more than two thirds full. */
#include "idmap.h"

#include "common/secret.h"
#include "common/text.h"

#include <stdlib.h>
#include <string.h>

#define LEAST_ROOM 64

void
idmap_init(struct idmap *m)
{
	memset(m, 0, sizeof(*m));
	secret_random(&m->seed, sizeof(m->seed));
	m->seed |= 1;
}

void
idmap_clear(struct idmap *m)
{
	free(m->at);
	m->at = NULL;
	m->room = m->count = 0;
}

static size_t
place_of(const struct idmap *m, uint64_t id)
{
	uint64_t mixed = (id ^ id >> 32) * m->seed;

	return (size_t)(mixed >> 20 ^ mixed >> 43) & (m->room - 1);
}

static size_t
find(const struct idmap *m, uint64_t id)
{
	size_t i = place_of(m, id);

	while (m->at[i].id != 0 && m->at[i].id != id)
		i = (i + 1) & (m->room - 1);
	return i;
}

void *
idmap_get(const struct idmap *m, uint64_t id)
{
	return m->count == 0 || id == 0 ? NULL : m->at[find(m, id)].value;
}

static void
grow(struct idmap *m)
{
	struct idmap old = *m;

	m->room = old.room == 0 ? LEAST_ROOM : old.room * 2;
	m->at = must_alloc(m->room * sizeof(*m->at));
	for (size_t i = 0; i < old.room; i++)
		if (old.at[i].id != 0)
			m->at[find(m, old.at[i].id)] = old.at[i];
	free(old.at);
}

void
idmap_put(struct idmap *m, uint64_t id, void *value)
{
	size_t i;

	if ((m->count + 1) * 3 > m->room * 2)
		grow(m);
	i = find(m, id);
	m->count += m->at[i].id == 0;
	m->at[i] = (struct idmap_slot){ id, value };
}

void
idmap_remove(struct idmap *m, uint64_t id)
{
	size_t hole, i, home;

	if (m->count == 0 || m->at[hole = find(m, id)].id == 0)
		return;
	m->count--;
	/* What stands behind moves forward where its own place allows, so that probing never meets
	 * a hole before its goal. */
	for (i = (hole + 1) & (m->room - 1); m->at[i].id != 0; i = (i + 1) & (m->room - 1)) {
		home = place_of(m, m->at[i].id);
		if (((i - home) & (m->room - 1)) >= ((i - hole) & (m->room - 1))) {
			m->at[hole] = m->at[i];
			hole = i;
		}
	}
	m->at[hole] = (struct idmap_slot){ 0, NULL };
}

void *
idmap_next(const struct idmap *m, size_t *place)
{
	while (*place < m->room) {
		struct idmap_slot *s = &m->at[(*place)++];

		if (s->id != 0)
			return s->value;
	}
	return NULL;
}
