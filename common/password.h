/*
 * password - the form in which passwords are compared, and the hashes that are kept of them.
 */
#ifndef VALIJA_PASSWORD_H
#define VALIJA_PASSWORD_H

#include "message.h"
#include "text.h"

/* A yescrypt hash of a password that nobody knows: verified instead of the hash of a user who does
 * not exist, so that both take the same time. Same cost as those of password_hash_new. */
extern const char password_of_nobody[];

/* Writes the form in which a password is hashed and verified: SASLprep (RFC 4013), which RFC 4616
 * (PLAIN) and RFC 5802 (SCRAM) ask for; as GNU SASL makes it, which hears the logins. False: empty,
 * not UTF-8, with control characters or characters that Unicode 3.2 did not have, or over
 * MOST_PASSWORD. Wipe `to` in any case (text_wipe). */
bool password_prepare(struct span raw, struct text *to);

/* A new yescrypt hash (crypt(5)) of a prepared password, with a fresh salt, at the library's
 * default cost. Takes a tenth of a second: for the command, never in an event loop. False when the
 * library cannot (errno). */
bool password_hash_new(struct span password, struct text *hash);

/* Is `hash` one of the prepared `password`? Compares in constant time; blocks as long as a hash
 * takes. A hash of a kind that the library does not know is of no password. */
bool password_verify(struct span hash, struct span password);

#endif
