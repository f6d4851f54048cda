/* token-cache - see token-cache.h. */
#include "token-cache.h"

#include <stdlib.h>
#include <string.h>

#include "common/message.h"
#include "common/secret.h"
#include "digest.h"

struct place {
	struct digest token;
	uint64_t until; /* 0: empty */
	char user[MOST_ADDRESS + 1];
};

struct token_cache {
	struct digest_key key;
	struct place places[TOKEN_CACHE_PLACES];
};

struct token_cache *
token_cache_new(void)
{
	struct token_cache *c = must_alloc(sizeof(*c));

	digest_key_new(&c->key);
	return c;
}

void
token_cache_free(struct token_cache **c)
{
	if (*c != NULL)
		secret_wipe(*c, sizeof(**c));
	free(*c);
	*c = NULL;
}

void
token_cache_clear(struct token_cache *c)
{
	secret_wipe(c->places, sizeof(c->places));
}

static struct place *
place_of(struct token_cache *c, const struct digest *d)
{
	uint32_t n;

	memcpy(&n, d->at, sizeof(n));
	return &c->places[n % TOKEN_CACHE_PLACES];
}

struct span
token_cache_find(struct token_cache *c, struct span token, uint64_t now)
{
	struct digest d = digest_of(&c->key, &token, 1);
	const struct place *p = place_of(c, &d);

	return p->until > now &&
			       secret_equal(span_of(p->token.at, sizeof(p->token.at)),
				       span_of(d.at, sizeof(d.at)))
		       ? span_str(p->user)
		       : SPAN_NONE;
}

void
token_cache_put(struct token_cache *c, struct span token, struct span user, uint64_t until)
{
	struct digest d = digest_of(&c->key, &token, 1);
	struct place *p = place_of(c, &d);

	p->until = span_copy(user, p->user, sizeof(p->user)) ? until : 0;
	p->token = d;
}
