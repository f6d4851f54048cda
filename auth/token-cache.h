/*
 * token-cache - tokens that were good a moment ago, as keyed digests, and whose they are. Bounded: each token has one
 * place, which another one may take.
 */
#ifndef VALIJA_TOKEN_CACHE_H
#define VALIJA_TOKEN_CACHE_H

#include "common/text.h"

#define TOKEN_CACHE_PLACES 1024

struct token_cache;

struct token_cache *token_cache_new(void);
void token_cache_free(struct token_cache **c);
/* Forgets all: what is believed has changed. */
void token_cache_clear(struct token_cache *c);
/* The user of a token that is good until later than `now`; or empty. Valid until the next call. */
struct span token_cache_find(struct token_cache *c, struct span token, uint64_t now);
void token_cache_put(struct token_cache *c, struct span token, struct span user, uint64_t until);

#endif
