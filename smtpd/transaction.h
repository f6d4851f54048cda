/*
 * transaction - one envelope, from MAIL to the last word about its message; the talk with queue.
 *
 * However a transaction ends (accepted, refused, RSET, EHLO, STARTTLS, a lost client, a dead
 * queue), transaction_reset() is the way out: nothing of it is left for the next.
 */
#ifndef VALIJA_SMTPD_TRANSACTION_H
#define VALIJA_SMTPD_TRANSACTION_H

#include "smtpd/envelope.h"
#include "smtpd/server.h"

#define OWES_MOST (1024 * 1024)  /* octets: more than recipients of a transaction have */

/* Packets that wait for queue: while there are more, nobody asks it anything new, and aborts wait too. With the commits of
 * every session it stays below what a channel keeps (MOST_WAITING_PACKETS). */
#define BACKLOG_OF_QUEUE 1024
#define ABORTS_MOST (1024 * 1024)  /* octets that these take meanwhile: one for each connection that can be configured */

struct receipt;
struct verdict;

/* An accepted recipient of LMTP, which hears of its own message (RFC 2033 section 4.2). */
struct lmtp_recipient {
	uint32_t number;
	char *address;
	struct verdict *result;  /* NULL: as the message as a whole */
};

struct transaction {
	LIST_ENTRY(transaction) in_bucket;
	struct session *session;
	uint64_t id;             /* the message's */
	bool known;              /* queue has it, and must hear of an abort */
	char *sender;            /* local@domain, or "" */
	bool utf8;
	int priority;            /* -9 to 9 */
	bool lowered;            /* the client wanted a higher one than it may have */
	enum body body;
	uint64_t announced;      /* SIZE of MAIL; 0: none */
	uint32_t asked;          /* RCPT commands passed on */
	uint32_t accepted;
	char *recipient;         /* the first accepted one */
	struct lmtp_recipient *lmtp;  /* of LMTP: `accepted` of them, in the order of RCPT */
	uint32_t discarded;      /* of the accepted ones: queue knows nothing of them */
	bool permitted;          /* the latest recipient: no further test, by a rule */
	char *solicit;           /* SOLICIT of MAIL, or NULL */
	bool unsolicited;        /* a recipient wants none of the classes of no_soliciting */
	char *hold;              /* why it is to be held; NULL: it is not */
	struct channel *filter;  /* milter, which has been told of it, and has not said its last word */
	bool filter_lost;        /* there was none, or it died */
	struct text filter_owes; /* u32 each: recipients that it is asked about */
	uint32_t adding;         /* recipients that filters have added, and queue not yet answered */
	bool add_failed;         /* one of them only later */
	struct held_recipient *held;  /* wait for policy; policy-ask.h */
	bool allowance_asked;    /* policy owes an answer before the file */
	uint32_t told;           /* places of `lmtp` that queue has passed */
	bool early;              /* the file was asked for while DATA still waited for its turn */
	int early_fd;            /* it has come; or -1 */
	bool early_last_write;
	struct verdict *early_told;  /* it will not come; or NULL */
	bool chunked;            /* BDAT was said: no DATA, no RCPT any more (RFC 3030 section 2) */
	uint64_t chunk_octets;   /* of all chunks that were announced */
	struct receipt *receipt; /* the message itself, while it comes in; receive.h */
};

/* What queue says; a row of smtpd's table of peers. */
extern const struct hearing hearing_queue;
/* The answer while queue is away. */
extern const struct refusal queue_away;

/* MAIL: begins, and asks queue. Its answer is awaited (reply.h). `lowered`: the priority was. */
void transaction_begin(struct session *s, const struct envelope_sender *sender, bool lowered);
/* RCPT: asks queue. */
void transaction_recipient(struct session *s, const struct envelope_recipient *recipient);
/* RCPT: accepted, and thrown away. */
void transaction_discard_recipient(struct session *s);
/* Is the whole message to be thrown away? Then there is no file. */
bool transaction_is_discarded(const struct transaction *t);
/* The same, for one that was held back: the answer is awaited already. */
void transaction_pass_recipient(struct session *s, uint32_t number, struct span address, uint8_t notify,
	struct span orcpt);
/* What filters think of a recipient that queue has accepted; what they change of the envelope, when the message is
 * whole. Recipients that they add must be such as the session could name itself. */
void transaction_recipient_judged(struct session *s, uint32_t number, const struct verdict *v);
void transaction_change_sender(struct session *s, struct span sender);
void transaction_add_recipient(struct session *s, struct span address, struct span parameters);
void transaction_drop_recipient(struct session *s, uint32_t number);
/* NULL when there is none with this id. */
struct transaction *transaction_find(struct server *server, uint64_t id);
/* What policy was asked for is allowed: now the file. */
void transaction_ask_file_now(struct session *s);
/* DATA, BDAT: asks for a file, perhaps policy first. False: queue is away. */
bool transaction_ask_file(struct session *s);
/* DATA is all that is left of a group (RFC 2920), and waits for the answers to what stands before it: what queue is asked
 * next is known already, unless policy or the filters have a say. Asked twice, it is asked once. */
void transaction_ask_file_early(struct session *s);
/* The message is written, its file closed; `top`: lines that go ahead of it; `tls_optional`: its header says so (RFC
 * 8689). False: queue is away. */
bool transaction_commit(struct session *s, uint64_t size, struct span digest, struct span top, bool tls_optional);
/* queue need not keep its file any longer, but the client goes on sending. */
void transaction_abort(struct transaction *t);
/* Ends the session's transaction, if there is one. */
void transaction_reset(struct session *s);
/* Between two commands queue has forgotten it, or answers no more: what was asked is answered so. If MAIL was accepted, so
 * that the client relies on it, it stays as one that is lost, for which there is nothing but "later" up to its end. */
void transaction_lose(struct session *s, const struct verdict *why);
bool transaction_is_lost(const struct transaction *t);

/* How many packets wait for queue. */
size_t queue_backlog(struct server *server);
/* After each round of events: says the aborts that queue had no time to hear. */
void aborts_after_backlog(struct server *server);

#endif
