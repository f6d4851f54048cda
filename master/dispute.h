/*
 * dispute - two daemons that have no channel any more, though both live: one of them ended it. Which of
 * the two is replaced?
 *
 * Who refused what another said tells master at once, who found its channel ended tells a moment later
 * (both: peer_lost). So of a bad sender master hears twice, first from who refused it: the sender is
 * replaced. Where only one speaks, the other ended the channel, or was told off, and keeps silent about it:
 * that one is replaced. Where both speak at once, both say that they refused the other, one of them lies, and the
 * one that hears more of strangers is replaced. A captured daemon that closes its channels, to have its peers
 * replaced, ends itself; one that also claims to have refused them, or to have lost a channel that is there, is
 * believed a few times in its life, and then replaced.
 */
#ifndef VALIJA_MASTER_DISPUTE_H
#define VALIJA_MASTER_DISPUTE_H

#include "master/process.h"

/* `p` says that it has no channel to `other`; both serve, and are joined. */
void dispute_hear(struct process *p, struct process *other);
void dispute_end(struct supervisor *s);

#endif
