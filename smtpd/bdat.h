/*
 * bdat - BDAT (RFC 3030): the message in counted chunks.
 *
 * However a chunk is answered, its octets are taken first: what stands in a chunk is never a
 * command. A chunk that cannot be counted, or is larger than this server would throw away, ends
 * the session instead. A refused chunk ends its transaction, so that each further one hears 503.
 */
#ifndef VALIJA_SMTPD_BDAT_H
#define VALIJA_SMTPD_BDAT_H

#include "smtpd/reply.h"

struct session;

/* The command. */
void do_bdat(struct session *s, struct span arguments);
/* The message has its file, or `why` it has none (else NULL): the chunk may come in. */
void bdat_go_on(struct session *s, const struct verdict *why);
/* Octets of the chunk; takes what belongs to it from *in. */
void bdat_feed(struct session *s, struct span *in);
/* Forgets the chunk in hand: the session closes. */
void bdat_give_up(struct session *s);

#endif
