/*
 * attempt_inside - a queued message's turn: its envelope is read, what can be delivered here is, and
 * what came of it is recorded. What the files of this subject share; for others: queue.h.
 *
 *   attempt.c         begins and ends one
 *   attempt_copy.c    COPYING    a local worker copies the message into mailboxes, some of them at a time
 *   attempt_relay.c   RELAYING   what goes to other servers is with relay (relaying.h), and
 *   attempt_pipe.c               what goes to commands and files of aliases with master
 *   attempt_report.c  REPORTING  senders are told (report.h): their reports are on their way into the
 *                                spool, durably, before it is recorded that a recipient has failed
 *   attempt_record.c  RECORDING  a spool worker appends what became of recipients to the envelope
 *                     REMOVING   every recipient is done: a spool worker removes message and envelope
 *
 * The death of a worker of ours is nobody's failure: what it had begun is given to the next, which is
 * there within a moment. What was delivered is never delivered again because it could not be recorded:
 * such an attempt stays, stranded, until a spool worker records it.
 */
#ifndef VALIJA_ATTEMPT_INSIDE_H
#define VALIJA_ATTEMPT_INSIDE_H

#include "mailboxes.h"
#include "queue.h"

/* Deaths of workers that one message may cost in one attempt: it may be what they die of. */
#define MOST_LOSSES 3
#define AFTER_LOSS_SECONDS 1             /* until the next try then; doubles each time */
#define LONGEST_AFTER_LOSS_SECONDS 64

/* Until the next try when too much waits for a next hop and it calls nobody back (hop.h): from, and up to as much
 * more; doubles each time in a row (queued.turned_away). */
#define BUSY_SECONDS 2
#define LONGEST_BUSY_SECONDS 128

enum attempt_step { COPYING, RELAYING, REPORTING, RECORDING, REMOVING };

/* What came of one recipient in this attempt. */
struct result {
	bool known;
	bool relayed;                        /* to a server that knows no DSN */
	bool recorded;                       /* already, while others were under way */
	bool untried;                        /* for want of a worker: it is not the recipient's failure */
	struct verdict verdict;              /* status and reason in `own` */
	char *own;
	uint32_t report;                     /* in which report of this attempt; 0: none */
	bool untold;                         /* that one did not get into the spool */
};

struct attempt {
	struct conversation c;
	TAILQ_ENTRY(attempt) waiting_next;   /* in q->stranded, q->unresolved or q->unplaced */
	bool is_stranded;
	struct queue *queue;
	struct queued *m;
	uint32_t network_changes;            /* of the queue, when this began */
	bool ordered;                        /* somebody wants it tried who did not see that it is */
	enum attempt_step step;
	struct queued_file file;
	int message;                         /* the message, to be read */
	struct resolved *place;              /* beside file.envelope.recipient: where each leads now */
	struct destination *destination;     /* beside it; borrows */
	struct result *result;
	uint32_t *mailbox, mailboxes;
	uint32_t from, to;                   /* of `mailbox`: being copied */
	unsigned int losses;                 /* workers that died while they copied it */
	uint32_t *record, records;           /* recipients to be recorded */
	uint32_t told;                       /* how many of them were answered */
	bool failed;                         /* one of them with a failure */
	TAILQ_ENTRY(attempt) relaying_next;
	unsigned char *header;               /* the beginning of the message, or NULL */
	size_t header_len;
	char *srs;                           /* the rewritten sender, or NULL */
	uint32_t reports;                    /* that are not in the spool yet */
	bool unreported;                     /* one of them did not get there */
	bool late;                           /* a warning is due */
	bool noting;                         /* RELAYING: what is known so far is being recorded */
	uint32_t pipes;                      /* RELAYING: commands and files that master is busy with */
	bool with_relay;                     /* RELAYING: relay has some of it */
	bool all_relayed;                    /* and nothing more will come */
	bool away;                           /* somebody of ours was not there */
	bool busy;                           /* too much waits for a next hop */
	bool untried_only;                   /* somebody has not had his turn: who had it waits for his next */
	bool rests;                          /* such a one is there */
	uint32_t posted;                     /* reports of this attempt, so far */
};

static inline struct attempt *
attempt_of(struct conversation *c)
{
	return (struct attempt *)(void *)c;
}

static inline bool
is_final(uint8_t outcome)
{
	return outcome == DONE || outcome == NEVER;
}

/* What came of recipient i; the first word counts. Copies the verdict's texts. */
void result_set(struct attempt *a, uint32_t i, struct verdict v);
/* Forgets it, and says this instead. */
void result_change(struct attempt *a, uint32_t i, struct verdict v);
/* Everybody whose mailbox `first` stands for. */
void result_set_mailbox(struct attempt *a, uint32_t first, struct verdict v);

/* Gives the next mailboxes to a worker; then what is left goes to relay. */
void attempt_copy(struct queue *q, struct attempt *a);
void attempt_relay(struct queue *q, struct attempt *a);
/* Has master deliver what leads to commands and files of aliases; counts in a->pipes those of which it will tell. */
void attempt_pipe(struct queue *q, struct attempt *a);
/* It is RELAYING and waits for nobody: what was told is all. */
bool attempt_is_through(const struct attempt *a);
void attempt_over(struct queue *q, struct attempt *a);
/* While it is RELAYING: what was being recorded is, or could not be. */
void note_over(struct attempt *a, bool done);
/* Everything was tried: judge its age, tell senders, then attempt_store(). */
void attempt_conclude(struct queue *q, struct attempt *a);
/* Until when, in seconds since 1970, this message is tried. */
uint64_t tried_until(const struct queue *q, const struct envelope *e);
/* Its sender knows that it is late, as the envelope shows. */
bool was_warned(const struct queue *q, const struct envelope *e);
/* `delay` in seconds, or less: there is something to do at the time by which it is to be there (RFC 2852). */
uint32_t delay_within(const struct queued *m, const struct envelope *e, uint32_t delay);
/* That time is over, before anything was tried: everybody who is left has failed. */
bool attempt_expires(struct queue *q, struct attempt *a);
/* Whether recipient i's result says anything that the envelope does not say already. */
bool is_news(const struct attempt *a, uint32_t i);
/* Has recorded what is news, or removes the message. */
void attempt_store(struct queue *q, struct attempt *a);
/* Says to a spool worker what this step has to say; without one, the attempt is stranded. */
void attempt_record(struct queue *q, struct attempt *a);
/* Everything is recorded: until the next time, or for good. */
void attempt_end(struct queue *q, struct attempt *a);
void attempt_free(struct queue *q, struct attempt *a);

#endif
