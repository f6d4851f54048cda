/*
 * mailbox - the folders of one user that are open in this process, each once, whoever looks at it.
 *
 * A mailbox is a Maildir folder and its index. Its directories are watched (inotify); what other
 * programs do there is noticed at the next mailbox_refresh. Where there is no inotify, the times of
 * the directories tell. What was written is durable after mailbox_durable (store_durable: of all of
 * them), which the program calls before it sends anything to a client.
 *
 * Flags are true in the journal at once; the letters in file names follow (mailbox_follow_names).
 */
#ifndef VALIJA_IMAPD_MAILBOX_H
#define VALIJA_IMAPD_MAILBOX_H

#include "common/journal.h"
#include "common/maildir.h"
#include "common/quota.h"
#include "imapd/index.h"
#include "imapd/name-table.h"
#include "imapd/takeover.h"

#define MOST_FOLDER_NAME 200         /* bytes of a folder's name on disk */
#define MOST_QUIET_MAILBOXES 8       /* kept open though nobody looks at them */

struct mailbox;
struct cache;

struct store {
	int maildir, tmp, private;   /* Maildir, Maildir/tmp, Maildir/valija */
	int inotify;                 /* -1 where there is none */
	char host[256];
	uint64_t size_most;          /* bytes of a message that is read; 0: no limit */
	struct mailbox *mailboxes;
	uint64_t clock;              /* counts openings: which mailbox is quiet the longest */
	uint64_t renames;            /* of folders, ever: who looks through all of them begins again */
	/* Files in tmp/ may get their names when they are written, and fsync of cur/ makes both durable. */
	bool ordered;
	struct journal journal;
	/* ext4 without a journal: fsync of a file that has no name yet makes one durable that is to be thrown away, and nothing
	 * makes its name count. So it has one in tmp/ before. */
	bool needs_name;
	struct quota quota;          /* what the user may keep, at most */
	int64_t more_bytes, more_messages;   /* came (went) and is not in the file maildirsize yet */
};

struct mailbox {
	struct store *store;
	struct mailbox *next;
	char folder[MOST_FOLDER_NAME + 1];    /* "" is INBOX, ".Sent", ".Work.2024" */
	unsigned int users;
	int directory, cur, new;
	struct index index;
	struct name_table names;
	struct cache *cache;         /* cache.h: NULL until it is asked */
	bool filled_seen;            /* nothing came since cache_take_filled looked */
	struct takeover *takeover;   /* what another server knew, while it is opened first */
	int watch_cur, watch_new;    /* -1: not watched */
	bool check_cur, check_new;   /* something happened there */
	/* the directories' times tell whether something did while nobody watched */
	bool opening;
	/* names in cur/ must be durable before anything is acknowledged */
	bool cur_unsynced;
	bool id_made;                /* it had no id of ours until it was opened */
	uint32_t names_from;         /* where mailbox_follow_names goes on */
	/* files are being put in whose records are not committed yet */
	unsigned int held;
	bool placing;                /* and their names are written down (placing.h) */
	bool gone;                   /* the folder was deleted, or taken away */
	bool broken;                 /* something could not be made durable: the process must end */
	uint64_t used;               /* store.clock when it was opened last */
};

/* Takes `maildir` (a descriptor, kept by the caller); store->quota stays as it was set. 0 or -1 with errno. */
int store_init(struct store *store, int maildir, const char *host);
void store_clear(struct store *store);
/* Looks which file system it is on: before the program is confined. Unless `rely`, the order of its journal is not used. */
void store_recognise(struct store *store, bool rely);
/* Gives a file of maildir_file's a name in tmp/, where it has none yet. 0, or -1 with errno. */
int store_name_aside(const struct store *store, int fd, uint64_t size, struct maildir_name *tmp);
/* Reads what inotify has and marks mailboxes. */
void store_drain(struct store *store);
/* All mailboxes durable. 0 or -1. */
int store_durable(struct store *store);
/* Closes mailboxes that nobody uses. */
void store_close_quiet(struct store *store, unsigned int keep);
/* An open mailbox by its folder, or NULL. */
struct mailbox *store_find(const struct store *store, const char *folder);
/* A new UIDVALIDITY: greater than every earlier one of this user (RFC 3501 2.3.1.1). */
uint32_t store_new_uidvalidity(void *store);
/* One that was not made here: new ones will be greater. */
void store_note_uidvalidity(struct store *store, uint32_t uidvalidity);

/* The mailbox in `folder`, refreshed; to be released. NULL with errno: ENOENT when there is no such
 * folder. */
struct mailbox *mailbox_open(struct store *store, const char *folder);
void mailbox_release(struct mailbox **m);
/* Notices what others did. 0; -1 with errno (m->gone: ENOENT). Records may move. */
int mailbox_refresh(struct mailbox *m);
/* Reads the directories whatever the times say. */
int mailbox_scan(struct mailbox *m);
/* index_commit, and marks what follows from it. */
int mailbox_commit(struct mailbox *m, struct change *c);
int mailbox_durable(struct mailbox *m);
/* Renames files whose flags changed, for at most `most` messages. True when some are left. */
bool mailbox_follow_names(struct mailbox *m, unsigned int most);
/* Writes down that all is known, so that the next opening need not read directories. */
void mailbox_settle(struct mailbox *m);
/* What can be done while nothing else is to do: that, the cache written out, a snapshot. Records may
 * move. */
void mailbox_tidy(struct mailbox *m);

/* Opens the file of a message for reading. Looks the directory through when it is not where it was.
 * -1: ENOENT when it is gone. Records may move. */
int mailbox_open_file(struct mailbox *m, uint32_t uid);
/* The name of its file in cur/ as we know it. False when it would be too long. */
bool mailbox_file_name(const struct mailbox *m, const struct index_record *r,
	char name[MAILDIR_MOST_NAME + 1]);
/* Removes the files, then the records. Messages whose file could not be removed stay: -1 then,
 * errno of the last. */
int mailbox_expunge(struct mailbox *m, const struct number_ranges *uids);
/* The same for `most` messages, from UID *from on, which goes on behind them. True when there were no
 * more. *error is left alone, or the last errno. */
bool mailbox_expunge_some(struct mailbox *m, const struct number_ranges *uids, uint32_t *from,
	unsigned int most, int *error);
#define EXPUNGED_AT_A_TIME 200u     /* in one slice */

/* --- usage.c: how much the user has, where that is limited --- */

/* What is there now. 0, or -1 with errno. */
int store_usage(struct store *store, struct quota_usage *u);
/* Does so much more fit? 0; -1: EDQUOT, or another error. */
int store_has_room(struct store *store, uint64_t bytes, uint64_t messages);
/* So much came, or went. */
void store_used(struct store *store, int64_t bytes, int64_t messages);
/* Octets of a message's file. */
uint64_t mailbox_file_size(const struct mailbox *m, const struct index_record *r);
/* Writes into maildirsize what came and went. */
void store_usage_write(struct store *store);
/* All of a folder went at once: what is left is counted when somebody asks. */
void store_usage_forget(struct store *store);

/* --- mailbox-id.c --- */

/* The id of the folder `directory`, made if it has none. 0, 1 when it was made, or -1. */
int mailbox_id(struct store *store, int directory, unsigned char id[MAILBOX_ID_BYTES]);
/* Gives it another. */
int mailbox_id_renew(struct store *store, int directory, unsigned char id[MAILBOX_ID_BYTES]);
/* Has any folder but `folder` this id (it was copied with its files)? */
bool mailbox_id_elsewhere(struct store *store, const char *folder,
	const unsigned char id[MAILBOX_ID_BYTES]);
/* Writes `content` aside in Maildir/tmp, durable, and gives it `name` in `directory`. */
int store_write_file(struct store *store, int directory, const char *name, struct span content,
	bool replace);

#endif
