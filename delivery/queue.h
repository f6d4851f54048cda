/*
 * queue - what the files of the queue manager share.
 *
 *   worker.c       the local and spool workers: who is there, who is least busy, what is unsaid
 *   transaction.c  smtpd's conversation: from mail_begin to mail_told
 *   queued.c       a queued message's files
 *   attempt*.c     its turn: resolve, deliver, record, remove (attempt_inside.h)
 *   logins.c       who has logged in to send mail
 *   names.c        the system's users, as others know them
 *   recover.c      what lies in the spool at start
 *   listing.c      valija queue: which messages, and what is told of them
 *   select.c       whether a message fits what was asked
 *   control.c      what an administrator orders for one message; requeue.c: its envelope anew
 *
 * Everything here runs in one event loop and never waits for a disk's acknowledgement: workers do.
 */
#ifndef VALIJA_QUEUE_H
#define VALIJA_QUEUE_H

#include "common/daemon.h"
#include "envelope.h"
#include "idmap.h"
#include "limits.h"
#include "resolve.h"
#include "schedule.h"

#include <sys/queue.h>

struct event;
struct queue;
struct conversation;
struct destination;
TAILQ_HEAD(conversation_list, conversation);

/* --- workers --- */

struct worker {
	struct channel *channel;            /* NULL while it is away */
	struct conversation_list at;        /* every conversation with it */
	struct conversation_list to_feed;   /* those that have something to say, first come first */
	unsigned int load;
};

enum conversation_kind { TRANSACTION, ATTEMPT, NOTICE, GIVE_BACK, CONTROL };

/* One message between queue and its workers; the first member of what it belongs to. */
struct conversation {
	enum conversation_kind kind;
	uint64_t id;
	struct worker *worker;              /* NULL: with none */
	TAILQ_ENTRY(conversation) at, to_feed;
	/* Says the next packet to c->worker; true when that was the last. NULL: nothing to say. */
	bool (*feed)(struct queue *q, struct conversation *c);
	uint32_t cursor;                    /* for feed: how many were said */
};

/* The worker of a kind with the fewest conversations, or NULL while all are away. */
struct worker *worker_least_busy(struct queue *q, enum program program);
/* None is there, but one was a moment ago: its successor may be expected. */
bool worker_is_coming(const struct queue *q, enum program program);
/* The same spool worker for one message each time, while it is there: its records stay in order. */
struct worker *worker_for(struct queue *q, enum program program, uint64_t id);
void conversation_join(struct conversation *c, struct worker *w);
void conversation_leave(struct conversation *c);
/* Begins to feed c's worker. A few packets at a time: see MOST_FED_PACKETS. */
void conversation_say(struct queue *q, struct conversation *c,
	bool (*feed)(struct queue *, struct conversation *));
/* Tells c's worker of one mailbox that the message is for; `number` is what it answers with. */
void conversation_target(struct conversation *c, uint32_t number, struct span address, const struct destination *to);
/* Tells `w` that the file lent as `id` is not needed. */
void worker_give_back(struct queue *q, struct worker *w, uint64_t id);
void workers_init(struct queue *q);
void worker_came(struct queue *q, struct channel *channel);
extern const struct hearing queue_hears_local, queue_hears_spool;

/* --- transactions --- */

struct transaction;
struct pending;
TAILQ_HEAD(pending_list, pending);
TAILQ_HEAD(transaction_list, transaction);

struct known_login;
TAILQ_HEAD(known_login_list, known_login);

struct front {                              /* one smtpd */
	struct transaction_list transactions;
	size_t count;
	struct known_login_list logins;     /* logins.h */
	size_t login_count;
};

/* A mailbox that refused a message lately: mail for it and others goes by the queue, so that it
 * keeps only its own from being delivered. */
#define MOST_TROUBLED 64
#define TROUBLED_SECONDS 3600
#define FULL_SECONDS 60              /* a full mailbox is refused at RCPT without asking again */
struct troubled {
	char *home;
	uint32_t until, full_until;
};

void transaction_lent(struct queue *q, struct conversation *c, int fd);
void transaction_refused(struct queue *q, struct conversation *c, struct verdict v);
/* One mailbox could not take it: none does. */
void transaction_place_refused(struct queue *q, struct conversation *c, uint32_t number,
	struct verdict v);
void transaction_placed(struct queue *q, struct conversation *c);
void transaction_spooled(struct queue *q, struct conversation *c);
/* Something that was asked for is known: look at the recipients that wait again. */
void transactions_resolve(struct queue *q);
/* Its worker has died. */
void transaction_lost(struct queue *q, struct conversation *c);
/* HOUR_WAITING, HOUR_PLACING or HOUR_NONE: what its worker may say. */
uint32_t transaction_hour(const struct conversation *c);
extern const struct hearing queue_hears_smtpd;

/* --- queued messages --- */

struct attempt;
TAILQ_HEAD(attempt_list, attempt);

/* Begins as many attempts as are due and allowed, and sets the clock for the next. */
void attempts_run(struct queue *q);
void attempt_placed(struct queue *q, struct conversation *c);
void attempt_refused(struct queue *q, struct conversation *c, uint32_t number, struct verdict v);
void attempt_finished(struct queue *q, struct conversation *c, uint8_t outcome);
void attempt_removed(struct queue *q, struct conversation *c, uint8_t outcome);
void attempt_lost(struct queue *q, struct conversation *c);
/* Somebody wants to have it tried: at once, if it is not done when this attempt is over. */
void attempt_ordered(struct conversation *c);
/* Master tells how a command or a file of an alias took its message. */
void attempt_pipe_told(struct queue *q, uint64_t id, const struct msg_pipe_told *m);
/* As transactions_resolve(). */
void attempts_resolve(struct queue *q);
uint32_t attempt_hour(const struct conversation *c);
/* A spool worker is there again: go on with what waits for one. */
void attempts_resume(struct queue *q);
/* A local worker is there again, or none came in time: go on with what waits for one. */
void attempts_place(struct queue *q);
/* Records what has become known of messages that are still being relayed. Are any being recorded so? */
void attempts_note(struct queue *q);
bool attempts_are_noting(const struct queue *q);
/* A message is in the queue from now on. sender: queue_sender(). */
void queue_accept(struct queue *q, uint64_t id, uint32_t sender, uint8_t priority);
/* A message and its envelope, as read from disk; queued_read: 0, or -1 with errno (EBADMSG:
 * unreadable). */
struct queued_file {
	unsigned char *at;
	size_t len;
	struct envelope envelope;           /* spans lie in `at` */
};
int queued_read(struct queue *q, uint64_t id, struct queued_file *f);
void queued_file_clear(struct queued_file *f);
/* Moves both files to corrupt/, logs, and forgets the message. */
void queued_set_aside(struct queue *q, struct queued *m, const char *reason);

/* --- the rest --- */

struct listing;
TAILQ_HEAD(listing_list, listing);
/* An administrator's order for one message begins; what came of it is told to the listing that asked
 * (listing_told). False: it is being delivered right now, or no spool worker is there. */
bool control_begin(struct queue *q, struct listing *l, struct queued *m, const struct envelope *e,
	const struct msg_queue_select *order);
/* A spool worker has answered, or died (LATER). */
void control_finished(struct queue *q, struct conversation *c, uint8_t outcome);
/* Nobody wants to know any more; what was begun is finished. */
void control_forget(struct queue *q, const struct listing *l);
void listing_told(struct listing *l, uint64_t message, uint8_t outcome, struct span reason);
/* Does this message fit? Only recipients that are not done with count. */
bool select_fits(const struct msg_queue_select *s, uint64_t now, const char *state,
	const struct envelope *e);
bool select_fits_recipient(const struct msg_queue_select *s, const struct envelope_recipient *r);
extern const struct hearing queue_hears_command;

/* Begins to look through the spool. False (logged) when it cannot be read. */
bool recover_begin(struct queue *q);
/* A message without an envelope has waited long enough: remove it. True when it has one by now. */
bool recover_orphan(struct queue *q, struct queued *m);
/* The spool worker that was naming this message has died, and who brought it is told that it was not taken: he sends it
 * again. What is there of it goes; else the next start would find it, perhaps whole, and deliver it, weeks later. */
void recover_unpromised(struct queue *q, uint64_t id);

struct queue {
	struct daemon daemon;
	int spool, queue;                   /* directories */
	struct table *users;
	struct resolver resolver;
	struct worker local[MOST_PEERS_OF_A_KIND], spoolers[MOST_PEERS_OF_A_KIND];
	struct worker homes[MOST_PEERS_OF_A_KIND];  /* for mailboxes of system users */
	uint32_t local_seen, homes_seen, relay_seen;  /* when one of that kind was there last */
	struct event *feed_timer;
	struct idmap conversations;         /* transactions and attempts, by message id */
	struct front front[MOST_PEERS_OF_A_KIND];
	struct idmap logins;                /* by session */
	size_t transactions, pending_recipients, notices;
	size_t unowned;                     /* transactions that wait to hear whose their sender is */
	struct pending_list pending;        /* recipients that wait for an answer of others */
	struct troubled troubled[MOST_TROUBLED];
	size_t next_troubled;
	struct schedule schedule;
	struct event *due_timer, *retry_timer, *scan_event, *second_event;
	void *scan, *second_look;           /* DIR, while the start's scan goes on, and the look a minute later */
	size_t strangers;                   /* files in queue/ that are not ours */
	unsigned int attempts, relaying;    /* with local workers; with relay */
	uint32_t waiting_jobs;              /* of those with relay, at all next hops together */
	unsigned int pipes;                 /* commands and files of aliases that master is busy with */
	struct attempt_list relayings;      /* being relayed */
	struct event *note_timer;
	struct attempt_list stranded;       /* have something to record, no spool worker does it */
	struct attempt_list unresolved;     /* wait for what others are asked */
	struct attempt_list unplaced;       /* wait for a local worker */
	struct event *unplaced_timer;
	struct listing_list listings;
	uint32_t network_changes;           /* of addresses and routes, ever */
	int64_t clock_offset;               /* of the clock from the time since the machine's start */
	uint64_t clock_doubtful_until;      /* in seconds since that */
	uint64_t served;
};

/* Seconds, and milliseconds, of the monotonic clock. */
uint32_t queue_now(void);
uint64_t queue_now_milliseconds(void);
/* The clock was set, by more than an hour, less than a day ago: nothing is given up for its age. */
bool queue_clock_is_doubtful(struct queue *q);
/* A number that stands for whose message it is, the login's or the sender's: by a keyed hash, so that nobody can
 * choose with whom he shares it. Never 0. */
uint32_t queue_sender(struct span login, struct span sender);
/* What a worker says of a failure, made sound: LATER with 4yz, or NEVER with 5yz. */
struct verdict queue_refusal(struct verdict v);
/* One line for what became of one recipient. given: what RCPT said; empty: the same. relay: "local",
 * "command", or the server it went to. */
void queue_log_recipient(uint64_t session, uint64_t id, struct span to, struct span given,
	struct span relay, uint64_t delay_milliseconds, struct verdict v);

#endif
