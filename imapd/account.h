/*
 * account - the user whose mail this process serves, and all his sessions.
 */
#ifndef VALIJA_IMAPD_ACCOUNT_H
#define VALIJA_IMAPD_ACCOUNT_H

#include "common/daemon.h"
#include "imapd/mailbox.h"

struct session;
struct event;
struct share_walk;

struct account {
	struct daemon daemon;
	char user[MOST_ADDRESS + 1];
	char home[MOST_PATH_FIELD + 1];
	int maildir;
	struct store store;
	struct session *sessions;
	unsigned int session_count, guest_count;
	uint64_t served;
	struct event *on_inotify;    /* something happened in a watched folder */
	struct event *housekeeping;  /* names that follow flags, deleted folders */
	struct event *trim;          /* memory that is free is given back */
	struct event *linger;        /* nobody is here any more */
	/* Who has any right in our folders is being looked for (share.h): how often rights were changed, and which
	 * change master knows. */
	struct share_walk *share_walk;
	uint64_t rights_changed, rights_told;
	bool removing;               /* deleted folders have files left */
	bool idle_said;
};

/* Something will have to follow in the background: names, removals. */
void account_housekeep(struct account *a);

#endif
