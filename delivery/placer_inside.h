/* placer_inside - what the files of the placer share: its jobs, and the places of one batch. */
#ifndef VALIJA_PLACER_INSIDE_H
#define VALIJA_PLACER_INSIDE_H

#include "common/maildir.h"
#include "common/message.h"
#include "common/quota.h"
#include "limits.h"
#include "placer.h"
#include "states.h"
#include "verdict.h"

#include <sys/types.h>

#define MOST_COPIES 8                /* file systems (and owners) that one message is written to */
#define MOST_BATCH_PLACES (2 * MOST_PLACES)

struct target {
	uint32_t number;
	char *address, *home, *folder;
	uint32_t uid, gid;
	struct quota quota;
	unsigned int warning;        /* percent of it that are in use by now; 0: nothing to say of it */
	/* While it is placed: where in the batch, or -1; under which name. */
	int place;
	struct maildir_name name;
	bool is_lent;                /* it names the lent file, and no copy */
	bool refused;
};

/* One message at one worker. */
struct job {
	TAILQ_ENTRY(job) next;       /* in placer.waiting, then in a batch */
	uint64_t id;
	struct channel *from;
	uint32_t hour;               /* LENT, OPEN (targets of a copy are being named), PLACING */
	enum file_state state;
	bool sync_later;             /* the body is synced when it has its names */
	bool one_commit;             /* and that makes the names durable too (journal.h) */
	uint64_t entered;            /* durable by its record in the ledger, before it has its names; 0: not */
	bool copy;                   /* place_copy: fd is somebody else's file to read */
	int fd;
	int maildir;                 /* where it was lent, open; where tmp names it, or -1 */
	dev_t device;                /* of that Maildir, */
	ino_t inode;
	dev_t file_device;           /* of the file, whatever is mounted where */
	struct maildir_name tmp;
	char *home;                  /* where it was lent */
	uint32_t uid, gid;           /* and as whom */
	uint64_t size;
	unsigned char *prefix;
	size_t prefix_len;
	struct target *target;
	size_t targets, room;
	struct verdict why;          /* refused as a whole, when outcome is set */
	uint32_t why_number;
};

/* One Maildir that a batch names files in. */
struct place {
	const char *home, *folder;   /* of the first target that led here */
	int maildir;
	int new;                     /* its new/, once something is named there; or -1 */
	uint32_t uid, gid;           /* whose it is */
	dev_t device;
	bool named;                  /* a name was given that nothing else makes durable: to be synced */
	int error;                   /* it cannot be used, or syncing failed */
};

struct batch {
	struct job_list jobs;
	struct place place[MOST_BATCH_PLACES];
	size_t places;
};

/* The place of a target, opened at its first use. NULL with errno. */
struct place *batch_place(
	struct placer *p, struct batch *b, struct job *job, struct target *t);
/* Gives the durable file its name in each target's new/; t->refused, job->why say what failed. */
void batch_name(struct placer *p, struct batch *b, struct job *job);
/* Takes back every name that `job` was given in this batch. */
void batch_unname(struct placer *p, struct batch *b, struct job *job);
/* A user's Maildir, made where it is missing; -1 with errno. */
int placer_open(struct placer *p, struct span home, uint32_t uid, uint32_t gid);
/* The same, or the folder below it that the detail means, which is there. */
int placer_open_folder(struct placer *p, struct span home, const char *detail, uint32_t uid, uint32_t gid);
/* Is this device one whose journal is relied on to keep data and names in order? */
bool placer_keeps_order(const struct placer *p, dev_t device);
/* Does the journal of this device keep the order still? If not, nothing relies on it in future. */
bool placer_journal_is_whole(struct placer *p, dev_t device);
/* Is the Maildir of that home the one that the job has open? */
bool placer_is_there(struct placer *p, const struct job *job);
/* Whether a message of `size` may still come in; *why when not. Counts nothing. *usage: what is there, all
 * ones where that is not known. */
bool placer_has_room(struct placer *p, int maildir, const struct quota *q, uint64_t size,
	struct quota_usage *usage, struct verdict *why);
/* As user_enter(), for those whom this worker serves; user_leave() ends it. */
bool placer_enter(struct placer *p, uint32_t uid, uint32_t gid);
void job_refuse_target(struct job *job, struct target *t, struct verdict v);
/* Refuses all of it, for what errno says (logged). */
void job_sync_failed(struct job *job);

#endif
