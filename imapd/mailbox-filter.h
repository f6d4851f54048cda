/*
 * mailbox-filter - which mailboxes are meant (RFC 5465 section 6; RFC 7377 section 2.2): selected, personal, subtree
 * "Lists", mailboxes (INBOX Sent) ...
 */
#ifndef VALIJA_IMAPD_MAILBOX_FILTER_H
#define VALIJA_IMAPD_MAILBOX_FILTER_H

#include "imapd/command.h"
#include "imapd/folder.h"

#define MOST_FILTER_NAMES 1000       /* in one filter */

enum filter_kind {
	FILTER_SELECTED, FILTER_SELECTED_DELAYED, FILTER_INBOXES, FILTER_PERSONAL, FILTER_SUBSCRIBED,
	FILTER_SUBTREE, FILTER_SUBTREE_ONE, FILTER_MAILBOXES,
};

struct mailbox_filter {
	enum filter_kind kind;
	const char **folders;        /* of those that name mailboxes: names on disk, in `arena` */
	size_t count;
};

/* Takes one; names that cannot be name nothing (RFC 5465 3.1). False: malformed, or too many names. */
bool mailbox_filter_take(struct command *c, struct arena *arena, struct mailbox_filter *f);
#define FILTER_EXPECTED "selected, inboxes, personal, subscribed, or subtree or mailboxes and names"
/* Is the folder (its name on disk) meant? Not for selected ones. */
bool mailbox_filter_fits(const struct mailbox_filter *f, const char *folder, bool subscribed);

#endif
