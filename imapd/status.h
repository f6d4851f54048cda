/*
 * status - the STATUS response of one mailbox: for STATUS and for LIST ... RETURN (STATUS (...)).
 *
 * SIZE may have to read messages whose size nobody asked for yet; so a status is taken in steps.
 */
#ifndef VALIJA_IMAPD_STATUS_H
#define VALIJA_IMAPD_STATUS_H

#include "imapd/command.h"

enum status_item { STATUS_MESSAGES, STATUS_RECENT, STATUS_UIDNEXT, STATUS_UIDVALIDITY,
	STATUS_UNSEEN, STATUS_HIGHESTMODSEQ, STATUS_SIZE, STATUS_APPENDLIMIT,
	STATUS_DELETED, STATUS_DELETED_STORAGE, STATUS_MAILBOXID, STATUS_ITEMS };

struct status_items {
	bool wanted[STATUS_ITEMS];
};

/* Takes "(" item *(SP item) ")". */
bool status_take_items(struct span *in, struct status_items *items);
/* For command_bad: what status_take_items takes. */
#define STATUS_EXPECTED "(MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ SIZE " \
	"APPENDLIMIT DELETED DELETED-STORAGE MAILBOXID), or some of these"

/* One mailbox's status that is under way. */
struct status {
	const struct status_items *items;    /* borrowed */
	struct mailbox *mailbox;             /* NULL: none is under way */
	uint32_t next_uid;                   /* sizes are added up below this UID */
	uint64_t size;
	struct change learned;
};

/* Opens the mailbox. 0 or -1 with errno. Release with status_end. */
int status_begin(struct status *st, struct session *s, const char *folder,
	const struct status_items *items);
/* True when the response is in the session's output (or, of a mailbox that went, never will be). */
bool status_step(struct status *st, struct session *s);
void status_end(struct status *st);

#endif
