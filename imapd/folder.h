/*
 * folder - names of mailboxes: on the wire, where "/" parts them, and on disk, where "." does
 * (Maildir++).
 *
 * On the wire "Work/2024" in modified UTF-7; on disk ".Work.2024" in the same modified UTF-7.
 * INBOX, in any case, is the Maildir itself, on disk ""; so are names below it, "inbox/a" being INBOX/a, on disk
 * ".INBOX.a". Nothing else can be named: a name with "..", a "." at all, an empty part, a control character, broken
 * UTF-7 or too many bytes is refused before any system call sees it.
 */
#ifndef VALIJA_IMAPD_FOLDER_H
#define VALIJA_IMAPD_FOLDER_H

#include "imapd/mailbox.h"

#define FOLDER_SEPARATOR '/'
#define MOST_FOLDERS 100000
#define MOST_FOREIGN_NAME 1000       /* "user/OWNER/Folder" */
#define MOST_SUBSCRIPTIONS_FILE (4 * 1024 * 1024)

/* Writes the name on disk. False: *why has a static reason for NO [CANNOT]. */
bool folder_of_name(struct span name, char folder[MOST_FOLDER_NAME + 1], const char **why);
/* Net-Unicode (RFC 9051 5.1): each level of the name is brought into NFC, unless a folder is there by it as it is written. Where
 * that form is too long the name stays. */
void folder_normalize(const struct store *store, char folder[MOST_FOLDER_NAME + 1]);
/* Appends the name on the wire. */
void folder_name_write(const char *folder, struct text *out);
/* The special use called `use` (RFC 6154: \All \Archive \Drafts \Flagged \Junk \Sent \Trash; RFC 8457:
 * \Important), as it is written, or NULL. */
const char *folder_use_of(struct span use);
/* Does the name alone say a special use? */
bool folder_names_use(const char *folder);
/* The special use that LIST tells of the folder, or NULL. 0, or -1 with errno. */
int folder_use(const struct store *store, const char *folder, const char **use);
/* 0: there is such a folder; -1: ENOENT, or another error. */
int folder_check(const struct store *store, const char *folder);

struct folder_entry {
	struct span name;        /* on the wire */
	/* false: only something below it does (or it is only subscribed) */
	bool exists;
	bool subscribed, children, subscribed_below;
	/* its special use: what its metadata say, or, where no mailbox has that by its metadata, what
	 * the name says (Drafts, Sent, Trash, Junk, Archive); NULL for none */
	const char *use;
};

/* All folders, the parents that are implied by them, and what is subscribed; in an order in which
 * what is below a name follows it at once. */
struct folder_list {
	struct folder_entry *entries;
	size_t count, room;
	/* What is subscribed of other users' mailboxes: "user/OWNER/Folder" (share.h). */
	struct span *foreign;
	size_t foreign_count;
	struct arena arena;
};

/* With `subscribed_too`, names that are subscribed but do not exist are in it. 0 or -1 with
 * errno. */
int folder_list_read(const struct store *store, bool subscribed_too, struct folder_list *list);
/* What is below what is told anew, after entries were changed. */
void folder_list_mark(struct folder_list *list);
void folder_list_clear(struct folder_list *list);

/* Subscribes (or not). 0 (also when nothing changed) or -1. */
int folder_subscribe(struct store *store, const char *folder, bool subscribed);
/* The same for a name of another user's mailbox, as folder_list.foreign has it. */
int folder_subscribe_foreign(struct store *store, struct span name, bool subscribed);

/* Is `name` below `parent`, however far? Both as on the wire. */
bool folder_name_is_below(struct span name, struct span parent);
/* RFC 3501 6.3.8: % is anything but the separator, * anything. INBOX in any case. Linear in name
 * times pattern. */
#define MOST_LISTED_NAME 1000        /* longer ones match nothing */
bool list_match(struct span pattern, struct span name, char separator);

/* Makes a folder, and those above it. -1: EEXIST, or another error. */
int folder_create(struct store *store, const char *folder);
/* Takes the folder away, durable; its files are removed later (folder_remove_some). -1: ENOENT. */
int folder_delete(struct store *store, const char *folder);
/* Renames it and all below it. -1: ENOENT, EEXIST. Open mailboxes go along. */
int folder_rename(struct store *store, const char *from, const char *to);
/* Removes some files of folders that were deleted. True when there are more. */
bool folder_remove_some(struct store *store, unsigned int most);

#endif
