/*
 * requeue - a queued message from the beginning: where its recipients lead is found anew, by the aliases and
 * tables of today, from the addresses that were given; its envelope is replaced.
 */
#ifndef VALIJA_REQUEUE_H
#define VALIJA_REQUEUE_H

#include "queue.h"

struct requeue;

/* Reads the envelope of `id`, and resolves everybody who has not got the message yet. NULL: it cannot be read,
 * or something must be asked first that is not known yet; *why says so. */
struct requeue *requeue_make(struct queue *q, uint64_t id, const char **why);
void requeue_free(struct requeue **r);
/* conversation.feed: says the new envelope to the spool worker of `c`; true when that was the last. */
bool requeue_feed(struct conversation *c, const struct requeue *r);
uint32_t requeue_count(const struct requeue *r);

#endif
