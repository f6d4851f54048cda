/*
 * srs - senders of forwarded mail, rewritten (SRS0, SRS1): whoever gets forwarded mail asks whether our server may send
 * for the sender's domain (SPF), and it may not; for our own domain it may. Reports to the rewritten
 * sender come here, and go on to the sender.
 *
 *     SRS0=HASH=DAY=DOMAIN=LOCAL@ours       LOCAL@DOMAIN, rewritten here
 *     SRS1=HASH=FIRST==REST@ours            SRS0=REST@FIRST, which FIRST has rewritten before
 *
 * The hash is keyed: nobody can make an address by which we send mail elsewhere. It holds for some
 * three weeks.
 */
#ifndef VALIJA_SRS_H
#define VALIJA_SRS_H

#include "common/text.h"

#define SRS_KEY_SIZE 32
#define SRS_DAYS 21

/* `day`: days since 1970. False, and nothing written: it cannot be rewritten (too long, no address). */
bool srs_encode(struct span sender, struct span domain, struct span key, uint64_t day, struct text *to);
/* The address that stands behind a rewritten one. False: it is none, not ours, or too old. */
bool srs_decode(struct span address, struct span domain, struct span key, uint64_t day, struct text *to);

#endif
