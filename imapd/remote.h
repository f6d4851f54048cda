/*
 * remote - commands about mailboxes of other users: found, passed on over a link, and their answers passed back. See
 * share.h.
 */
#ifndef VALIJA_IMAPD_REMOTE_H
#define VALIJA_IMAPD_REMOTE_H

#include "imapd/command.h"
#include "imapd/folder.h"
#include "imapd/link.h"

/* Is the command about another user's mailbox, by its name or because that is selected? Then it is passed on (or
 * answered): true. For commands that are there whole. */
bool remote_takes(struct command *c);
/* The same for one that ends, so far, by announcing a literal of its own; `waits`: the client waits for "+". */
bool remote_takes_literal(struct command *c, bool waits);
/* While a command that was passed on wants more from the client: what is answered meanwhile is passed back. */
void remote_pump(struct command *c);
/* Does the other process read too slowly for more to be taken from the client? */
bool remote_is_full(const struct command *c);
/* COPY and MOVE: is the target of another user than what is selected (crossing.h)? *others: it is not ours, but
 * whose `owner` says, with room for MOST_ADDRESS + 1. */
bool remote_crosses(struct command *c, char *owner, bool *others);
/* Over a fresh link, what the client has enabled here is enabled there. True: an answer to "~" comes. */
bool remote_say_enabled(struct session *s, struct link *l);
/* The mailbox that is selected there is selected no more. */
void remote_unselect(struct session *s);

/* LIST goes on with the mailboxes of others: a step of the command, once the own ones are told. */
struct remote_list {
	bool asked;
	bool only_whether;           /* whether anybody shares with us: nobody is asked what */
	const struct folder_list *folders;     /* with what is subscribed; or NULL */
	struct text owners;
	size_t at;
	bool enabling;
};
/* Passes on a line of it, with \\Subscribed where the name is in `folders`. */
void remote_pass_listed(struct command *c, const struct folder_list *folders, struct span line);
/* True when all is told, or, with *wait, that the command waits for it. */
bool remote_list_step(struct command *c, struct remote_list *r, bool *wait);
void remote_list_clear(struct session *s, struct remote_list *r);

/* LIST (SUBSCRIBED): the names in one's own list are asked for at their owner, so many at a time. In
 * remote-subscribed.c. */
#define MOST_ASKED 50
struct remote_subscribed {
	const struct folder_list *folders;
	struct span returns;         /* " RETURN (...)" of the client, or nothing */
	size_t from, to;             /* of folders->foreign: these */
	bool said[MOST_ASKED];       /* told, or not to be */
	bool enabling;
	bool unknown;                /* when all is heard: the owner's process could not say what is there */
};
/* Asks for as many as go together from `from` on, of those that are wanted. False: none is. */
bool remote_subscribed_begin(struct command *c, struct remote_subscribed *r, size_t from,
	bool (*wanted)(struct command *c, struct span foreign));
/* True when all is heard: who is not `said` does not exist, unless `unknown`. */
bool remote_subscribed_step(struct command *c, struct remote_subscribed *r, bool *wait);

#endif
