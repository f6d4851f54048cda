/*
 * index - what is known of a mailbox's messages: UIDs, flags, keywords, modification sequences,
 * dates, sizes, names.
 *
 * In memory: an array of fixed-size records in ascending order of UID. On disk:
 * Maildir/valija/ID/journal, a header and records that are only ever appended, each with its length
 * and CRC32C (index-record.h and valija-index(5) describe them). Memory is always the journal
 * replayed: a change is first written, then applied by the function that replays it. index_sync
 * makes what was written durable; nothing is acknowledged to a client before that.
 *
 * The file is longer than its records: zeros are written ahead of them, so that what is appended
 * falls into blocks that the file has already, and fdatasync need not write its size and its block
 * map each time. Zeros are no record.
 *
 * A torn or damaged tail is cut at the last whole record; damage further up is skipped, and what
 * stood there is learned anew from the Maildir. UIDs are never given twice, not even then.
 */
#ifndef VALIJA_IMAPD_INDEX_H
#define VALIJA_IMAPD_INDEX_H

#include "common/text.h"
#include "imapd/keywords.h"
#include "imapd/number-set.h"

#define MAILBOX_ID_BYTES 16
#define UNKNOWN_SIZE UINT64_MAX
#define UNKNOWN_DATE INT64_MIN
#define NO_RECORD SIZE_MAX
#define MOST_MESSAGES 50000000u

struct index_record {
	uint64_t modseq;         /* of its last change */
	int64_t date;            /* INTERNALDATE, or UNKNOWN_DATE until somebody asks */
	uint64_t size;           /* octets of the file, or UNKNOWN_SIZE */
	uint64_t vsize;          /* octets with CRLF: RFC822.SIZE, or UNKNOWN_SIZE */
	uint32_t uid;
	uint32_t keywords;       /* a set (keywords.h) */
	uint32_t name;           /* where its base name stands in index.names */
	uint32_t lower;          /* letters a-z of the name on disk */
	uint8_t name_len;
	uint8_t flags;           /* FLAG_ */
	uint8_t letters;         /* LETTER_, of the name on disk as we last saw or made it */
	uint8_t seen;            /* mailbox-sync's mark */
};

/* When a directory was last changed, as it was when we last knew all that is in it. */
struct index_stamp {
	int64_t seconds;
	uint32_t nanoseconds;
};

struct index {
	struct index_record *records;
	size_t count, room;
	struct text names;
	size_t name_garbage;             /* bytes of names that no record has any more */
	struct keywords keywords;

	unsigned char id[MAILBOX_ID_BYTES];
	/* UIDs from recent_from on were shown to no session yet */
	uint32_t uidvalidity, uidnext, recent_from;
	uint64_t modseq;                 /* the highest given */
	uint64_t expunges;               /* messages that went, ever: views notice by it */
	uint64_t inode;                  /* of the folder that this index belongs to */
	struct index_stamp in_new, in_cur;
	bool stamped;                    /* the stamps are good */

	int directory;                   /* valija/ID, owned */
	int journal;                     /* owned */
	uint64_t journal_size;           /* of its records; zeros may follow, up to journal_room */
	uint64_t journal_room;           /* bytes of the file */
	/* something was written that must be durable before it is acknowledged */
	bool unsynced;
	bool unnamed;                    /* the journal is new, and named by the next index_sync */
	/* bytes skipped or cut at loading: the mailbox must be looked through */
	uint64_t damaged;
};

/* Opens valija/ID below `private` (borrowed), making journal and directory when missing; only then
 * a UIDVALIDITY is asked for, as UIDs begin anew. 0; -1 with errno. Release with index_close. */
int index_open(struct index *ix, int private, const unsigned char id[MAILBOX_ID_BYTES],
	uint32_t (*uidvalidity)(void *me),
	void *me);
void index_close(struct index *ix);
/* The same, but a journal that had to be made gets its name, and is a journal, only with the next
 * index_sync: whatever must be in it from its first moment on is committed before. `unnamed` tells.
 */
int index_open_held(struct index *ix, int private, const unsigned char id[MAILBOX_ID_BYTES],
	uint32_t (*uidvalidity)(void *me),
	void *me);
/* fdatasync when something waits for it. 0 or -1 with errno: then nothing may be acknowledged. */
int index_sync(struct index *ix);
/* Writes the journal anew when most of it is history. 0 (also when there was no need) or -1; the
 * old one is whole then. */
int index_compact(struct index *ix);

/* The position of a UID or NO_RECORD; of the first record with at least this UID (or count). */
size_t index_find(const struct index *ix, uint32_t uid);
size_t index_from(const struct index *ix, uint32_t uid);
struct span index_name(const struct index *ix, const struct index_record *record);
/* Does the name on disk not yet say what the flags are? */
bool index_name_pending(const struct index_record *record);
/* The letters that the name should have. */
uint8_t index_wanted_letters(const struct index_record *record);

/* A change: gathered, then committed in one write. Several may be gathered side by side; UIDs and
 * modification sequences are given at the commit. */
struct change {
	struct text records;
	uint32_t adds;
	uint32_t first_uid;      /* of the adds; set by the commit */
	bool lazy;               /* nothing that a client relies on: need not be durable */
};

enum change_mode { CHANGE_ADD, CHANGE_REMOVE, CHANGE_REPLACE };

void change_init(struct change *c);
void change_clear(struct change *c);
/* A new message; uid and modseq of `r` are ignored, its name is `base`. */
void change_add(struct change *c, const struct index_record *r, struct span base,
	const struct keyword_bits *keywords);
void change_flags(struct change *c, enum change_mode mode, uint8_t flags,
	const struct keyword_bits *keywords,
	const struct number_ranges *uids);
void change_expunge(struct change *c, const struct number_ranges *uids);
/* Date and sizes that were learned; the name on disk; the stamps; from where on \Recent. */
void change_facts(struct change *c, const struct index_record *r);
void change_letters(struct change *c, uint32_t uid, uint8_t letters, uint32_t lower);
void change_stamps(struct change *c, struct index_stamp in_new, struct index_stamp in_cur,
	bool good);
/* What is added behind a higher uidnext in the same change has its UIDs from there on. */
void change_state(struct change *c, uint32_t uidnext, uint64_t modseq, uint32_t recent_from);
void change_inode(struct change *c, uint64_t inode);
/* Writes and applies. 0; -1 with errno (nothing was changed; EOVERFLOW: no UIDs are left). `c` is
 * empty afterwards, its adds and first_uid stay readable. */
int index_commit(struct index *ix, struct change *c);
/* The number of a keyword; a new one is committed at once when `make`. NO_KEYWORD: not there, no
 * more, or an error. */
int index_keyword(struct index *ix, struct span name, bool make);

#endif
