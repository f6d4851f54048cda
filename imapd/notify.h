/*
 * notify - what a session hears of without asking (RFC 5465): messages of the selected mailbox the moment they come,
 * STATUS of others, names, subscriptions and annotations as other sessions of the user change them.
 *
 * A session that said NOTIFY has a struct interest until it ends. Mailboxes whose messages are watched stay open, with
 * what was told of each; they are looked at at the end of each round of events. What is heard goes out between two
 * commands, or in IDLE. What other sessions do to names is said by them, in the moment (notify_name ...); it waits
 * for its time in `pending`, and where that is full, or too much is watched, all ends: NOTIFICATIONOVERFLOW.
 */
#ifndef VALIJA_IMAPD_NOTIFY_H
#define VALIJA_IMAPD_NOTIFY_H

#include "imapd/mailbox-filter.h"

#define MOST_EVENT_GROUPS 50
#define MOST_WATCHED 120                 /* mailboxes that are open in one process, with those of other sessions */
#define MOST_PENDING_NEWS (64 * 1024)    /* bytes */

#define EVENT_MESSAGE_NEW 1u
#define EVENT_MESSAGE_EXPUNGE 2u
#define EVENT_FLAG_CHANGE 4u
#define EVENT_MAILBOX_NAME 8u
#define EVENT_SUBSCRIPTION 16u
#define EVENT_METADATA 32u
#define EVENT_SERVER_METADATA 64u
#define EVENTS_OF_MESSAGES (EVENT_MESSAGE_NEW | EVENT_MESSAGE_EXPUNGE | EVENT_FLAG_CHANGE)

struct event_group {
	struct mailbox_filter filter;
	unsigned int events;
};

/* A mailbox, and what was told of it. */
struct watch {
	struct watch *next;
	struct mailbox *mailbox;
	unsigned int events;
	uint32_t uidvalidity, uidnext;
	size_t count, unseen;
	uint64_t modseq;
};

struct interest {
	struct arena arena;
	bool delayed;                    /* SELECTED-DELAYED */
	unsigned int selected;           /* events of the selected mailbox */
	struct span items;               /* MessageNew (items) there; .at NULL: none */
	struct event_group groups[MOST_EVENT_GROUPS];
	size_t group_count;
	struct watch *watches;
	struct text pending;
};

/* NONE: nothing is heard. Never NULL. */
struct interest *notify_new(void);
void notify_free(struct interest **n);
/* Opens the mailboxes whose messages are watched; with `out`, tells their STATUS (RFC 5465 3.1). False: too many. */
bool notify_watch(struct session *s, struct interest *n, struct text *out);
/* `n` takes the place of what the session has, and is its. */
void notify_set(struct session *s, struct interest *n);
/* The view says what NOTIFY left: when one is selected, and when NOTIFY was said. */
void notify_mute(const struct session *s);

/* Appends what waits and what is new in the watched mailboxes: only between two responses. */
void notify_tell(struct session *s);

/* --- what this session has just done, for the others --- */

/* `folder` was made or removed; or, with `old`, had that name before. */
void notify_name(struct session *by, const char *folder, const char *old);
void notify_subscription(struct session *by, const char *folder);
/* An entry was set or removed; folder NULL: of the server. */
void notify_metadata(struct session *by, const char *folder, struct span entry);
/* mailbox_commit of messages that the session puts there itself: they are no news to it (RFC 5465 section 5, 5.2). */
int session_commit_own(struct session *s, struct mailbox *m, struct change *change);

#endif
