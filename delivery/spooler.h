/*
 * spooler - what a spool worker does: lends files in the spool, gives message and envelope their
 * names in queue/, notes what became of a recipient, and removes what is done.
 *
 * Handlers only collect; spooler_work makes durable what was collected, and then answers.
 */
#ifndef VALIJA_SPOOLER_H
#define VALIJA_SPOOLER_H

#include "common/channel.h"
#include "idmap.h"

#include <sys/queue.h>

struct spool_job;
TAILQ_HEAD(spool_list, spool_job);

struct spooler {
	int spool;                   /* the spool directory; borrowed */
	int queue;                   /* queue/ below it */
	bool ordered;                /* its file system's journal has links and inodes in order (journal.h) */
	struct idmap jobs;           /* lent or being spooled, by message id */
	struct spool_list spooling, telling, removing;
	size_t most_lent;
	uint64_t spooled;            /* messages, ever */
};

extern const struct hearing spooler_hears_queue;   /* me: struct spooler */

/* Makes the spool's directories where they are missing. False (logged) when it cannot be used. To be called before the program
 * is confined (journal_orders). */
bool spooler_init(struct spooler *s, int spool);
void spooler_clear(struct spooler *s);
/* Does what waits; blocks for the disk. */
void spooler_work(struct spooler *s);

#endif
