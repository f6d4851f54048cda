/*
 * conversation - one login: a front end's question, challenges and answers, and the verdict.
 *
 *                 auth_ask
 *                    |
 *      +-------------+-- no TLS, no such mechanism, not of its form ----> verdict
 *      v             v
 *   challenged --> checking (a hash worker, or remembered) --> right ---> ticket to master, verdict
 *    (auth_answer)   |
 *                    +--> wrong --> delayed ----------------------------> verdict
 *
 * Before it is checked, a claim of a pair that failed lately is held, or refused (guard.h).
 *
 * Challenged, the client owes an answer; otherwise the front end waits for us. auth_cancel, or the
 * front end's end, frees the conversation in each state.
 */
#ifndef VALIJA_CONVERSATION_H
#define VALIJA_CONVERSATION_H

#include <sys/queue.h>

#include "common/channel.h"
#include "common/daemon.h"

/* Of one front-end process. More are answered with AUTH_LATER. */
#define MOST_CONVERSATIONS 4096
/* How old a passport may be: from the handshake to the login. */
#define PASSPORT_MOST_SECONDS 900

struct auth;
struct conversation;

struct conversations {
	void *by_id; /* tsearch(3): front end and session */
	TAILQ_HEAD(, conversation) all;
	size_t of_front_end[PROGRAM_COUNT][MOST_PEERS_OF_A_KIND];
	uint32_t count;	 /* now */
	uint64_t served; /* ever */
};

void conversations_init(struct conversations *c);
/* Answers what is delayed now: the program leaves. */
void conversations_hurry(struct auth *a);

/* What auth hears from smtpd and imap-login; `me` is struct auth. */
extern const struct hearing front_end_hearing;

#endif
