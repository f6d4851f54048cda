/*
 * password-scheme - hashes as Dovecot and LDAP write them: {SCHEME}hash, for users who come from there.
 *
 * What crypt(3) or argon2 know is kept in their own form; other schemes are kept as they came, and
 * verified here until a login makes a better hash of them.
 */
#ifndef VALIJA_PASSWORD_SCHEME_H
#define VALIJA_PASSWORD_SCHEME_H

#include "users.h"

enum password_form {
	PASSWORD_HASH,	/* `to` is a hash that password_verify knows */
	PASSWORD_CLEAR, /* `to` is the password itself: to be hashed, and wiped */
	PASSWORD_NONE,	/* nobody can log in with this: empty, "*", "!" or "x" */
	PASSWORD_STRANGE,
};

/* What `field` of a file means. Without {SCHEME} it is a crypt(3) hash. */
enum password_form password_scheme_read(struct span field, struct text *to);
/* Is `hash`, of the form {SCHEME}..., one of the password? Blocks as long as SCRAM takes. */
bool password_scheme_verify(struct span hash, struct span password);

#endif
