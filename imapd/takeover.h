/*
 * takeover - what another server knew of a folder, when we open it for the first time.
 *
 * Dovecot's dovecot-uidlist (versions 1 and 3) and dovecot-keywords, Courier's courierimapuiddb and
 * courierimapkeywords/:list: UIDVALIDITY, UIDNEXT, the UID of each file, its keywords. So clients
 * that knew the folder there need not fetch it again. (System flags stand in the names of the files
 * themselves.) The lists are only read; what is damaged in them is passed over, and logged.
 */
#ifndef VALIJA_IMAPD_TAKEOVER_H
#define VALIJA_IMAPD_TAKEOVER_H

#include "imapd/keywords.h"

#define MOST_TAKEN_UID 0xf0000000u            /* a list that goes on above leaves no UIDs to give */
#define MOST_UIDLIST ((size_t)256 * 1024 * 1024)
#define MOST_KEYWORD_LIST ((size_t)16 * 1024 * 1024)
#define KEYWORD_LETTERS 26

struct taken_uid {
	struct span base;
	uint32_t uid;
};

struct taken_keywords {
	struct span base;
	struct span numbers;         /* into names, in decimal, with spaces between */
};

struct takeover {
	uint32_t uidvalidity, uidnext;          /* 0: there is no list of UIDs */
	struct taken_uid *uids;                 /* by base, after takeover_sort */
	size_t uid_count, uid_room;
	struct span letters[KEYWORD_LETTERS];   /* the keyword that a letter in a name stands for */
	struct span names[MOST_KEYWORDS];       /* Courier's */
	size_t name_count;
	struct taken_keywords *marked;
	size_t marked_count, marked_room;
	size_t bad;                             /* lines that were passed over */
	unsigned char *contents[3];             /* what all the spans point into */
};

/* The parsers: `in` must stay as long as `t`. They take what they can and count bad lines; the
 * first is false when the header is unreadable: then nothing was taken. */
bool takeover_parse_uids(struct takeover *t, struct span in);
void takeover_parse_letters(struct takeover *t, struct span in);
void takeover_parse_courier_keywords(struct takeover *t, struct span in);
/* After the parsers, before the questions. */
void takeover_sort(struct takeover *t);

/* All lists of the folder that is open as `directory`; `folder` is for the log. To be freed, which
 * leaves NULL. */
struct takeover *takeover_new(int directory, const char *folder);
void takeover_free(struct takeover **t);

/* The UID of the file with this base name, or 0. */
uint32_t takeover_uid(const struct takeover *t, struct span base);
/* Its keywords, by the letters in its name (Dovecot) and by its base (Courier): how many; the same
 * one may come twice. */
size_t takeover_keywords(const struct takeover *t, struct span base, uint32_t lower,
	struct span names[KEYWORD_LETTERS + MOST_KEYWORDS]);

#endif
