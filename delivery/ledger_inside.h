/* ledger_inside - what the files of the ledger share. */
#ifndef VALIJA_LEDGER_INSIDE_H
#define VALIJA_LEDGER_INSIDE_H

#include "ledger.h"

#include <time.h>

/* All of `bytes` at page `page`; false with errno. */
bool ledger_write(struct ledger *l, struct span bytes, size_t page);
/* Writes, durably, up to where it is settled. False: it is broken now. */
bool ledger_mark(struct ledger *l);
/* Settles the segment that is full. */
bool ledger_settle_full(struct ledger *l);
/* Reads what is there, and delivers what an earlier life has promised: then it is LEDGER_READY, EMPTY where there was
 * nothing, or LEDGER_HELD. After `until` no more is begun. */
void ledger_recover(struct ledger *l, time_t until);

#endif
