/* learned - see learned.h. */
#include "learned.h"

#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/password.h"
#include "common/secret.h"

#define MARK SHA256_DIGEST_SIZE /* a row: SHA-256 of the hash in passwd.db, then a record as there */

static void
mark_of(struct span hash, unsigned char mark[MARK])
{
	struct sha256_ctx context;

	sha256_init(&context);
	sha256_update(&context, hash.len, hash.at);
	sha256_digest(&context, MARK, mark);
}

void
learned_use(struct table *t, struct span key, struct text *record, struct password *p)
{
	unsigned char mark[MARK];
	struct password better;
	struct span row;

	if (t == NULL || table_get(t, key, record) != TABLE_FOUND)
		return;
	row = text_span(record);
	mark_of(p->hash, mark);
	if (!secret_equal(span_part(row, 0, MARK), span_of(mark, MARK)) ||
		!password_decode(span_part(row, MARK, row.len), &better))
		return;
	p->hash = better.hash;
	/* Application passwords were made with the salt that is there. */
	if (p->scram_salt.len > 0)
		return;
	p->scram_salt = better.scram_salt;
	p->scram_iterations = better.scram_iterations;
	memcpy(p->scram, better.scram, sizeof(p->scram));
}

/* One that is being made. */
struct lesson {
	struct table *table;
	struct text key;
	unsigned char mark[MARK];
};

static void
on_made(void *me, const void *answer)
{
	const struct msg_hash_made *told = answer;
	struct lesson *l = me;
	struct text row = TEXT_UP_TO(TABLE_MOST_VALUE);
	struct password made;

	if (told != NULL && password_decode(told->record, &made)) {
		text_add(&row, span_of(l->mark, MARK));
		text_add(&row, told->record);
		if (!row.failed && table_put(l->table, text_span(&l->key), text_span(&row)) == 0)
			log_info(0, "password-improved", KEY_SPAN("user", text_span(&l->key)));
	}
	text_wipe(&row);
	text_clear(&l->key);
	free(l);
}

void
learned_improve(struct table *t, struct pool *hash, const struct settings *s, struct span key,
	const struct password *p, struct span password)
{
	const struct password_strength strength = {s->password_scheme, (uint32_t)s->password_cost};
	bool no_keys = s->scram_iterations > 0 && p->scram_salt.len == 0;
	struct lesson *l;

	if (t == NULL || (!no_keys && !password_is_weaker(p->hash, &strength)))
		return;
	l = must_alloc(sizeof(*l));
	l->table = t;
	l->key = TEXT_UP_TO(MOST_ADDRESS);
	text_add(&l->key, key);
	mark_of(p->stored, l->mark);
	/* Not now, then at the next login. */
	if (pool_ask_make(hash, &strength, (uint32_t)s->scram_iterations, password, on_made, l) ==
		NULL) {
		text_clear(&l->key);
		free(l);
	}
}
