/* spooler_inside - what the files of the spooler share. */
#ifndef VALIJA_SPOOLER_INSIDE_H
#define VALIJA_SPOOLER_INSIDE_H

#include "common/text.h"
#include "envelope.h"
#include "limits.h"
#include "spool_name.h"
#include "spooler.h"
#include "states.h"

struct spool_job {
	TAILQ_ENTRY(spool_job) next;
	uint64_t id;
	struct channel *from;
	/* Spooling. */
	uint32_t hour;                   /* LENT or PLACING */
	enum file_state state;
	int fd, envelope_fd;
	bool renews;                     /* message and an older envelope have their names already */
	bool named;                      /* the file system has no unnamed files */
	struct envelope envelope;        /* its strings are in `strings` */
	size_t room, bytes;
	struct text strings;             /* the records, when committed */
	struct verdict why;              /* refused, when outcome is set */
	/* Telling. */
	uint32_t number;
	bool holding;                    /* a held record, not one about a recipient */
	uint8_t outcome;                 /* what to answer */
};

/* Each does its part of a round without the last fsync of queue/. */
void spool_write(struct spooler *s);
void spool_tell(struct spooler *s);
void spool_unlink(struct spooler *s);
/* Takes the names away again; the envelope first. */
void spool_unname(struct spooler *s, uint64_t id);

#endif
