/*
 * placer - what a local worker does: lends files in Maildirs, and gives them their names there.
 *
 * Handlers only collect; placer_work makes durable what was collected, all jobs of a round
 * together: every body is synced, then every name is given, then each directory is synced once,
 * and only then anything is answered.
 *
 *   place        all or nothing: ends with placed, or with one place_refused
 *   place_copy   each mailbox for itself: a place_refused for each that could not take it, then
 *                placed in any case: whoever was not refused has the message, durably
 */
#ifndef VALIJA_PLACER_H
#define VALIJA_PLACER_H

#include "common/channel.h"
#include "filler.h"
#include "idmap.h"
#include "common/journal.h"
#include "ledger.h"
#include "mail_root.h"
#include "quota_warning.h"

#include <sys/queue.h>
#include <sys/types.h>
#include <time.h>

struct job;
TAILQ_HEAD(job_list, job);

#define MOST_HOME_ROOTS 16

/* A directory below which homes of system users lie. */
struct home_root {
	struct span path;            /* without a slash at its end; borrowed */
	int fd;
};

struct placer {
	struct quota_warnings warnings;
	int mail;                    /* the mail root */
	const char *hostname;        /* for file names; borrowed */
	/* Where a journal keeps the order of data and names (journal.h): everywhere on such file systems, as the
	 * administrator says, or on the devices that were recognised. */
	bool ordered_everywhere, ordered_nowhere;
	struct journal ordered[MOST_HOME_ROOTS];
	size_t ordered_devices;
	uint32_t uid;                /* whom this process runs as */
	bool homes;                  /* serves system users: below roots, as each of them */
	uint32_t least_uid;          /* of a system user */
	struct home_root root[MOST_HOME_ROOTS];
	size_t roots;
	struct idmap jobs;           /* struct job by message id */
	struct job_list waiting;     /* committed, not yet durable */
	struct ledger ledger;        /* LEDGER_NONE where it has none (local-home) */
	char mail_name[MAIL_ROOT_NAME + 1];   /* of the mail root, for ledgers; "": not known */
	time_t recovers_until;       /* at the start: master waits for us to serve */
	size_t most_lent;
	struct filler filler;        /* only with cache_at_delivery */
	uint64_t placed;             /* messages placed, ever */
};

extern const struct hearing placer_hears_queue;   /* me: struct placer */
/* What his home says about forwarding; for local-home. */
void placer_on_forward_ask(void *me, struct channel *from, uint64_t id,
	const struct msg_forward_ask *m, const int *fd);

void placer_init(struct placer *p, int mail, const char *hostname);
/* Is this directory's file system one that keeps the order? Then its files are named first. Before the confinement. */
void placer_recognise(struct placer *p, int directory);
/* mail_journal: auto, yes, no. */
void placer_set_journal(struct placer *p, struct span option);
/* Gives it a ledger, from a file of this name; before the confinement, and after placer_init. */
void placer_open_ledger(struct placer *p, int directory, const char *name);
/* What is in it is delivered, or settled, and from now on it is used. */
void placer_begin_ledger(struct placer *p, struct event_base *base);
/* The same with what is in one that is not used. */
void placer_begin_other_ledger(struct placer *p, struct ledger *l, struct event_base *base);
void placer_clear(struct placer *p);
/* Does what waits; blocks for the disk. */
void placer_work(struct placer *p);

#endif
