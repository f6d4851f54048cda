/*
 * arena - memory that dies together: what one command needs is freed when the command ends.
 *
 * Sizes come from input that is already bounded (imap-input.h), so an allocation succeeds or ends
 * the process (must_alloc). Zero bytes are a valid, empty arena.
 */
#ifndef VALIJA_IMAPD_ARENA_H
#define VALIJA_IMAPD_ARENA_H

#include "common/span.h"

struct arena {
	struct arena_block *blocks;
	bool wide;       /* quoted strings that are taken into it may hold UTF-8 (RFC 6855, RFC 9051) */
};

/* Zeroed, aligned for anything, valid until arena_clear. Never NULL. */
void *arena_alloc(struct arena *arena, size_t size) __attribute__((returns_nonnull));
/* A copy of `s` in the arena. */
struct span arena_copy(struct arena *arena, struct span s);
void arena_clear(struct arena *arena);

#endif
