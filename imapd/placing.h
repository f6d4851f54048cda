/*
 * placing - the names that several messages of one command get in cur/ before their records are committed, written down
 * first: a process that dies meanwhile leaves all of them in the mailbox, or none (RFC 3502: MULTIAPPEND is atomic).
 *
 *   valija/ID/placing   names, each with a NUL behind it; a torn one at the end counts for nothing
 *
 * It is not made durable: after a power cut some may stay, as messages that came one by one do. Who opens the mailbox
 * removes those that have no record (placing_undo), but not from a mailbox whose index is new, or was damaged: there,
 * messages that were acknowledged may have none.
 */
#ifndef VALIJA_IMAPD_PLACING_H
#define VALIJA_IMAPD_PLACING_H

#include "imapd/mailbox.h"

#define PLACING_NAME "placing"
#define MOST_PLACING (16 * 1024 * 1024)  /* bytes of it, of all commands that run: EFBIG, and what is longer counts for nothing */

/* These will be named in m->cur, which is held (m->held). 0, or -1 with errno: then none may be. */
int placing_begin(struct mailbox *m, struct span names);
/* Whoever held `m` no longer does: all names that he gave have their records, or were taken back. */
void placing_end(struct mailbox *m);
/* At opening, before the directories are looked at: what a process has left that died. Logged. */
void placing_undo(struct mailbox *m);

#endif
