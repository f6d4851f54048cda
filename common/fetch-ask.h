/*
 * fetch-ask - asks program fetch for something at a URL, without waiting.
 *
 * (auth-token alone has a fetch of its own, auth-fetch, which nobody else speaks with.)
 * A program that asks puts { PROGRAM_FETCH, &fetch_hearing } into its peers and calls fetch_peer_came()
 * when peer_came() brings one; it needs nothing else (and a row in master/wiring.c, and BY_... in
 * common/message.h). Each question is answered exactly once, never from inside fetch_ask(): with what
 * fetch told, or with status 0 when it did not tell anything in time, was not there for so long, or has
 * too much to do. A fetch that was started anew is asked again: a POST may then come twice.
 */
#ifndef VALIJA_FETCH_ASK_H
#define VALIJA_FETCH_ASK_H

#include "daemon.h"

#define MOST_FETCHES_ASKED 200      /* outstanding in one process; more are answered with a fault */
#define MOST_FETCH_MILLISECONDS 120000

struct fetch_question;

/* What is wanted. Borrowed until fetch_ask() returns. */
struct fetch_wanted {
	struct span url;            /* https://HOST[:PORT]/PATH; http:// only with plain_allowed */
	enum fetch_method method;
	struct span authorization;  /* the value of that field, or empty */
	struct span content_type, body;  /* of a POST; MOST_FETCH_BODY_SENT bytes at most */
	uint32_t most_bytes;        /* of the answer's body; MOST_FETCH_BODY at most */
	uint32_t milliseconds;      /* for all of it; MOST_FETCH_MILLISECONDS at most */
	bool plain_allowed;
};

/* What came. Borrowed until `heard` returns. */
struct fetch_answer {
	uint16_t status;            /* of HTTP, whatever it is (redirects are not followed); 0: no answer, and `fault` says why */
	struct span content_type;   /* as the server wrote it */
	struct span body;
	struct span fault;          /* printable */
	struct span result;         /* with status 0, when TLS failed: the word of RFC 8460 4.3 for it */
};

typedef void fetch_heard(void *arg, const struct fetch_answer *answer);

/* The result is borrowed, for fetch_cancel, until `heard` is called; never NULL. */
struct fetch_question *fetch_ask(struct daemon *d, const struct fetch_wanted *wanted, fetch_heard *heard, void *arg);
/* The answer is not wanted any more: `heard` will not be called. Sets *q to NULL, accepts NULL in it. */
void fetch_cancel(struct fetch_question **q);

void fetch_peer_came(struct daemon *d, struct channel *peer);
extern const struct hearing fetch_hearing;

#endif
