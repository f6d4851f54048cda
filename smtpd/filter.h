/*
 * filter - what filters say of a message that is whole, asked through the program milter.
 */
#ifndef VALIJA_SMTPD_FILTER_H
#define VALIJA_SMTPD_FILTER_H

#include "smtpd/server.h"

struct session;
struct transaction;

/* What milter says; a row of smtpd's table of peers. */
extern const struct hearing hearing_milter;

/* Are there filters for this session's messages? Then the file must come from the spool: they may want
 * it held. */
bool filter_wanted(const struct session *s);
/* Tells the filters of a recipient that queue has accepted; what they think of it comes to
 * transaction_recipient_judged(). False: milter is away; what milter_down says counts when the message is whole. */
bool filter_recipient(struct session *s, uint32_t number, struct span address);
/* The transaction is over, whether milter owes anything or not. */
void filter_cancel(struct transaction *t);
/* Does a filter owe an answer to RCPT? */
bool filter_owes(const struct transaction *t);
/* Hands over the message, which is written: `trace` octets on top are ours. STAGE_FILTERED then, and
 * receive_filtered() comes. False: milter is away, and the message is answered by milter_down. */
bool filter_ask(struct session *s, int file, uint64_t size, size_t trace);

#endif
