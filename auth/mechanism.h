/*
 * mechanism - SASL (RFC 4422) through GNU SASL: one row for each mechanism that is offered.
 *
 * A row says how the dialogue goes; the library takes the messages apart. For a password it never
 * decides: what it extracts is a claim (name, password), and whether the claim is right is found out
 * afterwards, without blocking. For SCRAM it decides, from the keys that it is given; they are in a
 * table, so nothing blocks either. Which mechanisms are offered where is common/mechanisms.h.
 */
#ifndef VALIJA_MECHANISM_H
#define VALIJA_MECHANISM_H

#include <gsasl.h>

#include "common/text.h"
#include "common/users.h"

enum mechanism_kind {
	MECHANISM_OF_PASSWORD,
	MECHANISM_OF_SCRAM,
	MECHANISM_OF_CERTIFICATE, /* the claim has an authzid, or none */
	MECHANISM_OF_TOKEN,	  /* the claim's password is the token, its authzid a user or none */
};

struct mechanism {
	const char *name;
	enum mechanism_kind kind;
	/* The first word is the server's: an initial response answers it (RFC 4422 3, 5 (2a)). */
	bool server_first;
	/* What is said instead of the library's own challenges; ends with NULL. */
	const char *const *prompts;
	unsigned int most_steps;
	/* How many NULs a message may have, at least and at most. */
	unsigned int least_nuls, most_nuls;
	enum scram scram;
	bool binds; /* -PLUS */
};

/* What a client says it is. Spans are valid until sasl_clear. */
struct claim {
	struct span name;     /* authcid; not empty */
	struct span authzid;  /* as whom it wants to act; often empty */
	struct span password; /* may be empty; empty for SCRAM */
};

/* What SCRAM needs of one user. The spans must stay until sasl_clear. */
struct scram_secret {
	uint32_t iterations;
	struct span salt;
	/* Of one password, or of several: the first that fits counts. */
	struct scram_keys keys[1 + MOST_APP_PASSWORDS];
	size_t count;
};

/* Channel binding data of a connection, from its passport. Empty: the connection has none of this kind, or no mechanism
 * that binds is offered on it. */
struct sasl_binding {
	struct span exporter;  /* tls-exporter (RFC 9266) */
	struct span unique;    /* tls-unique (RFC 5929 3) */
	struct span end_point; /* tls-server-end-point (RFC 5929 4) */
};

/* What the owner of a dialogue knows. */
struct sasl_owner {
	/* SCRAM: the client named itself. False: the dialogue ends with SASL_FAILED. Who does not exist
	 * has an invented salt, and keys of nobody. */
	bool (*secret)(void *me, const struct claim *claim, struct scram_secret *secret);
	void *me;
	struct sasl_binding binding;
};

enum sasl_result {
	SASL_CHALLENGE, /* `challenge` goes to the client, an answer is awaited */
	SASL_CLAIM,	/* `claim` is there */
	SASL_PROVEN,	/* `claim` is there and true; `challenge` goes along with success */
	SASL_DISPROVEN, /* `claim` is there and false */
	SASL_MALFORMED, /* not of the mechanism's form */
	SASL_WRONG,	/* of the form, but no name or password could be so (NUL, control, empty) */
	SASL_FAILED,	/* ours: no memory, or the owner failed */
};

struct sasl {
	const struct mechanism *row;
	Gsasl *library;
	Gsasl_session *session;
	const struct sasl_owner *owner;
	unsigned int steps;
	bool claimed, failed;
	struct claim claim;
	/* SCRAM */
	struct scram_secret secret;
	struct text client_first, server_first; /* without the header of the first */
	struct span client_final;	       /* during a step */
	struct text end_point; /* what c= must be when the client binds to the certificate; or empty */
	struct text token;	       /* what the client said, for a token */
	size_t fits;			       /* which of the keys; secret.count: none */
};

/* NULL when there is none of this name (any case). */
const struct mechanism *mechanism_find(struct span name);

/* The library, ready for these mechanisms; NULL when it cannot be had. */
Gsasl *mechanisms_open(void);

/* `owner` is borrowed until sasl_clear; only SCRAM asks it. */
bool sasl_init(struct sasl *s, Gsasl *library, const struct mechanism *row,
	const struct sasl_owner *owner);
/* The client spoke `data`; has_data is false when there was no initial response. */
enum sasl_result sasl_step(struct sasl *s, struct span data, bool has_data, struct text *challenge);
/* Will the next step decide, so that what failures cost is to be paid before it? */
bool sasl_decides_next(const struct sasl *s);
/* Frees the state; fine twice, and on all zeros. */
void sasl_clear(struct sasl *s);

#endif
