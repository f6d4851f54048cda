/*
 * notice - mail that queue itself writes: reports, and what other programs want an administrator to
 * read. The sender is null; nobody is ever told that it could not be delivered.
 */
#ifndef VALIJA_NOTICE_H
#define VALIJA_NOTICE_H

#include "queue.h"

#define MOST_NOTICES 1000            /* on their way into the spool at a time */

/* Writes `content` (taken) durably into the spool, for `to`, and calls done(q, me, good): never from
 * inside. good: it is there, or can never be (nobody is at that address; logged). Otherwise it may be
 * tried again. */
void notice_post(struct queue *q, struct span to, struct text *content, bool eight_bit, bool utf8, const struct wishes *of,
	void (*done)(struct queue *q, void *me, bool good), void *me);

/* Mail of the form that other programs want sent; who cannot be told is not told. Without may_relay it goes where a
 * stranger's mail would. */
void notice_hear(struct queue *q, const struct msg_notice *m, bool may_relay);

/* What its worker says. */
void notice_lent(struct queue *q, struct conversation *c, int fd);
void notice_refused(struct queue *q, struct conversation *c);
void notice_spooled(struct queue *q, struct conversation *c);
void notice_lost(struct queue *q, struct conversation *c);
uint32_t notice_hour(const struct conversation *c);

#endif
