/*
 * link - from a session to the process of another user, where its commands about his mailboxes are done (share.h).
 *
 * What is to be said there is gathered, and sent when master has made the connection, the process has greeted, and as
 * it reads. While the owner's process is being started anew, this waits for the next one.
 * What it answers is cut into lines and literals, and handed out piece by piece. Nothing waits here: the session
 * takes a turn when there is something.
 */
#ifndef VALIJA_IMAPD_LINK_H
#define VALIJA_IMAPD_LINK_H

#include "imapd/session.h"

#define MOST_LINK_OUT (128 * 1024)       /* more is not taken from the client meanwhile */
#define MOST_LINK_LINE (4 * 1024 * 1024) /* of the tagged answer */
#define LINK_SECONDS 30                  /* until the connection is there, and is greeted */
#define LINK_AGAIN_SECONDS 5             /* so long one that ends before its greeting is made anew */

struct link;

/* What a piece of an answer is. */
enum link_piece {
	LINK_NOTHING,        /* nothing is there now: wait */
	LINK_OVER,           /* the connection ended, or could not be made */
	LINK_PASS,           /* octets of untagged responses */
	LINK_LINE,           /* a whole untagged line, no literal in it, with CR LF */
	LINK_PLUS,           /* a continuation request */
	LINK_TAGGED,         /* the line that ends the command, without its tag and CR LF */
};

/* Asks master for the way. The session has one link at most that master is asked for. */
struct link *link_new(struct session *s, struct span owner);
void link_free(struct link **l);
/* Is it over because master knows of nothing there that the user shares? */
bool link_is_unknown(const struct link *l);
/* Is it in the middle of a response? Then the client can be told nothing more. */
bool link_is_within(const struct link *l);
/* Octets of a literal that are to come: if any, the next piece is of them. */
uint64_t link_literal(const struct link *l);
struct span link_owner(const struct link *l);
void link_say(struct link *l, struct span octets);
/* Is so much waiting that nothing more should be said now? */
bool link_is_full(const struct link *l);
/* The answer to the command tagged `tag`, as far as it is there. Pieces lie in the link until the next call. */
enum link_piece link_hear(struct link *l, struct span tag, struct span *piece);
/* The session's turn comes when there is more to hear, or room to say more. */
void link_wait(struct link *l);
/* Master's answer, for s->link: a socket, taken; or none, and whether that may change soon. */
void link_opened(struct session *s, int fd);
void link_refused(struct session *s, bool later);

#endif
