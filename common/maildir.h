/*
 * maildir - names and places in a Maildir (cr.yp.to/proto/maildir.html; Maildir++ folders).
 *
 * All calls work on descriptors of directories; none follows a link. A message file is written
 * once, under no name (O_TMPFILE in tmp/) or, where the file system has none, under a name in tmp/;
 * then it is made durable, and gets its name in new/ or cur/ by link; it is never opened for writing
 * again. States of a message file:
 *
 *   unnamed (or in tmp/)  --maildir_link-->  in new/ or cur/  --rename-->  cur/, other flags
 *
 * A crash in the first state leaves nothing (or a file in tmp/, which is swept after 36 hours).
 */
#ifndef VALIJA_MAILDIR_H
#define VALIJA_MAILDIR_H

#include "span.h"

#define MAILDIR_MOST_NAME 255
#define MAILDIR_PRIVATE "valija"     /* Maildir/valija/: indexes; no dot, so no folder to others */
#define MAILBOX_ID_FILE "valija-mailbox"  /* in a folder: the name of its directory there, 32 digits and a line end */
#define MAILDIR_SUBSCRIPTIONS "subscriptions"  /* folder names without the first dot, one a line (as Dovecot) */
/* Courier's, with "INBOX." before each name: read while there is none of ours. */
#define MAILDIR_COURIER_SUBSCRIPTIONS "courierimapsubscribed"

struct maildir_name {
	char str[MAILDIR_MOST_NAME + 1];
};

/* A fresh unique name: TIME.MusecPpidQcountRrandom.HOST,S=size,W=vsize (size with CRLF). '/' and ':' in host
 * become \057 and \072. */
struct maildir_name maildir_name_new(const char *host, uint64_t size, uint64_t vsize);

/* Opens `path` (relative, may have several components: "DOMAIN/USER/Maildir") below `root` as a
 * Maildir, making what is missing of it with mode 0700 (directories above the Maildir too). Returns
 * an O_DIRECTORY descriptor, or -1 with errno; a link in place of any directory is refused. */
int maildir_open(int root, const char *path, bool make);
/* Makes cur, new, tmp and (for a folder, name begins with '.') the maildirfolder marker in
 * directory `name` below `parent`; fine when they exist. Durable. 0 or -1. */
int maildir_make(int parent, const char *name);
/* The folders that a new user gets beside INBOX: .Drafts .Sent .Trash .Junk .Archive, subscribed
 * (unless there is a list of subscriptions, ours or Courier's), and MAILDIR_PRIVATE. Once: where that and a list are
 * there, nothing is made. */
int maildir_make_standard(int maildir);

/* A file to write a message into, in maildir's tmp/, without a name if the file system allows.
 * tmp_name is empty then. -1 with errno. */
int maildir_file(int maildir, struct maildir_name *tmp_name);
/* Gives the durable file its name in `subdir` ("new" or "cur") of `maildir`; EEXIST never replaces.
 * Does not sync the directory: maildir_sync does, once for many. */
int maildir_link(int fd, int from_maildir, const struct maildir_name *tmp_name, int maildir, const char *subdir,
	const char *name);
/* The same, into a directory that is open: maildir_subdir's. */
int maildir_link_into(
	int fd, int from_maildir, const struct maildir_name *tmp_name, int directory, const char *name);
/* Opens "new" or "cur" of a Maildir, to link into and to sync. -1 with errno. */
int maildir_subdir(int maildir, const char *subdir);
/* Takes away the name in tmp/, where there is one: after the last link, or when the message is given up. */
void maildir_drop(int maildir, const struct maildir_name *tmp_name);
int maildir_sync(int maildir, const char *subdir);
/* Removes files in tmp/ that are older than 36 hours. */
void maildir_sweep(int maildir);

#endif
