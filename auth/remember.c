/* remember - see remember.h. */
#include "remember.h"

#include <stdlib.h>

#include "common/secret.h"
#include "common/text.h"
#include "recent.h"

struct remember {
	struct digest_key key;
	struct recent *right;
};

struct remember *
remember_new(void)
{
	struct remember *r = must_alloc(sizeof(*r));

	digest_key_new(&r->key);
	r->right = recent_new(REMEMBER_MOST);
	return r;
}

void
remember_free(struct remember **r)
{
	if (*r == NULL)
		return;
	recent_free(&(*r)->right);
	secret_wipe(*r, sizeof(**r));
	free(*r);
	*r = NULL;
}

static struct digest
digest_of_login(const struct remember *r, struct span user, struct span password, struct span hash)
{
	const struct span parts[] = {user, password, hash};

	return digest_of(&r->key, parts, 3);
}

bool
remember_knows(struct remember *r, struct span user, struct span password, struct span hash,
	uint64_t now, uint64_t seconds)
{
	struct digest d = digest_of_login(r, user, password, hash);
	const struct recent_mark *mark = recent_find(r->right, &d);

	/* Counted from the hash that was really made: being found does not make it younger. */
	if (mark != NULL && now - mark->when < seconds)
		return true;
	if (mark != NULL)
		recent_forget(r->right, &d);
	return false;
}

void
remember_add(
	struct remember *r, struct span user, struct span password, struct span hash, uint64_t now)
{
	struct digest d = digest_of_login(r, user, password, hash);

	recent_touch(r->right, &d)->when = now;
}
