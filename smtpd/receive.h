/*
 * receive - DATA, and what BDAT has in common with it: a message comes in, and is written once into the file that queue lent.
 *
 * Whatever goes wrong while the client sends (too large, bare LF, loop, disk full, queue dead), the
 * file is given up at once, the rest is read and thrown away, and the answer comes after the true
 * end of the data: a client in the middle of a message hears nothing else.
 */
#ifndef VALIJA_SMTPD_RECEIVE_H
#define VALIJA_SMTPD_RECEIVE_H

#include "smtpd/reply.h"

#define DATA_MOST_SECONDS (4 * 3600)          /* for one message, however steadily it drips */
#define INVITED_OCTETS_MOST (1024 * 1024)     /* who announces more hears before the 354 whether there is a file for it */
#define DISCARD_SLACK_BYTES (1024 * 1024)     /* beyond twice the limit the session is cut off */

struct session;
struct receipt;
struct dkim_job;

/* Why there can be no message: nobody accepted. */
const struct refusal *no_recipients(const struct session *s);
/* The command. */
void do_data(struct session *s, struct span arguments);
/* queue lent `fd`, which is taken; -1: the message is thrown away. last_write: Return-Path belongs on top. */
void receive_begin(struct session *s, int fd, bool last_write);
/* Octets of the message; takes what belongs to it from *in. */
void receive_feed(struct session *s, struct span *in);
/* The same from a chunk: all of `piece` belongs to the message. */
void receive_chunk(struct session *s, struct span piece);
/* Is the message given up, so that the next answer tells it? */
bool receive_has_failed(const struct session *s);
bool receive_takes_too_long(const struct session *s);
/* The last octet was there, or the message has failed: asks queue to commit, or says why not and ends
 * the transaction. `ended`: false for a chunk that is not the last. */
void receive_finish(struct session *s, bool ended);
/* The answer to a message: one, or in LMTP one for each accepted recipient (RFC 2033 section 4.2). */
void receive_answer(struct session *s, const struct verdict *v);
/* queue said its last word: about the commit, or before. */
void receive_told(struct session *s, const struct verdict *v);
/* What goes ahead of the message is made (dkim-sign.h); or cannot be, and the client hears 451. */
void receive_signed(struct session *s, struct span top, bool good);
/* The signing that is under way, or NULL; accepts NULL. */
struct dkim_job *receive_dkim_job(const struct receipt *r);
/* Closes and frees; sets *r to NULL; accepts NULL inside. */
void receipt_free(struct receipt **r);

struct msg_filter_told;
/* The filters have spoken; NULL: milter is gone. */
void receive_filtered(struct session *s, const struct msg_filter_told *m);
/* queue has answered for all recipients that filters have added. */
void receive_go_on(struct session *s);

#endif
