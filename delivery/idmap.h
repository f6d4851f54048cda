/*
 * idmap - from an id to a thing. Ids come from other programs: the place of each depends on a
 * number that is drawn at start, so that nobody can choose ids that collide.
 */
#ifndef VALIJA_IDMAP_H
#define VALIJA_IDMAP_H

#include <stddef.h>
#include <stdint.h>

struct idmap_slot {
	uint64_t id;         /* 0: empty */
	void *value;
};

struct idmap {
	struct idmap_slot *at;
	size_t room;         /* slots, a power of two, or 0 */
	size_t count;
	uint64_t seed;       /* odd */
};

void idmap_init(struct idmap *m);
void idmap_clear(struct idmap *m);
/* NULL when it is not there. */
void *idmap_get(const struct idmap *m, uint64_t id);
/* `id` is not 0 and not there yet. */
void idmap_put(struct idmap *m, uint64_t id, void *value);
void idmap_remove(struct idmap *m, uint64_t id);
/* All values in turn: start with *place 0; NULL at the end. Nothing may be put or removed
 * meanwhile. */
void *idmap_next(const struct idmap *m, size_t *place);

#endif
