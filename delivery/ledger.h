/*
 * ledger - messages that were promised before their Maildirs have them durably.
 *
 * The commit of a file system's journal writes several blocks and flushes the disk twice. Instead, a small message and its
 * names are written into a file that has its place on the disk already, and one fdatasync makes them durable: then the
 * message gets its names, and is answered for. Its file is settled later, many with one commit. If the machine goes down
 * before, the ledger has the message (ledger_replay.c).
 *
 *   number   put, synced      in the ledger; no name yet. A crash: it is delivered, promised to nobody, whole
 *   name     batch_name       in new/, seen by users
 *   answer   placed           or withdrawn: struck out in the ledger, before it is refused
 *   settled  one commit       a mark in the ledger says up to which number, before room is used again
 *
 * What goes in is placed in all of its mailboxes or in none (`place`, placer.h), so that it is struck out as a whole; of a
 * copy, whose mailboxes may fail one by one, the spool has the message, and it does not go in.
 *
 * One ledger for each local; two segments: while one is filled, the other is settled. What this relies on: that a file
 * system does not lose the order (journal.h), for settling many at once; and that nobody else writes the ledger.
 * Who starts tells by the boot id, and by which mounting it is, whether the machine went down meanwhile; if not, what is
 * not found was removed by its user. What was promised in another mail root (mail_root.h: the file system is not mounted,
 * say) is left in the ledger for that one.
 */
#ifndef VALIJA_LEDGER_H
#define VALIJA_LEDGER_H

#include "common/journal.h"
#include "ledger_record.h"

#define LEDGER_MOST_BODY (64 * 1024) /* a longer message is synced where it is */
#define LEDGER_MOST_FILES 128        /* of a segment */
#define LEDGER_SETTLE_SECONDS 2      /* at the latest, and durably so */
#define LEDGER_FULL_MILLISECONDS 20  /* from when a segment is full until it is settled */
#define LEDGER_RETRY_SECONDS 30      /* for what could not be delivered from the ledger */
#define LEDGER_RECOVER_SECONDS 15    /* at one go, of all ledgers that a process has */
#define LEDGER_LOCK_SECONDS 2        /* for who had it before to end */

struct event;
struct event_base;
struct placer;

enum ledger_state {
	LEDGER_NONE,                 /* no file */
	LEDGER_EMPTY,                /* a file without place on the disk: made at the first need */
	LEDGER_READY,
	LEDGER_HELD,                 /* has records of an earlier life that cannot be delivered now */
	LEDGER_BROKEN,               /* cannot be written, or is another mail root's: nothing more goes in */
};

struct ledger_file {
	int fd;                      /* of the message; -1: not named yet, or withdrawn */
	uint64_t number;
	uint32_t page;
	bool withdrawn, failed;
};

struct ledger_segment {
	uint32_t first, used;        /* pages */
	size_t count, pending;       /* pending: put, and neither kept nor withdrawn */
	struct ledger_file file[LEDGER_MOST_FILES];
};

struct ledger {
	enum ledger_state state;
	int fd;
	bool wanted;                 /* mail_ledger */
	bool dirty;                  /* something was put, or withdrawn, since ledger_sync */
	bool full;                   /* the segment that is not filled waits to be settled, */
	bool stuck;                  /* and could not be: the timer tries again */
	bool hurried;                /* HELD because there was no time: the rest is done soon */
	bool first;                  /* a message would have gone in */
	size_t most_files;
	unsigned char key[LEDGER_KEY];
	char boot[LEDGER_MOST_BOOT];
	dev_t device;                /* of the mail */
	uint64_t mounting;
	uint64_t number, synced, settled, marks;
	struct ledger_segment segment[2];
	unsigned int current;
	struct text text, page;      /* a record, and a mark, being made */
	struct event *timer;
	struct placer *placer;
};

/* Before the confinement: opens the ledger `name` in `directory`, made where it is missing, and reads which run of the
 * machine this is. Without one (logged) the ledger stays LEDGER_NONE, and everything else works as it does without. */
void ledger_open(struct ledger *l, int directory, const char *name);
/* Delivers or settles what an earlier life has left, and is ready. The file system of the mail is that of `mail`; NULL:
 * none whose journal we rely on. */
void ledger_begin(struct ledger *l, struct placer *p, struct event_base *base, const struct journal *mail);
/* Settles everything; the end. cut: its file, if nothing is left in it, gives its room back. */
void ledger_end(struct ledger *l, bool cut);

/* Would it take a message of this size? Asking makes the file, soon. */
bool ledger_wants(struct ledger *l, uint64_t size);
/* Writes one: `count` targets, the message read from `fd`. Its number, or 0: it could not be. Not durable before
 * ledger_sync, which returns false when nothing that was put since the last one may be relied on. */
uint64_t ledger_put(struct ledger *l, const struct ledger_target *target, size_t count, int fd, uint64_t size);
bool ledger_sync(struct ledger *l);
/* It has its names and is answered for: takes its descriptor, and begins to write the file. */
void ledger_keep(struct ledger *l, uint64_t number, int fd);
/* It is refused after all. ledger_sync makes it so. */
void ledger_withdraw(struct ledger *l, uint64_t number);
/* Makes durable all that is in it. False when something could not be (logged): it is tried again. */
bool ledger_settle(struct ledger *l);

/* ledger_replay.c: one record. Each of its files is looked for; one that is not as it was promised (went_down, or
 * `again`: nobody knows what became of what was written) is made again, as one that is missing after the machine went
 * down; then it is synced with its directory. False when that failed (logged). */
bool ledger_deliver(struct placer *p, const struct ledger_record *r, bool went_down, bool again);

#endif
