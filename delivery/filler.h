/*
 * filler - after a message has its name, and whoever sent it its answer: what the user's clients will ask for is worked
 * out by gist and written beside the cache of his index (common/filled.h), so that his imap finds it there.
 *
 * Nobody waits for it and nothing depends on it: where gist is away, too much is under way already, the folder was never
 * opened, or anything else is not as it should be, nothing is written and nothing is said. Every file is opened as the
 * owner of the Maildir; what he plants there (links, FIFOs, files of any size) is refused or harms him alone.
 */
#ifndef VALIJA_FILLER_H
#define VALIJA_FILLER_H

#include "common/channel.h"
#include "common/maildir.h"

#include <sys/types.h>

#define MOST_FILLING 64              /* messages that gist was asked about and has not answered */

struct placer;

/* What was asked about one message. */
struct filling {
	uint64_t id;                     /* 0: free */
	int directory;                   /* Maildir/valija/ID */
	uint32_t uid, gid;
	struct maildir_name name;
};

struct filler {
	struct channel *gist;            /* NULL while it is away */
	uint64_t last;                   /* id */
	struct filling at[MOST_FILLING];
};

extern const struct hearing filler_hears_gist;     /* me: struct placer, whose filler it is */

/* gist came, again perhaps. */
void filler_peer(struct placer *p, struct channel *gist);
/* A message was named `name` in `new` of `folder` (which is the Maildir `inbox`, or one below it), for that owner. */
void filler_begin(struct placer *p, int inbox, int folder, int new, const struct maildir_name *name, uint32_t uid,
	uint32_t gid);
/* Forgets what is under way. */
void filler_clear(struct filler *f);

#endif
