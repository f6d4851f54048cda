/*
 * index - what is known of a mailbox's messages: UIDs, flags, keywords, modification sequences,
 * dates, sizes, names.
 *
 * In memory: an array of fixed-size records in ascending order of UID. On disk, in Maildir/valija/ID:
 *
 *   journal    the truth: a header, and records that are only ever appended, each with its length
 *              and CRC32C (index-record.h and valija-index(5) describe them)
 *   snapshot   the array as it was at some byte of the journal, to be mapped instead of replaying
 *              what stands before that byte (index-snapshot.c). It is made from the journal and may
 *              be deleted at any time; a damaged one is passed over
 *
 * Memory is always the journal replayed: a change is first written, then applied by the function
 * that replays it. index_sync makes what was written durable; nothing is acknowledged to a client
 * before that.
 *
 * The file is longer than its records: zeros are written ahead of them, so that what is appended
 * falls into blocks that the file has already, and fdatasync need not write its size and its block
 * map each time. Zeros are no record.
 *
 * A torn or damaged tail is cut at the last whole record; damage further up is skipped, what stood
 * there is learned anew from the Maildir, and the journal is written anew without it. A journal that
 * is lost is made again from the snapshot, if there is one. UIDs are never given twice, and
 * modification sequences never go back, not even then.
 */
#ifndef VALIJA_IMAPD_INDEX_H
#define VALIJA_IMAPD_INDEX_H

#include "common/text.h"
#include "imapd/keywords.h"
#include "imapd/number-set.h"
#include "imapd/vanished.h"

#define MAILBOX_ID_BYTES 16
#define EMAIL_ID_BYTES 16
#define UNKNOWN_SIZE UINT64_MAX
#define UNKNOWN_DATE INT64_MIN
#define NO_RECORD SIZE_MAX
#define MOST_MESSAGES 50000000u

/* Its layout is that of the snapshot: a change of it is a new SNAPSHOT_VERSION. */
struct index_record {
	uint64_t modseq;         /* of its last change */
	int64_t date;            /* INTERNALDATE, or UNKNOWN_DATE until somebody asks */
	int64_t saved;           /* SAVEDATE (RFC 8514), likewise */
	uint64_t size;           /* octets of the file, or UNKNOWN_SIZE */
	uint64_t vsize;          /* octets with CRLF: RFC822.SIZE, or UNKNOWN_SIZE */
	uint64_t thread;         /* THREADID (RFC 8474), 0 as long as nobody gave one */
	/* EMAILID (RFC 8474): made of the base name that the file had first; copies keep it */
	unsigned char email[EMAIL_ID_BYTES];
	uint32_t uid;
	uint32_t keywords;       /* a set (keywords.h) */
	uint32_t name;           /* where its base name stands: index_name */
	uint32_t lower;          /* letters a-z of the name on disk */
	uint8_t name_len;
	uint8_t flags;           /* FLAG_ */
	uint8_t letters;         /* LETTER_, of the name on disk as we last saw or made it */
	uint8_t seen;            /* mailbox-sync's mark */
	uint32_t cache;          /* where cache.h has it, in units of eight bytes; 0: nowhere */
};

/* When a directory was last changed, as it was when we last knew all that is in it. */
struct index_stamp {
	int64_t seconds;
	uint32_t nanoseconds;
};

/* A part of the snapshot in memory: private, so that what changes is copied, page by page. */
struct index_map {
	void *at;                        /* NULL: nothing is mapped */
	size_t len;
};

struct index {
	struct index_record *records;
	size_t count, room;
	struct index_map records_map;    /* where records lie, unless they lie on the heap */
	struct span old_names;           /* base names that lie in names_map */
	struct index_map names_map;
	struct text names;               /* base names that came after those */
	size_t name_garbage;             /* bytes of names that no record has any more */
	struct keywords keywords;
	struct vanished vanished;        /* UIDs that were expunged, and when: for QRESYNC */

	unsigned char id[MAILBOX_ID_BYTES];
	/* UIDs from recent_from on were shown to no session yet */
	uint32_t uidvalidity, uidnext, recent_from;
	uint64_t modseq;                 /* the highest given: HIGHESTMODSEQ */
	uint64_t expunges;               /* messages that went, ever: views notice by it */
	uint64_t inode;                  /* of the folder that this index belongs to */
	struct index_stamp in_new, in_cur;
	bool stamped;                    /* the stamps are good */
	/* Names of files may not yet say what the flags are. */
	bool names_pending;

	int directory;                   /* valija/ID, owned */
	int journal;                     /* owned */
	uint64_t journal_size;           /* of its records; zeros may follow, up to journal_room */
	uint64_t journal_room;           /* bytes of the file */
	uint64_t journal_made;           /* which journal it is: nanoseconds when it was made */
	uint64_t covered;                /* bytes of it that the snapshot stands for */
	/* Which cache the records point into, and how many bytes of it they know; in the snapshot
	 * only, which knows `cache_known`. */
	uint64_t cache_made, cache_covered, cache_known;
	bool old_format;                 /* of version 1: to be written anew */
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
/* Writes the journal anew when most of it is history; and the snapshot, when much of the journal
 * stands behind it. 0 (also when there was no need) or -1 with errno; the old ones are whole then.
 * Records may move. */
int index_compact(struct index *ix);
int index_snapshot(struct index *ix);

/* The position of a UID or NO_RECORD; of the first record with at least this UID (or count). */
size_t index_find(const struct index *ix, uint32_t uid);
size_t index_from(const struct index *ix, uint32_t uid);
struct span index_name(const struct index *ix, const struct index_record *record);
/* Does the name on disk not yet say what the flags are? */
bool index_name_pending(const struct index_record *record);
/* The letters that the name should have. */
uint8_t index_wanted_letters(const struct index_record *record);
/* Adds the UIDs of messages that were expunged after modification sequence `since`, ascending. Past
 * what is remembered (MOST_VANISHED): all UIDs below uidnext that no message has (RFC 7162 3.2.5.1
 * allows that). `gone` must be empty. */
void index_vanished(const struct index *ix, uint64_t since, struct number_ranges *gone);
/* The EMAILID of a message whose file first came under this base name. */
void email_id_of_name(struct span base, unsigned char email[EMAIL_ID_BYTES]);
/* As object ids of RFC 8474: "M" and "F", and hexadecimal digits. */
void email_id_write(const struct index_record *record, struct text *out);
/* "T", of a message whose thread is not 0. */
void thread_id_write(const struct index_record *record, struct text *out);
void mailbox_id_write(const struct index *ix, struct text *out);

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
/* A new message; uid and modseq of `r` are ignored, its name is `base`. An email id of zeros is
 * made of the name. */
void change_add(struct change *c, const struct index_record *r, struct span base,
	const struct keyword_bits *keywords);
void change_flags(struct change *c, enum change_mode mode, uint8_t flags,
	const struct keyword_bits *keywords,
	const struct number_ranges *uids);
void change_expunge(struct change *c, const struct number_ranges *uids);
/* Dates, sizes and thread that were learned; the name on disk; the stamps; from where on \Recent. */
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
