/*
 * credential - see credential.h.
 */
#include "master/credential.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "common/password.h"
#include "common/secret.h"

/* Application passwords share salt and iterations with the password: these stay while there are some. */
static void
make_keys(struct credential *c, struct span password, const struct settings *s,
	const struct password *old)
{
	if (old && old->app_count > 0) {
		c->p.scram_salt = old->scram_salt;
		c->p.scram_iterations = old->scram_iterations;
		c->p.app_count = old->app_count;
		memcpy(c->p.app, old->app, sizeof c->p.app);
	} else {
		secret_random(c->salt, sizeof c->salt);
		c->p.scram_salt = span_of(c->salt, sizeof c->salt);
		c->p.scram_iterations = (uint32_t)s->scram_iterations;
	}
	if (c->p.scram_iterations > 0)
		scram_make(password, c->p.scram_salt, c->p.scram_iterations, &c->room, c->p.scram);
}

bool
credential_make(struct credential *c, struct span password, const struct settings *s,
	const struct password *old, struct text *why)
{
	const struct password_strength strength = { s->password_scheme,
		(uint32_t)s->password_cost };

	memset(c, 0, sizeof *c);
	c->hash = TEXT_UP_TO(MOST_HASH);
	if (!password_hash_new(password, &strength, &c->hash)) {
		if (errno == EMSGSIZE)
			text_printf(why, "the password has more than the %zu bytes that password_scheme = %.*s takes",
				password_scheme(s->password_scheme)->longest, SPAN_ARG(s->password_scheme));
		else
			text_printf(why, "the password cannot be hashed here: %s", strerror(errno));
		return false;
	}
	c->p.hash = text_span(&c->hash);
	c->p.changed = (uint64_t)time(NULL);
	make_keys(c, password, s, old);
	return true;
}

void
credential_clear(struct credential *c)
{
	text_wipe(&c->hash);
	secret_wipe(c, sizeof *c);
}
