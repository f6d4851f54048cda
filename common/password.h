/*
 * password - the form in which passwords are compared, and the hashes that are kept of them.
 */
#ifndef VALIJA_PASSWORD_H
#define VALIJA_PASSWORD_H

#include "message.h"
#include "text.h"

/* A yescrypt hash of a password that nobody knows, at the default cost: verified instead of the hash
 * of a user who does not exist, so that both take the same time. */
extern const char password_of_nobody[];

/* Writes the form in which a password is hashed and verified: SASLprep (RFC 4013), which RFC 4616
 * (PLAIN) and RFC 5802 (SCRAM) ask for; as GNU SASL makes it, which hears the logins. False: empty,
 * not UTF-8, with control characters or characters that Unicode 3.2 did not have, or over
 * MOST_PASSWORD. Wipe `to` in any case (text_wipe). */
bool password_prepare(struct span raw, struct text *to);

/* How passwords are hashed: `scheme` is yescrypt, bcrypt, sha512crypt or (where libargon2 was there)
 * argon2id; `cost` as that scheme counts it, 0 for its default. */
struct password_strength {
	struct span scheme;
	uint32_t cost;
};

/* The stronger have the greater rank; cost counts among those of one scheme. */
struct password_scheme {
	const char *name, *prefix;
	unsigned int rank;
	uint32_t usual, most; /* cost */
	size_t longest;	      /* octets of a password that count */
};

#define MOST_BCRYPT_PASSWORD 72 /* bcrypt takes no notice of more */
#define MOST_CRYPT_PASSWORD  511 /* the other schemes of crypt(3) */

/* The one of this name (any case), or NULL. */
const struct password_scheme *password_scheme(struct span name);
/* Can this be done here? */
bool password_strength_exists(const struct password_strength *s);
/* A new hash (crypt(5), or argon2's own form) of a prepared password, with a fresh salt. Takes a tenth
 * of a second: never in an event loop. False when the library cannot (errno), or with EMSGSIZE when the password is
 * longer than the scheme takes. */
bool password_hash_new(
	struct span password, const struct password_strength *s, struct text *hash);

/* Is `hash` one of the prepared `password`? Compares in constant time; blocks as long as a hash
 * takes. A hash of a kind that the library does not know is of no password. */
bool password_verify(struct span hash, struct span password);

/* Was `hash` made by a lesser scheme than `s`, or at less cost? Quick. */
bool password_is_weaker(struct span hash, const struct password_strength *s);

#endif
