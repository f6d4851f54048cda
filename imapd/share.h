/*
 * share - mailboxes of one user that others use (RFC 4314, RFC 2342 "Other Users").
 *
 * They are called user/OWNER (his INBOX) and user/OWNER/Folder. Only the owner's process opens his files. The
 * member's process, which has the client, finds that a command is about such a mailbox (remote.h), asks master for a
 * way to the owner's process, and passes the command on, octet by octet, as it passes back what that answers. There
 * it is the command of a guest: a session like another, but that it may do what acl.h says its member may, sees no
 * more than that, and names mailboxes as the member does. Two verbs are said by such processes only, for COPY and
 * MOVE to another user (crossing.h): XREMOVE, and XAPPEND, which is APPEND but that an empty message is one. Neither believes the other more than it would a client or a server on the network:
 * the guest's name is master's word; what the owner's process answers goes to the client and is not parsed beyond its
 * lines, but where messages go from user to user (crossing.h).
 */
#ifndef VALIJA_IMAPD_SHARE_H
#define VALIJA_IMAPD_SHARE_H

#include "imapd/acl.h"
#include "imapd/session.h"

#define SHARED_NAMESPACE "user"
#define MOST_SHARE_MEMBERS 500       /* of one owner; with whom master knows that he shares */
#define MOST_GUESTS 100              /* guest sessions in one process */

/* What this session may do with a folder. */
unsigned int session_rights(const struct session *s, const char *folder);
/* Is it one of the mailbox's owner? */
static inline bool session_is_guest(const struct session *s) { return s->guest[0] != '\0'; }
/* Rights are about to be changed: what was kept of who has any is forgotten, so that the next process looks for it
 * anew if this one dies on the way. 0 or -1 with errno. */
int share_forget(struct account *account);
/* Rights were changed, or are not known: the number of this change, for share_tell. */
uint64_t share_changed(struct account *account);
/* Looks through all folders for who has any right, as long as `over` says that there is time; keeps it in
 * Maildir/valija/shares, durable, and tells master. True: master knows `change` (or the log says why not). */
bool share_tell(struct account *account, uint64_t change, bool (*over)(const void *), const void *me);
/* The same of all changes, for one slice: where a session changed something and is gone, or nothing was kept. */
bool share_tell_some(struct account *account);
/* At the start: tells master what was kept; where nothing was, what the folders say will be told by
 * share_tell_some. */
void share_tell_kept(struct account *account);
void share_clear(struct account *account);
/* "* MYRIGHTS mailbox rights" (cmd-acl.c). */
void myrights_write(struct session *s, const char *folder);

#endif
