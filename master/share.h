/*
 * share - who shares mailboxes with whom, and the way of a member to the owner's imap process.
 *
 * Each owner's process tells with whom he shares (shares_set), as often as that changes and when it starts: the table
 * is a memory of that, kept in state/shares/shares so that members find who has not logged in since. It opens
 * nothing: what a member may is decided by the owner's process, from the rights that stand beside the mailbox.
 *
 *   share_open --known, process serves--> socket pair: guest_session to the owner's, share_opened to the member's
 *              --known, no process-----> owner_ask -> auth -> owner_told -> the process is started, and waited for
 *              --not known-------------> share_refused
 */
#ifndef VALIJA_SHARE_H
#define VALIJA_SHARE_H

#include "common/message.h"
#include "master/supervisor.h"

#define MOST_SHARE_OWNERS 10000  /* in the table */
#define MOST_SHARE_OPENS 1000	 /* that wait for a process, or for auth */
#define SHARE_OPEN_SECONDS 30	 /* then they are refused */
#define MOST_TOLD_OWNERS 100	 /* of one member */

struct mailbox;

/* What imap processes and auth say. */
void share_set(struct supervisor *s, const char *owner, struct span members);
void share_ask(struct process *member, uint64_t session);
void share_open(struct process *member, uint64_t session, struct span owner);
void share_owner_told(struct supervisor *s, uint64_t id, const struct msg_owner_told *m);

/* What happens to processes: it serves; it will not, or is no more. */
void share_process_serves(struct supervisor *s, struct mailbox *b, struct process *p);
void share_process_gone(struct supervisor *s, const struct process *p);
void share_mailbox_gone(struct supervisor *s, const char *owner);

/* Reads the table at the start; at the end. */
void share_load(struct supervisor *s);
void share_clear(struct supervisor *s);

#endif
