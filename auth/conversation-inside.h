/*
 * conversation-inside - what the files of a conversation share.
 *
 *   conversation.c   the dialogue: what front ends say, and what the mechanism makes of it
 *   claim.c          whom a claim means: names, certificates, tokens, SCRAM keys
 *   check.c          whether it is true: the guard, then the sources, one after the other
 *   verdict.c        what is said of it, logged and counted; tickets
 */
#ifndef VALIJA_CONVERSATION_INSIDE_H
#define VALIJA_CONVERSATION_INSIDE_H

#include "auth.h"
#include "login.h"
#include "mechanism.h"

#define MOST_NAMED 4096 /* bytes of addresses that one certificate stands for */

struct event;
struct passport;

enum state { CHALLENGED, HELD, CHECKING, DELAYED };

struct key {
	const struct channel *from;
	uint64_t session;
};

struct conversation {
	struct key key; /* first: compare() reads nothing else */
	struct auth *auth;
	struct channel *from; /* gone() frees us before it is freed */
	uint64_t session;
	enum service service;
	const struct mechanism *mechanism;
	enum state state;
	char ip[MOST_IP + 1];
	char tls[17], cipher[65]; /* version and cipher of the connection, as the TLS worker says; for the log */
	struct sasl_owner owner;
	struct sasl sasl;
	struct text exporter, unique, end_point; /* channel binding data of the connection */
	struct text pending;  /* a last message that is held back */
	struct text named;    /* whom the certificate names, with commas between */
	struct text acts_as;  /* a master user wants to be this one; or empty */
	struct text last;     /* the mechanism's last words, until the end */
	bool proven;	      /* without a password: a certificate, or a token */
	bool refused;	      /* a token; the client was told why, and owes a word (RFC 7628 3.2.3) */
	const char *fault;    /* why nobody can be meant by the name; or NULL */
	struct text name;     /* as the client wrote it, for the log */
	struct text token;    /* while its issuer is asked; wiped */
	struct text password; /* prepared; wiped as soon as the verdict is known */
	struct login login;
	struct job *job;
	void (*known)(struct conversation *c); /* check_find's */
	void (*unknown)(struct conversation *c, const char *because);
	struct check *check; /* with the administrator's program */
	size_t source;	  /* of settings: the next to ask */
	uint64_t claimed; /* when, in milliseconds */
	struct event *delay;
	bool waited;	  /* for what earlier failures cost: once is enough */
	void (*go_on)(struct conversation *c); /* then */
	TAILQ_ENTRY(conversation) next;
};

/* Of the monotonic clock. */
uint64_t auth_milliseconds(void);
uint64_t auth_seconds(void);

/* --- conversation.c --- */

/* One place frees the state, whatever ended it. */
void conversation_free(struct conversation *c);
/* Tells the front end, and frees. So does each verdict_ below. */
void conversation_end(struct conversation *c, enum auth_verdict verdict);
/* The client spoke: what the mechanism makes of it. */
void conversation_step(struct conversation *c, struct span data, bool has_data);

/* --- claim.c --- */

/* What the mechanism took from the client's words; goes on to check_begin, or to a verdict. */
void claim_of_password(struct conversation *c, const struct claim *claim);
void claim_of_certificate(struct conversation *c, struct span authzid);
void claim_of_token(struct conversation *c, const struct claim *claim);
/* sasl_owner.secret: SCRAM keys of whom the claim names, or of nobody. */
bool claim_secret(void *me, const struct claim *claim, struct scram_secret *secret);
/* Keeps whom the certificate of a passport stands for. */
void claim_note_names(struct conversation *c, const struct passport *p);

/* --- check.c --- */

/* Asks the guard about `key`, which may be empty: nobody is named. Goes on when it lets him, at once or after what
 * earlier failures cost; or to a verdict. */
void check_guard(struct conversation *c, struct span key, void (*go_on)(struct conversation *c));
/* A claim is there (c->login.key): it is checked, after the guard. */
void check_begin(struct conversation *c);
/* Looks c->login.key up, also among the users of the system; `known` goes on with it, or `unknown`, which hears why.
 * Or a verdict: it cannot be known now. */
void check_find(struct conversation *c, void (*known)(struct conversation *c),
	void (*unknown)(struct conversation *c, const char *because));

/* --- verdict.c --- */

void verdict_later(struct conversation *c, const char *reason);
/* Counted, delayed; `reason` for the log alone. */
void verdict_wrong(struct conversation *c, const char *reason);
void verdict_blocked(struct conversation *c, uint32_t for_seconds);
void verdict_malformed(struct conversation *c);
void verdict_right(struct conversation *c);
/* `last` are the mechanism's last words, which go along with success. */
void verdict_right_with(struct conversation *c, struct span last);

#endif
