/*
 * quota - how much is in a Maildir, by the rules of Maildir++: the file maildirsize.
 *
 * Its first line says for which limits it was made ("1000000S,1000C"), each other line adds ("4096 1") or
 * takes away. It is a cache: made anew from the names in the folders when it is missing, for other
 * limits, too long, or says "full" and is not fresh. Other than Maildir++ says, the folder .Trash and what
 * is marked deleted count: they take the room that is limited, and no mark passes the limit. Whoever may not
 * write into files here (imap) replaces it.
 */
#ifndef VALIJA_QUOTA_H
#define VALIJA_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#define QUOTA_FILE "maildirsize"
#define MOST_QUOTA_FILE 5120         /* bytes; then it is made anew, as Maildir++ says */
#define QUOTA_FRESH_SECONDS 30       /* for as long a full mailbox stays full without looking again */
#define MOST_QUOTA_FOLDERS 100000
#define MOST_QUOTA_NAMES 10000000

struct quota {
	uint64_t bytes, messages;    /* limits; 0: none */
};

struct quota_usage {
	uint64_t bytes, messages;
};

bool quota_is_set(const struct quota *q);
/* Nothing more fits. One message may pass the limit, or the last bytes could never be used. */
bool quota_is_full(const struct quota *q, const struct quota_usage *u);
/* What is in `maildir` (a descriptor of the Maildir itself). 0, or -1 with errno. */
int quota_usage(int maildir, const struct quota *q, struct quota_usage *u);
/* So many more (fewer) are in it. An error only makes the next usage look at the folders. */
void quota_add(int maildir, const struct quota *q, int64_t bytes, int64_t messages);
/* The same for who may not write into the file: replaces it, and what somebody else added to the old one
 * meanwhile goes along. */
void quota_add_replacing(int maildir, const struct quota *q, int64_t bytes, int64_t messages);
/* There is no knowing what is in it now: it is counted at the next asking. */
void quota_forget(int maildir);
/* Replaces the file by what is known; needs to make and rename files in tmp/ and the Maildir. 0 or -1. */
int quota_replace(int maildir, const struct quota *q, const struct quota_usage *u);

#endif
