/*
 * index-record - records of the journal, encoded and applied. For index*.c and their tests alone.
 *
 * The journal begins with a header of JOURNAL_HEADER bytes: "VALIJAJ1", u32 byte order 0x01020304,
 * u32 version, u32 uidvalidity, u32 0, the mailbox id, u64 nanoseconds when it was made (seconds in
 * version 1), u32 CRC32C of all that; zeros. Then records: u32 length of the payload, u32 CRC32C of the payload; payload: u8
 * kind, fields. Behind the last record zeros up to the end of the file. The whole is described in
 * valija-index(5).
 */
#ifndef VALIJA_IMAPD_INDEX_RECORD_H
#define VALIJA_IMAPD_INDEX_RECORD_H

#include "imapd/index.h"

#define JOURNAL_NAME "journal"
#define JOURNAL_NEW "journal.new"
#define JOURNAL_HEADER 64
#define JOURNAL_VERSION 2
#define JOURNAL_VERSION_OLD 1              /* read, and written anew as 2 */
#define MOST_RECORD (16u * 1024 * 1024)    /* bytes of a payload: a change of a million ranges */
#define RECORD_HEAD 8                      /* length and CRC */

enum record_kind {
	/* u64 modseq, u32 uid, u8 flags, u8 letters, u32 lower, u64 date, u64 size, u64 vsize, text
	 * name, keywords. Of version 1: read, not written */
	RECORD_ADD = 1,
	RECORD_FLAGS = 2,     /* u64 modseq, u8 mode, u8 flags, keywords, ranges */
	RECORD_EXPUNGE = 3,   /* u64 modseq, ranges */
	RECORD_KEYWORD = 4,   /* u16 number, text name */
	/* u32 uid, u64 date, u64 size, u64 vsize. Of version 1 */
	RECORD_FACTS = 5,
	RECORD_LETTERS = 6,   /* u32 uid, u8 letters, u32 lower */
	RECORD_STAMPS = 7,    /* u64 seconds, u32 nanoseconds (new), the same (cur), u8 good */
	RECORD_STATE = 8,     /* u32 uidnext, u64 modseq, u32 recent_from */
	RECORD_INODE = 9,     /* u64 */
	/* as ADD up to lower, then u64 date, u64 saved, u64 size, u64 vsize, u64 thread, the 16
	 * bytes of the email id, text name, keywords */
	RECORD_MESSAGE = 10,
	RECORD_LEARNED = 11,  /* u32 uid, u64 date, u64 saved, u64 size, u64 vsize, u64 thread */
	RECORD_VANISHED = 12, /* u64 forgotten, u32 count, (u64 modseq, u32 from, u32 to) */
	RECORD_LAST = RECORD_VANISHED,
};
/* keywords: u16 count, u16 numbers; ranges: u32 count, (u32 from, u32 to) ascending */

/* Where modseq and uid stand in the payload of ADD and MESSAGE; modseq at the same place in FLAGS and
 * EXPUNGE. Where uidnext stands in STATE. */
#define AT_MODSEQ 1
#define AT_UID 9
#define AT_UIDNEXT 1

/* Takes one whole record from the front; false when it is torn or damaged. */
bool record_take(struct span *in, struct span *payload);
/* Applies a payload. False: it makes no sense here, and nothing was changed. */
bool record_apply(struct index *ix, struct span payload);
/* Gives UIDs and modification sequences, counts them up in *uidnext and *modseq, seals each record
 * with its CRC. */
void records_seal(struct text *records, uint32_t *uidnext, uint64_t *modseq);
void record_keyword(struct text *records, unsigned int number, struct span name);
/* A MESSAGE with the uid and modseq of `r`: for compaction, which seals with records_seal_kept. */
void record_add(struct text *records, const struct index_record *r, struct span base,
	const struct keyword_bits *keywords);
void records_seal_kept(struct text *records);
void record_vanished(struct text *records, const struct vanished *v);
/* The header, encoded and checked. */
void journal_header_write(struct text *out, const unsigned char id[MAILBOX_ID_BYTES],
	uint32_t uidvalidity, uint64_t made);
bool journal_header_read(struct span in, unsigned char id[MAILBOX_ID_BYTES], uint32_t *uidvalidity,
	uint64_t *made, uint32_t *version);
/* Room for one more record in the array. */
void index_make_room(struct index *ix);

/* --- index-snapshot.c --- */

#define SNAPSHOT_NAME "snapshot"
#define SNAPSHOT_NEW "snapshot.new"
#define SNAPSHOT_VERSION 3

/* Puts the snapshot into the empty `ix`: everything but the journal's descriptor and sizes. With
 * `made` and `size` of a journal it must be of that journal and stand for no more than `size` bytes;
 * with 0 it may be of any. False: there is none that can be used, and `ix` is as it was. */
bool snapshot_load(struct index *ix, uint64_t made, uint64_t size);
/* Writes it, for the journal as it is, which is made durable first. 0 or -1 with errno; the old one
 * is whole then. */
int snapshot_write(struct index *ix);
/* Gives back a mapping, or nothing. */
void index_unmap(struct index_map *map);

#endif
