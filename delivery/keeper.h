/* keeper - the queue's state: made before confinement, served after; for queue.c and tests. */
#ifndef VALIJA_KEEPER_H
#define VALIJA_KEEPER_H

#include "queue.h"

/* Opens the spool and the table of users; q->daemon has base, settings and directories. False
 * (logged) when that cannot be. */
bool keeper_init(struct queue *q);
void keeper_peer_came(struct queue *q, struct channel *peer);
/* What waits for another configuration may go now. */
void keeper_settings_changed(struct queue *q);
void keeper_network_changed(struct queue *q);

#endif
