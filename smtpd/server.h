/*
 * server - what all conversations of one smtpd process share.
 */
#ifndef VALIJA_SMTPD_SERVER_H
#define VALIJA_SMTPD_SERVER_H

#include <sys/queue.h>

#include "common/daemon.h"
#include "common/door.h"
#include "common/text.h"
#include "smtpd/data.h"
#include "smtpd/rate.h"

#define READ_MOST 65536          /* octets taken from a socket at once */
#define ID_BUCKETS 4096          /* ids are random numbers of ours: chains stay short */

struct session;
struct transaction;

LIST_HEAD(session_list, session);
TAILQ_HEAD(session_queue, session);
LIST_HEAD(transaction_list, transaction);

struct server {
	struct daemon daemon;
	struct door door;
	struct session_list sessions;
	struct session_list by_id[ID_BUCKETS];
	struct transaction_list by_message[ID_BUCKETS];
	struct rates rates;
	uint64_t served;
	struct session_queue held_back;  /* wait for queue to read; who waits longest first (turn.h) */
	struct text aborts;          /* u64 each: so do these (transaction.h) */
	/* Scratch for the one session whose turn it is; nothing stays here between turns. */
	unsigned char incoming[READ_MOST];
	unsigned char plain[2 * READ_MOST + DATA_ROOM];
};

#endif
