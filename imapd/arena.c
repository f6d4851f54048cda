/* arena - see arena.h. */
#include "imapd/arena.h"

#include "common/text.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_BLOCK_BYTES 4000
#define ARENA_ALIGN 16

struct arena_block {
	struct arena_block *next;
	size_t used, room;
	_Alignas(ARENA_ALIGN) unsigned char bytes[];
};

void *
arena_alloc(struct arena *arena, size_t size)
{
	struct arena_block *block = arena->blocks;
	size_t want = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
	void *at;

	if (block == NULL || block->room - block->used < want) {
		size_t room = want > ARENA_BLOCK_BYTES ? want : ARENA_BLOCK_BYTES;

		block = must_alloc(sizeof(*block) + room);
		block->room = room;
		block->next = arena->blocks;
		arena->blocks = block;
	}
	at = block->bytes + block->used;
	block->used += want;
	return at;
}

struct span
arena_copy(struct arena *arena, struct span s)
{
	unsigned char *at = arena_alloc(arena, s.len + 1);

	if (s.len > 0)
		memcpy(at, s.at, s.len);
	return span_of(at, s.len);
}

void
arena_clear(struct arena *arena)
{
	struct arena_block *block = arena->blocks, *next;

	for (; block != NULL; block = next) {
		next = block->next;
		free(block);
	}
	arena->blocks = NULL;
}
