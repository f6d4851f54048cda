/*
 * filled - what of a message was worked out at its delivery, for the cache of the mailbox's index.
 *
 * A file beside the cache, Maildir/valija/ID/filled (valija-index(5)): local and local-home append a record for each
 * message that they put into the folder, with one write, never synced; the user's imap process takes the records into the
 * cache and removes the file. It is nobody's only copy of anything: whatever is wrong with it, it counts as empty.
 */
#ifndef VALIJA_FILLED_H
#define VALIJA_FILLED_H

#include "maildir.h"
#include "text.h"

#define FILLED_NAME "filled"
#define FILLED_WISHES "cache"            /* beside it: its header says what is kept of each message */
#define FILLED_VERSION 1
#define MOST_FILLED (4u * 1024 * 1024)   /* bytes of the file: nothing is appended until imap has taken it */
#define MOST_FILLED_GIST 32768           /* bytes of what one message adds: MOST_GIST */
#define MOST_FILLED_RECORD (8 + 1 + 4 + MAILDIR_MOST_NAME + 4 + MOST_FILLED_GIST)

struct filled {
	struct span name;                /* of the file, as it was delivered */
	struct span gist;                /* imapd/gist-record.h */
};

/* Appends a record to `out`, whose ceiling is MOST_FILLED_RECORD at least. False, with out->failed, when a name or gist is
 * over its ceiling, or the name holds a NUL. */
bool filled_add(struct text *out, const struct filled *f);
/* Takes the record at the front of `in`; spans lie inside of it. False, nothing done: there is no whole, undamaged record
 * of this version there. */
bool filled_take(struct span *in, struct filled *f);

#endif
