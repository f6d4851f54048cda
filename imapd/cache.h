/*
 * cache - what was once computed of messages: ENVELOPE, BODYSTRUCTURE, BODY, PREVIEW, header fields.
 *
 * One file for each mailbox, Maildir/valija/ID/cache (valija-index(5)): appended to, never synced,
 * checked record by record when it is read; what is damaged, truncated, too large, of another version
 * or gone is computed again from the messages, silently. A record of the index knows where in the
 * file its message stands. (Not Berkeley DB: a thousand look-ups of it cost more than computing a
 * thousand envelopes, and a program that is executed for each user would have to link it.)
 *
 * What is kept is what clients ask for: the first who wants an item or a field of a message makes it
 * be kept of every message that is read for the cache from then on, and, with cache_at_delivery, of every message
 * that is delivered (common/filled.h, gist.c).
 */
#ifndef VALIJA_IMAPD_CACHE_H
#define VALIJA_IMAPD_CACHE_H

#include "imapd/mail.h"

#define CACHE_NAME "cache"
#define CACHE_VERSION 2
#define CACHE_HEADER_BYTES 8192
#define MOST_CACHE_NAMES 64              /* different header fields that are kept in a mailbox */
#define MOST_CACHE_NAME 60               /* bytes of such a name */
#define MOST_CACHE_RECORD (128u * 1024)  /* what of a message is larger is not kept */
#define MOST_CACHE ((uint64_t)16 * 1024 * 1024 * 1024)

enum cache_item { CACHE_ENVELOPE, CACHE_STRUCTURE, CACHE_BODY, CACHE_PREVIEW, CACHE_ITEMS };
#define CACHE_HAS(item) (1u << (item))

struct cached {
	unsigned int has;                    /* CACHE_HAS of the items that are there */
	uint64_t names;                      /* the fields that were looked for in its header */
	struct span item[CACHE_ITEMS];       /* as in a FETCH response; of PREVIEW its text in UTF-8 */
	/* The lines of those fields, as in the message, and a blank one. */
	struct span header;
};

/* The bit of field `name` for the calls below; 0: it cannot be kept (too many, too long). */
uint64_t cache_name(struct mailbox *m, struct span name);
/* What is kept of message `uid`, with at least the `items` (CACHE_HAS) and the fields `names`; what
 * is missing is computed from the message. Spans are valid until the next call for this mailbox.
 * False with errno as mail_open. Records may move. */
bool cache_get(struct mailbox *m, uint32_t uid, unsigned int items, uint64_t names,
	struct change *learned, struct cached *got);
/* The bits of `count` header fields; 0 when not all of them can be kept. */
uint64_t cache_names(struct mailbox *m, const char *const *fields, size_t count);
/* The lines of the fields `names` (cache_names) of a message, with a blank one, perhaps others too, as
 * cache_get. Where they cannot be kept (names is 0): its whole header. */
bool cache_lines(struct mailbox *m, uint32_t uid, uint64_t names, struct change *learned,
	struct span *header);
/* Writes out what was gathered, and gives back memory that waits for the next call. Before a
 * snapshot is written, and when the mailbox is quiet. */
void cache_flush(struct mailbox *m);
/* Closes it; writes it anew when most of it is of messages that are gone. */
void cache_close(struct mailbox *m);

#endif
