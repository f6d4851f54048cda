/*
 * mechanism - SASL (RFC 4422) through GNU SASL: one row for each mechanism that is offered.
 *
 * A row says how the dialogue goes; the library takes the messages apart. It never decides: what it
 * extracts is a claim (name, password), and whether the claim is right is found out afterwards,
 * without blocking.
 */
#ifndef VALIJA_MECHANISM_H
#define VALIJA_MECHANISM_H

#include <gsasl.h>

#include "common/text.h"

struct mechanism {
	const char *name;
	/* The first word is the server's: an initial response answers it (RFC 4422 3, 5 (2a)). */
	bool server_first;
	/* What is said instead of the library's own challenges; ends with NULL. */
	const char *const *prompts;
	unsigned int most_steps;
	/* How many NULs a message may have, at least and at most. */
	unsigned int least_nuls, most_nuls;
};

/* What a client says it is. Spans are valid until sasl_clear. */
struct claim {
	struct span name;     /* authcid; not empty */
	struct span authzid;  /* as whom it wants to act; often empty */
	struct span password; /* may be empty */
};

enum sasl_result {
	SASL_CHALLENGE, /* `challenge` goes to the client, an answer is awaited */
	SASL_CLAIM,	/* `claim` is there */
	SASL_MALFORMED, /* not of the mechanism's form */
	SASL_WRONG,	/* of the form, but no name or password could be so (NUL, control, empty) */
	SASL_FAILED,	/* ours: the library has no memory, or does not know a mechanism of ours */
};

struct sasl {
	const struct mechanism *row;
	Gsasl_session *session;
	unsigned int steps;
	bool claimed;
	struct claim claim;
};

/* NULL when there is none of this name (any case). */
const struct mechanism *mechanism_find(struct span name);

/* The library, ready for these mechanisms; NULL when it cannot be had. */
Gsasl *mechanisms_open(void);

bool sasl_init(struct sasl *s, Gsasl *library, const struct mechanism *row);
/* The client spoke `data`; has_data is false when there was no initial response. */
enum sasl_result sasl_step(struct sasl *s, struct span data, bool has_data, struct text *challenge);
/* Frees the state; fine twice, and on all zeros. */
void sasl_clear(struct sasl *s);

#endif
