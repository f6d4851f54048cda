/*
 * mail - one message, opened to be read: its bytes with CRLF, its header, its parts.
 */
#ifndef VALIJA_IMAPD_MAIL_H
#define VALIJA_IMAPD_MAIL_H

#include "imapd/mailbox.h"
#include "imapd/mapping.h"
#include "imapd/mime.h"

#define MAIL_READ_BYTES (256 * 1024)     /* larger files are mapped, smaller ones read */
#define MOST_MAIL_BYTES ((uint64_t)1024 * 1024 * 1024)

struct mail {
	struct span bytes;           /* the message, lines ended by CRLF */
	struct span header;          /* with its blank line */
	int64_t date;                /* the file's */
	struct mime mime;            /* once mail_mime was called */
	bool parsed;
	struct mapping *map;         /* the file, where it is large, or NULL */
	struct text store;           /* what was read or converted */
};

/* Opens the message `uid`. Date and sizes that the index did not know are gathered in `learned`.
 * -1: ENOENT when the message is gone; EFBIG. Records may move. */
int mail_open(struct mailbox *m, uint32_t uid, struct change *learned, struct mail *mail);
const struct mime *mail_mime(struct mail *mail);
/* The file was cut, or the disk did not give it back, while it was read: what was made of it is nothing. To be asked
 * behind each use of the bytes, errno is EIO then. */
bool mail_is_damaged(const struct mail *mail);
void mail_close(struct mail *mail);

/* A copy of the record of a message in *r, with the facts that are asked for: looked for where the
 * index does not know them, and gathered in `learned`. False with errno: gone, or unreadable. */
enum mail_fact { FACT_DATE = 1, FACT_SIZE = 2, FACT_SAVED = 4,
	FACT_THREAD = 8 /* 0 where the message names none */ };
bool mail_facts(struct mailbox *m, uint32_t uid, unsigned int facts, struct change *learned,
	struct index_record *r);

/* The message that a session read last stays open for the next piece of it. */
struct mail_cache {
	bool open;
	struct mailbox *mailbox;     /* compared, never followed */
	uint32_t uid;
	struct mail mail;
};

/* The opened message, from the cache or opened into it. NULL with errno, EIO once for one that is damaged. */
struct mail *mail_cached(struct mail_cache *cache, struct mailbox *m, uint32_t uid,
	struct change *learned);
void mail_cache_clear(struct mail_cache *cache);

#endif
