/*
 * ticket - auth's word to master that a user proved himself, until imap-login comes for it.
 *
 * A ticket is 16 random bytes, good once, for TICKET_SECONDS, for the session and the front end
 * that auth named. The table is bounded: when it is full of tickets that are still good, no more
 * are taken.
 */
#ifndef VALIJA_TICKET_H
#define VALIJA_TICKET_H

#include "common/message.h"

#define TICKET_SIZE    16
#define TICKET_SECONDS 30
#define MOST_TICKETS   4096

struct ticket {
	bool used; /* this slot holds one */
	unsigned char bytes[TICKET_SIZE];
	uint64_t session;
	uint8_t program;
	uint16_t index;	  /* the front end that may bring it */
	uint64_t expires; /* seconds, monotonic */
	uint32_t uid, gid;
	uint64_t quota_bytes, quota_messages;
	char user[MOST_ADDRESS + 1];
	char home[MOST_PATH_FIELD + 1];
};

struct ticket_table {
	struct ticket *slots; /* grown as needed, up to MOST_TICKETS */
	size_t count;
};

enum ticket_verdict { TICKET_GOOD, TICKET_UNKNOWN, TICKET_MISUSED };

/* Keeps what auth said about `session`. False: malformed, or the table is full. */
bool ticket_keep(
	struct ticket_table *t, uint64_t session, const struct msg_ticket_made *m, uint64_t now);
/* Looks `bytes` up and takes it out, whatever comes of it: a ticket that is brought by another
 * front end or for another session is MISUSED, and gone. Compares in constant time. *found is
 * filled when GOOD. */
enum ticket_verdict ticket_take(struct ticket_table *t, struct span bytes, uint64_t session,
	enum program program, unsigned int index, uint64_t now, struct ticket *found);
/* Is there a good one with these bytes? Takes nothing out. */
bool ticket_known(const struct ticket_table *t, struct span bytes, uint64_t now);
void ticket_table_clear(struct ticket_table *t);

#endif
