/*
 * ledger_record - the form of a ledger on disk (ledger.h): two marks, then two segments of records.
 *
 *   page 0, 1     marks, written by turns: what was settled, who wrote it, on which run of the machine
 *   then          LEDGER_PAGES pages for each segment
 *   record        begins a page: head (its length, its number, a checksum of all), targets, the message
 *
 * A page is 4 KiB: no record shares one with another, so that writing one cannot tear one that was promised. Each record
 * carries the key of its ledger, which is random and known to nobody who sends mail: the text of a message is taken for
 * no record. Whatever is read is taken as hostile.
 */
#ifndef VALIJA_LEDGER_RECORD_H
#define VALIJA_LEDGER_RECORD_H

#include "common/text.h"

#define LEDGER_PAGE 4096
#define LEDGER_PAGES 256             /* of a segment: 1 MiB */
#define LEDGER_SIZE ((2 + 2 * (size_t)LEDGER_PAGES) * LEDGER_PAGE)
#define LEDGER_KEY 16
#define LEDGER_MOST_BOOT 64
#define LEDGER_MOST_MAIL 64
#define LEDGER_MOST_RECORD (128 * 1024)
#define LEDGER_MOST_TARGETS 128      /* not fewer than MOST_PLACES */
#define LEDGER_MOST_WORD 4096        /* bytes of a home, folder or name */

struct ledger_mark {
	unsigned char key[LEDGER_KEY];
	uint64_t count;              /* of marks: the higher one counts */
	uint64_t settled;            /* records up to this number are over */
	struct span boot;            /* the kernel's boot id, */
	uint64_t mounting;           /* and which mounting of the mail's file system (journal.h) */
	struct span mail;            /* whose mail it is (mail_root.h); "": of any */
};

struct ledger_target {
	struct span home, folder, name;
};

struct ledger_record {
	uint64_t number;
	size_t page;                 /* where it begins, for who reads a file */
	bool withdrawn;              /* refused after all */
	bool delivered;              /* and whether that is done */
	uint32_t targets;
	struct span target, body;    /* for ledger_target_take; the message */
};

/* Fills a page. */
void ledger_mark_write(const struct ledger_mark *m, struct text *page);
/* The mark that counts. False: there is none. What it has is borrowed from `file`. */
bool ledger_mark_read(struct span file, struct ledger_mark *m);

/* A record: begin, the targets, then the message behind them (text_add), then seal, which completes the head. A text that
 * has failed was too long. */
void ledger_record_begin(const unsigned char key[LEDGER_KEY], uint64_t number, struct text *t);
void ledger_record_target(struct text *t, const struct ledger_target *target);
void ledger_record_seal(struct text *t, uint32_t targets, uint32_t body);
/* The page that takes the place of a record's first. */
void ledger_record_withdraw(const unsigned char key[LEDGER_KEY], uint64_t number, struct text *t);
/* The record that begins `in`; false where none does, or it is not whole. *pages: how many are its. */
bool ledger_record_read(
	struct span in, const unsigned char key[LEDGER_KEY], struct ledger_record *r, size_t *pages);
/* The next target; each of a record that was read can be taken. Nothing in it leads out of where it is used. */
bool ledger_target_take(struct span *in, struct ledger_target *t);

#endif
