/*
 * transaction_inside - what the files of one message from MAIL to its 250 share; for them alone. transaction.c is its
 * life and its sender, transaction_recipients.c to whom it goes and where that leads, transaction_file.c the file that
 * smtpd writes, and what becomes of it.
 */
#ifndef VALIJA_DELIVERY_TRANSACTION_INSIDE_H
#define VALIJA_DELIVERY_TRANSACTION_INSIDE_H

#include "queue.h"

enum transaction_state {
	OPEN,       /* recipients come */
	WAITING,    /* a worker is asked for a file */
	LENT,       /* smtpd writes */
	PLACING,    /* a worker makes it durable */
};

struct recipient {
	uint32_t number;
	char *address, *orcpt;
	uint8_t notify;
};

/* One place that a recipient leads to. */
struct lead {
	uint32_t recipient;
	bool again;                         /* another one leads there too, and this one only if that is dropped */
	struct resolved to;                 /* owned */
};

/* A recipient whose places are not known yet: somebody was asked. */
struct pending {
	TAILQ_ENTRY(pending) next;
	struct transaction *t;
	struct recipient r;
};

struct transaction {
	struct conversation c;
	TAILQ_ENTRY(transaction) next;      /* of its front */
	struct front *front;
	struct channel *smtpd;              /* NULL: gone, or it gave up; only while PLACING */
	enum transaction_state state;
	uint64_t session, begun;            /* begun: milliseconds */
	uint8_t service, body;
	bool utf8, by_queue;                /* by_queue: not every recipient is a mailbox here */
	bool rewritten;                     /* the sender is not what smtpd takes it for */
	char *sender, *login;
	char *claimed;                      /* the sender as it was said, while nobody knows whose it is */
	struct wishes wishes;               /* its strings are owned: wishes_free */
	bool hold;
	char *hold_reason;
	struct span top;                    /* owned */
	uint64_t size;
	unsigned char digest[DIGEST_SIZE];
	struct recipient *recipient;        /* those that were accepted */
	uint32_t count, room;
	struct lead *lead;
	uint32_t leads, leads_room, agains;
	void *elsewhere;                    /* tree of addresses: who is named twice gets one */
	struct destination *destination;    /* beside lead; borrows; once the data are asked for */
	uint32_t *mailbox, mailboxes;       /* leads that stand for a mailbox each */
	uint32_t pending;                   /* recipients that are not resolved yet */
	bool data, data_by_queue;           /* asked for meanwhile */
};

static inline struct transaction *
transaction_of(struct conversation *c)
{
	return (struct transaction *)(void *)c;
}

/* Says to smtpd how it ended. Once: smtpd forgets it then. */
void transaction_say(struct transaction *t, struct verdict v);
/* The same, with a line in the log if it was refused, and forgets it: `t` is gone. */
void transaction_tell(struct queue *q, struct transaction *t, struct verdict v);
/* The file is not needed, whether it was lent already or is only asked for. */
void transaction_give_back(struct queue *q, struct transaction *t);
/* Who waits to hear whether the sender is his hears it, if it is known now. */
void transactions_settle_owners(struct queue *q);

/* Frees all that is known of its recipients, also those that wait. */
void transaction_forget_recipients(struct queue *q, struct transaction *t);
/* Nobody is dropped any more: what was named twice stays once. */
void transaction_settle_leads(struct queue *q, struct transaction *t);
/* A mailbox that could not be delivered to a moment ago, and has to be, by the queue. */
void trouble_note(struct queue *q, const char *home, struct verdict v);
bool trouble_is_there(struct queue *q, const char *home);

/* DATA, and every recipient is known: a worker is asked for a file. `t` may be gone. */
void transaction_begin_data(struct queue *q, struct transaction *t);

/* What smtpd says, in the hours that its row names. */
void transaction_on_mail_recipient(void *me, struct channel *from, uint64_t id, const struct msg_mail_recipient *m,
	const int *fd);
void transaction_on_mail_recipient_drop(void *me, struct channel *from, uint64_t id,
	const struct msg_mail_recipient_drop *m, const int *fd);
void transaction_on_mail_data(void *me, struct channel *from, uint64_t id, const struct msg_mail_data *m, const int *fd);
void transaction_on_mail_commit(
	void *me, struct channel *from, uint64_t id, const struct msg_mail_commit *m, const int *fd);

#endif
