/*
 * names - what queue knows of the system's users: asked of auth-pam (name, uid, home) and local-home
 * (.forward), and remembered for a short while.
 */
#ifndef VALIJA_NAMES_H
#define VALIJA_NAMES_H

#include "queue.h"

#define MOST_NAMES 20000
#define NAME_SECONDS 60              /* how long an answer is believed */
#define FORWARD_SECONDS 2            /* and a .forward: who has just changed it expects no less */
#define LATER_SECONDS 1
#define ASK_SECONDS 30               /* how long an answer is waited for */

extern const struct resolver_asks names_asks;   /* me: struct queue */
extern const struct hearing queue_hears_names;
/* What local-home answers; put into its hearing. */
void names_on_forward_told(void *me, struct channel *from, uint64_t id,
	const struct msg_forward_told *m, const int *fd);
/* A worker is gone: what it was asked is not known, for now. */
void names_lost(struct queue *q, enum program program);

#endif
