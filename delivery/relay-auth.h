/*
 * relay-auth - SASL as a client (RFC 4954, RFC 2033): one exchange.
 *
 * SCRAM-SHA-256, PLAIN and LOGIN are GNU SASL's; a token goes by XOAUTH2, as Google and Microsoft
 * define it. The strongest that the server offers is used.
 */
#ifndef VALIJA_RELAY_AUTH_H
#define VALIJA_RELAY_AUTH_H

#include "relayhost.h"

struct sasl;

/* NULL: the server offers none that we know; `offered` is its list. Credentials are copied. */
struct sasl *sasl_new(struct span offered, struct span host, const struct credentials *c);
void sasl_free(struct sasl **s);
/* "AUTH PLAIN AHUAcA==", into `to`. */
bool sasl_begin(struct sasl *s, struct text *to);
/* The answer to the server's `challenge` (base64). False: it makes no sense, or tells of another
 * server than the one that knows our password. */
bool sasl_answer(struct sasl *s, struct span challenge, struct text *to);
/* Did the server prove, where the mechanism has it so, that it knows the password? */
bool sasl_is_over(const struct sasl *s);

#endif
