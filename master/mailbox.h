/*
 * mailbox - the imap process that each logged-in user has, and the way of a session into it.
 *
 *   none --first session--> starting --serves--> open --idle, no session--> leaving (forgotten
 *   here)
 *
 * imap-login brings a socket and a ticket; only what auth said under that ticket counts.
 */
#ifndef VALIJA_MAILBOX_H
#define VALIJA_MAILBOX_H

#include "common/message.h"
#include "master/supervisor.h"

#define MOST_MAILBOXES 4096 /* imap processes at a time */
#define MOST_WAITING_SESSIONS                                                                      \
	4096 /* sessions that wait for an imap process to start, all users together */

/* A session was authenticated and wants its mailbox. `fd` is taken. Answers imap_opened or
 * imap_refused. */
void mailbox_open(struct supervisor *s, struct process *front, uint64_t session,
	const struct msg_imap_open *m, int fd);

/* Ends the sessions of `user`, if he has any; the next login starts another process. */
void mailbox_end(struct supervisor *s, struct span user);

/* `user` may keep so much from now on; his process, if there is one, hears of it. */
void mailbox_limit(struct supervisor *s, struct span user, uint64_t bytes, uint64_t messages);

/* For guests (share.h): their openings are connected when the process of `owner` serves, at once if it does. False: there
 * is none, and auth has to be asked for the mailbox first; then with what it said. */
bool mailbox_reach(struct supervisor *s, const char *owner);
bool mailbox_begin_for_guests(struct supervisor *s, const struct msg_owner_told *m);
void mailbox_guest_came(struct mailbox *b);
void mailbox_guest_ended(struct mailbox *b);

/* What happens to the process of a mailbox. */
void mailbox_tell(struct mailbox *b, struct process *p); /* at its start: whose it is */
void mailbox_owner(const struct mailbox *b, uint32_t *uid, uint32_t *gid);
void mailbox_process_serves(struct mailbox *b);
void mailbox_session_taken(struct mailbox *b, uint64_t session);
void mailbox_session_ended(struct mailbox *b, uint64_t session);
void mailbox_idle(struct mailbox *b);
/* The process gives a session back: a front end has it again, as one that nobody logged in. `fd` is taken. */
void mailbox_session_back(struct supervisor *s, const struct process *from, uint64_t session,
	const struct msg_imap_back *m, int fd);
void mailbox_process_died(struct mailbox *b); /* a process anew for whom waits; else frees b */
/* The user, for valija status; lives as long as the mailbox. */
const char *mailbox_user(const struct mailbox *b);

#endif
