/*
 * copy - messages from one folder to another of the same owner, by hard links: COPY, MOVE, RENAME
 * INBOX.
 *
 *   linked      files have a second name in the target's cur/; nobody knows; undone on any error
 *   committed   the target's index has them, names and records durable: the copy is made
 *   removed     (MOVE) only then the source's files and records go, also when the client has gone meanwhile
 *
 * A crash in the first state leaves files that the target's next look takes for new messages;
 * between the second and the third, messages that are in both. Nothing is lost in any.
 */
#ifndef VALIJA_IMAPD_COPY_H
#define VALIJA_IMAPD_COPY_H

#include "imapd/command.h"

/* Moves all messages of `from` (both uses are taken over). */
enum progress copy_all_begin(struct command *c, struct mailbox *from, struct mailbox *to);

#endif
