/*
 * order - messages in the order of a text of their headers, as one SORT found it and the next ones want it.
 *
 * A file for each mailbox and such a text, Maildir/valija/ID/order-subject and so on (valija-index(5)): UIDs, and of
 * each the rank of its text; the lower comes first, equal texts have equal ranks. It is written as a whole, never
 * synced, checked when it is read; one that is damaged, of another mailbox or version, or gone, is as none. The texts are
 * not in it: a message that came later is put between the others by what the cache has of a few of them.
 *
 * ORDER_VERSION has to grow with every change of what the texts are (subject, fold, encoded-word, charset, address-list,
 * sort .c), or of where a header and its fields are (header, mail .c).
 */
#ifndef VALIJA_IMAPD_ORDER_H
#define VALIJA_IMAPD_ORDER_H

#include "imapd/index.h"

#define ORDER_VERSION 2
#define ORDER_HEADER_BYTES 64
#define LEAST_ORDERED 1000u          /* for fewer messages no order is kept */
#define MOST_ORDERED 1000000000u     /* so that twice a rank is a u32 */
/* All names that such files have. */
#define ORDER_NEW "order.new"
#define ORDER_FILES "order-cc", "order-displayfrom", "order-displayto", "order-from", "order-subject", "order-to", ORDER_NEW

struct order;

/* What the file `name` of the mailbox says. NULL: nothing that can be used. */
struct order *order_read(const struct index *ix, const char *name);
void order_free(struct order **o);
/* Of how many messages; and the UIDs of all that are higher than this one are not among them. */
size_t order_count(const struct order *o);
uint32_t order_highest(const struct order *o);
/* The rank of a message, from 1; 0: not known. UIDs must ascend from call to call. */
uint32_t order_rank(struct order *o, uint32_t uid);
/* Where a text belongs that is not in it: twice the rank of the texts that equal it, or the odd number between twice the
 * ranks of those before and behind. `compare` tells of the text and that of message `uid`, as memcmp; in *gone, which is
 * false, that there is no such message any more. */
uint32_t order_place(struct order *o, int (*compare)(void *me, uint32_t uid, bool *gone), void *me);
/* Writes it anew: `count` UIDs, ascending, behind them as many ranks, from 1. 0, or -1 with errno: what was there is
 * there. */
int order_write(const struct index *ix, const char *name, const uint32_t *entries, size_t count);

#endif
