/*
 * import - mail of another server, from its files into a user's Maildir.
 *
 * import.c is the place where it goes: folders, batches of messages that become durable together, subscriptions,
 * progress. import-maildir.c and import-mbox.c read what others wrote. What is there already, by the unique part of
 * its name, is not taken again: an import that was broken off is finished by doing it again. Sources are only read.
 *
 * Root reads the source; in the user's place everything is done with the user's own rights (setfsuid), so that no
 * link there leads root astray.
 */
#ifndef VALIJA_IMPORT_H
#define VALIJA_IMPORT_H

#include <dirent.h>
#include <sys/types.h>
#include <time.h>

#include "common/maildir.h"
#include "common/text.h"

#define MOST_IMPORT_FOLDERS 100000
#define MOST_IMPORT_DEPTH   32	     /* of directories in a source */
#define IMPORT_BATCH	    64	     /* messages that become durable together */
#define MOST_IMPORT_MESSAGE (512u * 1024 * 1024)

struct import_folder;

struct import {
	/* --- where to: set by the owner --- */
	int maildir;
	unsigned int uid, gid;
	bool root;	  /* become them for what is done there */
	const char *user; /* for people */
	/* --- what came of it --- */
	uint64_t folders, messages, octets, there, failed;
	/* --- inside --- */
	struct import_folder *folder;
	struct text subscribed; /* names, a line each */
	struct timespec told;
	bool terminal, full;
};

/* `maildir` is the user's, open; taken. */
void import_begin(struct import *in, int maildir, unsigned int uid, unsigned int gid, const char *user);
/* Subscriptions, and the last line of progress; closes the Maildir. False when anything failed. */
bool import_end(struct import *in);

/* Between these two, with the rights of the user. */
void import_as_user(const struct import *in);
void import_as_self(const struct import *in);

/* Messages go to this folder from now on: "" for INBOX, ".Sub.Folder" for others, made where it is missing. False
 * after complaining. */
bool import_into(struct import *in, const char *name);
/* Has nobody opened it here yet? Then it may bring its UIDs along. */
bool import_is_fresh(const struct import *in);
/* Another folder? False after complaining: there are MOST_IMPORT_FOLDERS. */
bool import_may_go_on(struct import *in);
/* Is a message whose name begins like this (up to the first ':' or ',') there already? */
bool import_has(struct import *in, struct span base);
/* A file to write the next message into; -1 after complaining. Then its name in "new" or "cur", and the time that it
 * came: the file is taken. */
int import_file(struct import *in);
void import_put(struct import *in, int fd, const char *subdir, const char *name, time_t came, uint64_t octets);
/* Instead of import_put: nothing comes of this file, which is closed. */
void import_drop(struct import *in, int fd);
/* A file of the folder that is no message (a list of UIDs): copied, unless there is one; into `below`, a directory of
 * the folder that is made, unless that is NULL. */
void import_list(struct import *in, int directory, const char *name, const char *below);
/* All messages of the folder are in it for good; a line about it. `remark` may be "". */
void import_folder_end(struct import *in, const char *remark);
/* A subscribed folder, without the first dot. */
void import_subscribe(struct import *in, struct span name);
void import_complain(struct import *in, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* readdir of a source; NULL at its end, and after complaining about `name` where there is more that cannot be read. */
const struct dirent *import_next(struct import *in, DIR *all, const char *name);
/* Copies the whole of a file. False with errno. */
bool import_copy(int from, int to, uint64_t *octets);

/* A directory that is a Maildir, with its folders (Maildir++, or directories within directories). */
void import_maildir(struct import *in, int directory);
/* One mbox into the folder of import_into. `file` is taken. */
void import_mbox(struct import *in, int file, const char *name);
/* A directory of mboxes: each is a folder; INBOX and inbox are INBOX. */
void import_mboxes(struct import *in, int directory);

#endif
