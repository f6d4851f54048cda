/*
 * trust-watch - warns in the log when a network that valija.conf trusts holds the router, or all private addresses.
 */
#ifndef VALIJA_TRUST_WATCH_H
#define VALIJA_TRUST_WATCH_H

struct supervisor;

/* Settings or routes may be others: each doubt that is new is a line. */
void trust_watch(struct supervisor *s);
void trust_watch_end(struct supervisor *s);

#endif
