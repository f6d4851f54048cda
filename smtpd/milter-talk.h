/*
 * milter-talk - the whole conversation with one filter about one message: connect, helo, mail, rcpt as they come,
 * then data, header, end of header, body, end. Nothing in it blocks; each answer has its time.
 *
 * The owner gives what there is (recipients as they are known, then the message), and looks at the talk when
 * progress() was called. No function here calls progress() before it has returned to the event loop.
 */
#ifndef VALIJA_SMTPD_MILTER_TALK_H
#define VALIJA_SMTPD_MILTER_TALK_H

#include "smtpd/milter-edit.h"
#include "smtpd/milter-packet.h"

#define MILTER_WORDS_MOST 400

struct event_base;
struct talk;

/* A refusal: of a recipient, or of the message. code 0: none. */
struct milter_refusal {
	unsigned int code;
	char status[10], words[MILTER_WORDS_MOST + 1];
};

struct milter_recipient {
	struct span address;
	uint32_t number;
	struct milter_refusal refused;
};

/* What filters are told of the message; spans belong to the owner. */
struct milter_facts {
	struct span name, ip, helo;        /* name: "" when the client has none that is confirmed */
	struct span hostname, service, tls_version, tls_cipher, login, sender, id;
	struct milter_recipient *recipient;  /* the array may move */
};

enum milter_verdict { MILTER_TAKES, MILTER_REFUSES, MILTER_DISCARDS, MILTER_FAILS };

/* What a filter did to the envelope, in its order: a row of text each. */
enum milter_change { CHANGE_SENDER = 'e', CHANGE_ADD = '+', CHANGE_REMOVE = '-' };

/* What came of it. */
struct milter_outcome {
	enum milter_verdict verdict;
	struct milter_refusal refusal;     /* MILTER_REFUSES */
	char quarantine[MILTER_WORDS_MOST + 1];   /* why the message is to be held, or "" */
	const char *fault;                 /* MILTER_FAILS: static */
	bool unreachable;                  /* there was no connection */
	bool touched;                      /* it has changed something of the message */
	/* Changes of the envelope: a letter of enum milter_change, address NUL parameters NUL. */
	struct text envelope;
};

struct milter_times {
	unsigned int connect, command, content;   /* seconds */
};

/* Connects to the filter at `address` (milter-address.h); to none where that is empty, which is a failure too. */
struct talk *talk_new(struct event_base *base, struct span address, const struct milter_facts *facts,
	struct milter_times times, void (*progress)(void *me), void *me);
/* NULL inside is accepted; the connection ends. */
void talk_free(struct talk **talk);
/* Recipients up to `known` may be told. Returns how many the filter has judged: their refusals stand in the facts. */
size_t talk_recipients(struct talk *t, size_t known);
/* All recipients are known: now the message. `e` is the talk's until it is over. */
void talk_message(struct talk *t, struct milter_edit *e);
/* Is there a verdict? On the message, or before it on all that comes. It stays the talk's. */
const struct milter_outcome *talk_outcome(const struct talk *t);
/* Give up: it takes too long. */
void talk_give_up(struct talk *t, const char *fault);

#endif
