/*
 * introspect - whether a token is good, as its issuer says (RFC 7662): the question, the credentials, the answer.
 *
 * auth-fetch asks; the answer is judged here as a stranger's.
 */
#ifndef VALIJA_INTROSPECT_H
#define VALIJA_INTROSPECT_H

#include "common/text.h"
#include "jwt.h"

/* Of the answer. */
#define INTROSPECT_MOST_ANSWER 60000
#define INTROSPECT_MOST_CREDENTIALS 1024

/* The value of the Authorization field from a file's text: "CLIENT:SECRET" becomes Basic (RFC 6749 2.3.1), another line
 * Bearer (RFC 6750). False: it is neither, or too long. */
bool introspect_authorization(struct span file, struct text *value);
/* The body of the POST (RFC 7662 2.1). */
bool introspect_body(struct span token, struct text *body);

/* Is the answer of `status` that of a good token at `now`? *user gets the user, *seconds how long it says so (0: it does
 * not say). Otherwise false, and *why (static) says what is wrong; *later: nothing is known of the token. */
bool introspect_judge(const struct jwt_wanted *wanted, uint16_t status, struct span answer, uint64_t now,
	struct text *user, uint32_t *seconds, const char **why, bool *later);

#endif
