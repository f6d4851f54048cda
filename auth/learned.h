/*
 * learned - better hashes, and SCRAM keys, of passwords that were right: made at a login, when what
 * passwd.db has is weaker than password_scheme and password_cost say, or came without keys.
 *
 * passwd.db is the command's alone to write. What is learned lies in a table of auth's own, tied to
 * the hash that it was made after: a new password, or one that is set back, makes it void.
 */
#ifndef VALIJA_LEARNED_H
#define VALIJA_LEARNED_H

#include "common/settings.h"
#include "common/table.h"
#include "common/users.h"
#include "worker-pool.h"

#define LEARNED_TABLE "learned.db"

/* Puts what was learned into *p, which was read from passwd.db; `record` holds it: as long as *p.
 * Nothing happens when there is nothing, or it is void. */
void learned_use(struct table *t, struct span key, struct text *record, struct password *p);
/* Asks a worker for a better hash of `password`, which was right for *p, if one is called for. */
void learned_improve(struct table *t, struct pool *hash, const struct settings *s, struct span key,
	const struct password *p, struct span password);

#endif
